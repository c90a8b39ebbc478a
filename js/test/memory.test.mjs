/** Where the asyncify stack lies: its own memory, the guest's allocator or a region, and what is wrong with each. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as ponyfill from "../src/index.js";
import { sleep, waysToRun } from "./support/guests.mjs";

const { promising, SuspendError, Suspending } = ponyfill;
const ours = (name) => waysToRun(name).filter(({ api, way }) => api === ponyfill && !way.startsWith("native"));
const env = { ask: new Suspending((number) => number && sleep(0, number)) };

/** Let a memory grow to a size in bytes; false where the machine has no room for it. */
function growTo(memory, bytes, number = Number) {
  try {
    memory.grow(number((bytes - memory.buffer.byteLength) / 65536));
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
  return true;
}

for (const { way, module } of ours("deep")) {
  describe(`depth: ${way}`, () => {
    const start = (options) => {
      const env = { wait: new Suspending((number) => Promise.resolve(number)) };
      return new ponyfill.Instance(module, { env }, options);
    };

    it("suspends in deep recursion, again and again", async () => {
      assert.equal(await promising(start().exports.down)(3000, 5), 2999 + 15);
    });

    it("grows the stack, or says how large it is and for which export", async () => {
      const { exports } = start({ stackSize: 1024 });
      if (way == "secondary") {
        assert.equal(exports.asyncify_memory.buffer.byteLength, 65536);
        assert.equal(await promising(exports.down)(6000, 2), 5999 + 3);
        assert.ok(exports.asyncify_memory.buffer.byteLength > 65536);
      } else {
        await assert.rejects(promising(exports.down)(1000, 1), {
          name: "RangeError",
          message: /export down: the asyncify stack of \d+ bytes is too small .option stackSize/,
        });
      }
      assert.equal(await promising(exports.down)(3, 2), 5);
    });

    it("uses a region that the user names, and the user's allocator", async () => {
      const { exports } = start({ region: [1024, 9216] });
      assert.equal(await promising(exports.down)(100, 1), 100);
      if (way != "secondary") await assert.rejects(promising(exports.down)(3000, 1), /stack of (7904|8176) bytes/);
      const asked = [];
      const allocate = (size) => {
        asked.push(size);
        return 2048;
      };
      assert.equal(await promising(start({ allocate, stackSize: 4096 }).exports.down)(10, 1), 10);
      assert.deepEqual(asked, way == "secondary" ? [] : [4096]);
      if (way != "secondary") {
        await assert.rejects(promising(start({ allocate: () => 0 }).exports.down)(1, 1), SuspendError);
      }
    });
  });
}

for (const { way, module } of ours("poor")) {
  const start = (options) => new ponyfill.Instance(module, { env }, options).exports;

  describe(`a guest without allocator: ${way}`, () => {
    it("cannot suspend without a place for the stack", async () => {
      const exports = start();
      assert.equal(await promising(exports.run)(0), 0);
      if (way == "secondary") assert.equal(await promising(exports.run)(1), 2);
      else await assert.rejects(promising(exports.run)(1), { name: "SuspendError", message: /no allocator.*export malloc, or the option allocate or region/ });
      assert.equal(await promising(exports.run)(0), 0);
    });

    it("takes a region, wherever it begins and whatever lies there", async () => {
      for (const begin of [65536, 65537, 65539, 65551]) {
        const exports = start({ region: [begin, 131072] });
        new Uint8Array(exports.memory.buffer, begin).fill(0xff);
        assert.deepEqual(await Promise.all([1, 2, 3].map(promising(exports.run))), [2, 4, 6]);
        assert.equal(new Uint8Array(exports.memory.buffer)[begin - 1], 0);
      }
    });

    it("goes on where the memory has grown meanwhile", async () => {
      const exports = start({ region: [65536, 131072] });
      const calls = [1, 2, 3].map(promising(exports.run));
      exports.memory.grow(1);
      assert.deepEqual(await Promise.all(calls), [2, 4, 6]);
      assert.equal(await promising(exports.run)(4), 8);
    });

    if (way != "secondary") {
      it("does not take BigInts as addresses of 32 bits", async () => {
        const exports = start({ region: [65536n, 131072n] });
        for (const number of [1, 2]) {
          await assert.rejects(promising(exports.run)(number), { name: "TypeError", message: /^option region: .* numbers$/ });
        }
      });

      it("says how small a region is", async () => {
        const exports = start({ region: [65536, 65536 + 288] });
        await assert.rejects(promising(exports.run)(1), { name: "RangeError", message: /stack of 0 bytes is too small .option region/ });
        assert.equal(await promising(exports.run)(0), 0);
      });
    }

    it("takes addresses beyond 2 GiB, which come with a sign", async (test) => {
      const high = 2 ** 31 + 65536;
      for (const options of [{ region: [high, high + 4096] }, { allocate: () => high | 0, stackSize: 4096 }]) {
        const exports = start(options);
        if (!growTo(exports.memory, high + 65536)) return test.skip("no room for a memory of this size");
        assert.deepEqual(await Promise.all([1, 2, 3].map(promising(exports.run))), [2, 4, 6]);
        if (way != "secondary") assert.equal(new Int32Array(exports.memory.buffer, high + 4, 1)[0], (high + 4096) | 0);
      }
    });

    it("does not take another memory for the one that the user names", () => {
      for (const memory of ["other", "run"]) {
        const message = `option memory: '${memory}' is not exported as a memory`;
        assert.throws(() => start({ memory, region: [65536, 131072] }), { name: "TypeError", message });
      }
    });
  });
}

for (const { way, module } of ours("memory64")) {
  const start = (options) => new ponyfill.Instance(module, { env }, options).exports;

  describe(`addresses of 64 bits: ${way}`, () => {
    it("come from the guest's malloc, from the user's, or are a region", async () => {
      const allocate = () => 2n ** 19n;
      for (const options of [{}, { allocate, stackSize: 4096 }, { region: [1024n, 8192n] }]) {
        const exports = start(options);
        const top = exports.__stack_pointer.value;
        new Uint8Array(exports.memory.buffer).fill(0xff);
        const numbers = options.allocate ? [1] : [1, 2, 3];
        assert.deepEqual(
          await Promise.all(numbers.map(promising(exports.run))),
          numbers.map((number) => 2 * number),
        );
        assert.equal(exports.__stack_pointer.value, top);
      }
    });

    it("are refused where they are numbers, by the option's name", async () => {
      for (const [name, options] of Object.entries({ region: { region: [1024, 8192] }, allocate: { allocate: () => 8192, stackSize: 4096 } })) {
        const exports = start({ ...options, singleStack: false });
        for (const number of [1, 2]) {
          const message = `option ${name}: this guest's addresses are BigInts`;
          await assert.rejects(promising(exports.run)(number), { name: "TypeError", message });
        }
      }
    });

    it("may lie beyond 4 GiB", async (test) => {
      const exports = start();
      if (!growTo(exports.memory, 2 ** 32 + 2 ** 20, BigInt)) return test.skip("no room for a memory of this size");
      exports.heap.value = 2n ** 32n;
      assert.deepEqual(await Promise.all([1, 2, 3].map(promising(exports.run))), [2, 4, 6]);
      assert.equal(exports.heap.value, 2n ** 32n + 2n ** 19n + 3n * 2n ** 16n);
    });
  });
}
