/** Tail calls that are suspended in between: a ring of a million takes no more stack than one. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as ponyfill from "../src/index.js";
import { sleep, waysToRun } from "./support/guests.mjs";

/** How many frames of WebAssembly are on the stack. */
function depth() {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = Infinity;
  const { stack } = new Error();
  Error.stackTraceLimit = limit;
  return stack.split("\n").filter((line) => line.includes("wasm")).length;
}

for (const { way, module, api } of waysToRun("tail")) {
  const start = (ask, look = () => {}) => {
    const instance = new api.Instance(module, { env: { ask: new api.Suspending(ask), look } });
    return instance.exports;
  };

  describe(`tail calls: ${way}`, () => {
    it("take no stack, a million of them, with suspensions in between", async () => {
      const depths = new Set();
      const { ring } = start(async (value) => value & 7, () => depths.add(depth()));
      let expected = 1;
      for (let value = 4999; value <= 1_000_000; value += 4999) expected += (value & 7) * (value & 1 ? 3 : 1);
      assert.equal(await api.promising(ring)(1_000_000, 4999), expected);
      assert.ok(Math.max(...depths) <= 6, `${[...depths]} frames of WebAssembly`);
    });

    it("are resumed in any order", async () => {
      const waiting = [];
      const { ring } = start((value) => new Promise((resolve) => waiting.push(() => resolve(value))));
      const calls = [7, 12, 5].map((times) => api.promising(ring)(times, 1));
      while (waiting.length) {
        waiting.splice(waiting.length >> 1, 1)[0]();
        await sleep(0);
      }
      const sum = (times) => {
        let result = 1;
        for (let value = 1; value <= times; value++) result += value * ((times - value) & 1 ? 3 : 1);
        return result;
      };
      assert.deepEqual(await Promise.all(calls), [7, 12, 5].map(sum));
    });

    it("may enter imports", async () => {
      const { leave, table_leave: tableLeave, table } = start((value) => sleep(0, value * 2));
      assert.equal(await api.promising(leave)(20), 42);
      table.set(1, leave);
      assert.equal(await api.promising(tableLeave)(20), 44);
    });

    it("leave a try", async () => {
      let asked = 0;
      const answer = async (value) => {
        if (++asked % 2) throw new RangeError("caught");
        if (value > 105) throw new RangeError("not caught");
        return value * 2;
      };
      const { leave_try: leaveTry } = start(answer);
      assert.equal(await api.promising(leaveTry)(5), 210);
      await assert.rejects(api.promising(leaveTry)(6), { message: "not caught" });
    });

    it("pass on what is thrown at them", async () => {
      const { leave, ring } = start(async () => Promise.reject(new RangeError("no")));
      await assert.rejects(api.promising(leave)(1), { name: "RangeError", message: "no" });
      await assert.rejects(api.promising(ring)(3, 1), { name: "RangeError", message: "no" });
    });
  });
}

const withReferences = waysToRun("tail_references");
for (const { way, module, api } of withReferences) {
  it(`tail calls of references, which pass references on, take no stack: ${way}`, async () => {
    const depths = new Set();
    const ask = new api.Suspending(async (value) => {
      depths.add(depth());
      return value & 15;
    });
    const pass = new api.Suspending((value) => sleep(0, value));
    const { ring } = new api.Instance(module, { env: { ask, pass } }).exports;
    let expected = 0;
    for (let value = 3000; value <= 300_000; value += 3000) if (value % 2 == 0) expected += value & 15;
    const kept = { kept: true };
    assert.deepEqual(await api.promising(ring)(300_000, kept), [kept, expected]);
    assert.ok(Math.max(...depths) <= 6, `${[...depths]} frames of WebAssembly`);
  });
}

it("tail calls of references", { skip: withReferences.length == 0 && "this engine has no typed references" }, () => {});

it("is run by the ponyfill here", () => assert.ok(waysToRun("tail").some(({ api }) => api === ponyfill)));
