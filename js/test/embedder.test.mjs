/** What the standard leaves to the embedder: shadow stacks, cancellation, lists, and bad input. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as ponyfill from "../src/index.js";
import { bytes, hasNative, sleep, waysToRun } from "./support/guests.mjs";

const { close, instantiate, promising, SuspendError, Suspending } = ponyfill;
const ours = (name) => waysToRun(name).filter(({ api, way }) => api === ponyfill && !way.startsWith("native"));

for (const { way, module } of ours("stacks")) {
  const start = (ask, host = () => 0, options = {}) =>
    new ponyfill.Instance(module, { env: { ask: new Suspending(ask), host } }, options).exports;

  describe(`stacks: ${way}`, () => {
    it("gives every suspended call a shadow stack of its own", async () => {
      const waiting = [];
      const exports = start((number) => new Promise((resolve) => waiting.push(() => resolve(number))));
      const top = exports.__stack_pointer.value;
      const calls = Array.from({ length: 40 }, (_, number) => promising(exports.dig)(number + 1, 5));
      for (let turn = 1; waiting.length; turn++) {
        const [next] = waiting.splice((turn * 7919) % waiting.length, 1);
        exports.scribble(turn);
        next();
        await sleep(0);
      }
      const results = await Promise.all(calls);
      assert.deepEqual(
        results,
        results.map((_, number) => 12 * (number + 1)),
      );
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("leaves no rejection unhandled of what an import has promised in vain", async () => {
      const unhandled = [];
      const note = (reason) => unhandled.push(reason);
      process.on("unhandledRejection", note);
      const fail = () => sleep(1).then(() => Promise.reject(new Error("too late")));
      const refused = start(fail);
      assert.throws(() => refused.dig(1, 5), { name: "SuspendError", message: /outside of a promising call/ });
      // A memory of its own grows.
      const narrow = way != "secondary" && start(fail, () => 0, { stackSize: 64 });
      if (narrow) await assert.rejects(promising(narrow.dig)(1, 50), RangeError);
      await sleep(5);
      process.off("unhandledRejection", note);
      assert.deepEqual(unhandled, []);
    });

    it("keeps apart what imports start", async () => {
      const started = [];
      const exports = start(
        (number) => sleep(number % 3, number),
        (number) => {
          started.push(promising(exports.dig)(number, 3));
          return number;
        },
      );
      const top = exports.__stack_pointer.value;
      const outer = [1, 2, 3].map((number) => promising(exports.nest)(number));
      exports.nest(4); // not promising, and yet its import may start calls
      assert.deepEqual(await Promise.all(outer), [1, 2, 3]);
      assert.deepEqual(await Promise.all(started), [8, 16, 24, 32]);
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("refuses to suspend a second call where no other shadow stack can be had", async () => {
      const options = { allocate: () => 0, region: [2 ** 20, 2 ** 20 + 2 ** 16] };
      const exports = start((number) => (number ? sleep(1, number) : 0), undefined, options);
      const top = exports.__stack_pointer.value;
      const first = promising(exports.dig)(1, 2);
      await assert.rejects(promising(exports.dig)(2, 2), { name: "SuspendError", message: /no 65536 bytes for another C stack .option shadowStackSize/ });
      assert.equal(await promising(exports.dig)(0, 2), 0); // one that does not suspend runs below it
      assert.equal(await first, 6);
      assert.equal(exports.__stack_pointer.value, top);
      assert.equal(await promising(exports.dig)(2, 2), 12);
    });

    it("keeps what is allocated on the C stack while a call waits", async () => {
      const exports = start(async (number) => {
        await sleep(0);
        const kept = exports.__stack_pointer.value;
        const addresses = [exports.stackAlloc(4), exports.stackAlloc(1000)];
        const [address] = addresses;
        new Int32Array(exports.memory.buffer)[address >> 2] = number;
        // One who puts the pointer back has not allocated anything that must stay, and nothing of the call is lost.
        if (number < 0) exports.__stack_pointer.value = kept;
        return number < 0 ? 0 : address;
      });
      const top = exports.__stack_pointer.value;
      for (const times of [1, 3]) {
        assert.equal(await promising(exports.told)(1234, times), 1234 * times);
        assert.equal(exports.__stack_pointer.value, top);
      }
      assert.equal(await promising(exports.told)(-1, 2), 0);
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("has its shadow stacks in order after exceptions", async () => {
      let answer = Promise.reject(new Error("no"));
      const exports = start(() => answer);
      const top = exports.__stack_pointer.value;
      await assert.rejects(promising(exports.dig)(1, 2), /no/);
      assert.equal(exports.__stack_pointer.value, top);
      answer = sleep(1, 1);
      const calls = [1, 2].map((number) => promising(exports.dig)(number, 2));
      assert.deepEqual(await Promise.all(calls), [6, 6]);
      assert.equal(exports.__stack_pointer.value, top);
    });
  });
}

for (const { way, module } of ours("jspi")) {
  const start = (ask, options, host = () => 0) => {
    const env = { ask: new Suspending(ask), wide() {}, pair() {}, wait() {}, host };
    return new ponyfill.Instance(module, { env }, options);
  };

  describe(`cancellation and closing: ${way}`, () => {
    it("throws the reason of an abort where the guest waits", async () => {
      const { exports } = start((number) => (number == 1 ? new Promise(() => {}) : sleep(1, number)));
      for (const reason of [undefined, "text", new Error("stop")]) {
        const controller = new AbortController();
        const call = promising(exports.run, { signal: controller.signal })(1);
        const other = promising(exports.run)(2);
        await sleep(0);
        controller.abort(reason);
        const caught = await call.then(assert.fail, (error) => error);
        assert.equal(caught, controller.signal.reason);
        assert.equal(await other, 4);
      }
    });

    it("does not start with an aborted signal, and ignores one that comes too late", async () => {
      let asked = 0;
      const { exports } = start((number) => sleep(++asked, number));
      await assert.rejects(promising(exports.run, { signal: AbortSignal.abort() })(1), { name: "AbortError" });
      assert.equal(asked, 0);
      const controller = new AbortController();
      assert.equal(await promising(exports.run, { signal: controller.signal })(1), 2);
      controller.abort();
      assert.equal(await promising(exports.run, { signal: new AbortController().signal })(1), 2);
    });

    it("throws at the next suspension what was aborted while the call ran", async () => {
      const controller = new AbortController();
      const { exports } = start((number) => {
        controller.abort();
        return sleep(1, number);
      });
      await assert.rejects(promising(exports.run, { signal: controller.signal })(1), { name: "AbortError" });
      assert.equal(await promising(exports.run)(1), 2);
    });

    it("ignores what a promise becomes after the abort", async () => {
      const controller = new AbortController();
      let reject;
      const { exports } = start(() => new Promise((_, no) => (reject = no)));
      const call = promising(exports.twice, { signal: controller.signal })(1);
      controller.abort(1);
      await assert.rejects(call, (reason) => reason === 1);
      reject(2);
      await sleep(1);
    });

    it("rejects the calls of an instance that is closed, and those to come", async () => {
      const instance = start(() => new Promise(() => {}));
      const call = promising(instance.exports.run)(1);
      close(instance);
      await assert.rejects(call, SuspendError);
      await assert.rejects(promising(instance.exports.run)(1), /closed/);
      assert.equal(instance.exports.add(1, 2), 3);
      close(instance);
    });
  });

  describe(`bad input: ${way}`, () => {
    it("stays usable after a promise's executor or an import throws anything", async () => {
      let answer = () => {
        throw null;
      };
      const { exports } = start(() => answer());
      await assert.rejects(promising(exports.run)(1), (reason) => reason === null);
      answer = () => Promise.resolve(Symbol());
      await assert.rejects(promising(exports.run)(1), TypeError);
      answer = () => ({
        then() {
          throw "thenable";
        },
      });
      await assert.rejects(promising(exports.run)(1), (reason) => reason === "thenable");
      answer = () => Promise.resolve(1);
      assert.equal(await promising(exports.run)(1), 2);
    });

    it("survives the engine's stack overflowing", async () => {
      const { exports } = start(
        () => Promise.resolve(1),
        {},
        (number) => exports.host(number + 1),
      );
      await assert.rejects(promising(exports.host)(1), RangeError);
      assert.equal(await promising(exports.run)(1), 2);
    });

    it("suspends a call that entered another instance, which it imports or awaits", async () => {
      const inner = start(() => Promise.resolve(1));
      const link = (imports) => new ponyfill.Instance(module, { env: { ask() {}, wide() {}, pair() {}, wait() {}, host() {}, ...imports } }).exports;
      assert.equal(await promising(link({ ask: inner.exports.run }).run)(1), 3);
      if (way != "binaryen") {
        const refused = { name: "SuspendError", message: /not (on the import list|instrumented): .*wasm-function/ };
        await assert.rejects(promising(link({ host: inner.exports.run }).host)(1), refused);
      }
      const joined = start(promising(inner.exports.run));
      assert.equal(await promising(joined.exports.run)(1), 3);
      assert.equal(await promising(inner.exports.run)(1), 2);
    });
  });
}

for (const { way, module } of ours("catch")) {
  it(`a guest may catch an abort and wait to clean up: ${way}`, async () => {
    const controller = new AbortController();
    const ask = (number) => (number == 7 ? sleep(1, 5) : new Promise(() => {}));
    const { exports } = new ponyfill.Instance(module, { env: { ask: new Suspending(ask) } });
    const call = promising(exports.run, { signal: controller.signal })(1);
    controller.abort();
    assert.equal(await call, 1005);
  });
}

for (const { way, module } of ours("lists")) {
  describe(`lists: ${way}`, () => {
    const start = () => {
      let noted = 0;
      const ask = new Suspending((number) => Promise.resolve(number));
      const { exports } = new ponyfill.Instance(module, { env: { ask, other: ask, note: () => noted++ } });
      return { exports, noted: () => noted };
    };

    it("names functions on the stack that are not instrumented, at every suspension, and runs nothing twice", async () => {
      for (let before = 0; before < 8; before++) {
        const { exports, noted } = start();
        for (let count = 0; count < before; count++) assert.equal(await promising(exports.good)(1), 2);
        await assert.rejects(promising(exports.run)(1), {
          name: "SuspendError",
          message: /^env.ask has to wait, but the remove-list leaves out functions on the stack. Not instrumented: \["forgotten",".*"\]\n/,
        });
        assert.equal(noted(), 0);
        assert.equal(await promising(exports.good)(1), 2);
      }
    });

    it("refuses imports that are not on the list, before anything is unwound", async () => {
      const { exports, noted } = start();
      for (const round of [1, 2, 3]) {
        await assert.rejects(promising(exports.other)(round), { name: "SuspendError", message: /env.other .*not on the import list/ });
        assert.equal(noted(), 0);
        assert.equal(await promising(exports.good)(round), round + 1);
      }
    });
  });
}

describe("modules that are not instrumented", { skip: hasNative && "the engine has JSPI" }, () => {
  it("run, and cannot suspend", async () => {
    const ask = new Suspending((number) => (number ? Promise.resolve(1) : 0));
    const env = { ask, wide() {}, pair() {}, wait() {}, host() {} };
    const { instance } = await instantiate(bytes("jspi", "bare"), { env });
    assert.equal(await promising(instance.exports.run)(0), 0);
    await assert.rejects(promising(instance.exports.run)(1), { name: "SuspendError", message: /not instrumented/ });
    assert.equal(await promising(instance.exports.run)(0), 0);
  });
});
