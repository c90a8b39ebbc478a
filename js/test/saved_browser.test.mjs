/**
 * A guest in the middle of its calls travels from Python to Node to headless Chromium and back to Python. Needs npm's
 * playwright-core and a Chromium, as browser.test.mjs does.
 */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";

import { bytes, repository } from "./support/guests.mjs";
import { live, serve, shown, startPython } from "./support/saved.mjs";

const executablePath = process.env.CAESURA_CHROMIUM ?? "/usr/bin/chromium";
const playwright = await import("playwright-core").catch(() => undefined);
const missing = !playwright ? "npm's playwright-core is not installed" : !existsSync(executablePath) && "no Chromium";

/** In the page: restore a guest, give its calls an answer each, and save it. */
async function serveInPage({ state, code, answers }) {
  const { Suspending } = await import("/js/src/index.js");
  const { pending, restore, snapshot } = await import("/js/src/snapshot.js");
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const env = { ask: new Suspending(() => new Promise(() => {})) };
  const { instance, pending: calls } = await restore(decode(state), decode(code), { env });
  const look = () => ({
    values: instance.exports.values().map(String),
    calls: pending(instance).map((call) => [call.export, call.function, call.arguments.map(String)]),
  });
  const before = look();
  const results = [];
  for (const [number, answer] of answers.entries()) {
    calls[number].resume(answer).then((result) => results.push(result));
    await new Promise((resolve) => setTimeout(resolve));
  }
  const saved = await snapshot(instance);
  return { state: btoa(String.fromCharCode(...saved)), before, after: look(), results };
}

describe("saved states in Chromium", { skip: missing }, () => {
  let browser;
  let server;
  let page;

  before(async () => {
    server = createServer(({ url }, response) => {
      const name = /^\/js\/src\/\w+\.js$/.test(url) ? new URL(url.slice(1), repository) : undefined;
      response.setHeader("content-type", name ? "text/javascript" : "text/html");
      response.end(name ? readFileSync(name) : "<!doctype html><title>saved states</title>");
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    browser = await playwright.chromium.launch({ executablePath, args: ["--no-sandbox"] });
    page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
  });

  after(async () => {
    await browser?.close();
    server?.close();
  });

  for (const [guest, build] of [
    ["saved", "saved"],
    ["saved", "saved_thunks"],
    ["in_flight", "saved_secondary"],
  ]) {
    const code = bytes(guest, build);
    const skip = !WebAssembly.validate(code) && "this engine has no exceptions as values";
    it(`come from Python by Node, and go back to Python: ${guest}, ${build}`, { skip }, async () => {
      const module = new WebAssembly.Module(code);
      const python = startPython(build, guest);
      const inPage = (request) => page.evaluate(serveInPage, { ...request, code: code.toString("base64") });
      const hosts = [(request) => serve(request, module), inPage, python.ask];
      const begin = [[1, 8, 0.5], [2, 9, 2]];
      const alone = live(module, begin);
      let moved = await python.ask({ begin, answers: [] });
      for (let turn = 0; moved.after.calls.length; turn++) {
        const answers = moved.after.calls.map((_, number) => turn + 2 + number);
        const next = await hosts[turn % 3]({ state: moved.state, answers });
        assert.deepEqual(next.before, moved.after, `turn ${turn}`);
        assert.deepEqual(next.results, await alone.step(answers), `turn ${turn}`);
        assert.deepEqual(next.after, shown(alone.instance), `turn ${turn}`);
        moved = next;
      }
      python.end();
    });
  }
});
