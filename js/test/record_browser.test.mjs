/**
 * Recordings in headless Chromium, by the engine's own JSPI and by a recording build: a function of `caesura/record` returns
 * their lines. Needs npm's playwright-core and a Chromium, as browser.test.mjs does.
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { missing, openPage } from "./support/chromium.mjs";
import { bytes } from "./support/guests.mjs";

/** In the page: record a guest twice. */
async function recordInPage({ code, build }) {
  const { recorded } = await import("/js/src/record.js");
  const ponyfill = await import("/js/src/index.js");
  const { promising, Suspending } = build == "bare" ? WebAssembly : ponyfill;
  const later = (value) => new Promise((resolve) => setTimeout(resolve, 1, value));
  const imports = { env: { ask: new Suspending(later), other: new Suspending(later) } };
  const response = new Response(Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0)), { headers: { "content-type": "application/wasm" } });
  const { instantiateStreaming } = build == "bare" ? WebAssembly : ponyfill;
  const { instance } = await instantiateStreaming(response, imports, { region: [16, 65536] });
  await promising(instance.exports.run)(1);
  const first = recorded();
  await promising(instance.exports.recurse)(2);
  return [first, recorded(), recorded()];
}

describe("recordings in Chromium", { skip: missing }, () => {
  let page;
  let close;

  before(async () => {
    ({ page, close } = await openPage("recordings"));
  });

  after(() => close?.());

  for (const build of ["bare", "record_plain", "record_thunks"]) {
    it(`have what came since their lines were taken: ${build}`, async () => {
      await page.reload();
      const code = bytes("recorded", build).toString("base64");
      const taken = await page.evaluate(recordInPage, { code, build });
      const counts = taken.map((lines) =>
        lines.map((line) => Object.entries(JSON.parse(line).functions).map(([entry, { count, import: site }]) => [entry.split("@")[0], count, site])),
      );
      const below = ['odd: "name", (x)', "leaf", "through"].map((name) => [name, 1, "env.ask"]);
      const [first, second, third] = counts.map((lines) => lines.flat().sort());
      assert.deepEqual(first, [...below, ["#5", 1, "env.ask"]].sort());
      assert.deepEqual(second, [...below, ["recurse", 3, "env.ask"]].sort());
      assert.deepEqual(third, []);
    });
  }
});
