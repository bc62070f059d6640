"""The tables of gpu_check.sh.

    gpu_check.py ops OPERATION TYPES < PRINTED       what test-backend-ops printed, by type; the last line sums up
    gpu_check.py json PART SHAPE TYPE < JSON         llama-bench's tests as lines of raw.csv
    gpu_check.py part PART RESULTS                   medians and ratios of a part of raw.csv
    gpu_check.py record RESULTS OUT.csv              everything measured so far

raw.csv has lines of part, model, type, device, threads, test, value; models.csv of shape, type, bytes, bytes that a token reads.
"""

import collections
import csv
import json
import pathlib
import re
import statistics
import sys

PEERS = ["q4_k_m", "iq3_xxs", "q4_0"]


def ops(operation, types):
    """A table of cases by type, then `all fine ...` or what is not."""
    types = types.split("|")
    counts = {name: collections.Counter() for name in types}
    case = re.compile(re.escape(operation) + r"\(type(?:_a)?=(\w+),")
    for line in sys.stdin:
        found = case.search(line)
        if not found or found[1] not in counts or "skipping large" in line:
            continue
        # A line without a verdict is a case during which the program ended.
        for word in ("not supported", "FAIL", "OK", "broken off"):
            if word in line or word == "broken off":
                counts[found[1]][word] += 1
                break
    words = ("OK", "FAIL", "not supported", "broken off")
    print("%-8s %6s %6s %14s %11s" % (operation, *words))
    for name in types:
        print("%-8s %6d %6d %14d %11d" % (name, *(counts[name][word] for word in words)))
    total = sum(counts.values(), collections.Counter())
    bad = sum(total[word] for word in words[1:])
    none = [name for name in types if not counts[name]["OK"]]
    summary = f"{total['OK']} OK, {total['FAIL']} FAIL, {total['not supported']} not supported, {total['broken off']} broken off"
    print(f"all fine: {summary}" if not bad and not none else f"{summary}; no case OK: {', '.join(none) or 'none'}")


def bench_json(part, shape, kind):
    for test in json.load(sys.stdin):
        name = f"pp{test['n_prompt']}" if test["n_prompt"] else f"tg{test['n_gen']}"
        device = "cpu" if test.get("devices") == "none" or not test["n_gpu_layers"] else "gpu"
        threads = test["n_threads"] if part == "cpu" else 0
        print(part, shape, kind, device, threads, name, "%.3f" % test["avg_ts"], sep=",")


def rows(path):
    if not path.exists():
        return []
    with open(path) as file:
        return list(csv.reader(file))


class Results:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        runs = collections.defaultdict(list)
        for *key, value in rows(folder / "raw.csv"):
            runs[tuple(key)].append(float(value))
        self.runs = dict(runs)
        self.read = {(shape, kind): int(read) for shape, kind, _, read in rows(folder / "models.csv")}
        self.bytes = {(shape, kind): int(size) for shape, kind, size, _ in rows(folder / "models.csv")}
        self.pipes = rows(folder / "pipes.csv")
        bandwidth = [float(value) for name, value, _ in self.pipes if name == "read"]
        self.bandwidth = bandwidth[0] * 1e9 if bandwidth else None

    def median(self, key):
        return statistics.median(self.runs[key]) if key in self.runs else None

    def ratio(self, key, peer):
        other = self.median((*key[:2], peer, *key[3:]))
        return self.median(key) / other if other else None

    def share(self, key):
        """Of the card's bandwidth, what reading the weights once for each token takes."""
        part, shape, kind, device, _, test = key
        read = self.read.get((shape, kind))
        if part != "bench" or device != "gpu" or not test.startswith("tg") or not self.bandwidth or not read:
            return None
        return self.median(key) * read / self.bandwidth

    def keys(self, part):
        order = ["t2", "t25", "t3", "t35", "t4", "t5", "o3", "o4", "s24", "s34", *PEERS]
        place = lambda kind: order.index(kind) if kind in order else len(order)
        chosen = [key for key in self.runs if key[0] == part]
        return sorted(chosen, key=lambda k: (k[1], k[5], int(k[4]), place(k[2])))


def number(value, form="%.2f"):
    return form % value if value is not None else ""


def part(name, folder):
    name = "bench" if name == "types" else name # its models stand in one table with the others
    if name not in ("bench", "cpu"):
        return
    results = Results(folder)
    line = "%-9s %-8s %7s %5s %7s %10s %21s %8s %9s %7s %6s"
    print(line % ("model", "type", "MB", "test", "threads", "tokens/s", "from - to", "x q4_k_m", "x iq3_xxs", "x q4_0", "share"))
    before = None
    for key in results.keys(name):
        _, shape, kind, _, threads, test = key
        if before not in (None, (shape, test, threads)):
            print()
        before = (shape, test, threads)
        rates = results.runs[key]
        size = results.bytes.get((shape, kind))
        print(line % (shape, kind, number(size / 1e6 if size else None, "%.0f"), test, threads if threads != "0" else "",
                      number(results.median(key)), f"{min(rates):.2f} - {max(rates):.2f}",
                      *(number(results.ratio(key, peer)) for peer in PEERS), number(results.share(key))))


def record(folder, out):
    results = Results(folder)
    with open(out, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "model", "type", "device", "threads", "test", "value", "least", "most", "runs",
                         "of_q4_k_m", "of_iq3_xxs", "of_q4_0", "of_bandwidth", "file_bytes"])
        for name, value, unit in results.pipes:
            writer.writerow(["pipes", "", "", "gpu", "", f"{name} ({unit})" if unit else name, value, *[""] * 8])
        for key in [key for name in ("real", "bench", "cpu") for key in results.keys(name)]:
            rates = results.runs[key]
            ratios = [number(results.ratio(key, peer), "%.3f") for peer in PEERS] if key[0] != "real" else [""] * 3
            writer.writerow([*key[:4], key[4] if key[4] != "0" else "", key[5], *(number(x, "%.4g" if x < 100 else "%.1f") for x in (results.median(key), min(rates), max(rates))),
                             len(rates), *ratios, number(results.share(key), "%.3f"), results.bytes.get(key[1:3], "")])


{"ops": ops, "json": bench_json, "part": part, "record": record}[sys.argv[1]](*sys.argv[2:])
