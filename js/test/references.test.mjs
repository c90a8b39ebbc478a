/** Objects that suspended calls hold: the right ones come back, and none is held when no call is suspended any more. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { sleep, waysToRun } from "./support/guests.mjs";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc");

/** Objects that say whether they are alive. */
class Things {
  #all = new Set();

  make(name) {
    const thing = { name };
    this.#all.add(new WeakRef(thing));
    return thing;
  }

  async alive() {
    for (let round = 0; round < 20; round++) {
      await sleep(1);
      gc();
      for (const one of this.#all) if (!one.deref()) this.#all.delete(one);
      if (!this.#all.size) break;
    }
    return this.#all.size;
  }
}

const raise = (reason) => {
  throw reason;
};

for (const { way, module, api } of waysToRun("references")) {
  const start = (things, wait) => {
    const env = {
      exchange: new api.Suspending(async (kept) => {
        await wait();
        return things.make(`for ${kept?.name}`);
      }),
      ask: new api.Suspending(async (number) => {
        await wait();
        return number;
      }),
      check(kept, got) {
        assert.equal(got.name, `for ${kept?.name}`);
        return 100;
      },
    };
    return new api.Instance(module, { env }).exports;
  };

  describe(`references: ${way}`, () => {
    it("are those of their call, however many are suspended", async () => {
      const things = new Things();
      const exports = start(things, () => sleep(Math.random() * 4));
      const hold = api.promising(exports.hold);
      const one = async (number) => {
        const kept = number % 5 ? things.make(`call ${number}`) : null;
        const depth = number % 7;
        const [got, sum] = await hold(depth, kept);
        assert.equal(got.name, `for ${kept?.name}`);
        assert.equal(sum, depth * 100 + 4 * (depth + 1));
      };
      await Promise.all(Array.from({ length: 60 }, (_, number) => one(number)));
      assert.equal(await things.alive(), 0);
    });

    it("are let go when a call is aborted or fails", { skip: way.startsWith("native") && "it takes no signal" }, async () => {
      const things = new Things();
      let asked = 0;
      let end;
      const exports = start(things, async () => {
        await sleep(1);
        if (asked++ == 3) end();
      });
      for (let number = 0; number < 20; number++) {
        asked = number % 4;
        const controller = new AbortController();
        const done = api.promising(exports.hold, { signal: controller.signal })(5, things.make(`call ${number}`));
        const reason = new Error("enough");
        end = () => (number % 2 ? controller.abort(reason) : raise(reason));
        await assert.rejects(done, /enough/);
      }
      assert.equal(await things.alive(), 0);
    });

    it("are let go when the instance is closed", { skip: !api.close && "engines close nothing" }, async () => {
      const things = new Things();
      const env = { exchange: new api.Suspending(() => sleep(9)), ask: new api.Suspending(() => sleep(9)), check: () => 0 };
      const instance = new api.Instance(module, { env });
      const hold = api.promising(instance.exports.hold);
      const calls = Array.from({ length: 9 }, (_, number) => hold(number, things.make(`call ${number}`)));
      const done = Promise.allSettled(calls);
      await sleep(1);
      if (way.startsWith("native")) await done;
      else api.close(instance);
      calls.length = 0;
      assert.equal((await done).length, 9);
      assert.equal(await things.alive(), 0);
      assert.ok(instance.exports.hold);
    });
  });
}

for (const { way, module, api } of waysToRun("boxes")) {
  describe(`references of the guest's own types: ${way}`, () => {
    it("are passed to what waits and come back, null or not", async () => {
      let exports;
      const env = {
        async swap(box) {
          await sleep(Math.random() * 3);
          return box === exports.kept ? box : exports.box(40);
        },
        async several(number) {
          await sleep(Math.random() * 3);
          return [number + 1, exports.row(number), {}, number % 2 ? exports.box(1) : null];
        },
        async choose() {
          await sleep(Math.random() * 3);
          return exports.seven;
        },
        async ask(number) {
          await sleep(Math.random() * 3);
          return number;
        },
      };
      for (const name of Object.keys(env)) env[name] = new api.Suspending(env[name]);
      exports = new api.Instance(module, { env }).exports;
      const run = api.promising(exports.run);
      const results = await Promise.all(Array.from({ length: 20 }, (_, number) => run(number)));
      assert.deepEqual(
        results,
        results.map((_, number) => (40 + number + 1 + 7) * 1000 + number + number),
      );
    });
  });
}
