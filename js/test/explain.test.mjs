/**
 * The page of `caesura explain --html` in headless Chromium: hostile names, both colour schemes, keyboard, names for
 * screen readers, tables, and a module with as many functions as PHP. Needs npm's playwright-core and a Chromium
 * (`apt-get install chromium`, or its path in CAESURA_CHROMIUM). Pages and screenshots go to `build/js/explain`.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { findPython, repository } from "./support/guests.mjs";
import { launch, missing } from "./support/chromium.mjs";

const HOSTILE = [
  "</script><script>window.broken = 1</script>",
  "<!--<script>",
  '"><img src="https://example.invalid/x" onerror="window.broken = 1">',
  "'); window.broken = 1; ('",
  "%script%%data%&lt;b&gt;",
  "\u2028\u2029\u202etxet",
  "__proto__",
  "constructor",
  "",
];

/** A string in the text format. */
const quoted = (text) => `"${[...Buffer.from(text)].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("")}"`;

const hostile = `(module (import "env" "sleep" (func $sleep)) (import ${quoted(HOSTILE[0])} "wait" (func $wait))
  ${HOSTILE.map((name) => `(func (export ${quoted(name)}) (call $sleep) (call $wait))`).join("\n")})`;

const SMALL = `(module (import "env" "sleep" (func $sleep (param i32)))
  (func $app_inner (param i32) local.get 0 call $sleep)
  (func $app_outer (export "run") i32.const 5 call $app_inner i32.const 6 call $app_inner)
  (func $lib_math_add (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func $lib_math_subtract (param i32 i32) (result i32) local.get 0 local.get 1 i32.sub)
  (func $lib_waits (call $app_inner (i32.const 1))))`;

const CALLS = `(module (import "env" "sleep" (func $sleep)) (import "env" "log" (func $log))
  (type $plain (func)) (table 3 3 funcref) (elem (i32.const 0) $waits $calls_it $never)
  (func $dispatch (param i32) (call_indirect (type $plain) (local.get 0)))
  (func $waits (call $sleep))
  (func $calls_it (call $waits))
  (func $never (call $log))
  (func $run (export "run") (call $dispatch (i32.const 0)))
  (func $other (call $dispatch (i32.const 1)) (call $dispatch (i32.const 2))))`;

const many = () => {
  const functions = [...Array(24_000).keys()].map((number) => {
    const callee = number ? `$part${(number * 7) % 50}_word${Math.floor(number / 2)}` : "$sleep";
    return `(func $part${number % 50}_word${number} (call ${number % 50 ? "$sleep" : callee}))`;
  });
  const names = new Set(functions.map((text) => text.split(" ")[1]));
  const known = functions.map((text) => text.replace(/\(call (\$part\w+)\)/, (all, name) => (names.has(name) ? all : "(nop)")));
  return `(module (import "env" "sleep" (func $sleep)) ${known.join("\n")})`;
};

describe("the page of caesura explain in Chromium", { skip: missing }, () => {
  const folder = fileURLToPath(new URL("build/js/explain/", repository));
  let browser;

  /** Write the page of a module; return its path. */
  const write = (name, text, ...more) => {
    const file = `${folder}${name}.html`;
    const words = ["-m", "caesura", "explain", "-", ...more, "--html", file, "--quiet"];
    execFileSync(findPython(), words, { input: text, stdio: ["pipe", "inherit", "inherit"] });
    return file;
  };

  /** Open a page; problems, and what it tries to load, are kept in `page.problems`. */
  const open = async (file, settings = {}) => {
    const page = await browser.newPage({ viewport: { width: 1180, height: 820 }, ...settings });
    page.problems = [];
    page.on("pageerror", (error) => page.problems.push(error.message));
    page.on("console", (message) => page.problems.push(message.text()));
    page.on("request", (request) => {
      if (!/^(file|data):/.test(request.url())) page.problems.push(request.url());
    });
    await page.goto(`file://${file}`);
    return page;
  };

  before(async () => {
    mkdirSync(folder, { recursive: true });
    browser = await launch();
  });

  after(() => browser?.close());

  it("shows hostile names as text", async () => {
    const page = await open(write("hostile", hostile));
    assert.equal(await page.evaluate(() => globalThis.broken), undefined);
    assert.deepEqual(page.problems, []);
    assert.equal(await page.locator("script").count(), 2);
    assert.equal(await page.locator("img").count(), 0);
    const shown = await page.locator("#functions tbody th").allTextContents();
    for (const name of HOSTILE) {
      const visible = name.replace(/[\u2028\u2029\u202e]/g, "\ufffd");
      assert.ok(shown.some((text) => text.startsWith(visible)), visible);
    }
    assert.ok((await page.locator("#causes tbody th").allTextContents()).includes(`${HOSTILE[0]}.wait`));
    await page.close();
  });

  it("says of a function how it comes to be instrumented, and what would free it", async () => {
    const page = await open(write("chosen", SMALL, "app_outer"));
    const steps = await page.locator("#chosen ol li").allTextContents();
    assert.deepEqual(steps, ["app_outer (2)", "app_inner (1)", "env.sleep"]);
    const changes = await page.locator("#chosen ul li").allTextContents();
    assert.equal(changes.length, 3);
    assert.match(changes[0], /^with an import list without env\.sleep: 2 other functions/);
    await page.locator("#chosen ol button", { hasText: "app_inner" }).click();
    assert.equal(await page.locator("#chosen .name").textContent(), "app_inner (1)");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "chosen-heading");
    await page.close();
  });

  it("says who calls a function, and what its calls through tables can reach", async () => {
    const page = await open(write("calls", CALLS, "dispatch", "--imports", "env.sleep"));
    const chosen = page.locator("#chosen");
    const opened = async (label) => {
      const details = chosen.locator("details", { has: page.locator("summary", { hasText: label }) }).first();
      await details.locator("summary").press("Enter");
      await details.locator("li").first().waitFor();
      return details.locator("li").allTextContents();
    };
    const [path] = await page.locator("#chosen ol").allTextContents();
    assert.match(path, /^dispatch \(2\)/);
    assert.match(await chosen.textContent(), /calls through table 0 of type .*\(2 of these may suspend\)/);
    assert.deepEqual(await opened("Can reach: 3 functions"), ["waits (3), may suspend", "calls_it (4), may suspend", "never (5)"]);
    assert.deepEqual(await opened("By name: 2 functions"), ["run (6)", "other (7)"]);
    assert.ok(await chosen.locator("h3", { hasText: "Callers" }).isVisible());
    await chosen.locator("li button", { hasText: "never" }).click();
    assert.equal(await page.locator("#chosen .name").textContent(), "never (5)");
    assert.match(await chosen.textContent(), /Not instrumented: .*Callers.*By name: none.*Made by: 1 function/);
    assert.deepEqual(await opened("Made by: 1 function"), ["dispatch (2)"]);
    await chosen.locator("li button", { hasText: "dispatch" }).press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "chosen-heading");
    const told = JSON.parse(execFileSync(findPython(), ["-m", "caesura", "explain", "-", "dispatch", "--imports", "env.sleep", "--json", "--quiet"], { input: CALLS, encoding: "utf8" }));
    assert.deepEqual(told.callers.direct.map(({ name }) => name), ["run", "other"], "as the command says");
    assert.deepEqual(told.indirect_calls[0].targets.map(({ name, may_suspend }) => [name, may_suspend]), [["waits", true], ["calls_it", true], ["never", false]]);
    assert.deepEqual(page.problems, []);
    await page.close();
  });

  it("shows many callers a part at a time", async () => {
    const callers = [...Array(450).keys()].map((number) => `(func $caller${number} (call $called))`).join("\n");
    const page = await open(write("callers", `(module (import "env" "sleep" (func $sleep)) (func $called (call $sleep)) ${callers})`, "called"));
    await page.locator("#chosen summary", { hasText: "By name: 450 functions" }).click();
    const shown = () => page.locator("#chosen details li").count();
    await page.locator("#chosen details li").first().waitFor();
    assert.equal(await shown(), 200);
    const more = page.locator("#chosen details button", { hasText: "Show more" });
    await more.click();
    await more.click();
    assert.equal(await shown(), 450);
    assert.equal(await more.isVisible(), false);
    await page.close();
  });

  it("sorts and filters its tables", async () => {
    const page = await open(write("small", SMALL));
    const rows = () => page.locator("#functions tbody th").allTextContents();
    assert.equal((await rows()).length, 3);
    await page.locator("#only").uncheck();
    assert.equal((await rows()).length, 5);
    await page.locator("#functions thead button", { hasText: "Function" }).first().click();
    assert.deepEqual(await rows(), [...(await rows())].sort());
    await page.locator("#functions thead button", { hasText: "Function" }).first().click();
    assert.equal(await page.locator("#functions thead th").first().getAttribute("aria-sort"), "descending");
    assert.equal((await rows())[0], "lib_waits (5)");
    await page.locator("#wanted").fill("MATH");
    assert.deepEqual(await rows(), ["lib_math_subtract (4)", "lib_math_add (3)"]);
    assert.equal(await page.locator("#count").textContent(), "2 functions");
    await page.locator("#functions tbody button").first().press("Enter");
    assert.match(await page.locator("#chosen").textContent(), /Not instrumented: it calls nothing that may suspend/);
    assert.deepEqual(page.problems, []);
    await page.close();
  });

  it("shows which functions of a list were recorded, and which others", async () => {
    const recording = `${folder}recording`;
    const functions = { app_inner: { count: 5, stack: [] }, lib_waits: { count: 1234, stack: [] }, [HOSTILE[2]]: { count: 1, stack: [] } };
    writeFileSync(recording, `${JSON.stringify({ caesura_record: 1, functions })}\n`);
    const page = await open(write("recorded", SMALL, "--only-list", "app_inner,app_outer", "--recorded", recording));
    const cells = () => page.locator("#coverage-table tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
    assert.match(await page.locator("#covered").textContent(), /^Of 2 functions that are listed, 1 was recorded\. 1 other function was recorded, too\.$/);
    const gaps = (await cells()).map(([name, times, , state]) => [name, times, state]);
    assert.deepEqual(gaps, [["app_outer (2)", "0", "listed, never recorded"], ["lib_waits (5)", "1,234", "recorded, not listed"]]);
    await page.locator("#coverage-filter input[value=all]").check();
    assert.equal((await cells()).length, 3);
    await page.locator("#coverage-table thead button", { hasText: "Recorded" }).click();
    assert.equal((await cells())[0][0], "lib_waits (5)");
    await page.locator("#coverage-table tbody button").first().press("Enter");
    assert.equal(await page.locator("#chosen .name").textContent(), "lib_waits (5)");
    assert.match(await page.locator("#unmatched-summary").textContent(), /no function of this module: 1$/);
    assert.equal(await page.locator("#unmatched li").textContent(), HOSTILE[2]);
    assert.deepEqual(page.problems, []);
    await page.close();
    const without = await open(write("unrecorded", SMALL));
    assert.equal(await without.locator("#coverage").isVisible(), false);
    await without.close();
  });

  it("goes through the map by keys, and says where it is", async () => {
    const page = await open(write("keys", SMALL));
    const spoken = () => page.locator("#spoken").textContent();
    const trail = () => page.locator("#trail button").allTextContents();
    await page.locator("#map").focus();
    assert.match(await spoken(), /^app…: 2 functions \(2 instrumented\), \d+ bytes before, \d+ added$/);
    await page.keyboard.press("ArrowRight");
    assert.match(await spoken(), /^lib…: 3 functions \(1 instrumented\)/);
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("Enter");
    assert.deepEqual(await trail(), ["all", "app…"]);
    assert.match(await spoken(), /^app_(inner|outer) \(\d\): \d+ bytes before, \d+ added$/);
    await page.keyboard.press("Enter");
    assert.match(await spoken(), /Shown beside the map\.$/);
    await page.keyboard.press("Escape");
    assert.deepEqual(await trail(), ["all"]);
    await page.locator("#map-details summary").click();
    await page.locator("#map-table button", { hasText: "lib" }).click();
    assert.deepEqual(await page.locator("#map-table tbody th").allTextContents(), ["lib_math…", "lib_waits (5)"]);
    assert.deepEqual(await page.locator("#map-table tbody td:nth-child(3)").allTextContents(), ["0", "1"]);
    await page.locator("#trail button").first().click();
    await page.locator("input[value=added]").check();
    assert.match(await page.locator("#map").getAttribute("aria-label"), /^Map of all: 5 functions/);
    assert.deepEqual(page.problems, []);
    await page.close();
  });

  it("has a name for everything that can be reached, and landmarks", async () => {
    const page = await open(write("named", SMALL));
    const snapshot = await page.locator("body").ariaSnapshot();
    for (const role of ["banner", "main", "search", "navigation", "table", "heading", "status"]) {
      assert.match(snapshot, new RegExp(`- ${role}\\b`), role);
    }
    assert.equal(await page.getByRole("application", { name: /^Map of all: 5 functions/ }).count(), 1);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, canvas, [tabindex], table, section")]
        .filter((one) => !one.closest("[hidden]"))
        .filter((one) => {
          const label = one.getAttribute("aria-label") || one.getAttribute("aria-labelledby") || one.textContent?.trim();
          return !(label || one.closest("label")?.textContent?.trim());
        })
        .map((one) => one.outerHTML),
    );
    assert.deepEqual(nameless.filter((html) => !html.includes("map-table")), []);
    await page.close();
  });

  it("has no landmarks that only differ in where they are", async () => {
    const recording = `${folder}recording-of-calls`;
    writeFileSync(recording, `${JSON.stringify({ caesura_record: 1, functions: { waits: { count: 1 } } })}\n`);
    const page = await open(write("landmarks", CALLS, "dispatch", "--recorded", recording));
    const landmarks = await page.evaluate(() => {
      for (const one of document.querySelectorAll("details")) one.open = true;
      const nameOf = (one) => one.getAttribute("aria-label") ?? document.getElementById(one.getAttribute("aria-labelledby"))?.textContent;
      const found = [...document.querySelectorAll("header, main, nav, section, [role=region], [role=search]")];
      return found.map((one) => `${one.role ?? (one.tagName == "SECTION" ? "region" : one.tagName)} ${nameOf(one)}`);
    });
    assert.ok(landmarks.includes("region Recordings"));
    assert.deepEqual(landmarks, [...new Set(landmarks)]);
    await page.close();
  });

  it("shows on the map what is not instrumented, also where the guard has added something to it", async () => {
    // What the guard adds is numbers of functions that are longer than those before.
    const others = "(func)".repeat(130);
    const left = `(module (import "env" "sleep" (func $sleep)) (func $left (export "run") ${"(call $sleep)".repeat(400)}) ${others})`;
    for (const [words, property, title] of [
      [["--remove-list", "left"], "--plain", /^left \(1\): \d+ bytes before, [1-9]\d* added, not instrumented$/],
      [["--add-list", "left"], "--added", /^left \(1\): \d+ bytes before, [1-9][\d,]* added$/],
    ]) {
      const page = await open(write("left", left, ...words));
      await page.locator("#map").focus();
      assert.match(await page.locator("#spoken").textContent(), title);
      const [shown, wanted] = await page.evaluate((name) => {
        const canvas = document.getElementById("map");
        const pixel = (context, x, y) => [...context.getImageData(x, y, 1, 1).data].join();
        const sample = document.createElement("canvas").getContext("2d");
        sample.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        sample.fillRect(0, 0, 1, 1);
        return [pixel(canvas.getContext("2d"), 9, canvas.height - 9), pixel(sample, 0, 0)];
      }, property);
      assert.equal(shown, wanted);
      await page.close();
    }
  });

  for (const [colorScheme, isDark] of [["light", false], ["dark", true]]) {
    it(`can be read in a ${colorScheme} scheme`, async () => {
      const page = await open(write(colorScheme, SMALL), { colorScheme });
      const contrast = await page.evaluate(() => {
        const luminance = (colour) => {
          const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255);
          const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const card = luminance(getComputedStyle(document.querySelector("section")).backgroundColor);
        const ratios = [...document.querySelectorAll("p, button, dt, dd, legend, h2")].map((one) => {
          const text = luminance(getComputedStyle(one).color);
          return (Math.max(text, card) + 0.05) / (Math.min(text, card) + 0.05);
        });
        return { card, least: Math.min(...ratios) };
      });
      assert.equal(contrast.card < 0.2, isDark);
      assert.ok(contrast.least >= 4.5, `a contrast of ${contrast.least}`);
      await page.screenshot({ path: `${folder}${colorScheme}.png` });
      await page.close();
    });
  }

  it("makes few elements for many functions", async (test) => {
    const page = await open(write("many", many()));
    assert.equal(await page.locator("#count").textContent(), "23,521 functions");
    const elements = await page.evaluate(() => document.querySelectorAll("*").length);
    assert.ok(elements < 6_000, `${elements} elements`);
    assert.deepEqual(page.problems, []);
    const loaded = await page.evaluate(() => performance.getEntriesByType("navigation")[0].domComplete);
    test.diagnostic(`complete after ${Math.round(loaded)} ms`);
    await page.close();
  });
});
