/**
 * The example page in headless Chromium, with the engine's own JSPI and with the ponyfill. Needs npm's playwright-core and a
 * Chromium (`apt-get install chromium`, or its path in CAESURA_CHROMIUM). Screenshots go to `build/js`.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { findPython, repository } from "./support/guests.mjs";
import { launch, missing } from "./support/chromium.mjs";

describe("the example page in Chromium", { skip: missing }, () => {
  let browser;
  let server;
  let address;

  before(async () => {
    const script = fileURLToPath(new URL("examples/browser/serve.py", repository));
    server = spawn(findPython(), [script, "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
    address = await new Promise((resolve, reject) => {
      server.stdout.once("data", (data) => resolve(String(data).trim()));
      server.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
    browser = await launch();
    mkdirSync(new URL("build/js", repository), { recursive: true });
  });

  after(async () => {
    await browser?.close();
    server?.kill();
  });

  for (const [way, query, engine] of [
    ["native", "", "the engine's own JSPI"],
    ["ponyfill", "?ponyfill", "caesura's ponyfill"],
  ]) {
    it(`waits for fetches and timers while the page animates: ${way}`, async () => {
      const page = await browser.newPage({ viewport: { width: 800, height: 700 } });
      const problems = [];
      page.on("pageerror", (error) => problems.push(error.message));
      await page.goto(address + query);
      const text = (id) => page.textContent(`#${id}`);
      await page.waitForFunction(() => document.querySelectorAll("#rows tr").length >= 6);
      assert.equal(await text("state"), "running");
      const frames = +(await text("frames"));
      assert.ok(frames > 10, `${frames} frames while the guest waited`);
      await page.screenshot({ path: fileURLToPath(new URL(`build/js/browser-${way}.png`, repository)) });
      await page.waitForFunction(() => document.getElementById("state").textContent != "running");
      assert.equal(await text("state"), "done: 1662 bytes");
      assert.equal(await text("engine"), engine);
      assert.ok(+(await text("frames")) > frames);
      assert.deepEqual(problems, []);
      await page.close();
    });
  }
});
