/** Two modules that are linked dynamically are one guest: they share the two globals, and with them every suspension. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as ponyfill from "../src/index.js";
import { sleep, waysToRun } from "./support/guests.mjs";

const mains = waysToRun("linked_main");
const sides = waysToRun("linked_side");
const handlers = waysToRun("linked_handler");

/** The exports of both modules; the imports of the side module are those of the main one and its exports. */
function link(main, side, ask, tell = (number) => number, options = {}) {
  const { Instance, Suspending } = main.api;
  const env = { ask: new Suspending(ask), tell };
  const first = new Instance(main.module, { env }, options);
  const second = new Instance(side.module, { env: { ...env, ...first.exports }, main: first.exports }, options);
  return { main: first.exports, side: second.exports, instances: [first, second] };
}

for (const main of mains) {
  const side = sides.find(({ way }) => way == main.way);
  const { promising, SuspendError } = main.api;
  const ours = main.api === ponyfill && !main.way.startsWith("native");

  describe(`linked modules: ${main.way}`, () => {
    it("suspend wherever the import is called from, in calls of either", async () => {
      let asked = 0;
      const { main: exports, side: others } = link(main, side, async (number) => (await sleep(0), asked++, number));
      for (const round of [1, 2, 3]) {
        assert.equal(await promising(exports.run)(round), 8 * round);
        assert.equal(await promising(others.work)(round), 6 * round);
      }
      assert.equal(asked, 3 * (8 + 6));
      assert.equal(exports.__stack_pointer.value, 65536);
    });

    it("are not suspended across a handler of either that throws an exception of JavaScript on", async () => {
      const handler = handlers.find(({ way }) => way == main.way);
      if (!handler) return; // built where this package drives them
      let answer = (number) => number;
      const fail = () => {
        throw new Error("no");
      };
      const { main: exports } = link(main, side, (number) => answer(number));
      const { handle } = new main.api.Instance(handler.module, { main: exports, env: { fail, ...exports } }).exports;
      await assert.rejects(promising(handle)(1), { message: "no" });
      answer = (number) => sleep(0, number);
      await assert.rejects(promising(handle)(1), SuspendError);
      assert.equal(await promising(handle)(0), 4);
    });

    it("have the options of the main one, also where the side module could not", async () => {
      const { main: exports } = link(main, side, (number) => sleep(0, number), undefined, { memory: "memory" });
      assert.equal(await promising(exports.run)(1), 8);
    });

    it("pass on what their imports throw", async () => {
      let left = 0;
      const { main: exports } = link(main, side, async (number) => {
        if (!left--) throw new Error("no more");
        return number;
      });
      for (let count = 0; count < 8; count++) {
        left = count;
        await assert.rejects(promising(exports.run)(1), /no more/);
        exports.__stack_pointer.value = 65536; // Nothing catches it, as in C; the engine's own JSPI leaves it where it was.
      }
      left = -1;
      assert.equal(await promising(exports.run)(1), 8);
    });

    it("cannot suspend below frames of JavaScript, in the other module either", async () => {
      const { main: exports, side: others } = link(main, side, (number) => sleep(0, number), (number) => others.work(number));
      await assert.rejects(promising(exports.around)(1), SuspendError);
      exports.__stack_pointer.value = 65536;
      assert.equal(await promising(exports.run)(1), 8);
    });

    if (!ours) return;

    it("have many calls at once", async () => {
      const waiting = [];
      const { main: exports, side: others } = link(main, side, (n) => new Promise((resolve) => waiting.push(() => resolve(n))));
      const calls = Array.from({ length: 12 }, (_, n) => promising(n % 2 ? exports.run : others.work)(n));
      for (let turn = 1; waiting.length; turn++) {
        waiting.splice((turn * 7919) % waiting.length, 1)[0]();
        await sleep(0);
      }
      assert.deepEqual(
        await Promise.all(calls),
        calls.map((_, n) => n * (n % 2 ? 8 : 6)),
      );
      assert.equal(exports.__stack_pointer.value, 65536);
    });

    it("are closed together, and one asyncify stack serves both", async () => {
      const asked = [];
      const allocate = (bytes) => (asked.push(bytes), 131072 + asked.length * 65536);
      const options = { allocate, stackSize: 65536 };
      const { main: exports, side: others, instances } = link(main, side, () => new Promise(() => {}), undefined, options);
      const calls = [promising(exports.run)(1), promising(others.work)(1)];
      assert.deepEqual(asked, [65536, 65536, 65536], "for the frames of both, and C stacks for the second call and the host");
      ponyfill.close(instances[1]);
      for (const call of calls) await assert.rejects(call, /closed/);
    });

    it("name a function that is not instrumented", async () => {
      const { main: exports, side: others } = link(main, side, (number) => sleep(0, number));
      await assert.rejects(promising(others.careless)(1), {
        name: "SuspendError",
        message: /Not instrumented: \["forgotten"\]\n/,
      });
      assert.equal(await promising(exports.run)(1), 8);
    });

    it("must have the same ABI", () => {
      const other = sides.find(({ way }) => way != main.way && ["plain", "thunks"].includes(way));
      assert.throws(() => link(main, other, () => 0), { name: "LinkError", message: /with and without thunks/ });
    });
  });
}
