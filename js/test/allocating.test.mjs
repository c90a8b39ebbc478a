/** What imports allocate on the C stack after they have waited, while several calls wait, stays for whomever it is. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as ponyfill from "../src/index.js";
import { sleep, waysToRun } from "./support/guests.mjs";

const { promising, Suspending } = ponyfill;

const start = (module, ask, host, options) =>
  new ponyfill.Instance(module, { env: { ask: new Suspending(ask), host } }, options).exports;

for (const { way, module } of waysToRun("stacks").filter(({ way }) => !way.startsWith("native"))) {
  describe(`what is allocated on the C stack while several calls wait: ${way}`, () => {
    /** A guest whose import answers with the addresses of distinct numbers, and the sums of those, by call. */
    const startTeller = (wait, { early = false, bytes = 4, ...options } = {}, host = () => 0) => {
      const sums = {};
      let serial = 1000;
      const tell = (id) => {
        const address = exports.stackAlloc(bytes);
        new Int32Array(exports.memory.buffer)[address >> 2] = ++serial;
        sums[id] = (sums[id] ?? 0) + serial;
        return address;
      };
      const ask = (id) => {
        if (early) {
          const address = tell(id);
          return wait(id).then(() => address);
        }
        return wait(id).then(() => tell(id));
      };
      const exports = start(module, ask, (id) => host(exports, id), options);
      return { exports, sums, top: exports.__stack_pointer.value };
    };

    for (const early of [false, true]) {
      for (const count of [2, 3, 7]) {
        it(`stays for ${count} calls in many orders, allocated ${early ? "before" : "after"} they wait`, async () => {
          for (let seed = 1; seed <= 6; seed++) {
            const waiting = [];
            const { exports, sums, top } = startTeller(() => new Promise((resolve) => waiting.push(resolve)), { early });
            const ids = Array.from({ length: count }, (_, number) => number + 1);
            const calls = ids.map((id) => promising(exports.hold)(id, id % 4));
            for (let turn = 1; waiting.length; turn++) {
              // The first and the last seeds: always the oldest, always the newest.
              const at = seed == 1 ? 0 : seed == 6 ? waiting.length - 1 : (turn * 7919 * seed) % waiting.length;
              for (const resolve of waiting.splice(at, 1 + (seed % 2))) resolve();
              exports.scribble(turn);
              await sleep(0);
              exports.scribble(-1);
            }
            assert.deepEqual(await Promise.all(calls), ids.map((id) => sums[id]));
            assert.equal(exports.__stack_pointer.value, top);
          }
        });
      }
    }

    it("stays for calls that begin and end while the first one waits, or after it", async () => {
      let finish;
      const { exports, sums, top } = startTeller((id) => (id == 1 ? new Promise((resolve) => (finish = resolve)) : sleep(id % 3)));
      const first = promising(exports.hold)(1, 0);
      for (let id = 2; id < 6; id++) assert.equal(await promising(exports.hold)(id, 3), sums[id]);
      const others = [6, 7].map((id) => promising(exports.hold)(id, 4));
      finish();
      await sleep(0);
      finish();
      const answer = await first;
      assert.equal(answer, sums[1]);
      others.push(promising(exports.hold)(8, 2));
      assert.deepEqual(await Promise.all(others), [sums[6], sums[7], sums[8]]);
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("stays for calls that are started from frames of the guest", async () => {
      const started = [];
      const { exports, sums, top } = startTeller(
        () => Promise.resolve(),
        {},
        (guest, id) => started.push(promising(guest.hold)(id, 2), promising(guest.hold)(id + 10, 1)),
      );
      const first = promising(exports.hold)(1, 3);
      assert.equal(exports.nest(2), 2); // not promising
      const third = promising(exports.nest)(3);
      exports.scribble(1);
      assert.equal(await third, 3);
      assert.deepEqual(await Promise.all([first, ...started]), [1, 2, 12, 3, 13].map((id) => sums[id]));
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("stays where it is much more than a stack", async () => {
      let finish;
      const wait = (id) => (id == 1 ? new Promise((resolve) => (finish = resolve)) : sleep(0));
      const { exports, sums, top } = startTeller(wait, { bytes: 20000 });
      const first = promising(exports.hold)(1, 0);
      assert.deepEqual(await Promise.all([2, 3].map((id) => promising(exports.hold)(id, 5))), [sums[2], sums[3]]);
      finish();
      await sleep(0);
      finish();
      assert.equal(await first, sums[1]);
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("is an error where it is more at once than a stack", async () => {
      const { exports, sums, top } = startTeller(() => sleep(0));
      const calls = [1, 2, 3].map((id) => promising(exports.hold)(id, 1));
      exports.stackAlloc(70000);
      const [{ reason }, ...rest] = await Promise.allSettled(calls);
      assert.match(String(reason), /^RangeError: export hold: the C stack of 65536 bytes has overflowed/);
      assert.deepEqual(rest.map(({ value }) => value), [sums[2], sums[3]]);
      assert.equal(exports.__stack_pointer.value, top);
      assert.equal(await promising(exports.hold)(4, 1), sums[4]);
    });

    it("has room before a second call waits, or that call is refused", async () => {
      let room = 1;
      const allocate = (bytes) => (room-- > 0 ? exports.malloc(bytes) : 0);
      const { exports, sums, top } = startTeller(() => sleep(0), { allocate, region: [2 ** 20, 2 ** 20 + 2 ** 16] });
      const first = promising(exports.hold)(1, 1);
      await assert.rejects(promising(exports.hold)(2, 1), { name: "SuspendError", message: /no 65536 bytes for another C stack/ });
      assert.equal(await first, sums[1]);
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("may be arguments of further calls, and who puts the pointer back late harms nobody", async () => {
      const { exports, sums, top } = startTeller((id) => sleep(id % 3));
      const words = () => new Int32Array(exports.memory.buffer);
      // As Emscripten's `ccall` does with strings.
      const callWith = async (id) => {
        const before = exports.__stack_pointer.value;
        const argument = exports.stackAlloc(4);
        words()[argument >> 2] = -id;
        const answer = await promising(exports.hold)(id, id % 4);
        const found = words()[argument >> 2];
        exports.__stack_pointer.value = before;
        return [answer, found];
      };
      for (let round = 0; round < 3; round++) {
        const ids = [1, 2, 3, 4, 5, 6].map((id) => 100 * round + id);
        const first = promising(exports.hold)(ids[0], 5);
        const second = promising(exports.hold)(ids[1], 5);
        const others = ids.slice(2).map(callWith);
        assert.deepEqual(await Promise.all([first, second]), [sums[ids[0]], sums[ids[1]]]);
        assert.deepEqual(await Promise.all(others), ids.slice(2).map((id) => [sums[id], -id]));
        assert.equal(await promising(exports.hold)(900 + round, 0), sums[900 + round]);
      }
      exports.__stack_pointer.value = top;
      assert.equal(await promising(exports.hold)(7, 2), sums[7]);
      assert.equal(exports.__stack_pointer.value, top);
    });

    describe("for a call that begins while the first one waits alone", () => {
      /** Start `first`, and then a call that reads its argument late. Turns go to the calls that are named, one by one. */
      const run = async (first, order, act = () => undefined) => {
        const waiting = {};
        const ask = (id) => new Promise((resolve) => (waiting[id] = () => resolve(0)));
        const exports = start(module, ask, () => 0);
        const top = exports.__stack_pointer.value;
        const calls = [promising(exports[first[0]])(1, ...first.slice(1))];
        // As Emscripten's `ccall` does with strings.
        const before = exports.__stack_pointer.value;
        const argument = exports.stackAlloc(4);
        new Int32Array(exports.memory.buffer)[argument >> 2] = 1234;
        calls.push(promising(exports.late)(2, argument));
        calls[1].finally(() => (exports.__stack_pointer.value = before)).catch(() => {});
        calls[0].finally(() => (exports.__stack_pointer.value = top)).catch(() => {});
        for (const id of order) {
          waiting[id]();
          await sleep(0);
          exports.scribble(id);
          act(exports, argument);
        }
        return Promise.allSettled(calls);
      };

      it("its arguments stay until it has read them", async () => {
        for (const order of [[2, 2, 1, 1, 1], [1, 2, 2, 1, 1], [1, 1, 2, 1, 2], [1, 1, 1, 2, 2], [2, 1, 1, 1, 2]]) {
          const outcomes = await run(["grow", 3, 0], order);
          assert.deepEqual(outcomes.map(({ value }) => value), [undefined, 2468], String(order));
        }
      });

      it("its arguments stay where calls begin after the first one has ended", async () => {
        const others = [];
        const outcomes = await run(["grow", 1, 0], [1, 2, 2], (exports) => others.push(promising(exports.late)(3, 0)));
        assert.deepEqual(outcomes.map(({ value }) => value), [undefined, 2468]);
      });

      it("no call begins above arguments of others, wherever the pointer has been put", async () => {
        const waiting = [];
        const exports = start(module, () => new Promise((resolve) => waiting.push(() => resolve(0))), () => 0);
        const top = exports.__stack_pointer.value;
        const argument = exports.stackAlloc(4);
        new Int32Array(exports.memory.buffer)[argument >> 2] = 1234;
        const first = promising(exports.late)(1, argument);
        exports.__stack_pointer.value = top;
        const second = promising(exports.grow)(2, 2, 64);
        for (const at of [1, 1, 0, 0]) {
          waiting.splice(at, 1)[0]();
          await sleep(0);
        }
        assert.deepEqual(await Promise.all([first, second]), [2468, undefined]);
        exports.__stack_pointer.value = top;
        assert.equal(exports.nest(1), 1);
      });

      it("what the host writes there is not undone", async () => {
        const write = ({ memory }, argument) => (new Int32Array(memory.buffer)[argument >> 2] += 1);
        const outcomes = await run(["grow", 3, 0], [1, 1, 2, 2, 1], write);
        assert.deepEqual(outcomes.map(({ value }) => value), [undefined, 1236 + 1237]);
      });

      it("where the first one needs the place it is refused to go on, unless that was in vain", async () => {
        const outcomes = await run(["grow", 3, 256], [1, 2, 1, 1]);
        assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected"]);
        assert.match(String(outcomes[1].reason), /^RangeError: export late: others use its C stack/);
        const later = await run(["grow", 3, 256], [1, 1, 1, 2, 2]);
        assert.deepEqual(later.map(({ value }) => value), [undefined, 2468]);
      });
    });

    it("leaves alone what the caller had there before", async () => {
      const { exports, sums, top } = startTeller(() => sleep(0));
      const [before, below] = [exports.stackAlloc(4), exports.__stack_pointer.value];
      new Int32Array(exports.memory.buffer)[before >> 2] = 77;
      const calls = [1, 2].map((id) => promising(exports.hold)(id, 2));
      assert.deepEqual(await Promise.all(calls), [sums[1], sums[2]]);
      assert.equal(exports.__stack_pointer.value, below);
      assert.equal(new Int32Array(exports.memory.buffer)[before >> 2], 77);
      exports.__stack_pointer.value = top;
      assert.equal(await promising(exports.hold)(3, 2), sums[3]);
      assert.equal(exports.__stack_pointer.value, top);
    });

    it("stays in whatever order calls start, wait, go on, are aborted and end", async () => {
      for (let seed = 1; seed <= 25; seed++) {
        let state = seed;
        const random = (limit) => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          return Math.floor((state / 2 ** 32) * limit);
        };
        const waiting = new Set();
        const pause = () => new Promise((resolve) => waiting.add(resolve));
        const wait = () => (random(3) ? pause() : Promise.resolve());
        const goOn = (resolve) => waiting.delete(resolve) && resolve();
        let count = 0;
        const calls = [];
        const begin = () => {
          const id = calls.length + 1;
          count++;
          const controller = new AbortController();
          const call = promising(exports.hold, { signal: controller.signal })(id, random(4));
          if (!random(9)) setImmediate(() => controller.abort(id));
          calls.push(call.then(
            (answer) => assert.equal(answer, sums[id]),
            (reason) => assert.equal(reason, id),
          ).finally(() => count--));
        };
        const { exports, sums } = startTeller(wait, { early: !random(3), bytes: 4 + random(400) }, () => random(2) && begin());
        for (let turn = 0; turn < 60; turn++) {
          const actions = [begin, () => exports.nest(turn), () => calls.push(promising(exports.nest)(turn))];
          (actions[random(9)] ?? (() => goOn([...waiting][random(waiting.size)])))();
          if (random(2)) await new Promise(setImmediate);
          exports.scribble(turn);
        }
        while (count) {
          waiting.forEach(goOn);
          await new Promise(setImmediate);
        }
        await Promise.all(calls);
      }
    });
  });
}
