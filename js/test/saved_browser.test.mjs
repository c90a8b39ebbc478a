/**
 * A guest in the middle of its calls travels from Python to Node to headless Chromium and back to Python. Needs npm's
 * playwright-core and a Chromium, as browser.test.mjs does.
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { missing, openPage } from "./support/chromium.mjs";
import { bytes } from "./support/guests.mjs";
import { live, serve, shown, startPython } from "./support/saved.mjs";

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
  let page;
  let close;

  before(async () => {
    ({ page, close } = await openPage("saved states"));
  });

  after(() => close?.());

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
