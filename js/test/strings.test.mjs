/**
 * Functions on strings that the engine provides: no wrapper sees their calls, so the guest counts what they may take, and the
 * clock is looked at behind one that may have been long.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { BudgetExhausted, instantiate, promising, usage } from "../src/slices.js";
import { bytes, sleep } from "./support/guests.mjs";

const builtins = { builtins: ["js-string"] };
const provides = (build) => WebAssembly.validate(bytes("js_strings", build), builtins) && !WebAssembly.Module.imports(new WebAssembly.Module(bytes("js_strings", build), builtins)).length;
const builds = ["unsaved_fuel_plain", "unsaved_fuel_thunks"].filter(provides);

// The same functions as a program gives them, but for those of arrays, which JavaScript cannot see into.
const given = {
  "wasm:js-string": {
    length: (string) => string.length,
    equals: (one, other) => +(one === other),
    compare: (one, other) => +(one > other) - +(one < other),
    concat: (one, other) => one + other,
    substring: (string, start, end) => string.substring(start, end),
    charCodeAt: (string, at) => string.charCodeAt(at),
    fromCharCodeArray() {},
    intoCharCodeArray() {},
  },
};

// What six calls return for two equal strings, and how many units each counts for a character.
const CALLS = {
  equals: [() => 6, 2],
  by_table: [() => 6, 2],
  compare: [() => 0, 2],
  concat: [() => 6 * 97, 2 / 16],
  substring: [() => 12, 1],
  into_array: [(length) => 6 * length, 1],
  from_array: [(length) => 6 * length, 1],
};

/** Strings that are equal, but not the same, in one piece. */
const pair = (length) => [0, 1].map(() => "a".repeat(length - 1).concat("b")).map((string) => (string.charCodeAt(0), string));

describe("strings", { skip: !builds.length && "this engine has no functions on strings" }, () => {
  for (const build of builds) {
    const make = async (imports = {}, options = builtins) => (await instantiate(bytes("js_strings", build), imports, options)).instance;

    for (const [name, [result, units]] of Object.entries(CALLS)) {
      // A part of a string in one piece takes no time, nor does what the engine puts off; their calls are counted all the same.
      const takesNone = ["substring", "concat"].includes(name) && "it takes no time";
      it(`each that takes longer than a slice ends one: ${name}, ${build}`, { skip: takesNone }, async () => {
        const instance = await make();
        await sleep(1);
        const strings = pair(1 << 23);
        assert.equal(await promising(instance.exports[name], { slice: 0.05 })(...strings), result(1 << 23));
        assert.ok(usage(instance).slices >= 6, `${usage(instance).slices} slices`);
      });

      it(`fuel is used up behind each, and counts its characters: ${name}, ${build}`, async () => {
        const instance = await make();
        const count = async (length) => {
          const before = usage(instance).fuel;
          await promising(instance.exports[name])(...pair(length));
          return usage(instance).fuel - before;
        };
        const more = (await count(32_016)) - (await count(16));
        assert.equal(Number(more) - (name.endsWith("array") ? 32_000 : 0), 6 * units * 32_000);
        const pause = await promising(instance.exports[name], { fuel: 100 })(...pair(1 << 16)).catch((error) => error);
        assert.ok(pause instanceof BudgetExhausted, pause);
        assert.ok(pause.call.fuel < 3n << 16n);
        assert.equal(await pause.call.resume(), result(1 << 16));
      });
    }

    it(`the same is counted where a program gives the functions: ${build}`, async () => {
      const counts = [];
      for (const instance of [await make(), await make(given, {})]) {
        for (const name of ["equals", "by_table", "compare", "concat", "substring"]) {
          assert.equal(await promising(instance.exports[name], { slice: 1 })(...pair(1000)), CALLS[name][0](1000));
          counts.push(usage(instance).fuel);
        }
      }
      assert.deepEqual(counts.slice(5), counts.slice(0, 5));
    });
  }
});
