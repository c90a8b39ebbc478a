/** What the standard says, on every kind of build, and on the engine's own JSPI where it has one. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { SuspendError } from "../src/index.js";
import { bytes, sleep, waysToRun } from "./support/guests.mjs";

const never = () => assert.fail("this import is not called");

for (const { way, module, api } of waysToRun("jspi")) {
  const { Suspending, promising } = api;
  const start = (functions) => {
    const { ask = never, wide = never, pair = never, wait = never, host = never } = functions;
    const env = {
      ask: new Suspending(ask),
      wide: new Suspending(wide),
      pair: new Suspending(pair),
      wait: new Suspending(wait),
      host,
    };
    return new api.Instance(module, { env }).exports;
  };

  describe(`standard: ${way}`, () => {
    it("waits for promises and passes arguments and results", async () => {
      const asked = [];
      const exports = start({
        ask(number) {
          asked.push(number);
          return sleep(1, number * 10);
        },
      });
      assert.equal(await promising(exports.run)(4), 44);
      assert.equal(await promising(exports.twice)(4), 90);
      assert.deepEqual(asked, [4, 4, 5]);
    });

    const always = way.startsWith("native") && "V8 suspends for them too";
    it("passes results that are no promises on without suspending", { skip: always }, async () => {
      const order = [];
      const exports = start({
        ask(number) {
          order.push("asked");
          return number;
        },
      });
      const promise = promising(exports.twice)(1).then((result) => order.push(result));
      order.push("returned");
      await promise;
      assert.deepEqual(order, ["asked", "asked", "returned", 3]);
    });

    it("resolves in as many turns as the standard says", async () => {
      const order = [];
      const exports = start({ ask: () => Promise.resolve(1) });
      const done = promising(exports.run)(1).then(() => order.push("done"));
      let turn = Promise.resolve();
      for (let number = 1; number <= 4; number++) turn = turn.then(() => order.push(number));
      await Promise.all([done, turn]);
      assert.deepEqual(order, [1, "done", 2, 3, 4]);
    });

    it("converts results of every kind", async () => {
      const exports = start({ wide: () => Promise.resolve(5n), pair: () => [1, 2.5], wait: () => sleep(1) });
      assert.equal(await promising(exports.wide)(2n ** 40n), 2n ** 40n + 5n);
      assert.deepEqual(await promising(exports.pair)(), [1, 2.5]);
      assert.equal(await promising(exports.wait)(), undefined);
    });

    it("rejects when a result cannot be converted, and goes on", async () => {
      let answer = Promise.resolve(5);
      const exports = start({ wide: () => answer });
      await assert.rejects(promising(exports.wide)(1n), TypeError);
      answer = Promise.resolve(6n);
      assert.equal(await promising(exports.wide)(1n), 7n);
    });

    // Other builds do not tell how many results an import has.
    if (way.startsWith("native") || WebAssembly.Module.customSections(module, "asyncify.results").length) {
      it("waits for several results", async () => {
        let answer = Promise.resolve([1, 2.5]);
        const exports = start({ pair: () => answer });
        assert.deepEqual(await promising(exports.pair)(), [1, 2.5]);
        answer = Promise.resolve([1]);
        await assert.rejects(promising(exports.pair)(), TypeError);
      });
    }

    it("throws a rejection into the caller as the same object, of whatever type", async () => {
      let reason;
      const exports = start({ ask: () => Promise.reject(reason) });
      for (reason of [new Error("no"), "text", undefined, null, 0, { then: 1 }]) {
        const caught = await promising(exports.run)(1).then(assert.fail, (error) => [error]);
        assert.deepEqual(caught, [reason]);
        assert.ok(Object.is(caught[0], reason));
      }
    });

    it("throws what an import throws", async () => {
      const exports = start({
        ask() {
          throw "text";
        },
      });
      await assert.rejects(promising(exports.run)(1), (error) => error === "text");
    });

    it("rejects on a trap after a suspension", async () => {
      const exports = start({ ask: () => sleep(1, 1) });
      await assert.rejects(promising(exports.trap)(), WebAssembly.RuntimeError);
      assert.equal(await promising(exports.run)(1), 2);
    });

    it("takes thenables and subclasses of promises", async () => {
      let answer;
      const exports = start({ ask: () => answer });
      answer = { then: (resolve) => resolve(9) };
      assert.equal(await promising(exports.run)(1), 10);
      answer = class extends Promise {}.resolve(3);
      assert.equal(await promising(exports.run)(1), 4);
      answer = Promise.resolve(5);
      answer.then = never;
      assert.equal(await promising(exports.run)(1), 6);
    });

    it("keeps many calls suspended and resumes them in any order", async () => {
      const waiting = new Map();
      const exports = start({ ask: (number) => new Promise((resolve) => waiting.set(number, resolve)) });
      const twice = promising(exports.twice);
      const calls = Array.from({ length: 200 }, (_, number) => twice(1000 * number));
      const order = [...waiting.keys()].sort((a, b) => ((a * 7919) % 9973) - ((b * 7919) % 9973));
      for (const number of order) {
        waiting.get(number)(number);
        waiting.delete(number);
        await sleep(0);
      }
      assert.equal(waiting.size, 200);
      assert.equal(exports.add(2, 3), 5);
      for (const [number, resolve] of [...waiting].reverse()) resolve(number);
      assert.deepEqual(
        await Promise.all(calls),
        calls.map((_, number) => 2000 * number + 1),
      );
    });

    it("refuses to suspend outside of a promising call", async () => {
      const exports = start({ ask: () => Promise.resolve(1) });
      assert.throws(() => exports.run(1), SuspendError);
      assert.equal(await promising(exports.run)(1), 2);
    });

    it("refuses to suspend across frames of JavaScript", async () => {
      const exports = start({ ask: () => Promise.resolve(1), host: (number) => exports.run(number) });
      await assert.rejects(promising(exports.host)(1), SuspendError);
      const inner = start({ ask: (number) => (number ? inner.run(0) : Promise.resolve(1)) });
      await assert.rejects(promising(inner.run)(1), SuspendError);
      assert.equal(await promising(exports.run)(1), 2);
      assert.equal(await promising(inner.run)(0), 1);
    });

    it("starts calls inside of imports", async () => {
      let started;
      const exports = start({
        ask: (number) => sleep(1, number * 10),
        host(number) {
          started = promising(exports.run)(number);
          return 7;
        },
      });
      assert.equal(await promising(exports.host)(3), 7);
      assert.equal(await started, 33);
    });

    it("lets a suspending import wait for another call of the instance", async () => {
      const exports = start({ ask: (number) => (number ? promising(exports.run)(number - 1) : sleep(1, 100)) });
      assert.equal(await promising(exports.run)(4), 110);
    });

    const mixed = way == "native behind the ponyfill" && "nobody knows whose they are beside instrumented modules";
    it("runs functions out of tables", { skip: mixed }, async () => {
      const exports = start({ ask: (number) => sleep(1, number) });
      const hidden = promising(exports.table.get(0));
      assert.deepEqual(await Promise.all([hidden(1), promising(exports.run)(2), hidden(3)]), [1001, 4, 1003]);
    });

    it("refuses garbage as arguments, and goes on", async () => {
      const exports = start({ ask: (number) => sleep(1, number), wide: () => sleep(1, 1n) });
      const waits = promising(exports.run)(1);
      // Engines throw at once, where types are known; the ponyfill learns of it from the engine.
      await assert.rejects(async () => promising(exports.run)(Symbol()), TypeError);
      await assert.rejects(async () => promising(exports.wide)(1), TypeError);
      assert.throws(() => exports.add(Symbol(), 1), TypeError);
      assert.equal(await promising(exports.run)(), 0);
      assert.equal(await waits, 2);
    });

    it("refuses what cannot be wrapped", () => {
      const exports = start({});
      assert.throws(() => new Suspending(1), TypeError);
      assert.throws(() => new Suspending(exports.run), TypeError);
      assert.throws(() => Suspending(() => 1), TypeError);
      assert.throws(() => promising(1), TypeError);
      assert.throws(() => promising(() => 1), TypeError);
      assert.throws(() => promising(null), TypeError);
    });

    it("gives functions that look like the standard's", () => {
      const exports = start({});
      const wrapped = promising(exports.add);
      assert.equal(wrapped.length, exports.add.length);
      assert.equal(wrapped.name, exports.add.name);
      assert.throws(() => new wrapped(1), TypeError);
      assert.ok(wrapped(1, 2) instanceof Promise);
      assert.equal(exports.table.get(0), exports.table.get(0));
      assert.ok(new SuspendError("why") instanceof Error);
      assert.equal(String(new SuspendError("why")), "SuspendError: why");
    });

    it("makes instances that are instances, and refuses what the engine refuses", () => {
      const instance = new api.Instance(module, { env: { ask() {}, wide() {}, pair() {}, wait() {}, host() {} } });
      assert.ok(instance instanceof WebAssembly.Instance);
      assert.ok(Object.isFrozen(instance.exports));
      assert.throws(() => api.Instance(module), TypeError);
      assert.throws(() => new api.Instance(module, { env: {} }), WebAssembly.LinkError);
      assert.throws(() => new api.Instance(module), TypeError);
      assert.throws(() => new api.Instance({}), TypeError);
    });
  });
}

for (const { way, module, api } of waysToRun("catch")) {
  const { Suspending, promising } = api;
  describe(`standard, exceptions: ${way}`, () => {
    it("lets a guest catch a rejection and suspend again", async () => {
      const ask = (number) => (number == 7 ? sleep(1, 5) : number ? Promise.reject(new Error("no")) : sleep(1, 1));
      const { exports } = new api.Instance(module, { env: { ask: new Suspending(ask) } });
      assert.equal(await promising(exports.run)(0), 5);
      assert.equal(await promising(exports.run)(1), 1005);
    });
  });
}

for (const { way, module, api } of waysToRun("catching")) {
  const { Suspending, promising } = api;
  const handling = ["clean", "cleaned", "rethrown", "all_rethrown", "nested", "all_nested"];
  const others = ["caught", "all", "delegated", "several", "looped"];
  describe(`standard, handlers in their old form: ${way}`, () => {
    const bare = new WebAssembly.Module(bytes("catching", "bare"));
    const start = (instantiate, wrap) => {
      const log = [];
      const ask = (value) => (log.push(value), (value * 31 + 7) & 0xffff);
      const fail = (value) => {
        throw new Error(`no ${value}`);
      };
      const env = { ask: wrap(ask), tell: wrap((value) => log.push(-value)), fail };
      return { exports: instantiate({ env }).exports, log };
    };
    // What it returns, or what comes out of it.
    const tell = (error) => (error instanceof WebAssembly.Exception ? "an exception" : error.message);

    it("suspends anywhere in them", async () => {
      const original = start(
        (imports) => new WebAssembly.Instance(bare, imports),
        (f) => f,
      );
      const guest = start(
        (imports) => new api.Instance(module, imports, { region: [32768, 65536] }),
        (f) => new Suspending(async (value) => f(value)),
      );
      for (const name of [...handling, ...others]) {
        for (let what = 0; what < 8; what++) {
          if (what == 6 && handling.includes(name)) continue; // it throws an exception of JavaScript on
          let wanted;
          try {
            wanted = original.exports[name](what);
          } catch (error) {
            wanted = tell(error);
          }
          assert.equal(await promising(guest.exports[name])(what).catch(tell), wanted, `${name}(${what})`);
        }
      }
      assert.deepEqual(guest.log, original.log);
    });
  });
}

for (const { way, module, api } of waysToRun("foreign")) {
  const { Suspending, promising } = api;
  describe(`standard, exceptions of JavaScript: ${way}`, () => {
    const failure = new Error("no");
    const start = (ask) => {
      const fail = () => {
        throw failure;
      };
      return new api.Instance(module, { env: { ask: new Suspending(ask), fail } }).exports;
    };

    it("lets them pass through handlers", async () => {
      const exports = start((number) => number + 4);
      await assert.rejects(promising(exports.run)(1), failure);
      assert.equal(exports.cleaned.value, 5);
      assert.equal(await promising(exports.run)(0), 6);
    });

    it("refuses to suspend a handler that throws one on, and the guest goes on", async () => {
      const exports = start((number) => sleep(1, number + 4));
      await assert.rejects(promising(exports.run)(1), (error) => {
        assert.ok(error instanceof SuspendError);
        assert.equal(error.message, "env.ask cannot suspend: across a handler of an exception of JavaScript");
        return true;
      });
      assert.equal(exports.cleaned.value, 0);
      assert.equal(await promising(exports.run)(0), 6);
    });

    it("suspends a handler that throws nothing on", async () => {
      const exports = start((number) => sleep(1, number + 4));
      assert.equal(await promising(exports.swallow)(), 12);
    });

    it("suspends after a trap in such a handler", async () => {
      const exports = start((number) => (number == 1 ? 0 : sleep(1, 8)));
      await assert.rejects(promising(exports.run)(1), WebAssembly.RuntimeError);
      assert.equal(await promising(exports.run)(0), 8);
    });
  });
}
