/** What else may be on the engine's stack: functions of other modules, of JavaScript, and what converts values. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import * as ponyfill from "../src/index.js";
import { bytes, sleep, waysToRun } from "./support/guests.mjs";

const between = new WebAssembly.Module(bytes("between", "bare"));

for (const { way, module, api } of waysToRun("calls")) {
  const { Instance, promising, SuspendError, Suspending } = api;
  const native = way.startsWith("native");
  const ask = new Suspending((number) => sleep(0, number));
  const refused = { name: "SuspendError" };
  const start = (other = () => assert.fail("not called"), asked = ask) => new Instance(module, { env: { ask: asked, other } }).exports;
  const startBetween = (table, call = () => assert.fail("not called"), Maker = WebAssembly.Instance) =>
    new Maker(between, { env: { table, call } }).exports;

  describe(`frames between: ${way}`, () => {
    it("calls through a table that stay in the guest wait", async () => {
      const exports = start();
      assert.deepEqual(await Promise.all([1, 2].map((number) => promising(exports.pass)(0, number))), [12, 13]);
    });

    it("refuses functions of another module, called through a table", { skip: native && "engines can suspend them" }, async () => {
      for (const Maker of [WebAssembly.Instance, ponyfill.Instance]) {
        const exports = start();
        const other = startBetween(exports.table, undefined, Maker);
        exports.table.set(1, other.relay);
        for (const round of [1, 2, 3, 4, 5]) {
          await assert.rejects(promising(exports.pass)(1, 5), { ...refused, message: /another instance: .*wasm-function/ });
          assert.deepEqual([exports.steps.value, other.steps.value], [2 * round - 1, round]);
          assert.equal(await promising(exports.pass)(0, 5), 16);
        }
      }
    });

    it("suspends another instance of the same module, which calls back", async () => {
      const [exports, other] = [start(), start()];
      exports.table.set(1, other.second);
      other.table.set(2, exports.inner);
      if (way == "thunks") {
        await assert.rejects(promising(exports.pass)(1, 5), { ...refused, message: /on the stack twice: .* --linked/ });
      } else {
        assert.equal(await promising(exports.pass)(1, 5), 26);
      }
      assert.deepEqual([exports.steps.value, other.steps.value], [1, 1]);
      assert.equal(await promising(exports.pass)(0, 5), 16);
      assert.equal(await promising(other.inner)(5), 6);
    });

    it("refuses functions of another module that are imported", { skip: native && "engines can suspend them" }, async () => {
      const table = new WebAssembly.Table({ element: "anyfunc", initial: 4 });
      const other = startBetween(table);
      const exports = start(other.relay);
      table.set(0, exports.inner);
      await assert.rejects(promising(exports.import)(5), { ...refused, message: /another instance/ });
      assert.deepEqual([exports.steps.value, other.steps.value], [1, 1]);
    });

    it("refuses functions of JavaScript that another module calls", async () => {
      for (const Maker of [WebAssembly.Instance, ponyfill.Instance]) {
        let exports = start();
        let inner;
        const call = (number) => {
          inner = [];
          try {
            return exports.inner(number);
          } catch (error) {
            inner.push(error);
            throw error;
          }
        };
        const other = startBetween(exports.table, call, Maker);
        for (const [slot, f] of [[1, other.outside], [2, other.passed]]) {
          exports.table.set(slot, f);
          await assert.rejects(promising(exports.pass)(slot, 5), SuspendError);
          assert.ok(inner[0] instanceof SuspendError);
        }
        assert.deepEqual([exports.steps.value, other.steps.value], [2, 1]);
        assert.equal(await promising(exports.pass)(0, 5), 16);
        exports = start(other.outside);
        await assert.rejects(promising(exports.import)(5), SuspendError);
        assert.deepEqual([exports.steps.value, other.steps.value], [1, 2]);
      }
    });

    it("is about the frames of the call alone", async () => {
      // Below this call stands another one, with frames of the other module and of JavaScript.
      let waiting;
      const exports = start();
      const other = startBetween(exports.table, (number) => {
        waiting = promising(exports.pass)(0, number);
        return 3;
      });
      exports.table.set(1, other.outside);
      assert.equal(await promising(exports.pass)(1, 5), 113);
      assert.equal(await waiting, 16);
    });
  });

  describe(`conversions: ${way}`, () => {
    const startConverting = (answer) => {
      const exports = start(() => answer(), new Suspending((number) => (number < 0 ? answer() : sleep(0, number))));
      /** An object that is a number, and suspends, or tries to, when it is asked for it. */
      const outcomes = [];
      const number = (value) => ({
        valueOf() {
          try {
            outcomes.push(exports.inner(7));
          } catch (error) {
            outcomes.push(error instanceof SuspendError);
          }
          return value;
        },
      });
      return { exports, number, outcomes };
    };

    it("of arguments are no part of the call, and happen once", async () => {
      const { exports, number, outcomes } = startConverting();
      assert.equal(await promising(exports.inner)(number(3)), 4);
      assert.equal(await promising(exports.pass)(number(0), number(3)), 14);
      assert.deepEqual(outcomes, [true, true, true]);
      assert.equal(await promising(exports.inner)(4), 5);
    });

    it("of results are no part of the call", async () => {
      let number;
      const { exports, outcomes, ...rest } = startConverting(() => number);
      number = rest.number(3);
      assert.equal(await promising(exports.import)(1), 13);
      number = Promise.resolve(rest.number(4));
      assert.equal(await promising(exports.inner)(-1), 5);
      assert.deepEqual(outcomes, [true, true]);
      assert.equal(await promising(exports.inner)(4), 5);
    });

    it("asks for `then` outside of the call", async () => {
      let asked = 0;
      const answer = {
        get then() {
          asked++;
          assert.throws(() => exports.inner(7), SuspendError);
          return (resolve) => resolve(2);
        },
      };
      const { exports } = startConverting(() => answer);
      assert.equal(await promising(exports.inner)(-1), 3);
      assert.ok(asked > 0);
      assert.equal(await promising(exports.inner)(4), 5);
    });

    it("may begin calls of their own", async () => {
      const { exports } = startConverting();
      let other;
      const argument = {
        valueOf() {
          other = promising(exports.inner)(5);
          return 3;
        },
      };
      assert.equal(await promising(exports.inner)(argument), 4);
      assert.equal(await other, 6);
    });

    it("of several results are no part of the call", { skip: way == "binaryen" && "it does not tell of several results" }, async () => {
      const guest = waysToRun("values").find((one) => one.way == way);
      const outcomes = [];
      const never = new Suspending(() => assert.fail("not called"));
      const env = { four: undefined, function: never, object: never, mixed: never, ask };
      env.four = new Suspending(async () => ({
        *[Symbol.iterator]() {
          try {
            exports.numbers(1, 2n, 3);
          } catch (error) {
            outcomes.push(error instanceof SuspendError);
          }
          yield* [1, 2n, 3, { valueOf: () => 4 }];
        },
      }));
      const { exports } = new Instance(guest.module, { env });
      assert.deepEqual(await promising(exports.four)(), [1, 2n, 3, 4]);
      assert.deepEqual(outcomes, [true]);
      assert.equal(await promising(exports.numbers)(1, 2n, 3), 7);
    });
  });

  if (native) continue;
  it(`an allocator of the host is no part of the call: ${way}`, async () => {
    let exports;
    const seen = [];
    const allocate = (size) => {
      try {
        exports.inner(1);
      } catch (error) {
        seen.push(error instanceof SuspendError);
      }
      return exports.malloc(size);
    };
    ({ exports } = new Instance(module, { env: { ask, other() {} } }, { allocate }));
    assert.equal(await promising(exports.inner)(3), 4);
    assert.deepEqual(seen, [true]);
  });
}

for (const { way, module } of waysToRun("calls").filter(({ way, api }) => api === ponyfill && !way.startsWith("native"))) {
  it(`does not look for them where the user says so: ${way}`, async () => {
    const env = { ask: new ponyfill.Suspending((n) => sleep(0, n)), other() {} };
    const { exports } = new ponyfill.Instance(module, { env }, { checkStack: false });
    assert.equal(await ponyfill.promising(exports.pass)(0, 5), 16);
    const other = new WebAssembly.Instance(between, { env: { table: exports.table, call() {} } }).exports;
    exports.table.set(1, other.relay);
    const outcome = await ponyfill.promising(exports.pass)(1, 5).then(String, String);
    assert.doesNotMatch(outcome, /another instance/);
    assert.equal(other.steps.value, 2); // The user was wrong.
    const argument = { valueOf: () => exports.inner(1) };
    await assert.rejects(ponyfill.promising(exports.inner)(argument), { name: "SuspendError", message: /across JavaScript/ });
  });
}

it("finds them whatever is set on `Error`, and leaves that as it was", async () => {
  const { way, module } = waysToRun("calls")[0];
  assert.equal(way, "plain");
  const { exports } = new ponyfill.Instance(module, { env: { ask: new ponyfill.Suspending((n) => sleep(0, n)), other() {} } });
  const other = new WebAssembly.Instance(between, { env: { table: exports.table, call() {} } }).exports;
  exports.table.set(1, other.relay);
  const limit = Error.stackTraceLimit;
  for (const prepare of [undefined, () => undefined, () => "wasm-function[0]", (_, sites) => sites]) {
    for (const stackTraceLimit of [0, 1, 10]) {
      Object.assign(Error, { prepareStackTrace: prepare, stackTraceLimit });
      await assert.rejects(ponyfill.promising(exports.pass)(1, 5), { message: /another instance/ });
      assert.equal(await ponyfill.promising(exports.pass)(0, 5), 16);
      assert.deepEqual([Error.prepareStackTrace, Error.stackTraceLimit], [prepare, stackTraceLimit]);
    }
  }
  delete Error.prepareStackTrace;
  Object.defineProperty(Error, "stackTraceLimit", { value: 1, writable: false });
  await assert.rejects(ponyfill.promising(exports.pass)(1, 5), { message: /another instance/ });
  assert.equal(await ponyfill.promising(exports.pass)(0, 5), 16);
  assert.deepEqual(Object.getOwnPropertyDescriptor(Error, "stackTraceLimit").writable, false);
  Object.defineProperty(Error, "stackTraceLimit", { value: limit, writable: true });
});

it("reads text, where an engine has no more", () => {
  // As Firefox and Safari write it. They have this function, or not.
  const program = `
    const [source, calls, between, lists, capture, how] = process.argv.slice(1);
    // As they write functions of their own, too: on this they differ from V8, whatever becomes of Error.
    const { toString } = Function.prototype;
    Function.prototype.toString = function () { return Reflect.apply(toString, this, []).replace("[native code]", "\\n    [native code]\\n"); };
    const value = (_, frames) =>
      frames.map((frame) => {
        const index = frame.getFunction();
        const place = frame.getScriptNameOrSourceURL();
        return typeof index == "number" ? place + "@" + place + ":wasm-function[" + index + "]:0x12" : "f@" + place + ":1:2";
      }).join("\\n");
    Object.defineProperty(Error, "prepareStackTrace", { value, configurable: how == "objects", writable: false });
    if (capture != "capture") delete Error.captureStackTrace;
    const { Instance, promising, Suspending } = await import(source);
    const { readFileSync } = await import("node:fs");
    const load = (file) => new WebAssembly.Module(readFileSync(file));
    const show = (promise) => promise.then(String, ({ message }) => message.replace(/(:| has to wait).*/s, ""));
    const ask = new Suspending(async (number) => number);
    const { exports } = new Instance(load(calls), { env: { ask, other() {} } });
    const other = new WebAssembly.Instance(load(between), { env: { table: exports.table, call() {} } }).exports;
    exports.table.set(1, other.relay);
    const { exports: listed } = new Instance(load(lists), { env: { ask, other: ask, note() {} } });
    for (const call of [[exports.pass, 0, 5], [exports.pass, 1, 5], [listed.good, 1], [listed.run, 1], [exports.pass, 0, 5]]) {
      console.log(await show(promising(call[0])(...call.slice(1))));
    }`;
  for (const [capture, how] of [["capture", "text"], ["none", "text"], ["none", "objects"], ["capture", "objects"]]) {
    const names = ["../src/index.js", "calls.thunks.wasm", "between.bare.wasm", "lists.plain.wasm"];
    const paths = names.map((name) => fileURLToPath(new URL(name.replace(/^(?=\w)/, "../../build/js/"), import.meta.url)));
    const parameters = ["--input-type=module", "-e", program, ...paths, capture, how];
    const refused = "env.ask cannot suspend";
    const output = execFileSync(process.execPath, parameters, { encoding: "utf8" });
    assert.equal(output, ["16", refused, "2", "env.ask", "16", ""].join("\n"));
  }
});

for (const { way, module } of waysToRun("recursive")) {
  it(`what is not instrumented is named once each, and not without end: ${way}`, async () => {
    const { exports } = new ponyfill.Instance(module, { env: { ask: new ponyfill.Suspending(() => sleep(0, 1)) } });
    const { message } = await ponyfill.promising(exports.down)(3000).then(assert.fail, (error) => error);
    const [, missing] = /^env.ask has to wait, but the remove-list leaves out functions on the stack\. Not instrumented: (.*)$/m.exec(message);
    assert.deepEqual(JSON.parse(missing), [...Array(22).keys()].map((number) => `f${number}`).concat("down"));
    assert.match(message, /\n {4}env.ask\n {2}\* f0\n[^]*\n {2}\* f21\n {2}\* down \(3001 times\)\n/);
    assert.ok(message.length < 3000, message);
    assert.equal(await ponyfill.promising(exports.down)(0).catch(({ name }) => name), "SuspendError");
  });
}

const speculated = waysToRun("speculated");

if (!speculated.length) it("calls through references", { skip: "this engine does not read them" }, () => {});

for (const { way, module, api } of speculated) {
  it(`a function that was inlined where another is called stands in nobody's way: ${way}`, async () => {
    const { exports } = new api.Instance(module, { env: { ask: new api.Suspending((number) => sleep(0, number)) } });
    for (let round = 0; round < 30; round++) {
      assert.equal(exports.warm(100_000), 1_700_000);
      assert.equal(await api.promising(exports.run)(round), round + 11);
    }
  });
}
