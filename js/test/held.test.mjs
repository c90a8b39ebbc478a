/** Exceptions on their way and typed references to functions travel between JavaScript and Python; what cannot be saved is named. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { decode, encode } from "../src/format.js";
import { Instance, promising, Suspending } from "../src/index.js";
import { pending, restore, snapshot, SnapshotError } from "../src/snapshot.js";
import { bytes } from "./support/guests.mjs";
import { imports, live, rest, serve, shown, startPython } from "./support/saved.mjs";

const code = bytes("in_flight", "saved_secondary");
const numbers = bytes("small_numbers", "saved_secondary");
const objects = bytes("dropped_objects", "saved_secondary");
const skip = !WebAssembly.validate(code) && "this engine has no exceptions as values";
const refused = (promise, words) => assert.rejects(promise, (error) => error instanceof SnapshotError && words.test(error.message));

describe("references that JavaScript is not shown", { skip }, () => {
  const module = skip ? undefined : new WebAssembly.Module(code);
  const begin = (name, ...values) => {
    const instance = new Instance(module, imports);
    promising(instance.exports[name])(...values).catch(() => {});
    return instance;
  };
  let python;
  before(() => {
    python = startPython("saved_secondary", "in_flight");
  });
  after(() => python.end());

  for (const first of ["Python", "JavaScript"]) {
    it(`travel in the middle of a handler, from ${first}`, async () => {
      const calls = [[7, 4, -0.5]];
      const hosts = [(request) => serve(request, module), python.ask];
      if (first == "Python") hosts.reverse();
      const alone = live(module, calls);
      let moved = await hosts[0]({ begin: calls, answers: [] });
      const results = [];
      for (let turn = 1; moved.after.calls.length; turn++) {
        const next = await hosts[turn % 2]({ state: moved.state, answers: [turn] });
        results.push(...next.results);
        assert.deepEqual(next.results, await alone.step([turn]));
        assert.deepEqual(next.after, shown(alone.instance), `turn ${turn}`);
        moved = next;
      }
      assert.deepEqual(results, [42]);
      assert.equal(moved.after.values[0], "-7");
      assert.equal(BigInt.asUintN(64, BigInt(moved.after.values[1])), 0x7fa00007n);
    });
  }

  it("are numbers, in frames, globals and tables, and travel", async () => {
    const module = new WebAssembly.Module(numbers);
    const python = startPython("saved_secondary", "small_numbers");
    const hosts = [(request) => serve(request, module), python.ask];
    for (const order of [hosts, hosts.toReversed()]) {
      const moved = await order[0]({ begin: [[7]], answers: [] });
      assert.deepEqual(moved.after.values.map(Number), [-1, 0x3fffffff, -0x40000000, 7, 999, 7, 5, -7, -7, 3]);
      const { before, after, results } = await order[1]({ state: moved.state, answers: [0] });
      assert.deepEqual(before, moved.after);
      assert.deepEqual(after.values, before.values);
      assert.deepEqual(results, [694]);
    }
    python.end();
    const instance = new Instance(module, imports);
    promising(instance.exports.hold)().catch(() => {});
    await refused(snapshot(instance), /global 4 holds a reference of type \(ref null 0\), and only null and numbers/);
    promising(instance.exports.run)(1).catch(() => {});
    const fresh = new Instance(module, imports);
    const state = await decode(await snapshot(fresh));
    for (const [index, bits, words] of [
      [4, 5n, /element 0 of global 4 of the snapshot is of another type than \(ref null 0\)/],
      [3, 0xffffffffn, /global 3 of the snapshot holds null/],
    ]) {
      const globals = state.globals.map((item) => (item.index == index ? { ...item, bits } : item));
      await refused(restore(await encode({ ...state, globals }), module, imports), words);
    }
  });

  it("are no hindrance in a segment that was dropped", async () => {
    const module = new WebAssembly.Module(objects);
    const instance = new Instance(module, imports);
    promising(instance.exports.run)(0).catch(() => {});
    await refused(snapshot(instance), /cannot be saved before it drops element segment 0/);
    promising(instance.exports.run)(1).catch(() => {});
    const saved = await snapshot(instance);
    const restored = await restore(saved, module, imports);
    assert.throws(() => restored.instance.exports.again(), WebAssembly.RuntimeError);
    assert.equal(await restored.pending[1].resume(7), 112);
    const forged = await encode({ ...(await decode(saved)), dropped_elements: [] });
    await refused(restore(forged, module, {}), /element segment 0, which cannot be saved before it is dropped/);
  });

  it("are refused only while the guest holds what cannot be saved", async () => {
    for (const [where, words] of [
      [1, /a frame of the call of hold, which waits in env.ask, holds a reference of type anyref/],
      [2, /element 1 of table 3 holds a reference of type anyref/],
      [3, /global 3 holds a reference of type anyref/],
      [4, /a frame of the call of hold.* holds an exception of tag 1, which carries references/],
    ]) {
      await refused(snapshot(begin("hold", where)), words);
    }
    assert.ok(await snapshot(begin("hold", 0)));
  });

  it("that no call uses any more do not count", async () => {
    const answers = [];
    const instance = new Instance(module, { env: { ask: new Suspending(() => new Promise((resolve) => answers.push(resolve))) } });
    const failed = promising(instance.exports.fail)();
    await rest();
    await refused(snapshot(instance), /a frame of the call of fail/);
    answers[0](0);
    await assert.rejects(failed, WebAssembly.RuntimeError);
    assert.ok(await snapshot(instance));
  });

  it("are refused where a state does not fit, before an instance is made", async () => {
    const saved = await snapshot(begin("run", 7, 2, 0.5));
    const [first, numbers] = (await decode(saved)).exceptions;
    for (const [exceptions, words] of [
      [[first, { ...numbers, tag: 3 }], /has tag 3, and the module 3 that can be saved/],
      [[first, { tag: 1, values: [] }], /has tag 1, which carries references/],
      [[first, { ...numbers, values: numbers.values.slice(1) }], /carries something else than its tag, 0, says/],
    ]) {
      // Nothing is imported: making an instance would fail.
      await refused(restore(await encode({ ...(await decode(saved)), exceptions }), module, {}), words);
    }
    const state = await decode(saved);
    const { elements } = state.tables.find(({ index }) => index == 1);
    const view = new DataView(elements.buffer, elements.byteOffset);
    view.setUint32(4, 999, true);
    await refused(restore(await encode(state), module, {}), /function 999, of which the module makes no references/);
    view.setUint32(4, 4, true);
    await refused(restore(await encode(state), module, imports), /element 1 of table 1 .* of another type/);
    const { instance } = await restore(saved, module, imports);
    assert.equal(pending(instance).length, 1);
  });
});
