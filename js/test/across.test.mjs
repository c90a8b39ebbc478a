/** Two instances, each with a state of its own, that call each other: suspended and resumed as one stack. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { close, Instance, promising, Suspending, SuspendError } from "../src/index.js";
import { bytes, sleep } from "./support/guests.mjs";

const load = (name, build) => new WebAssembly.Module(bytes(name, build));
const OPTIONS = { region: [1024, 60000] };

/** Both instances. `ask` is what the guests wait for. */
function link(first, second, ask = (number) => sleep(1, 10 * number)) {
  const env = { ask: new Suspending(ask), table: new WebAssembly.Table({ element: "anyfunc", initial: 3 }) };
  const b = new Instance(load("across_b", second), { env }, OPTIONS);
  const a = new Instance(load("across_a", first), { env, b: b.exports }, OPTIONS);
  return { a, b, ...a.exports };
}

const BUILDS = ["plain", "linked"];
const pairs = BUILDS.flatMap((first) => BUILDS.map((second) => [first, second]));

for (const [first, second] of pairs) {
  describe(`instances that call each other: ${first} and ${second}`, () => {
    it("are suspended and resumed as one stack", async () => {
      const { run, once, pass, a, b } = link(first, second);
      for (const number of [1, 2, 30]) {
        assert.equal(await promising(run)(number), 59 * number + 2);
        assert.equal(await promising(once)(number), 12 * number + 2);
        assert.equal(await promising(pass)(number), 23 * number + 1);
        assert.equal(await promising(b.exports.work)(number), 23 * number + 1);
      }
      assert.equal(a.exports.steps.value, 3 * (3 + 1 + 1 + 1), "nothing ran twice");
      assert.equal(b.exports.steps.value, 3 * (2 + 1 + 1 + 1));
    });

    it("have any number of calls at once, which end in any order", async () => {
      let asked = 0;
      const { run, pass, b } = link(first, second, (number) => sleep((asked++ * 7) % 5, 10 * number));
      const numbers = Array.from({ length: 20 }, (_, number) => number);
      const results = await Promise.all(
        numbers.map((number) => [promising(run)(number), promising(pass)(number), promising(b.exports.work)(number)]).flat(),
      );
      assert.deepEqual(results, numbers.map((number) => [59 * number + 2, 23 * number + 1, 23 * number + 1]).flat());
    });

    it("get what an import throws", async () => {
      const error = new Error("no");
      let fails = true;
      const { run } = link(first, second, (number) => (fails ? Promise.reject(error) : sleep(0, 10 * number)));
      await assert.rejects(promising(run)(1), (reason) => reason === error);
      fails = false;
      assert.equal(await promising(run)(1), 61);
    });

    it("may be called where an import ends: plainly, and in calls that wait themselves", async () => {
      const inner = [];
      let depth = 0;
      const linked = link(first, second, (number) => {
        try {
          return sleep(1, 10 * number);
        } finally {
          if (depth++ < 3) {
            inner.push(promising(linked.once)(number), promising(linked.b.exports.work)(number));
            assert.equal(linked.a.exports.double(number), 2 * number);
          }
        }
      });
      assert.equal(await promising(linked.run)(2), 120);
      assert.deepEqual(await Promise.all(inner), [26, 47, 26, 47, 26, 47]);
    });

    it("end by a signal", async () => {
      const { run } = link(first, second, (number) => sleep(number, 10 * number));
      const controller = new AbortController();
      const call = promising(run, { signal: controller.signal })(3600);
      controller.abort("enough");
      await assert.rejects(call, (reason) => reason === "enough");
      assert.equal(await promising(run)(1), 61);
    });

    it("end when one of them is closed", async () => {
      for (const closed of ["a", "b"]) {
        const linked = link(first, second, (number) => sleep(number, 10 * number));
        const call = promising(linked.run)(100);
        const other = promising(linked.b.exports.work)(2);
        close(linked[closed]);
        await assert.rejects(call, { name: "SuspendError", message: "the instance is closed" });
        await assert.rejects(other, { name: "SuspendError", message: "the instance is closed" });
      }
    });
  });
}

/** Four instances, one of which calls none but through the table; returns their functions. */
function walkers(builds, ask) {
  const env = { ask: new Suspending(ask), table: new WebAssembly.Table({ element: "anyfunc", initial: 4 }) };
  const guests = [];
  for (const [at, build] of builds.entries()) {
    const next = guests.at(-1)?.exports;
    guests.push(new Instance(load(at ? "walk" : "walk_first", build), { env, next }, { region: [1024, 200000] }));
    env.table.set(at, guests[at].exports.go);
  }
  return guests.map(({ exports }) => exports);
}

it("walks through four instances come out as if nobody had waited", async () => {
  let asked = 0;
  const answer = (number) => number * 3 + 1;
  const later = (number) => (asked++, (number & 3) == 0 ? answer(number) : sleep(0, answer(number)));
  for (const mask of [0, 5, 10, 15]) {
    const builds = [0, 1, 2, 3].map((at) => BUILDS[(mask >> at) & 1]);
    const at = (exports, number) => exports[number % 4].go;
    const starts = Array.from({ length: 24 }, (_, number) => [number, number * 7919 + mask, 1 + (number % 5)]);
    const plain = walkers(builds, answer);
    const wanted = starts.map(([number, seed, depth]) => at(plain, number)(seed, depth));
    const waiting = walkers(builds, later);
    const results = await Promise.all(starts.map(([number, seed, depth]) => promising(at(waiting, number))(seed, depth)));
    assert.deepEqual(results, wanted);
    assert.deepEqual(waiting.map(({ steps }) => steps.value), plain.map(({ steps }) => steps.value));
  }
  assert.ok(asked > 1500, `${asked}`);
});

it("instances with thunks that are not linked may stand on the stack once", async () => {
  const { run, once } = link("thunks", "thunks");
  assert.equal(await promising(once)(5), 62);
  await assert.rejects(promising(run)(1), { name: "SuspendError", message: /on the stack twice: instrument it with --linked/ });
  assert.equal(await promising(once)(5), 62);
});

it("an instance that is not instrumented is named", { skip: "Suspending" in WebAssembly && "the engine suspends it" }, async () => {
  const { run, a } = link("plain", "bare");
  await assert.rejects(promising(run)(1), { name: "SuspendError", message: /across another instance: .*wasm-function/ });
  assert.equal(a.exports.steps.value, 2);
});

it("room is missing in one of them: refused before anything is unwound", async () => {
  const env = { ask: new Suspending((number) => sleep(1, 10 * number)), table: new WebAssembly.Table({ element: "anyfunc", initial: 3 }) };
  const b = new Instance(load("across_b", "plain"), { env }, {});
  const a = new Instance(load("across_a", "plain"), { env, b: b.exports }, OPTIONS);
  await assert.rejects(promising(a.exports.once)(1), SuspendError);
  assert.equal(a.exports.asyncify_get_state(), 0);
  assert.equal(b.exports.asyncify_get_state(), 0);
});
