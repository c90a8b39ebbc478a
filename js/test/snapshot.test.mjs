/** What `caesura/snapshot` does with instances: what it saves, what can be done with suspended calls, what it refuses. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { close, Instance, instantiate, promising, Suspending } from "../src/index.js";
import { pending, restore, snapshot, SnapshotError } from "../src/snapshot.js";
import { decode, encode } from "../src/format.js";
import { bytes, sleep } from "./support/guests.mjs";
import { rest, shown } from "./support/saved.mjs";

const code = bytes("saved", "saved_thunks");
const module = new WebAssembly.Module(code);

/** A host function that waits until it is told what to answer, and notes what it was asked. */
function asker() {
  const asked = [];
  const answers = [];
  const ask = new Suspending((...values) => {
    asked.push(values);
    return new Promise((resolve, reject) => answers.push({ resolve, reject }));
  });
  return { asked, answers, imports: { env: { ask } } };
}

async function waiting(times = 2) {
  const { imports, asked, answers } = asker();
  const instance = new Instance(module, imports);
  const result = promising(instance.exports.run)(5, times, 0.5);
  await rest();
  return { instance, result, asked, answers, imports };
}

const refused = (promise, message) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof SnapshotError, error.stack);
    assert.match(error.message, message);
    return true;
  });

describe("a suspended call", () => {
  it("can be looked at while somebody waits for it, and the guest goes on undisturbed", async () => {
    const { instance, result, answers } = await waiting();
    const [call] = pending(instance);
    assert.deepEqual([call.export, call.function, call.arguments, call.isHeld], ["run", "env.ask", [5, -2n, 0.5, -0.25], false]);
    await assert.rejects(call.resume(1), /the call of run is not yours to resume: it has ended, or who has made it waits for it/);
    assert.throws(() => call.drop(), TypeError);
    await snapshot(instance);
    answers[0].resolve(10);
    await rest();
    answers[1].resolve(20);
    assert.equal(await result, 17);
    assert.deepEqual(pending(instance), []);
  });

  it("goes on with an answer, with an error, or by calling its import anew", async () => {
    const { instance, asked } = await waiting(1);
    const saved = await snapshot(instance);
    const other = asker();
    for (const answer of [1, 2]) {
      const { pending: [call] } = await restore(saved, module, other.imports);
      assert.equal(await call.resume(answer), (answer + 1) * 0.5);
    }
    const { pending: [failing] } = await restore(saved, module, other.imports);
    await assert.rejects(failing.throw(new RangeError("lost")), /^RangeError: lost$/);
    assert.deepEqual(other.asked, []);
    const again = await restore(saved, module, other.imports);
    assert.equal(again.pending[0].isHeld, true);
    const result = again.pending[0].run();
    await rest();
    assert.deepEqual(other.asked, asked);
    // While that waits the guest can be saved once more, and nobody else can have the call.
    const twice = await snapshot(again.instance);
    await assert.rejects(again.pending[0].resume(1), TypeError);
    other.answers[0].resolve(9);
    assert.equal(await result, 5);
    assert.deepEqual(pending(again.instance), []);
    assert.deepEqual(twice, saved);
    await assert.rejects((await restore(saved, module, { env: { ask: () => Promise.reject(new Error("no")) } })).pending[0].run(), /^Error: no$/);
  });

  it("can be dropped, and ends where the instance is closed", async () => {
    const { instance } = await waiting(1);
    const saved = await snapshot(instance);
    const { imports } = asker();
    const dropped = await restore(saved, module, imports);
    dropped.pending[0].drop();
    assert.deepEqual(pending(dropped.instance), []);
    await assert.rejects(dropped.pending[0].resume(1), TypeError);
    await rest();
    assert.equal(dropped.instance.exports.__stack_pointer.value, 65536);
    const closed = await restore(saved, module, imports);
    close(closed.instance);
    await assert.rejects(closed.pending[0].resume(1), TypeError);
    const running = await restore(saved, module, imports);
    const result = running.pending[0].run();
    close(running.instance);
    await assert.rejects(result, /the instance is closed/);
  });
});

describe("a snapshot", () => {
  it("of a guest between calls is all of its state", async () => {
    const { instance, answers, result } = await waiting(1);
    answers[0].resolve(4);
    await result;
    const restored = await restore(await snapshot(instance), module, asker().imports);
    assert.deepEqual(shown(restored.instance), shown(instance));
    assert.deepEqual(restored.pending, []);
  });

  it("of what has changed is small, and needs what it is a change of", async () => {
    const { instance, answers } = await waiting(3);
    const first = await snapshot(instance);
    answers[0].resolve(4);
    await rest();
    const change = await snapshot(instance, { base: first });
    assert.ok(change.length < first.length, `${change.length} of ${first.length} bytes`);
    await refused(restore(change, module, asker().imports), /holds what changed since the state/);
    const restored = await restore(change, module, asker().imports, { base: first });
    assert.deepEqual(shown(restored.instance), shown(instance));
  });

  it("leaves out what is as the module makes it, and has it where that has changed", async () => {
    const { instance } = await waiting(1);
    const content = new TextEncoder().encode("data");
    const data = ({ exports }) => new Uint8Array(exports.memory.buffer, 100_000, 4);
    let last;
    const chunk = Math.floor(100_000 / 4096);
    for (const [value, initial, held] of [
      [content, [[chunk, 1]], false],
      [new Uint8Array(4), [], false],
      [content, [[chunk, 1]], false],
      [Uint8Array.of(1, 2, 3, 4), [], true],
      [content, [[chunk, 1]], false],
    ]) {
      data(instance).set(value);
      const before = last && (await decode(last));
      const whole = await snapshot(instance);
      const change = last && (await snapshot(instance, { base: last }));
      const state = await decode(whole);
      assert.deepEqual(state.memories[0].initial, initial);
      assert.equal(state.memories[0].runs.some(([first]) => first == chunk), held);
      if (change) assert.deepEqual(await decode(change, before), state);
      for (const [bytes, options] of [[whole, {}], ...(change ? [[change, { base: last }]] : [])]) {
        const restored = await restore(bytes, module, asker().imports, options);
        assert.deepEqual(data(restored.instance), data(instance));
      }
      last = whole;
    }
  });

  it("brings the module along, if that is wanted", async () => {
    const { instance } = await waiting(1);
    const saved = await snapshot(instance, { embed: code });
    const { pending: [call] } = await restore(saved, undefined, asker().imports);
    assert.equal(await call.resume(3), 2);
    await refused(snapshot(instance, { embed: bytes("saved", "saved") }), /not the instance's module/);
    const change = await snapshot(instance, { base: saved });
    assert.equal((await restore(change, undefined, asker().imports, { base: saved })).pending.length, 1);
    await refused(restore(await snapshot(instance), null, asker().imports), /has no module in it/);
  });

  it("is what the guest was when it was asked for", async () => {
    const { instance, answers } = await waiting(2);
    const saving = snapshot(instance);
    answers[0].resolve(4);
    await rest();
    const { instance: restored } = await restore(await saving, module, asker().imports);
    assert.equal(restored.exports.values()[0], 0);
  });

  for (const build of ["saved", "saved_thunks"]) {
    it(`has values of JavaScript, by a codec: ${build}`, async () => {
      const references = new WebAssembly.Module(bytes("references", build));
      const [one, two] = [{ name: "one" }, { name: "two" }];
      const outcomes = [];
      const env = {
        exchange: new Suspending((value) => sleep(0, value)),
        ask: new Suspending((number) => sleep(0, number)),
        check: (left, right) => (outcomes.push([left, right]), 0),
      };
      const never = { ...env, exchange: new Suspending(() => new Promise(() => {})) };
      const instance = new Instance(references, { env: never });
      promising(instance.exports.hold)(1, one);
      promising(instance.exports.hold)(0, two);
      await rest();
      await refused(snapshot(instance), /refers to a value of JavaScript, Object: give snapshot a saveObject/);
      await refused(snapshot(instance, { saveObject: () => "text" }), /saveObject returned no Uint8Array/);
      const saved = await snapshot(instance, { saveObject: ({ name }) => new TextEncoder().encode(name) });
      await refused(restore(saved, references, { env }), /refers to objects of the host: give a loadObject/);
      const loadObject = (content) => ({ name: new TextDecoder().decode(content), restored: true });
      const { pending: [first, second] } = await restore(saved, references, { env }, { loadObject });
      assert.deepEqual(second.arguments, [{ name: "two", restored: true }]);
      const other = { name: "other" };
      assert.equal((await second.resume(other))[0], other);
      const [got] = await first.run();
      assert.deepEqual(got, { name: "one", restored: true });
      assert.ok(outcomes.length && outcomes.flat().every((value) => value === got), "an object stays one");
    });
  }

  for (const build of ["saved", "saved_thunks"]) {
    it(`goes on with calls of exports that take anything: ${build}`, async () => {
      const parameters = new WebAssembly.Module(bytes("parameters", build));
      const { imports, asked } = asker();
      imports.env.vector = () => 0;
      const instance = new Instance(parameters, imports);
      const { begin, seven, take } = instance.exports;
      promising(take)(seven, null, 1, 2n, 0.5, 0.25);
      promising(take)(null, { name: "held" }, 10, 20n, 5, 2.5);
      await rest();
      assert.deepEqual(asked, [[1], [0]]);
      const saveObject = ({ name }) => new TextEncoder().encode(name);
      const loadObject = (content) => ({ name: new TextDecoder().decode(content) });
      const saved = await snapshot(instance, { saveObject });
      const { pending: calls } = await restore(saved, parameters, imports, { loadObject });
      assert.deepEqual(await Promise.all(calls.map((call) => call.resume(100))), [7103.75, 1137.5]);
      promising(begin)();
      await rest();
      // What only other hosts can have called.
      for (const [change, message] of [
        [{ export: "take_typed" }, /is of an export that cannot be called from JavaScript: it takes vectors/],
        [{ function: "env.vector", arguments: [["v128", 1n]] }, /waits in env.vector, which takes a vector/],
      ]) {
        const state = await decode(await snapshot(instance, { saveObject }));
        Object.assign(state.calls[2], change);
        await refused(restore(await encode(state), parameters, imports, { loadObject }), message);
      }
    });
  }

  it("has functions of the guest in tables, and no others", async () => {
    const { instance } = await waiting(1);
    instance.exports.table.set(1, instance.exports.values);
    const restored = await restore(await snapshot(instance), module, asker().imports);
    assert.equal(restored.instance.exports.table.get(1), restored.instance.exports.values);
    instance.exports.table.set(1, new Instance(module, asker().imports).exports.values);
    await refused(snapshot(instance), /element 1 of table 0 refers to a function that is not the guest's own/);
  });
});

describe("what cannot be saved is refused by name:", () => {
  it("a guest whose code runs", async () => {
    const outcomes = [];
    const save = async () => {
      outcomes.push(await snapshot(instance).catch(({ message }) => message));
      await null;
      outcomes.push(await snapshot(instance));
      return 1;
    };
    const instance = new Instance(module, { env: { ask: new Suspending(save) } });
    assert.equal(await promising(instance.exports.run)(5, 1, 1), 2);
    assert.match(outcomes[0], /^a guest's code is running, so that there is a stack which is no data yet/);
    assert.ok(outcomes[1] instanceof Uint8Array);
  });

  it("instances that the package has not made", async () => {
    const engine = new WebAssembly.Instance(module, { env: { ask: () => 1 } });
    await refused(snapshot(engine), /^the package did not make the instance, whose calls are on the engine's stack/);
    assert.throws(() => pending(engine), SnapshotError);
    await assert.rejects(snapshot({}), /^TypeError: not an instance$/);
    const plain = new Instance(new WebAssembly.Module(bytes("saved", "bare")), asker().imports);
    await refused(snapshot(plain), /^the module is not instrumented: the stacks of its calls are the engine's/);
  });

  it("instances that are closed, whose calls have ended", async () => {
    const { instance, result } = await waiting(1);
    close(instance);
    await assert.rejects(result, /the instance is closed/);
    await refused(snapshot(instance), /^the instance is closed, which has ended its calls: take a snapshot before that/);
    assert.deepEqual(pending(instance), []);
  });

  it("modules whose state cannot be read", async () => {
    const { instance } = await instantiate(bytes("saved", "thunks"), asker().imports);
    await refused(snapshot(instance), /instrumented without --snapshots/);
  });

  it("memory that threads share", async () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 64, shared: true });
    const { instance } = await instantiate(bytes("threads", "saved_thunks"), { env: { ...asker().imports.env, memory } });
    await refused(snapshot(instance), /^memory 0 is shared with other threads/);
  });

  it("modules that are linked dynamically", async () => {
    const env = { ...asker().imports.env, tell: () => 0 };
    const first = new Instance(new WebAssembly.Module(bytes("linked_main", "thunks")), { env });
    const all = { env: { ...env, ...first.exports }, main: first.exports };
    assert.ok(new Instance(new WebAssembly.Module(bytes("linked_side", "thunks")), all));
    await refused(snapshot(first), /^modules that are linked dynamically cannot be saved/);
  });

  it("calls of functions out of tables", async () => {
    const { imports, answers } = asker();
    const instance = new Instance(module, imports);
    const result = promising(instance.exports.others.get(0))();
    await rest();
    await refused(snapshot(instance), /^a call of function \d+ cannot be saved: it was not called by an export's name/);
    answers[0].resolve(3);
    assert.equal(await result, 3);
    assert.ok(await snapshot(instance));
  });
});

describe("options and arguments", () => {
  it("are checked before anything is done", async () => {
    const { instance } = await waiting(1);
    await assert.rejects(snapshot(instance, { saveobject: () => 1 }), /^TypeError: option saveobject: there is none of this name, but base, embed/);
    await assert.rejects(snapshot(instance, { saveObject: 1 }), /^TypeError: option saveObject: not a function/);
    await assert.rejects(snapshot(instance, { base: "state.caesura" }), /^TypeError: option base: neither an ArrayBuffer nor a view/);
    await assert.rejects(restore("state.caesura", module, asker().imports), /^TypeError: the snapshot: neither an ArrayBuffer nor a view/);
    const saved = await snapshot(instance);
    await assert.rejects(restore(saved, module, asker().imports, { limit: -1 }), /^TypeError: option limit: not a number of bytes/);
    await refused(restore(saved, module, asker().imports, { limit: 100 }), /more than the limit of 100/);
    assert.ok(await restore(saved.buffer, bytes("saved", "saved_thunks"), asker().imports));
  });

  it("carry on what a program sees of the world", async () => {
    const { instance } = await waiting(1);
    const folders = [["/data", "/home/data", true]];
    const wasi = { arguments: ["program", "-c"], environment: [["HOME", "/"]], folders, descriptors: [], monotonic: 2 ** 40, highest: 0 };
    const restored = await restore(await snapshot(instance, { wasi }), module, asker().imports);
    assert.deepEqual(restored.wasi, wasi);
    await refused(snapshot(instance, { wasi: { ...wasi, monotonic: -1 } }), /the state cannot be written: state.wasi.monotonic: -1 is not within/);
  });
});

describe("what does not fit is refused by name:", () => {
  it("another module", async () => {
    const { instance } = await waiting(1);
    const saved = await snapshot(instance);
    await refused(restore(saved, new WebAssembly.Module(bytes("saved", "saved")), asker().imports), /^the snapshot is of another module/);
    await refused(restore(saved, bytes("saved", "thunks"), asker().imports), /instrumented without --snapshots/);
    await assert.rejects(restore(saved, module, {}), TypeError);
  });

  it("C stacks of a guest whose stack pointer is not in reach", async () => {
    const plain = new WebAssembly.Module(bytes("pauses", "fuel_plain"));
    const options = { region: [1024, 60000] };
    const { imports } = asker();
    const instance = new Instance(plain, imports, options);
    promising(instance.exports.run)(1n, 2n, 3n);
    await rest();
    const state = await decode(await snapshot(instance));
    state.stacks = { ...state.stacks, size: 1024, stacks: [60016], spare: [60016] };
    await refused(restore(await encode(state), plain, imports, options), /does not reach this guest's stack pointer: instrument it with --thunks/);
  });

  it("memory that may not be as large", async () => {
    const { instance } = await waiting(1);
    await assert.rejects(restore(await snapshot(instance), module, asker().imports, { stack: 5 }), /option stack: there is none of this name, but stackSize, .*, limit, loadObject/);
    instance.exports.memory.grow(2);
    const grown = await restore(await snapshot(instance), module, asker().imports);
    assert.equal(grown.instance.exports.memory.buffer.byteLength, instance.exports.memory.buffer.byteLength);
  });
});

describe("addresses of 64 bits", () => {
  for (const build of ["saved", "saved_thunks"]) {
    const wide = bytes("memory64", build);
    it(`are saved: ${build}`, { skip: !WebAssembly.validate(wide) && "this engine has none" }, async () => {
      const compiled = new WebAssembly.Module(wide);
      const instance = new Instance(compiled, asker().imports);
      for (const number of [1, 2, 3]) promising(instance.exports.run)(number);
      await rest();
      const { pending: calls } = await restore(await snapshot(instance), compiled, asker().imports);
      assert.deepEqual(await Promise.all(calls.map((call, place) => call.resume(10 * place))), [1, 12, 23]);
    });
  }
});

describe("start functions", () => {
  for (const build of ["saved", "saved_thunks"]) {
    it(`do not run again: ${build}`, async () => {
      const begins = new WebAssembly.Module(bytes("begins", build));
      const { imports } = asker();
      const instance = await instantiate(begins, imports, { stackSize: 16384 });
      promising(instance.exports.again)(1);
      await rest();
      const restored = await restore(await snapshot(instance), begins, imports);
      assert.equal(restored.instance.exports.begun(), 1);
      assert.equal(await restored.pending[0].resume(8), 50);
    });
  }
});

for (const build of ["saved", "saved_thunks"]) {
  describe(`C stacks of a restored guest: ${build}`, () => {
    const stacks = new WebAssembly.Module(bytes("stacks", build));
    const limits = new WebAssembly.Module(bytes("limits", build));

    it("serve calls that begin then, and those that were there", async () => {
      const imports = { env: { ask: new Suspending((number) => sleep(number % 3, number)), host: () => 0 } };
      for (const moment of [0, 1, 2, 3, 5, 8]) {
        const instance = new Instance(stacks, imports);
        const outcomes = [];
        for (let id = 1; id <= 5; id++) promising(instance.exports.dig)(id, id + 2).then((sum) => outcomes.push([id, sum]));
        await sleep(moment);
        const ended = [...outcomes];
        const { instance: other, pending: calls } = await restore(await snapshot(instance), stacks, imports);
        const results = calls.map((call) => call.run().then((sum) => ended.push([call.arguments[0], sum])));
        for (let id = 6; id <= 8; id++) results.push(promising(other.exports.dig)(id, 3).then((sum) => ended.push([id, sum])));
        await Promise.all(results);
        const expected = [1, 2, 3, 4, 5].map((id) => [id, 2 * id * (id + 3)]).concat([6, 7, 8].map((id) => [id, 8 * id]));
        assert.deepEqual(ended.sort(([one], [two]) => one - two), expected, `at ${moment} ms`);
        await rest();
        assert.equal(other.exports.__stack_pointer.value, 65536);
      }
    });

    it("keep arguments that lie on them", async () => {
      const held = { env: { ask: new Suspending(() => new Promise(() => {})), host: () => 0 } };
      const instance = new Instance(stacks, held);
      const { exports } = instance;
      promising(exports.dig)(1, 0);
      await rest();
      const address = exports.stackAlloc(16);
      new Int32Array(exports.memory.buffer)[address >> 2] = 1234;
      promising(exports.late)(2, address);
      await rest();
      const restored = await restore(await snapshot(instance), stacks, { env: { ask: new Suspending(() => sleep(0, 0)), host: () => 0 } });
      const [dig, late] = restored.pending;
      assert.equal(await dig.run(), 0);
      restored.instance.exports.scribble(255);
      assert.equal(await late.run(), 2468);
    });

    it("have the limits that the guest finds", async () => {
      const imports = { env: { ask: new Suspending((number) => sleep(0, number)) } };
      const instance = new Instance(limits, imports);
      const results = [1, 2, 3].map((byte) => promising(instance.exports.checked)(64, byte));
      const saved = await snapshot(instance);
      assert.deepEqual(await Promise.all(results), [3, 6, 9]);
      const { instance: other, pending: calls } = await restore(saved, limits, imports);
      assert.deepEqual(await Promise.all(calls.map((call) => call.run())), [3, 6, 9]);
      await rest();
      assert.deepEqual([other.exports.emscripten_stack_get_end(), other.exports.emscripten_stack_get_base()], [1024, 65536]);
    });
  });
}
