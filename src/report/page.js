"use strict";
// All that is shown comes from the JSON in the page; texts of others become text nodes only.
(() => {
    const data = JSON.parse(document.getElementById("data").textContent);
    const { receipt, files, base, samples } = data;
    const at = (id) => document.getElementById(id);
    const make = (name, properties = {}, ...children) => {
        const node = Object.assign(document.createElement(name), properties);
        node.append(...children);
        return node;
    };
    const color = (i) => `var(--s${i % 6})`;
    const digits = (n) => (value) => (value == null ? "-" : value.toFixed(n));
    const estimate = (n, unit = "") => (e) =>
        e == null ? "-" : `${e.value.toFixed(n)}${e.error == null ? "" : ` ± ${e.error.toFixed(n)}`}${unit}`;
    const bytes = (n) => {
        const units = ["B", "kB", "MB", "GB", "TB"];
        let unit = 0;
        for (; n >= 1000 && unit + 1 < units.length; unit++) n /= 1000;
        return unit ? `${n.toFixed(1)} ${units[unit]}` : `${n} B`;
    };
    const name = (model) => model.files[0].name;

    // A select element over items with labels; calls `change` with the item that is chosen.
    function choice(id, items, change) {
        const select = at(id);
        items.forEach(({ label }, i) => select.append(make("option", { value: i, textContent: label })));
        select.addEventListener("change", () => change());
        return () => items[select.selectedIndex];
    }

    // A table whose columns sort: { label, value, text, left }.
    function table(id, caption, columns, rows) {
        let sorted = { column: null, up: true };
        const body = make("tbody");
        const heads = columns.map((column, i) => {
            const button = make("button", { type: "button", textContent: column.label });
            const head = make("th", { scope: "col", className: column.left ? "text" : "" }, button);
            head.setAttribute("aria-sort", "none");
            button.addEventListener("click", () => {
                sorted = { column: i, up: sorted.column === i ? !sorted.up : true };
                heads.forEach((other, j) =>
                    other.setAttribute("aria-sort", j !== i ? "none" : sorted.up ? "ascending" : "descending"));
                fill();
            });
            return head;
        });
        function fill() {
            const order = rows.slice();
            if (sorted.column != null) {
                const { value } = columns[sorted.column];
                const compare = (a, b) => {
                    const [x, y] = [value(a), value(b)];
                    if (x == null || y == null) return (x == null) - (y == null);
                    return (sorted.up ? 1 : -1) * (typeof x === "string" ? x.localeCompare(y) : x - y);
                };
                order.sort(compare);
            }
            body.replaceChildren(...order.map((row) => make("tr", {}, ...columns.map((column) =>
                make("td", { className: column.left ? "text" : "", textContent: (column.text ?? String)(column.value(row), row) })))));
        }
        fill();
        const label = make("caption", { textContent: caption, className: "note" });
        at(id).replaceChildren(make("table", {}, label, make("thead", {}, make("tr", {}, ...heads)), body));
    }

    // Draws a chart as wide as its figure, again when that changes.
    const drawings = [];
    function drawing(id, draw) {
        const again = () => at(id).replaceChildren(...[draw(Math.max(280, Math.min(at(id).clientWidth, 1100)))].flat());
        drawings.push({ node: at(id), width: 0, again });
        again();
        return again;
    }

    const plot = (options) => {
        const made = Plot.plot({
            style: { background: "transparent", color: "var(--text)", fontSize: "13px", overflow: "visible" },
            ...options,
        });
        // An image has a name and a description as a whole; its groups have none.
        const charts = made.tagName === "svg" ? [made] : [...made.querySelectorAll("svg")];
        charts.at(-1).setAttribute("role", "img");
        charts.slice(0, -1).forEach((ramp) => ramp.setAttribute("aria-hidden", "true"));
        charts.forEach((chart) => chart.querySelectorAll("g[aria-label]").forEach((group) => group.removeAttribute("aria-label")));
        return made;
    };

    const legend = (names) => make("ul", { className: "legend" }, ...names.map((text, i) => {
        const square = make("span");
        square.style.background = color(i);
        return make("li", {}, square, text);
    }));

    // ---- what it is of

    const of = `${receipt.models.length} ${receipt.models.length === 1 ? "file" : "files"} beside ${name(receipt.base)}, ` +
        `${receipt.domains.map((d) => d.name).join(", ")}: predictions by ${receipt.program.name}.`;
    at("about").textContent = of + " What stands after ± is the standard error.";
    at("made").textContent = `Made by tenpak-gguf ${data.version}. Charts by Observable Plot and D3 (ISC licence). Nothing is loaded from elsewhere.`;

    // ---- quality over size

    const metrics = [
        { label: "KL divergence, nats", of: (f) => f.kld, log: true, digits: 4 },
        { label: "perplexity, change in %", of: (f) => f.perplexity_change, digits: 2 },
        { label: "perplexity", of: (f) => f.perplexity, digits: 3 },
        { label: "same first choice, %", of: (f) => f.same_top, digits: 2 },
    ];
    const domains = [{ label: "all", of: (m) => m.all }].concat(receipt.domains.length < 2 ? [] :
        receipt.domains.map((d, i) => ({ label: d.name, of: (m) => m.domains[i] })));
    const sizes = [
        { label: "bits per weight", of: (m) => m.bpw },
        { label: "megabytes", of: (m) => m.bytes / 1e6 },
        { label: "times smaller than FP32", of: (m) => m.times_smaller_than_fp32 },
    ];
    // Numbers at an axis of powers: those that begin with 1, 2 and 5.
    const some = (value) => ("125".includes(value.toExponential()[0]) ? d3.format("~g")(value) : "");
    let drawQuality = () => {};
    const metric = choice("metric", metrics, () => drawQuality());
    const domain = choice("domain", domains, () => drawQuality());
    const size = choice("size", sizes, () => drawQuality());
    drawQuality = drawing("quality", (width) => {
        const { of, log, label } = metric();
        const points = receipt.models.map((judged, i) => {
            const { value, error } = of(domain().of(judged));
            const low = value - (error ?? 0);
            return {
                i, name: name(judged.model), x: size().of(judged.model), value, error,
                // A logarithmic axis has no place for what is below zero.
                low: log ? Math.max(low, value / 10) : low, high: value + (error ?? 0),
            };
        }).filter((point) => !log || point.value > 0);
        const middle = (d3.min(points, (p) => p.x) + d3.max(points, (p) => p.x)) / 2;
        const text = (right) => Plot.text(points.filter((p) => (p.x > middle) === right), {
            x: "x", y: "value", text: (p) => p.name.replace(/\.gguf$/, ""), dx: right ? -9 : 9, dy: -9, textAnchor: right ? "end" : "start",
            fill: (p) => color(p.i), lineWidth: 18, textOverflow: "ellipsis-start",
        });
        const chart = plot({
            width, height: Math.min(420, width * 0.75), marginLeft: 60, marginBottom: 42, inset: 24,
            ariaLabel: `${label} over ${size().label}`, ariaDescription: "The table below has the same numbers.",
            x: { label: size().label, nice: true }, y: { label, type: log ? "log" : "linear", nice: !log, grid: true, ticks: 6,
                tickFormat: log ? some : undefined },
            color: { type: "identity" },
            marks: [
                Plot.ruleX(points, { x: "x", y1: "low", y2: "high", stroke: (p) => color(p.i), strokeWidth: 2 }),
                Plot.dot(points, { x: "x", y: "value", r: 5, fill: (p) => color(p.i),
                    title: (p) => `${p.name}: ${estimate(4)(p)} at ${p.x.toFixed(2)}`, tip: true }),
                text(false), text(true),
            ],
        });
        return [legend(points.map((p) => p.name)), chart];
    });

    const rows = receipt.models.flatMap((judged) =>
        judged.domains.concat(judged.domains.length > 1 ? [judged.all] : []).map((f) => ({ judged, f })));
    const figure = (label, of, n, unit) => ({ label, value: (row) => of(row.f)?.value, text: (_, row) => estimate(n, unit)(of(row.f)) });
    const plain = (label, of) => ({ label, value: (row) => of(row.f), text: digits(4) });
    table("figures", "Figures of each file on each text", [
        { label: "file", value: (row) => name(row.judged.model), left: true },
        { label: "text", value: (row) => row.f.domain, left: true },
        { label: "positions", value: (row) => row.f.positions },
        figure("KLD", (f) => f.kld, 4), plain("median", (f) => f.kld_median), plain("99 %", (f) => f.kld_99),
        plain("99.9 %", (f) => f.kld_999), figure("perplexity", (f) => f.perplexity, 3),
        figure("change", (f) => f.perplexity_change, 2, " %"), figure("same first choice", (f) => f.same_top, 2, " %"),
    ], rows);
    const models = [{ model: receipt.base }].concat(receipt.models);
    const speed = (label, of) => ({ label, value: (j) => j.speed && of(j.speed).value, text: (_, j) => estimate(1)(j.speed && of(j.speed)) });
    table("files", "Sizes, the base first", [
        { label: "file", value: (j) => name(j.model), left: true },
        { label: "size", value: (j) => j.model.bytes, text: bytes },
        { label: "x FP32", value: (j) => j.model.times_smaller_than_fp32, text: digits(2) },
        { label: "bpw", value: (j) => j.model.bpw, text: digits(3) },
        { label: "bpw of linear layers", value: (j) => j.model.linear_bpw, text: digits(3) },
        ...(receipt.speed ? [speed("prompt, tokens/s", (s) => s.prompt), speed("generation, tokens/s", (s) => s.generation)] : []),
        ...receipt.tasks.map((task, i) => ({
            label: `${task.kind} (${task.file.name})`, value: (j) => j.tasks?.[i].percent.value,
            text: (_, j) => estimate(1, " %")(j.tasks?.[i].percent),
        })),
    ], models);

    // ---- tensors over depth

    const measures = [
        { label: "bits per weight", of: (t) => t.bits, about: "Bits of every weight, by kind of tensor and block.", scheme: "viridis" },
        { label: "relative error", of: (t) => t.error, scheme: "inferno",
            about: "Squares of what weights changed by over squares of the weights, of a sample of rows." },
    ];
    if (files.some((file) => file.tensors.some((t) => t.nats != null))) {
        measures.push({ label: "expected divergence, nats", of: (t) => t.nats, scheme: "inferno",
            about: "What the errors do to predictions, by the calibration: inputs and sensitivities of each tensor." });
    }
    let drawDepth = () => {}, drawLoss = () => {}, tableTensors = () => {}, drawHistogram = () => {};
    const file = choice("file", files.map((f) => ({ label: f.name, file: f })), () => {
        [drawDepth, drawLoss, tableTensors, drawHistogram].forEach((again) => again());
    });
    const shown = choice("shown", measures, () => drawDepth());
    const inBlocks = () => file().file.tensors.filter((t) => t.block != null && t.matrix);
    drawDepth = drawing("depth", (width) => {
        const measure = shown();
        at("shown-about").textContent = measure.about;
        const tensors = inBlocks().filter((t) => measure.of(t) != null);
        if (!tensors.length) return make("p", { textContent: "Nothing is known of the tensors of this file." });
        const kinds = [...new Set(tensors.map((t) => t.kind))].sort();
        const blocks = d3.range(d3.max(tensors, (t) => t.block) + 1);
        const every = Math.ceil(blocks.length / (width / 40));
        return plot({
            width, height: 60 + 24 * kinds.length, marginLeft: 128, marginBottom: 40,
            ariaLabel: `${measure.label} by kind of tensor and block`, ariaDescription: "The table of all tensors has the same numbers.",
            x: { label: "block", domain: blocks, ticks: blocks.filter((b) => b % every === 0), tickSize: 3 },
            y: { label: null, domain: kinds, tickSize: 0 },
            color: { legend: true, label: measure.label, scheme: measure.scheme, width: Math.min(width, 320) },
            marks: [Plot.cell(tensors, { x: "block", y: "kind", fill: measure.of, inset: 0.5, tip: true,
                title: (t) => `${t.name}\n${t.type}, ${t.bits.toFixed(3)} bpw\n${measure.label}: ${measure.of(t).toPrecision(4)}` })],
        });
    });

    // ---- where the loss is

    const loss = () => (file().file.tensors.some((t) => t.nats != null)
        ? { label: "share of the expected divergence, %", of: (t) => t.nats,
            about: "The divergence that is expected of each kind of tensor, by the calibration's sensitivities." }
        : { label: "share of the squared error, %", of: (t) => (t.error == null ? null : t.error * t.energy),
            about: "Squares of what weights changed by, added up by kind of tensor. They say nothing of what inputs the weights meet; " +
                "--calibration FILE weighs them by that." });
    drawLoss = drawing("loss", (width) => {
        const { label, of, about } = loss();
        at("loss-about").textContent = about;
        const tensors = file().file.tensors.filter((t) => of(t) != null);
        const sum = d3.sum(tensors, of);
        if (!(sum > 0)) return make("p", { textContent: "No tensor of this file differs from that of the base." });
        const kinds = d3.rollups(tensors, (ts) => (100 * d3.sum(ts, of)) / sum, (t) => t.kind).map(([kind, share]) => ({ kind, share }));
        const most = d3.max(kinds, (k) => k.share);
        return plot({
            width, height: 50 + 26 * kinds.length, marginLeft: 128, marginRight: 50, marginBottom: 40,
            ariaLabel: label, ariaDescription: kinds.map((k) => `${k.kind}: ${k.share.toFixed(1)} %`).join(", "),
            x: { label, domain: [0, most], grid: true }, y: { label: null, tickSize: 0 },
            marks: [
                Plot.barX(kinds, { x: "share", y: "kind", fill: color(0), sort: { y: "-x" } }),
                Plot.text(kinds, { x: "share", y: "kind", text: (k) => `${k.share.toFixed(1)} %`, textAnchor: "start", dx: 4 }),
            ],
        });
    });
    tableTensors = () => table("tensors", file().label, [
        { label: "tensor", value: (t) => t.name, left: true },
        { label: "kind", value: (t) => t.kind, left: true },
        { label: "block", value: (t) => t.block, text: (n) => n ?? "-" },
        { label: "type", value: (t) => t.type, left: true },
        { label: "weights", value: (t) => t.weights },
        { label: "bpw", value: (t) => t.bits, text: digits(3) },
        { label: "relative error", value: (t) => t.error, text: (e) => (e == null ? "-" : e.toPrecision(3)) },
        ...(measures.length > 2 ? [{ label: "nats", value: (t) => t.nats, text: digits(6) }] : []),
    ], file().file.tensors);
    tableTensors();

    // ---- weights before and after

    const tensor = choice("tensor", base.tensors.filter((t) => t.counts).map((t) => ({ label: t.name, t })), () => drawHistogram());
    drawHistogram = drawing("histogram", (width) => {
        if (!tensor()) return make("p", { textContent: "No tensor of the base can be read." });
        const { t, label } = tensor();
        const bins = (counts) => {
            const step = (2 * t.reach) / counts.length, sum = d3.sum(counts);
            return counts.map((n, i) => ({ x1: -t.reach + i * step, x2: -t.reach + (i + 1) * step, share: (100 * n) / sum }));
        };
        const after = files.map((f, i) => ({ i, name: f.name, t: f.tensors.find((other) => other.name === label) }))
            .filter((f) => f.t?.counts);
        const steps = ({ t, i }) => bins(t.counts).map((bin) => ({ ...bin, i }));
        const chart = plot({
            width, height: Math.min(360, width * 0.7), marginLeft: 50, marginBottom: 42,
            ariaLabel: `Weights of ${label} before and after`,
            x: { label: "weight" }, y: { label: "share of the weights, %", grid: true },
            marks: [
                Plot.rectY(bins(t.counts), { x1: "x1", x2: "x2", y: "share", fill: "var(--s5)", fillOpacity: 0.4, insetLeft: 0.5 }),
                ...after.map((f) => Plot.lineY(steps(f), { x: (b) => (b.x1 + b.x2) / 2, y: "share", stroke: color(f.i), curve: "step", strokeWidth: 1.75 })),
                Plot.ruleY([0]),
            ],
        });
        const quiet = make("span");
        quiet.style.background = "var(--s5)";
        const list = legend(files.map((f) => f.name));
        list.prepend(make("li", {}, quiet, `${base.name} (filled)`));
        return [list, chart];
    });

    // ---- texts

    if (!samples.length) at("samples-section").remove();
    samples.forEach(({ prompt, texts }) => {
        const reference = texts[0].text;
        const shownTexts = texts.map(({ name, text }, i) => {
            let same = 0;
            while (same < text.length && text[same] === reference[same]) same++;
            // Not within a character of two units.
            if (same > 0 && /[\uD800-\uDBFF]/.test(text[same - 1])) same--;
            const pre = make("pre", { tabIndex: 0 }, text.slice(0, same));
            if (same < text.length) pre.append(make("mark", { textContent: text.slice(same) }));
            const note = i === 0 ? "the base" : same === text.length && text === reference ? "the same" : `the same for ${same} characters`;
            return make("div", {}, make("h4", { textContent: `${name} (${note})` }), pre);
        });
        const list = make("div", { className: "texts" }, ...shownTexts);
        at("samples").append(make("h3", { textContent: `“${prompt.trim()}”` }), list);
    });

    new ResizeObserver(() => drawings.forEach((drawing) => {
        if (Math.abs(drawing.node.clientWidth - drawing.width) > 1) {
            drawing.width = drawing.node.clientWidth;
            drawing.again();
        }
    })).observe(document.body);
})();
