/**
 * Fuel is the same everywhere, to the unit, and what is paused goes on elsewhere: here, and in Python on Wasmtime. Each Node
 * in which this runs is compared with that.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { instantiate, Suspending } from "../src/index.js";
import { BudgetExhausted, promising, usage } from "../src/slices.js";
import { pending, restore, snapshot } from "../src/snapshot.js";
import { bytes, findPython, repository, sleep } from "./support/guests.mjs";

const builds = ["fuel_thunks", "fuel_secondary"].filter((build) => WebAssembly.validate(bytes("computing", build)));
const path = (name) => fileURLToPath(new URL(name, repository));
const inPython = (build, request) => {
  const input = JSON.stringify({ module: path(`build/js/computing.${build}.wasm`), ...request });
  return JSON.parse(execFileSync(findPython(), [path("js/test/support/fuel.py")], { input, encoding: "utf8", stdio: ["pipe", "pipe", "inherit"] }));
};
const imports = { env: { again: (value) => value, later: new Suspending((value) => sleep(0, value)) } };

// Exports, their arguments, and the fuel that they get at first.
const CALLS = [
  ["count", [200_000], 777_777],
  ["depth", [200, 100_000], 123_456],
  ["depth", [200, 100_000], 700],
  ["fib", [20], 54_321],
  ["is_even", [100_001], 99_999],
  ["later_and_count", [7, 50_000], 200_000],
  ["again_and_count", [7, 50_000], 1],
  ["ask_again", [1000], 2500],
  ["quick", [5], 1],
  ["count", [1000], null],
];
const isLong = (export_name, at) => ["count"].includes(export_name) || (at && /depth|_and_count/.test(export_name));

/** Do what `fuel.py` does. */
async function here(build, calls) {
  const instance = await instantiate(new WebAssembly.Module(bytes("computing", build)), imports);
  const outcomes = [];
  let state;
  const run = async (begun) => {
    const before = usage(instance).fuel;
    const used = () => Number(usage(instance).fuel - before);
    try {
      outcomes.push([String((await begun()) ?? "None"), used()]);
    } catch (error) {
      if (!(error instanceof BudgetExhausted)) throw error;
      outcomes.push(["exhausted", used()]);
      state = await snapshot(instance);
      await run(() => error.call.resume());
    }
  };
  for (const [name, parameters, fuel] of calls) {
    const values = parameters.map((value, at) => (isLong(name, at) ? BigInt(value) : value));
    await run(() => promising(instance.exports[name], { fuel: fuel ?? undefined, slice: 1 })(...values));
  }
  return { outcomes, state };
}

for (const build of builds) {
  describe(`fuel: ${build}`, () => {
    it("the same calls use the same in Wasmtime, and stop at the same places", async () => {
      const { outcomes } = await here(build, CALLS);
      assert.ok(outcomes.filter(([result]) => result == "exhausted").length >= 7);
      assert.deepEqual(outcomes, inPython(build, { calls: CALLS }).outcomes);
    });

    it("a call that is paused here goes on in Python", async () => {
      const calls = [["depth", [50, 100_000], 300_000]];
      const { state, outcomes: [, [result, rest]] } = await here(build, calls);
      const { outcomes } = inPython(build, { state: Buffer.from(state).toString("base64"), budget: null });
      assert.deepEqual(outcomes, [[result, rest]]);
    });

    it("a call that is paused in Python goes on here, with a budget and slices", async () => {
      const answer = inPython(build, { calls: [["depth", [50, 1_000_000], 300_000]] });
      const [, [result, rest]] = answer.outcomes;
      const module = new WebAssembly.Module(bytes("computing", build));
      const { instance, pending: [call] } = await restore(Buffer.from(answer.state, "base64"), module, imports);
      assert.deepEqual([call.export, call.function, call.arguments, call.isHeld], ["depth", "pause", [], true]);
      await assert.rejects(call.resume(undefined, { fuel: 0 }), RangeError);
      const error = await call.resume(undefined, { fuel: 100_000, slice: 0.5 }).catch((error) => error);
      assert.ok(error instanceof BudgetExhausted, error.stack);
      const [again] = pending(instance);
      assert.ok(again.isHeld);
      assert.equal(String(await again.resume()), result);
      assert.equal(Number(usage(instance).fuel), rest);
      assert.deepEqual(pending(instance), []);
    });

    it("where a call is paused below another one's import, that goes on when it has, and says so", async () => {
      let instance;
      const nested = { env: { ...imports.env, later: new Suspending((value) => promising(instance.exports.count)(BigInt(value)).then(Number)) } };
      const module = new WebAssembly.Module(bytes("computing", build));
      instance = await instantiate(module, nested);
      await assert.rejects(promising(instance.exports.later_and_count, { fuel: 10_000 })(100_000, 50n), BudgetExhausted);
      const state = await snapshot(instance);
      const waits = /^SuspendError: the call of later_and_count waits in env.later, and another one is paused .* go on first, or drop it: pending\[1\], a call of count$/;
      const again = async () => {
        const restored = await restore(state, module, imports);
        assert.deepEqual(restored.pending.map((call) => [call.export, call.function]), [["later_and_count", "env.later"], ["count", "pause"]]);
        return restored.pending;
      };
      for (const act of [(call) => call.run(), (call) => call.resume(7), (call) => call.throw(new Error("no"))]) {
        const [outer, inner] = await again();
        await assert.rejects(act(outer), waits);
        assert.equal(outer.isHeld, true);
        assert.equal(await inner.resume(), 100_000n);
        assert.equal(await outer.resume(7), 57n);
      }
      const [outer, inner] = await again();
      assert.deepEqual(await Promise.all([outer.run(), inner.run()]), [100_050n, 100_000n]);
      const [left, dropped] = await again();
      await assert.rejects(left.run(), waits);
      dropped.drop();
      assert.equal(await left.run(), 100_050n);
    });

    it("a call that is paused at the end of its slice is saved, too, with those that wait", async () => {
      const module = new WebAssembly.Module(bytes("computing", build));
      const instance = await instantiate(module, { env: { ...imports.env, later: new Suspending(() => new Promise(() => {})) } });
      promising(instance.exports.later_and_count, { slice: 1 })(5, 100n);
      promising(instance.exports.count, { slice: 1 })(40_000_000n);
      while (pending(instance).length < 2) await sleep(0);
      const saved = await snapshot(instance);
      const { pending: calls } = await restore(saved, module, imports);
      assert.deepEqual(calls.map(({ function: name }) => name), ["env.later", "pause"]);
      const [waiting, paused] = calls;
      const answered = waiting.resume(8);
      assert.equal(await paused.run(), 40_000_000n);
      assert.equal(await answered, 108n);
      const [, dropped] = (await restore(saved, module, imports)).pending;
      dropped.drop();
      assert.equal(dropped.isHeld, false);
    });
  });
}
