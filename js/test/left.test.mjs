/**
 * Functions that leave for another instance's by tail calls through tables and references. They are on no stack, so they
 * cannot be resumed: never does such a call end with a wrong result, or with anything done twice.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Instance, promising, Suspending } from "../src/index.js";
import { bytes, hasNative, sleep } from "./support/guests.mjs";

const REGIONS = [[1024, 60000], [65536, 131000]];
const WAITING = new Suspending((number) => sleep(1, number));

const load = (name, build) => new WebAssembly.Module(bytes(name, build));

/** Both instances, whose tables have functions of each other; `env` is what they import. */
function link(first, second, ask = WAITING) {
  const b = new Instance(load("left_b", second), { env: { ask } }, { region: REGIONS[0] }).exports;
  const a = new Instance(load("left_a", first), { env: { ask }, b }, { region: REGIONS[1] }).exports;
  a.table.set(0, b.through);
  a.table.set(1, a.left);
  a.table.set(2, b.through);
  b.table.set(0, a.inner);
  return { a, b };
}

/** What is refused before anything is unwound: the export itself has left. */
const REFUSED = { name: "SuspendError", message: "env.ask cannot suspend: across a tail call to another instance" };
/** What ends when it is resumed: an instance has noticed nothing, but the host has. */
const lost = (name) => ({ name: "SuspendError", message: `export ${name}: lost across a tail call to another instance` });
/** What ends there in a trap, which an instance has noticed. */
const TRAP = { name: "RuntimeError", message: "unreachable" };

/** By what is called, and after which change: what it returns if nobody waits, and how it ends if somebody does. */
const CASES = {
  left: [221, REFUSED],
  "left, for one that waits": [220, REFUSED, ({ a, b }) => a.table.set(0, b.waits)],
  below: [1221, lost("below")],
  "below, for one that waits": [1220, TRAP, ({ a, b }) => a.table.set(0, b.waits)],
  through_table: [1221, lost("through_table")],
  waits_or_leaves: [257, REFUSED, ({ a, b }) => b.table.set(0, a.waits_or_leaves)],
  caught: [1221, { name: "SuspendError" }],
  below_theirs: [1021, TRAP],
  by_name: [21, TRAP],
  "through_table, for theirs": [1021, TRAP, ({ a, b }) => a.table.set(1, b.leave)],
};

const BUILDS = ["plain", "linked"];
for (const [first, second] of BUILDS.flatMap((one) => BUILDS.map((other) => [one, other]))) {
  describe(`what leaves for another instance: ${first} and ${second}`, () => {
    for (const [name, [wanted, error, change]] of Object.entries(CASES)) {
      const [called] = name.split(",");
      it(name, async () => {
        const direct = link(first, second, (number) => number);
        change?.(direct);
        assert.equal(direct.a[called](20), wanted);
        const { a, b } = link(first, second);
        change?.({ a, b });
        for (const _ of [1, 2]) {
          const before = [a.steps.value, b.steps.value];
          await assert.rejects(promising(a[called])(20), error);
          const steps = [a.steps.value - before[0], b.steps.value - before[1]];
          assert.deepEqual(steps, [direct.a.steps.value, direct.b.steps.value], "nothing ran twice");
          assert.deepEqual([a.asyncify_get_state(), b.asyncify_get_state()], [0, 0]);
          // Both go on as if it had not been.
          assert.equal(await promising(a.inner)(5), 6);
          assert.equal(await promising(b.waits)(5), 205);
        }
        a.table.set(1, b.through);
        b.table.set(0, a.inner);
        assert.equal(await promising(a.through_table)(20), 1221, "calls of the same functions that are no tail calls");
      });
    }

    it("an export of the other that has left for this one's", async () => {
      const { a, b } = link(first, second);
      await assert.rejects(promising(b.leave)(20), REFUSED);
      assert.equal(await promising(a.inner)(5), 6);
    });

    it("one takes the frame of another function of the other's for its own", async () => {
      // `left` leaves for `keeps`, which calls `above_theirs`, which calls `deep`.
      const start = (ask) => {
        const { a } = link(first, second, ask);
        const alike = new Instance(load("left_alike", second), { env: { ask } }, { region: REGIONS[0] }).exports;
        a.table.set(0, alike.keeps);
        alike.table.set(0, a.above_theirs);
        a.table.set(3, alike.deep);
        return a;
      };
      assert.equal(start((number) => number).below(20), 1000 + 7 * 20 + 3 + 5 * 20 + 20);
      const a = start(WAITING);
      await assert.rejects(promising(a.below)(20), lost("below"));
      a.table.set(1, a.above_theirs);
      assert.equal(await promising(a.through_table)(20), 1000 + 3 + 5 * 20 + 20);
    });

    it("others run while a call waits, and leave as they like", async () => {
      const { a, b } = link(first, second);
      const direct = link(first, second, (number) => number).a;
      const calls = [1, 2, 3].flatMap((number) => [promising(a.inner)(number), promising(b.waits)(number)]);
      for (const name of ["left", "below", "by_name", "below_theirs"]) assert.equal(direct[name](20), CASES[name][0]);
      assert.deepEqual(await Promise.all(calls), [2, 201, 3, 202, 4, 203]);
    });
  });
}

it("with thunks that are not linked", async () => {
  const { a, b } = link("thunks", "thunks");
  await assert.rejects(promising(a.left)(20), REFUSED);
  await assert.rejects(promising(a.below)(20), /on the stack twice/);
  await assert.rejects(promising(a.by_name)(20), TRAP);
  assert.equal(await promising(a.inner)(5), 6);
  assert.equal(b.steps.value, 3);
});

it("for functions of JavaScript", async () => {
  for (const build of BUILDS) {
    const { a } = link(build, build);
    const calls = (number) => a.inner(number);
    const again = new Instance(new WebAssembly.Module(bytes("left_again", "bare")), { env: { ask: WAITING, calls } }).exports;
    a.table.set(0, again.calls);
    for (const name of ["left", "below"]) await assert.rejects(promising(a[name])(20), /SuspendError.* across JavaScript/);
    if (hasNative) continue; // then `ask` is the engine's
    a.table.set(0, again.ask);
    const before = a.steps.value;
    await assert.rejects(promising(a.left)(20), REFUSED);
    assert.equal(a.steps.value - before, 1, "nothing ran twice");
    await assert.rejects(promising(a.below)(20), TRAP);
    assert.equal(await promising(a.table.get(0))(20), 20, "there is nothing to resume");
    assert.equal(await promising(a.inner)(5), 6);
  }
});

const module = bytes("left_by_reference", "plain");
const skip = !WebAssembly.validate(module) && "this engine has no typed references";
it("by a reference", { skip }, async () => {
  for (const build of BUILDS) {
    const { b } = link(build, build);
    const compiled = new WebAssembly.Module(bytes("left_by_reference", build));
    const a = new Instance(compiled, { env: { ask: WAITING } }, { region: REGIONS[1] }).exports;
    a.table.set(0, b.through);
    b.table.set(0, a.inner);
    await assert.rejects(promising(a.left)(20), REFUSED);
    await assert.rejects(promising(a.below)(20), lost("below"));
    assert.equal(await promising(a.inner)(5), 6);
  }
});
