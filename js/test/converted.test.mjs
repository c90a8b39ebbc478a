/**
 * What the engine converts by calling an export, or one that is bound, which then waits: no function of JavaScript is on the
 * stack there. It is refused before anything has changed, and nothing runs twice.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { instantiate, promising, Suspending } from "../src/index.js";
import { bytes, sleep } from "./support/guests.mjs";

const BUILDS = ["plain", "thunks", "linked", "listed_plain", "listed_thunks", "all_plain", "all_thunks"];
const REFUSED = { name: "SuspendError", message: /^env\.ask cannot suspend: across JavaScript/ };

/** Objects that the engine makes a number of by a function. */
const OBJECTS = {
  "valueOf": (f) => ({ valueOf: f.bind(null, 3) }),
  "the export itself": (f) => ({ valueOf: f }),
  "toString": (f) => ({ __proto__: null, toString: f.bind(null, 3) }),
  "Symbol.toPrimitive": (f) => ({ [Symbol.toPrimitive]: f.bind(null, 3) }),
  "what a getter returns": (f) => ({ get valueOf() { return f.bind(null, 3); } }),
  "a getter": (f) => Object.defineProperty({}, "valueOf", { get: f.bind(null, 3) }),
  "a proxy": (f) => new Proxy({}, { get: (_, key) => (key == Symbol.toPrimitive ? f.bind(null, 3) : undefined) }),
  "a proxy's trap": (f) => new Proxy({}, { get: f }),
  "a function": (f) => Object.assign(() => {}, { valueOf: f.bind(null, 3) }),
};

/** Of several results. */
const LISTS = {
  "the first": (f) => [{ valueOf: f.bind(null, 3) }, 2n],
  "the second": (f, f64) => [1, { valueOf: f64.bind(null, 3) }],
  "of an iterator": (f) => new Set([{ [Symbol.toPrimitive]: f }, 2n]),
  "an iterator": (f) => ({ [Symbol.iterator]: f.bind(null, 3) }),
  "its next": (f) => ({ [Symbol.iterator]: () => ({ next: f.bind(null, 3) }) }),
};

/** An instance, whose imports give what `give` returns, and how often it was asked. */
async function start(build, give = () => 0, ask = (number) => sleep(1, number)) {
  const counts = { given: 0, asked: 0 };
  const made = () => (counts.given++, give());
  const env = { ask: new Suspending((number) => (counts.asked++, ask(number))), one: new Suspending(made) };
  for (const name of ["int", "long", "float", "double", "two", "object", "nothing"]) env[name] = made;
  const { instance } = await instantiate(bytes("converted", build), { env }, { region: [65_536, 131_072] });
  return { ...instance.exports, counts };
}

for (const build of BUILDS) {
  describe(`conversions by exports that wait: ${build}`, () => {
    for (const place of ["the same instance", "another one"]) {
      const other = place != "the same instance" && start(build);
      const cases = [
        ...["int", "one", "long", "float", "double"].flatMap((name) => Object.entries(OBJECTS).map(([how, make]) => [name, how, make])),
        ...Object.entries(LISTS).map(([how, make]) => ["two", how, make]),
      ];
      for (const [name, how, make] of cases) {
        it(`of a result are refused: ${name}, ${how}, of ${place}`, async () => {
          let called;
          const guest = await start(build, () => make(name == "long" ? called.waits64 : called.waits, called.waits64));
          called = (await other) || guest;
          await assert.rejects(promising(guest[`by_${name}`])(), REFUSED);
          assert.deepEqual([guest.steps.value, guest.counts.given], [1, 1]);
          assert.equal(await promising(guest.waits)(5), 6);
        });
      }

      for (const [how, make] of Object.entries(OBJECTS)) {
        it(`of an argument are refused: ${how}, of ${place}`, async () => {
          const guest = await start(build);
          const { waits, waits64 } = (await other) || guest;
          await assert.rejects(promising(guest.by_arguments)({}, make(waits), 1n), REFUSED);
          await assert.rejects(promising(guest.by_arguments)({}, 1, make(waits64)), REFUSED);
          await assert.rejects(promising(guest.waits)(make(waits)), REFUSED);
          assert.equal(guest.steps.value, 0);
          assert.equal(await promising(guest.waits)(5), 6);
        });
      }

      it(`of what was waited for are refused, of ${place}`, async () => {
        for (const [how, make] of Object.entries(OBJECTS)) {
          if (how == "a proxy's trap") continue; // it is asked for `then` before
          let called;
          const guest = await start(build, () => sleep(1).then(() => make(called.waits)));
          called = (await other) || guest;
          await assert.rejects(promising(guest.by_one)(), REFUSED);
          assert.deepEqual([guest.steps.value, guest.counts.given], [1, 1]);
          // Also where it is the same import that would suspend.
          let converted = 0;
          const again = await start(build, undefined, (number) => sleep(1).then(() => (converted++ ? number : make(called.waits))));
          called = (await other) || again;
          await assert.rejects(promising(again.waits)(1), REFUSED);
          assert.equal(await promising(again.waits)(5), 6);
        }
      });
    }

    it("inside of one another are refused", async () => {
      let depth = 0;
      // What is called to convert the first result gets an object from an import, too, and waits then.
      const guest = await start(build, () => (depth++ ? { valueOf: () => 4 } : { valueOf: guest.by_turns }));
      await assert.rejects(promising(guest.by_int)(), REFUSED);
      assert.deepEqual([guest.steps.value, guest.counts.given], [2, 2]);
      await assert.rejects(promising(guest.waits)({ valueOf: guest.by_turns }), REFUSED);
      assert.deepEqual([guest.steps.value, guest.counts.given], [3, 3]);
    });

    it("that wait for nothing are as the engine's", async () => {
      const guest = await start(build, () => ({ valueOf: guest.waits.bind(null, 3) }), (number) => number);
      for (const name of ["int", "one", "float", "double"]) assert.equal(await promising(guest[`by_${name}`])(), 14);
      assert.equal(await promising(guest.by_arguments)({}, { valueOf: guest.waits.bind(null, 3) }, { [Symbol.toPrimitive]: guest.waits64.bind(null, 3) }), 8);
    });

    it("are over when they are over", async () => {
      const results = [{ valueOf: () => 10 }, new Number(20), [30], { toString: () => "40" }];
      const guest = await start(build, () => results.shift());
      assert.equal(await promising(guest.by_turns)(), 35);
      assert.equal(await promising(guest.by_turns)(), 75);
      assert.deepEqual([guest.steps.value, guest.counts.given], [2, 4]);
    });

    it("are none of references, nor where there is no result", async () => {
      const object = Object.fromEntries(["valueOf", "toString"].map((name) => [name, () => assert.fail("converted")]));
      const guest = await start(build, () => object);
      assert.equal(await promising(guest.by_object)(), 11);
      assert.equal(await promising(guest.by_nothing)(), 11);
      assert.equal(await promising(guest.by_arguments)(object, 2, 3n), 6);
      assert.equal(await promising(guest.tails)(object, 4), 14);
      assert.deepEqual([guest.steps.value, guest.counts.given], [4, 2]);
    });

    it("of arguments happen once", async () => {
      const guest = await start(build);
      for (const key of ["valueOf", "toString", Symbol.toPrimitive]) {
        let converted = 0;
        const object = { __proto__: null, [key]: () => (converted++, 2) };
        assert.equal(await promising(guest.by_arguments)(object, object, 1n), 4);
        assert.equal(converted, 1);
      }
    });

    it("of what a function out of a table returns are refused where it is an import of an instance that is known", async () => {
      const guest = await start(build);
      const other = await start(build, () => ({ valueOf: guest.waits.bind(null, 3) }));
      guest.table.set(1, other.int_again);
      await assert.rejects(promising(guest.by_table)(1), REFUSED);
      assert.deepEqual([guest.steps.value, other.counts.given], [1, 1]);
      assert.equal(await promising(guest.waits)(5), 6);
    });

    it("of what one returns that nobody knows are not seen, and it is called again, as is documented", async () => {
      const guest = await start(build);
      let given = 0;
      const module = new WebAssembly.Module(bytes("passing", "bare"));
      const f = () => (given++, { valueOf: guest.waits.bind(null, 3) });
      guest.table.set(1, new WebAssembly.Instance(module, { env: { f } }).exports.f);
      assert.equal(await promising(guest.by_table)(1), 14);
      assert.deepEqual([guest.steps.value, given], [1, 2]);
    });

    it("are none where a function out of a table is an export that is bound", async () => {
      const guest = await start(build);
      const module = new WebAssembly.Module(bytes("passing", "bare"));
      const { exports } = new WebAssembly.Instance(module, { env: { f: guest.waits.bind(null, 3) } });
      guest.table.set(1, exports.f);
      assert.equal(await promising(guest.by_table)(1), 14);
      assert.deepEqual([guest.steps.value, guest.counts.asked], [1, 1]);
    });
  });
}

for (const build of ["plain", "thunks", "binaryen"].filter((build) => bytes("calls", build))) {
  it(`conversions by exports that wait are refused where a module does not tell of results: ${build}`, async () => {
    for (const make of Object.values(OBJECTS)) {
      let given = 0;
      const env = { ask: new Suspending((number) => sleep(1, number)), other: () => (given++, make(exports.inner)) };
      const { exports } = (await instantiate(bytes("calls", build), { env })).instance;
      await assert.rejects(promising(exports.import)(1), REFUSED);
      assert.deepEqual([exports.steps.value, given], [1, 1]);
      assert.equal(await promising(exports.inner)(5), 6);
    }
  });
}
