/**
 * Time slices in headless Chromium: a page goes on next to guests that compute for ever, and fuel is what it is here. Needs
 * npm's playwright-core and a Chromium, as browser.test.mjs does.
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { instantiate, Suspending } from "../src/index.js";
import { promising } from "../src/slices.js";
import { missing, openPage } from "./support/chromium.mjs";
import { bytes } from "./support/guests.mjs";

/** In the page: compute for ever, and to an end, and to the end of a budget. */
async function runInPage(code) {
  const { instantiate, Suspending } = await import("/js/src/index.js");
  const { promising, usage } = await import("/js/src/slices.js");
  const module = await WebAssembly.compile(Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0)));
  const make = () => instantiate(module, { env: { again() {}, later: new Suspending(async () => 1) } });
  const end = new AbortController();
  const spinning = [];
  for (let number = 0; number < 3; number++) {
    spinning.push(promising((await make()).exports.spin, { slice: 2, signal: end.signal })().catch(({ name }) => name));
  }
  const instance = await make();
  const result = promising(instance.exports.depth, { slice: 2 })(20, 3_000_000n);
  for (let turns = 0; turns < 5; turns++) {
    await new Promise((resolve) => setTimeout(resolve));
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  const sum = String(await result);
  end.abort();
  const error = await promising((await make()).exports.depth, { fuel: 123_456, slice: 2 })(20, 3_000_000n).catch((error) => error);
  const { call } = error;
  return { sum, ends: await Promise.all(spinning), slices: usage(instance).slices, name: error.name, fuel: String(call.fuel), rest: String(await call.resume()) };
}

describe("time slices in Chromium", { skip: missing }, () => {
  let page;
  let close;

  before(async () => {
    ({ page, close } = await openPage("time slices"));
  });

  after(() => close?.());

  for (const build of ["fuel_thunks", "fuel_secondary"]) {
    it(`timers and frames of animation come next to guests that compute: ${build}`, async () => {
      const code = bytes("computing", build);
      const { slices, fuel, ...others } = await page.evaluate(runInPage, code.toString("base64"));
      assert.deepEqual(others, { sum: "3000020", ends: Array(3).fill("AbortError"), name: "BudgetExhausted", rest: "3000020" });
      assert.ok(slices > 0);
      if (!WebAssembly.validate(code)) return;
      const { exports } = await instantiate(new WebAssembly.Module(code), { env: { again() {}, later: new Suspending(() => 1) } });
      const error = await promising(exports.depth, { fuel: 123_456 })(20, 3_000_000n).catch((error) => error);
      assert.equal(fuel, String(error.call.fuel));
    });
  }
});
