/** What a user can get wrong: options, imports, signals and instances are refused where they are given, by their names. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as auto from "../src/auto.js";
import * as ponyfill from "../src/index.js";
import { bytes, hasNative, sleep, waysToRun } from "./support/guests.mjs";

const { close, install, promising, SuspendError, Suspending } = ponyfill;
const never = () => assert.fail("this import is not called");
const env = (ask) => ({ ask: new Suspending(ask), wide() {}, pair() {}, wait() {}, host() {} });

const WRONG = [
  [{ allocate: 5 }, TypeError],
  [{ allocate: null }, TypeError],
  [{ region: [1000] }, TypeError],
  [{ region: 5 }, TypeError],
  [{ region: null }, TypeError],
  [{ region: [1, 2, 3] }, TypeError],
  [{ region: ["16", "4096"] }, TypeError],
  [{ region: [0.5, 4096] }, TypeError],
  [{ region: [0, NaN] }, TypeError],
  [{ region: [16n, 4096] }, TypeError],
  [{ region: [-100, 60000] }, RangeError],
  [{ region: [8192, 4096] }, RangeError],
  [{ region: [4096n, 4096n] }, RangeError],
  ...[NaN, "abc", "1000", null, 1.5, Infinity, 4096n].map((stackSize) => [{ stackSize }, TypeError]),
  ...["abc", {}].map((shadowStackSize) => [{ shadowStackSize }, TypeError]),
  [{ stackSize: 0 }, RangeError],
  [{ shadowStackSize: -5 }, RangeError],
  [{ memory: 5 }, TypeError],
  [{ singleStack: "false" }, TypeError],
  [{ suspendAlways: 1 }, TypeError],
  [{ checkStack: null }, TypeError],
  [{ stacksize: 4096 }, TypeError],
  [{ hasOwnProperty: 1 }, TypeError],
];

for (const { way, module } of waysToRun("jspi").filter(({ way, api }) => api === ponyfill && !way.startsWith("native"))) {
  const imports = { env: env((number) => sleep(0, number)) };

  describe(`wrong use: ${way}`, () => {
    it("of options names the option, before anything is made", async () => {
      for (const [options, kind] of WRONG) {
        const [name] = Object.keys(options);
        const refused = (error) => error instanceof kind && error.message.startsWith(`option ${name}: `);
        assert.throws(() => new ponyfill.Instance(module, imports, options), refused, name);
        await assert.rejects(ponyfill.instantiate(module, imports, options), refused, name);
        assert.throws(() => install(options), refused, name);
      }
      for (const options of [5, "x", true, () => {}]) {
        assert.throws(() => new ponyfill.Instance(module, imports, options), { name: "TypeError", message: /^options: / });
        await assert.rejects(ponyfill.instantiate(bytes("jspi", way), imports, options), { name: "TypeError" });
        assert.throws(() => install(options), { name: "TypeError", message: /^options: / });
      }
      assert.ok(!("install" in WebAssembly) && WebAssembly.Instance !== ponyfill.Instance);
      const message = /^option memory: 'add' is not exported as a memory/;
      assert.throws(() => new ponyfill.Instance(module, imports, { memory: "add" }), { name: "TypeError", message });
    });

    it("leaves alone what is right, or is not given", async () => {
      for (const options of [undefined, null, {}, { stackSize: undefined, memory: "memory" }, { singleStack: false, checkStack: true }]) {
        const { exports } = new ponyfill.Instance(module, imports, options);
        assert.equal(await promising(exports.run)(2), 4);
      }
    });

    it("of imports says which is missing", () => {
      const start = (given) => () => new ponyfill.Instance(module, given);
      const missing = "import 'env.ask': there is no object 'env' among the imports";
      for (const given of [undefined, null, {}, 5]) assert.throws(start(given), { name: "TypeError", message: missing });
      assert.throws(start({ env: 5 }), { name: "TypeError", message: missing });
      const { wait: _, ...rest } = imports.env;
      assert.throws(start({ env: rest }), (error) => error instanceof WebAssembly.LinkError && /env.*wait/.test(error.message));
    });

    it("of close is refused", () => {
      for (const instance of [undefined, null, {}, module]) assert.throws(() => close(instance), { name: "TypeError", message: /^close: / });
      const other = new WebAssembly.Instance(module, { env: { ask() {}, wide() {}, pair() {}, wait() {}, host() {} } });
      assert.throws(() => close(other), { name: "TypeError", message: /signal of promising/ });
    });
  });
}

for (const { way, module, api } of waysToRun("jspi").filter(({ way }) => way != "native")) {
  describe(`options of promising: ${way}`, () => {
    const start = (ask) => new api.Instance(module, { env: env(ask) });

    it("are a signal, or refused", async () => {
      const { exports } = start((number) => sleep(0, number));
      for (const signal of [5, "x", {}, true]) {
        assert.throws(() => promising(exports.run, { signal }), { name: "TypeError", message: /^option signal: / });
      }
      assert.throws(() => promising(exports.run, { sginal: AbortSignal.abort() }), { name: "TypeError", message: /^option sginal: / });
      for (const options of [null, "x", true]) assert.throws(() => promising(exports.run, options), { name: "TypeError", message: /^options: / });
      for (const options of [undefined, {}, { signal: undefined }, { signal: null }]) {
        assert.equal(await promising(exports.run, options)(2), 4);
      }
      // As with the standard's, which does not look at what follows.
      assert.deepEqual(await Promise.all([exports.run, exports.run].map(promising).map((run) => run(1))), [2, 2]);
    });

    it("abort a call that waits, whoever runs it", async () => {
      const { exports } = start((number) => (number == 1 ? new Promise(() => {}) : sleep(1, number)));
      for (const reason of [undefined, "text", new Error("stop")]) {
        const controller = new AbortController();
        const run = promising(exports.run, { signal: controller.signal });
        assert.deepEqual([run.name, run.length], [exports.run.name, exports.run.length]);
        const calls = [run(1), run(1)];
        const other = promising(exports.run)(2);
        assert.equal(await run(3), 6);
        controller.abort(reason);
        for (const call of calls) assert.equal(await call.then(assert.fail, (error) => error), controller.signal.reason);
        assert.equal(await other, 4);
      }
    });

    it("do not let a call start once they are aborted", async () => {
      const { exports } = start(never);
      await assert.rejects(promising(exports.run, { signal: AbortSignal.abort("stop") })(1), (reason) => reason === "stop");
    });

    it("leave results and exceptions as they are", async () => {
      let answer = () => Promise.reject(new Error("no"));
      const { exports } = start(() => answer());
      const { signal } = new AbortController();
      await assert.rejects(promising(exports.run, { signal })(1), { message: "no" });
      await assert.rejects(promising(exports.run, { signal })(Symbol()), TypeError);
      answer = () => sleep(0, 1);
      assert.equal(await promising(exports.run, { signal })(1), 2);
    });
  });
}

for (const { way, module, api } of waysToRun("jspi").filter(({ way }) => /plain|thunks|secondary/.test(way))) {
  it(`several results that are none are refused by the import's name: ${way}`, async () => {
    let answer;
    const { exports } = new api.Instance(module, { env: { ...env(never), pair: new Suspending(() => answer) } });
    for (const value of [5, null, undefined, {}]) {
      for (answer of [value, Promise.resolve(value)]) {
        await assert.rejects(promising(exports.pair)(), { name: "TypeError", message: /^env.pair: .* not iterable/ });
      }
    }
    answer = new Set([1, 2.5]);
    assert.deepEqual(await promising(exports.pair)(), [1, 2.5]);
  });
}

it("closing what the engine's JSPI runs is refused", { skip: !hasNative && "this engine has no JSPI" }, () => {
  const module = new WebAssembly.Module(bytes("jspi", "bare"));
  const instance = new ponyfill.Instance(module, { env: env(never) });
  assert.throws(() => close(instance), { name: "TypeError", message: /signal of promising/ });
});

it("one program for both kinds of engines can abort and close", async () => {
  const module = new WebAssembly.Module(auto.choose(bytes("jspi", "bare"), bytes("jspi", "plain")));
  const ask = new auto.Suspending((number) => (number ? new Promise(() => {}) : sleep(0, 1)));
  const instance = await auto.instantiate(module, { env: { ...env(never), ask } });
  const controller = new AbortController();
  const call = auto.promising(instance.exports.run, { signal: controller.signal })(1);
  await sleep(0);
  controller.abort("stop");
  await assert.rejects(call, (reason) => reason === "stop");
  assert.equal(await auto.promising(instance.exports.run)(0), 1);
  assert.throws(() => auto.promising(instance.exports.run, { signal: 5 }), TypeError);
  assert.throws(() => auto.close({}), TypeError);
  if (auto.native) assert.throws(() => auto.close(instance), { name: "TypeError", message: /signal of promising/ });
  else auto.close(instance);
});

it("the class of errors has its name", () => {
  assert.equal(SuspendError.name, "SuspendError");
  assert.equal(new SuspendError("why").name, "SuspendError");
});
