/**
 * What an import returns may be an object, whose methods the engine calls to make a number of it; these may call the guest,
 * which must not be suspended below them, as nothing can below JavaScript.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { instantiate, promising, Suspending } from "../src/index.js";
import { BudgetExhausted, promising as sliced } from "../src/slices.js";
import { bytes, sleep } from "./support/guests.mjs";

const BUILDS = ["fuel_plain", "fuel_thunks", "unsaved_fuel_plain", "unsaved_fuel_thunks"];
const LENGTH = 1_000_000;

// By what the engine calls to convert a result: the export, and what its import returns.
const RESULTS = {
  "valueOf": ["by_one", (run) => ({ valueOf: run })],
  "toString": ["by_one", (run) => ({ valueOf: () => ({}), toString: run })],
  "Symbol.toPrimitive": ["by_one", (run) => ({ [Symbol.toPrimitive]: (hint) => (assert.equal(hint, "number"), run()) })],
  "a function": ["by_one", (run) => Object.assign(() => {}, { valueOf: run })],
  "one of several": ["by_two", (run) => [{ valueOf: run }, 2n]],
  "a BigInt of several": ["by_two", (run) => [1, { valueOf: () => BigInt(run()) }]],
  "an iterator": ["by_two", (run) => ({ *[Symbol.iterator]() { yield run(); yield 2n; } })],
  "what is waited for": ["by_wait", (run) => sleep(1).then(() => ({ valueOf: run }))],
};

for (const build of BUILDS) {
  describe(`results that are converted by code which calls the guest, ${build}`, () => {
    for (const [name, [run, result]] of Object.entries(RESULTS)) {
      for (const bounds of [{ slice: 1 }, { fuel: 5_000_000 }, { slice: 0.1, fuel: 50_000_000 }]) {
        it(`${name}, ${JSON.stringify(bounds)}`, async () => {
          const counted = [];
          const make = () => result(() => (counted.push(instance.exports.count(LENGTH)), 1));
          const imports = { one: make, two: make, none: make, wait: new Suspending(make) };
          const { instance } = await instantiate(bytes("converting", build), { env: imports }, { region: [65_536, 131_072] });
          // The budget may end in it, and the call is suspended behind the import then.
          const goesOn = (error) => (assert.ok(error instanceof BudgetExhausted), error.call.resume());
          assert.equal(await sliced(instance.exports[run], bounds)().catch(goesOn), 101);
          assert.deepEqual(counted, [LENGTH]);
        });
      }
    }

    it("the same errors as the engine's, and no conversion where nothing is returned", async () => {
      let returned;
      let converted = 0;
      const make = () => returned;
      const imports = { one: make, two: make, none: make, wait: make };
      const { instance } = await instantiate(bytes("converting", build), { env: imports }, { region: [65_536, 131_072] });
      const { by_none: none, by_one: one, by_two: two } = instance.exports;
      returned = { valueOf: () => (converted++, 1) };
      assert.equal(await sliced(none, { slice: 1 })(), 101);
      assert.equal(converted, 0);
      for (const wrong of [{ valueOf: () => ({}), toString: () => ({}) }, { [Symbol.toPrimitive]: 1 }, 1n, Symbol("s")]) {
        returned = wrong;
        await assert.rejects(sliced(one, { slice: 1 })(), TypeError);
        await assert.rejects(promising(one)(), TypeError);
      }
      for (const wrong of [[1], [1, 2n, 3], [1, 2], 5]) {
        returned = wrong;
        await assert.rejects(sliced(two, { slice: 1 })(), TypeError);
      }
      for (const [right, sum] of [["7", 107], [{}, 100], [null, 100], [[], 100], [new Date(5), 105], [true, 101]]) {
        returned = right;
        assert.equal(await sliced(one, { slice: 1 })(), sum);
        assert.equal(await promising(one)(), sum);
      }
    });
  });
}
