/** Modules, imports and surroundings that are rare, and that engines take as they are. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import * as ponyfill from "../src/index.js";
import { bytes, hasNative, sleep, waysToRun } from "./support/guests.mjs";

const never = () => assert.fail("this import is not called");
const isOurs = ({ api, way }) => api === ponyfill && !way.startsWith("native");

for (const { way, module, api } of waysToRun("values")) {
  const { Suspending, promising } = api;
  const start = (functions) => {
    const { four = never, function: f = never, object = never, mixed = never, ask = never } = functions;
    const env = { four, function: f, object, mixed, ask };
    for (const name of Object.keys(env)) env[name] = new Suspending(env[name]);
    return new api.Instance(module, { env }).exports;
  };

  describe(`values: ${way}`, () => {
    it("waits for several results of every type of number", async () => {
      let answer = sleep(0, [1, 2n ** 40n, 1.5, 2.25]);
      const exports = start({ four: () => answer });
      assert.deepEqual(await promising(exports.four)(), [1, 2n ** 40n, 1.5, 2.25]);
      answer = sleep(0, new Set([4, 3n, 2, 1]));
      assert.deepEqual(await promising(exports.four)(), [4, 3n, 2, 1]);
      answer = sleep(0, [1, 2]);
      await assert.rejects(promising(exports.four)(), TypeError);
    });

    it("waits for functions and other references", async () => {
      const exports = start({ function: () => sleep(0, exports.seven), object: () => sleep(0, exports) });
      assert.equal(await promising(exports.function)(), 7);
      assert.equal(await promising(exports.object)(), exports);
      const others = start({ function: () => sleep(0, 1), object: () => sleep(0, null) });
      await assert.rejects(promising(others.function)(), TypeError);
      assert.equal(await promising(others.object)(), null);
    });

    it("waits for references and numbers together", async () => {
      const exports = start({ mixed: () => sleep(0, [1, exports, exports.seven, 2n]) });
      assert.deepEqual(await promising(exports.mixed)(), [1, exports, exports.seven, 2n]);
    });

    it("converts arguments that are objects once", async () => {
      const asked = [];
      const object = (value) => ({ [Symbol.toPrimitive]: (hint) => (asked.push(hint), value) });
      const exports = start({ ask: (number) => sleep(0, number) });
      const any = Object.create(null);
      assert.equal(await promising(exports.numbers)(object(1), object(2n), object(0.5), any), 4.5);
      assert.deepEqual(asked, ["number", "number", "number"]);
      assert.equal(await promising(exports.numbers)("1", "2", "0.5", () => 1), 4.5);
      assert.equal(await promising(exports.numbers)(1, 2n, () => 1, exports.seven).then(Number.isNaN), true);
    });
  });
}

for (const { way, module, api } of waysToRun("nothing")) {
  it(`a guest without a memory needs none: ${way}`, async () => {
    const { exports } = new api.Instance(module, { env: { ask: new api.Suspending((number) => sleep(0, number)) } });
    assert.deepEqual(await Promise.all([3, 2000, 1].map(api.promising(exports.down))), [4, 2001, 2]);
  });
}

for (const { way, module } of waysToRun("heap64").filter(isOurs)) {
  it(`addresses of 64 bits without a stack pointer: ${way}`, async () => {
    const env = { ask: new ponyfill.Suspending((number) => sleep(0, number)) };
    const { exports } = new ponyfill.Instance(module, { env });
    assert.deepEqual(await Promise.all([1, 2, 3].map(ponyfill.promising(exports.run))), [2, 4, 6]);
  });
}

for (const { way, module, api } of waysToRun("names")) {
  const { promising, Suspending } = api;
  const times = (factor) => new Suspending((number) => sleep(0, number * factor));
  const start = (twice) => {
    const imports = JSON.parse('{ "__proto__": {}, "env": { "__proto__": null } }');
    imports.__proto__.polluted = times(2);
    Object.defineProperty(imports.env, "__proto__", { value: times(4) });
    Object.assign(imports.env, { twice });
    imports.constructor = { name: times(3) };
    return new api.Instance(module, imports).exports;
  };

  describe(`names: ${way}`, () => {
    it("may be those of properties that all objects have", async () => {
      assert.equal(await promising(start(never).run)(1), 9);
      assert.ok(!("polluted" in {}));
      assert.equal(Object.name, "Object");
    });

    it("may stand for imports of two types", async () => {
      const answers = [[2, 3], 4];
      const exports = start(new Suspending(() => sleep(0, answers.shift())));
      assert.equal(await promising(exports.twice)(1), 10);
    });

    it("are asked for as often as the standard says", () => {
      const asked = [];
      const env = new Proxy({}, { get: (_, name) => (asked.push(name), () => 0) });
      new api.Instance(module, { env, __proto__: { polluted() {}, constructor: { name() {} } } });
      assert.deepEqual(asked, ["__proto__", "twice", "twice"]);
    });

    it("lets an import be called that is exported again", async () => {
      const exports = start(never);
      const doubled = promising(exports.polluted);
      assert.deepEqual(await Promise.all([doubled(1), doubled(2.9), promising(exports.name)("3"), doubled()]), [2, 4, 9, 0]);
      await assert.rejects(async () => doubled(Symbol()), TypeError);
      assert.throws(() => exports.polluted(1), { name: "SuspendError" });
      let inner;
      const argument = {
        valueOf() {
          assert.throws(() => exports.polluted(1), { name: "SuspendError" });
          inner = promising(exports.run)(1);
          return 5;
        },
      };
      assert.equal(await doubled(argument), 10);
      assert.equal(await inner, 9);
    });

    it("lets another module import it", async () => {
      const { polluted, name } = start(never);
      const imports = { __proto__: { polluted, env: { twice: never } }, constructor: { name } };
      Object.defineProperty(imports.env, "__proto__", { value: times(4) });
      const exports = new api.Instance(module, imports).exports;
      assert.equal(await promising(exports.run)(1), 9);
    });

    it("lets functions out of tables be such an import", async () => {
      const exports = start(never);
      const table = new WebAssembly.Table({ element: "anyfunc", initial: 1 });
      table.set(0, exports.polluted);
      assert.deepEqual(await Promise.all([1, 2].map(promising(table.get(0)))), [2, 4]);
    });
  });
}

for (const { way, module, api } of waysToRun("calls")) {
  const { promising, Suspending } = api;
  const native = way.startsWith("native");

  it(`an import suspends that JavaScript puts into a table: ${way}`, { skip: native && "engines want a promising call" }, async () => {
    // As Emscripten's addFunction does: a module that only exports what it imports makes a function of it.
    const passing = new WebAssembly.Module(bytes("between", "bare"));
    const { exports } = new api.Instance(module, { env: { ask: new Suspending((n) => sleep(0, n)), other: never } });
    const call = new Suspending((number) => sleep(0, number * 3));
    const { passed } = new api.Instance(passing, { env: { table: exports.table, call } }).exports;
    if (hasNative) return; // There it is the engine's import, which waits in the engine's promising calls.
    exports.table.set(3, passed);
    for (const number of [1, 2]) assert.equal(await promising(exports.pass)(3, number), 10 + 3 * number);
    assert.deepEqual(await Promise.all([1, 2].map((number) => promising(exports.pass)(3, number))), [13, 16]);
  });
}

for (const { way, module } of waysToRun("strings")) {
  const code = bytes("strings", { native: "bare", "native behind the ponyfill": "bare" }[way] ?? way);
  const api = waysToRun("strings").find((one) => one.way == way).api;
  const polyfill = { length: (text) => text.length, charCodeAt: (text, at) => text.charCodeAt(at) };

  describe(`functions on strings: ${way}`, () => {
    const imports = () => ({
      env: { unused() {}, ask: new api.Suspending((n) => sleep(0, [n, 1])), forgotten: new api.Suspending((n) => sleep(0, n)) },
      "wasm:js-string": polyfill,
      "'": { hello: "hello" },
    });
    const check = async (exports) => {
      assert.equal(await api.promising(exports.run)(), 5 + 1 + 104);
      if (way.startsWith("native")) return;
      await assert.rejects(api.promising(exports.bad)(), { name: "SuspendError", message: /env.forgotten .*import list/ });
      assert.equal(await api.promising(exports.run)(), 5 + 1 + 104);
    };

    it("are imported where the engine has none", async () => {
      await check(new api.Instance(module, imports()).exports);
    });

    const builtins = { builtins: ["js-string"], importedStringConstants: "'" };
    const provided = WebAssembly.Module.imports(new WebAssembly.Module(code, builtins)).length < 6;
    it("come from the engine", { skip: !provided && "this engine has none" }, async () => {
      const { env } = imports();
      const { instance } = await api.instantiate(code, { env }, builtins);
      await check(instance.exports);
      const compiled = new WebAssembly.Module(code, { builtins: ["js-string"] });
      await check(new api.Instance(compiled, { env, "'": { hello: "hello" } }).exports);
    });
  });
}

for (const { way, module, api } of waysToRun("jspi")) {
  const { promising, Suspending } = api;
  const ours = isOurs({ way, api });
  const env = (ask) => ({ ask: new Suspending(ask), wide() {}, pair() {}, wait() {}, host() {} });

  it(`subclasses of Instance: ${way}`, async () => {
    class Program extends api.Instance {
      constructor(ask) {
        super(module, { env: env(ask) });
      }
      run(number) {
        return promising(this.exports.run)(number);
      }
    }
    const program = new Program((number) => sleep(0, number));
    assert.ok(program instanceof Program && program instanceof WebAssembly.Instance);
    assert.equal(await program.run(2), 4);
    assert.equal(new api.Instance(module, { env: env(never) }).constructor, WebAssembly.Instance.prototype.constructor);
  });

  if (!ours) continue;
  describe(`options: ${way}`, () => {
    it("suspends for results that are no promises, if asked to", async () => {
      const order = [];
      const ask = (number) => (order.push("asked"), number);
      const { exports } = new api.Instance(module, { env: env(ask) }, { suspendAlways: true });
      const promise = promising(exports.twice)(1).then((result) => order.push(result));
      order.push("returned");
      await promise;
      assert.deepEqual(order, ["asked", "returned", "asked", 3]);
      assert.throws(() => exports.run(1), { name: "SuspendError" });
      const { exports: others } = new api.Instance(module, { env: env(() => {}) }, { suspendAlways: true });
      assert.equal(await promising(others.run)(5), 5);
    });

    it("uses a region that begins at address 0", async () => {
      const { exports } = new api.Instance(module, { env: env((n) => sleep(0, n)) }, { region: [0, 4096] });
      assert.deepEqual(await Promise.all([1, 2, 3].map(promising(exports.run))), [2, 4, 6]);
    });

    it("refuses places that are none, and writes nothing there", async () => {
      const size = 2 ** 20;
      const places = [
        ...[[16, 100], [size - 100, size + 100], [size, size + 4096], [2 ** 32 - 65536, 2 ** 32]].map((region) => ({ region })),
        { allocate: () => 1024, stackSize: 100 },
        { allocate: () => -65536 },
        { allocate: () => size - 16 },
      ];
      for (const options of way == "secondary" ? [] : places) {
        const { exports } = new api.Instance(module, { env: env((n) => sleep(0, n)) }, options);
        for (const round of [1, 2]) await assert.rejects(promising(exports.run)(round), RangeError);
        assert.ok(new Uint8Array(exports.memory.buffer).every((byte) => byte == 0));
      }
      if (way == "secondary") return;
      for (const answer of [NaN, 1.5, undefined, "1024", Promise.resolve(5)]) {
        const { exports } = new api.Instance(module, { env: env((n) => sleep(0, n)) }, { allocate: () => answer });
        await assert.rejects(promising(exports.run)(1), { name: "TypeError", message: /^option allocate: it returned no integer/ });
        assert.ok(new Uint8Array(exports.memory.buffer).every((byte) => byte == 0));
      }
      const { exports } = new api.Instance(module, { env: env((n) => sleep(0, n)) }, { allocate: () => 0 });
      await assert.rejects(promising(exports.run)(1), { name: "SuspendError", message: /no 262144 bytes .*stackSize/ });
    });

    it("lets one signal abort many calls, without a warning", async () => {
      const warnings = [];
      const listen = (warning) => warnings.push(warning);
      process.on("warning", listen);
      const controller = new AbortController();
      const { exports } = new api.Instance(module, { env: env((number) => (number ? new Promise(() => {}) : sleep(0, 0))) });
      const run = promising(exports.run, { signal: controller.signal });
      for (let count = 0; count < 100; count++) await run(0);
      const calls = Array.from({ length: 100 }, (_, number) => run(number + 1));
      controller.abort("stop");
      const outcomes = await Promise.allSettled(calls);
      assert.ok(outcomes.every(({ reason }) => reason === "stop"));
      await assert.rejects(run(0), (reason) => reason === "stop");
      await sleep(1);
      process.off("warning", listen);
      assert.deepEqual(warnings, []);
    });
  });
}

it("takes a frozen Error", () => {
  const program = `
    Object.freeze(Error);
    const { Instance, promising, Suspending } = await import(process.argv[1]);
    const { readFileSync } = await import("node:fs");
    const module = new WebAssembly.Module(readFileSync(process.argv[2]));
    const { exports } = new Instance(module, { env: { ask: new Suspending(async (n) => n), other() {} } });
    console.log(await promising(exports.pass)(0, 5));`;
  const paths = ["../src/index.js", "../../build/js/calls.thunks.wasm"].map((name) => fileURLToPath(new URL(name, import.meta.url)));
  const output = execFileSync(process.execPath, ["--input-type=module", "-e", program, ...paths], { encoding: "utf8" });
  assert.equal(output, "16\n");
});
