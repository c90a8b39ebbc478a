/** Start functions that compute: they have slices, a budget and a signal, as nobody has the instance who could end them. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { BudgetExhausted, instantiate, usage } from "../src/slices.js";
import { bytes } from "./support/guests.mjs";

const TIMES = 20_000_000;

const builds = ["fuel_plain", "fuel_thunks", "fuel_secondary"].filter((build) => WebAssembly.validate(bytes("starting", build)));

for (const build of builds) {
  describe(`a start function that computes: ${build}`, () => {
    const source = bytes("starting", build);

    it("has slices", async () => {
      let turns = 0;
      const counting = setInterval(() => turns++);
      const { instance } = await instantiate(source, {}, { slice: 1 });
      clearInterval(counting);
      assert.equal(instance.exports.count(), TIMES);
      assert.ok(usage(instance).slices > 0 && turns > 0);
    });

    it("has a budget: beyond it there is no instance", async () => {
      const { instance } = await instantiate(source, {}, { slice: 1, fuel: 1n << 40n });
      const { fuel } = usage(instance);
      const enough = await instantiate(source, {}, { fuel });
      assert.equal(enough.instance.exports.count(), TIMES);
      for (const slice of [undefined, 1]) {
        const error = await instantiate(source, {}, { slice, fuel: fuel / 2n }).catch((reason) => reason);
        assert.ok(error instanceof BudgetExhausted);
        assert.equal(error.message, `the start function has used up its budget, ${fuel / 2n} units of fuel: the instance is closed`);
        await assert.rejects(error.call.resume({ fuel }), { name: "SuspendError", message: "the instance is closed" });
      }
    });

    it("ends by a signal", async () => {
      const end = new AbortController();
      const beginning = instantiate(source, {}, { slice: 0.1, signal: end.signal });
      setTimeout(() => end.abort(new Error("enough")));
      await assert.rejects(beginning, /^Error: enough$/);
      await assert.rejects(instantiate(source, {}, { slice: 0.1, signal: AbortSignal.abort(new Error("no")) }), /^Error: no$/);
    });
  });
}

it("a start function that the engine calls is refused before it runs", async () => {
  const module = bytes("starting", "unsaved_fuel_plain");
  for (const source of [module, new WebAssembly.Module(module)]) {
    for (const bounds of [{ slice: 1 }, { fuel: 1000 }]) {
      await assert.rejects(
        instantiate(source, {}, bounds),
        /^TypeError: slice and fuel: the engine calls the module's start function itself.*--thunks, or --snapshots/,
      );
    }
  }
  const { instance } = await instantiate(module);
  assert.equal(instance.exports.count(), TIMES);
});
