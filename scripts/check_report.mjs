// The checks of check_report.sh: node check_report.mjs CHROMIUM PAGE FOLDER
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [browserPath, pagePath, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const wrong = [];
const check = (holds, what) => { if (!holds) wrong.push(what); };

const browser = await puppeteer.launch({ executablePath: browserPath, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
page.on("console", (message) => {
    if (["error", "warn", "warning"].includes(message.type())) wrong.push(`console: ${message.text()}`);
});
page.on("pageerror", (error) => wrong.push(`script: ${error.message}`));
page.on("request", (request) => check(/^(file|data):/.test(request.url()), `it loads ${request.url()}`));

// Light and dark, on a desk and on a phone.
const views = [
    { name: "light", width: 1280, height: 900, scheme: "light" },
    { name: "dark", width: 1280, height: 900, scheme: "dark" },
    { name: "phone", width: 390, height: 844, scheme: "light" },
    { name: "phone-dark", width: 390, height: 844, scheme: "dark" },
];
for (const { name, width, height, scheme } of views) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.setViewport({ width, height });
    await page.goto(pathToFileURL(pagePath).href, { waitUntil: "load" });
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100))));
    const charts = await page.$$eval("figure svg", (all) => all.length);
    check(charts >= 4, `${name}: ${charts} charts`);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    check(over <= 0, `${name}: ${over} pixels wider than the window`);
    await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
    for (const violation of found.violations) {
        const where = violation.nodes.slice(0, 3).map((node) => node.target.join(" ")).join("; ");
        wrong.push(`${name}: ${violation.id} (${violation.impact}): ${violation.help}: ${where}`);
    }
}

// Every choice of every list is drawn.
for (const id of ["metric", "domain", "size", "file", "shown", "tensor"]) {
    const values = await page.$$eval(`#${id} option`, (options) => options.map((option) => option.value));
    for (const value of values.slice(0, 12)) await page.select(`#${id}`, value);
}

// Everything that can be used is reached by Tab, and shows that it is.
await page.goto(pathToFileURL(pagePath).href, { waitUntil: "load" });
const usable = await page.$$eval("select, button, summary", (all) => all.filter((node) => node.checkVisibility({ contentVisibilityAuto: true })).length);
const reached = new Set();
for (let i = 0; i < 400 && reached.size < usable; i++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
        const node = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(node);
        const place = [...document.querySelectorAll("select, button, summary")].indexOf(node);
        return { place, name: node.tagName, shown: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
    });
    if (at.place >= 0) {
        reached.add(at.place);
        check(at.shown, `focus is not seen on ${at.name} ${at.place}`);
    }
}
check(reached.size === usable, `Tab reaches ${reached.size} of ${usable}`);

// Tables sort by keyboard, up and down.
const columns = await page.$$eval("#figures th", (heads) => heads.length);
for (let column = 0; column < columns; column++) {
    const button = (await page.$$("#figures th button"))[column];
    for (const order of ["ascending", "descending"]) {
        await button.focus();
        await page.keyboard.press("Enter");
        const { sorted, cells } = await page.evaluate((column) => ({
            sorted: document.querySelectorAll("#figures th")[column].getAttribute("aria-sort"),
            cells: [...document.querySelectorAll("#figures tbody tr")].map((row) => row.children[column].textContent),
        }), column);
        check(sorted === order, `column ${column} is ${sorted}, not ${order}`);
        const numbers = cells.map(parseFloat).filter((n) => !Number.isNaN(n));
        if (numbers.length === cells.length) {
            const ordered = numbers.every((n, i) => i === 0 || (order === "ascending" ? numbers[i - 1] <= n : numbers[i - 1] >= n));
            check(ordered, `column ${column} is not in ${order} order: ${cells.join(", ")}`);
        }
    }
}

await browser.close();
if (wrong.length) {
    console.error(wrong.join("\n"));
    process.exit(1);
}
