/** The sizes of C stacks, their limits, and what happens where they do not suffice. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as ponyfill from "../src/index.js";
import { sleep, waysToRun } from "./support/guests.mjs";

const { promising, Suspending } = ponyfill;

for (const { way, module } of waysToRun("limits")) {
  const start = (options = {}, ask = (number) => sleep(0, number)) =>
    new ponyfill.Instance(module, { env: { ask: new Suspending(ask) } }, options).exports;
  const [low, high] = [1024, 65536];

  describe(`C stacks: ${way}`, () => {
    it("have the limits that the guest finds", async () => {
      const exports = start({}, (number) => {
        exports.check();
        return sleep(number % 3, number);
      });
      const calls = Array.from({ length: 9 }, (_, number) => promising(exports.checked)(64, number + 1));
      for (let turn = 0; turn < 5; turn++) {
        exports.check();
        const [end, base] = [exports.emscripten_stack_get_end(), exports.emscripten_stack_get_base()];
        assert.equal(base - end, high - low);
        if (!turn) assert.ok(end > high); // while several calls wait the host has a stack of its own
        await sleep(0);
      }
      assert.deepEqual(await Promise.all(calls), [3, 6, 9, 12, 15, 18, 21, 24, 27]);
      assert.deepEqual([exports.emscripten_stack_get_end(), exports.emscripten_stack_get_base()], [low, high]);
      assert.equal(exports.__stack_pointer.value, high);
    });

    it("are all as large as the guest's own", async () => {
      const asked = [];
      const exports = start();
      const allocate = (bytes) => (asked.push(bytes), exports.malloc(bytes));
      const others = start({ allocate });
      const calls = Array.from({ length: 3 }, (_, number) => promising(others.checked)(64000, number + 1));
      assert.deepEqual(await Promise.all(calls), [3, 6, 9]);
      // Two for the calls, one for the host while several calls wait.
      assert.deepEqual(asked.sort(), [2 ** 19, high - low, high - low, high - low]);
    });

    it("have the size that the user wants", async () => {
      const exports = start({ shadowStackSize: 4096 });
      const calls = [60000, 4000, 5000, 4080].map((bytes) => promising(exports.use)(bytes, 1));
      const outcomes = await Promise.allSettled(calls);
      assert.deepEqual(outcomes.map(({ value }) => value), [3, 3, undefined, 3]);
      assert.ok(outcomes[2].reason instanceof RangeError);
      assert.match(outcomes[2].reason.message, /^export use: the C stack of 4096 bytes has overflowed .option shadowStackSize/);
      assert.deepEqual(await Promise.all([1, 2].map((byte) => promising(exports.use)(64, byte))), [3, 6]);
    });

    it("are watched, the guest's own too", async () => {
      const exports = start();
      for (const bytes of [high - low + 16, high + 16]) {
        await assert.rejects(promising(exports.use)(bytes, 0), (error) => {
          assert.ok(error instanceof RangeError || error instanceof WebAssembly.RuntimeError);
          if (bytes < high) assert.match(error.message, /^export use: the C stack of 64512 bytes has overflowed/);
          return true;
        });
        assert.equal(exports.__stack_pointer.value, high);
        assert.equal(await promising(exports.use)(high - low, 1), 3);
      }
    });

    it("are watched before a call is resumed", async () => {
      const exports = start();
      const call = promising(exports.use)(high - low - 32, 1);
      exports.__stack_pointer.value -= 64;
      await assert.rejects(call, { name: "RangeError", message: /C stack of 64512 bytes/ });
      assert.equal(exports.__stack_pointer.value, high);
      assert.deepEqual(await Promise.all([1, 2].map((byte) => promising(exports.use)(64, byte))), [3, 6]);
    });

    it("can be refused to further calls", async () => {
      const exports = start({ singleStack: true });
      const first = promising(exports.use)(64, 1);
      const refused = { name: "SuspendError", message: /export use: another call has not ended/ };
      await assert.rejects(promising(exports.use)(64, 2), refused);
      exports.check();
      assert.equal(await first, 3);
      assert.equal(await promising(exports.use)(64, 2), 6);
      const nested = start({ singleStack: true }, (number) => promising(nested.use)(64, number));
      await assert.rejects(promising(nested.use)(64, 1), refused);
      assert.equal(nested.__stack_pointer.value, high);
    });
  });
}

for (const { way, module } of waysToRun("told")) {
  if (way == "plain") {
    it("calls that nobody could give a C stack of their own are refused, not wrong", async () => {
      const start = (options) => {
        const env = { ask: new Suspending((number) => (number ? sleep(0, number) : 0)) };
        return new ponyfill.Instance(module, { env }, options).exports;
      };
      const exports = start();
      const first = promising(exports.use)(1);
      const message = /^env.ask cannot suspend: another call .*C stack.*--thunks.*__stack_pointer.*singleStack: false/;
      await assert.rejects(promising(exports.use)(2), { name: "SuspendError", message });
      assert.equal(await promising(exports.use)(0), 0);
      assert.equal(await first, 2);
      assert.equal(await promising(exports.use)(2), 4);
      const allowed = start({ singleStack: false });
      await Promise.all([1, 2].map(promising(allowed.use)));
    });
    continue;
  }
  it(`C stacks are as large as the module tells: ${way}`, async () => {
    const asked = [];
    const env = { ask: new Suspending((number) => sleep(number % 2, number)) };
    const allocate = (bytes) => (asked.push(bytes), exports.malloc(bytes));
    const { exports } = new ponyfill.Instance(module, { env }, { allocate });
    assert.deepEqual(await Promise.all([1, 2, 3].map(promising(exports.use))), [2, 4, 6]);
    assert.deepEqual(asked.filter((bytes) => bytes != 2 ** 19), [32768 - 1024, 32768 - 1024, 32768 - 1024]);
    assert.equal(exports.pointer(), 32768);
  });
}

for (const { way, module } of waysToRun("unclear")) {
  describe(`a C stack that is not clear: ${way}`, () => {
    const start = (options) => {
      const env = { ask: new Suspending((number) => (number ? sleep(0, number) : 0)) };
      return new ponyfill.Instance(module, { env }, options).exports;
    };

    it("has one suspended call at a time", async () => {
      const exports = start();
      const first = promising(exports.use)(1);
      await assert.rejects(promising(exports.use)(2), { name: "SuspendError", message: /another call .*C stack/ });
      assert.equal(await promising(exports.use)(0), 0);
      assert.equal(await first, 2);
      assert.equal(await promising(exports.use)(2), 4);
    });

    it("may have more if the user says so", async () => {
      const exports = start({ singleStack: false });
      const [first, second] = [1, 2].map(promising(exports.use));
      assert.equal(await first, 2);
      assert.equal(await second, 4);
    });
  });
}

for (const { way, module } of waysToRun("fixed")) {
  it(`C stacks whose ends are constants are not exchanged: ${way}`, async () => {
    const env = { ask: new Suspending((number) => sleep(0, number)) };
    const start = (options) => new ponyfill.Instance(module, { env }, options).exports;
    const exports = start();
    const first = promising(exports.use)(1);
    await assert.rejects(promising(exports.use)(2), { name: "SuspendError", message: /constants; singleStack: false/ });
    assert.equal(await first, 1);
    assert.equal(await promising(exports.use)(2), 2);
    assert.deepEqual(await Promise.all([1, 2].map(promising(start({ singleStack: false }).use))), [1, -1]);
  });
}
