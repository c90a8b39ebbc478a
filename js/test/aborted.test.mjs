/** An abort ends what an import has called in the guest as well, whatever bounds the call around it. */

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { afterEach, describe, it } from "node:test";

import { close, instantiate, Suspending } from "../src/index.js";
import { BudgetExhausted, FairShares, promising, usage, usePolicy } from "../src/slices.js";
import { bytes, sleep } from "./support/guests.mjs";

const MUCH = 1n << 60n;

for (const build of ["fuel_plain", "fuel_secondary"].filter((one) => WebAssembly.validate(bytes("computing", one)))) {
  for (const slice of [undefined, 0.5]) {
    describe(`a call with fuel, and ${slice ? "a slice" : "no slice"}: ${build}`, () => {
      /** Let an import call what computes for ever, with these options. */
      async function make(options, before = () => {}) {
        const made = await instantiate(new WebAssembly.Module(bytes("computing", build)), {
          env: {
            again() {},
            later: new Suspending(() => {
              before();
              return promising(made.exports.spin, options)();
            }),
          },
        });
        return made;
      }

      /** Other calls of the guest go on, and what was aborted does not. */
      async function checkEnded(instance) {
        const { fuel } = usage(instance);
        assert.equal(await promising(instance.exports.quick, { slice: 1 })(4), 8);
        await sleep(5);
        assert.ok(usage(instance).fuel - fuel < 1000n);
      }

      it("what its import has called ends with it", async () => {
        const end = new AbortController();
        const instance = await make({ slice: 0.5 });
        const running = promising(instance.exports.later_and_count, { fuel: MUCH, slice, signal: end.signal })(1, 1n);
        await sleep(5);
        end.abort(new Error("enough"));
        await assert.rejects(running, /^Error: enough/);
        await checkEnded(instance);
      });

      it("so it does where the import aborts it before", async () => {
        const end = new AbortController();
        const instance = await make({ slice: 0.5 }, () => end.abort(new Error("enough")));
        await assert.rejects(promising(instance.exports.later_and_count, { fuel: MUCH, slice, signal: end.signal })(1, 1n), /^Error: enough/);
        await checkEnded(instance);
      });

      for (const wait of [0, 5]) {
        it(`in one's hands, both are gone, ${wait} ms later`, async () => {
          const end = new AbortController();
          const instance = await make(undefined);
          const error = await promising(instance.exports.later_and_count, { fuel: 1000, slice, signal: end.signal })(1, 1n).catch((thrown) => thrown);
          assert.ok(error instanceof BudgetExhausted);
          end.abort(new Error("enough"));
          if (wait) await sleep(wait);
          error.call.drop();
          await checkEnded(instance);
        });
      }
    });
  }
}

describe("a call that waits for a turn, which comes never", () => {
  const module = new WebAssembly.Module(bytes("computing", "fuel_plain"));
  const busy = (milliseconds) => {
    for (const end = performance.now() + milliseconds; performance.now() < end; );
  };

  /** Gives others all turns. */
  class Unfair extends FairShares {
    #others = [];

    constructor(chosen) {
      super();
      this.chosen = chosen;
    }

    add(share) {
      if (share.exports == this.chosen) super.add(share);
      else this.#others.push(share);
    }

    remove(share) {
      super.remove(share);
      this.#others = this.#others.filter((one) => one != share);
    }

    choose() {
      return super.choose() ?? this.#others.shift();
    }
  }

  let stop = async () => {};
  afterEach(() => stop());

  /** Let a guest compute for ever, and have all turns, next to another one, which is returned. */
  async function compete(later) {
    const end = new AbortController();
    const spinner = await instantiate(module, { env: { again() {}, later() {} } });
    const other = await instantiate(module, { env: { again() {}, later: new Suspending(later) } });
    usePolicy(new Unfair(spinner.exports));
    const spinning = promising(spinner.exports.spin, { slice: 1, signal: end.signal })().catch(() => {});
    stop = async () => {
      stop = async () => {};
      end.abort();
      await spinning;
      await sleep(5);
      usePolicy(new FairShares());
    };
    await sleep(10); // and have its slice
    return other;
  }

  /** Call an export until it has to wait for a turn: guests may have computed little just then. */
  async function waitingCall({ exports }, options) {
    for (;;) {
      const waiting = promising(exports.quick, { slice: 1, ...options })(4);
      if ((await Promise.race([waiting, sleep(5).then(() => "waits")])) == "waits") return { waiting };
    }
  }

  it("is rejected at once where it has not begun", async () => {
    const other = await compete(() => {});
    const end = new AbortController();
    const { waiting } = await waitingCall(other, { signal: end.signal });
    end.abort(new Error("enough"));
    await assert.rejects(waiting, /^Error: enough/);
    await stop();
    assert.equal(await promising(other.exports.quick, { slice: 1 })(4), 8);
    assert.ok(usage(other).fuel < 1000n);
  });

  it("is rejected at once by close", async () => {
    const other = await compete(() => {});
    const calls = [await waitingCall(other), await waitingCall(other)];
    close(other);
    for (const { waiting } of calls) await assert.rejects(waiting, /^SuspendError: the instance is closed/);
  });

  it("is thrown the reason where it has waited", async () => {
    let calls = 0;
    const other = await compete(() => {
      calls++;
      busy(2); // so that it has had its slice
      return sleep(1);
    });
    const end = new AbortController();
    const waiting = promising(other.exports.ask_later, { slice: 1, signal: end.signal })();
    await sleep(30);
    end.abort(new Error("enough"));
    await assert.rejects(waiting, /^Error: enough/);
    assert.ok(calls <= 1, `${calls} calls`);
    await stop();
    assert.equal(await promising(other.exports.quick, { slice: 1 })(4), 8);
  });
});

describe("signals", () => {
  const module = new WebAssembly.Module(bytes("computing", "fuel_plain"));

  it("a call that waits ends though another of its guest computes for ever", async () => {
    const { exports } = await instantiate(module, { env: { again() {}, later: new Suspending(() => new Promise(() => {})) } });
    const end = new AbortController();
    const waiting = promising(exports.ask_later, { slice: 1, signal: end.signal })();
    const spinning = new AbortController();
    const other = promising(exports.spin, { slice: 1, signal: spinning.signal })();
    await sleep(10);
    end.abort(new Error("enough"));
    await assert.rejects(waiting, /^Error: enough/);
    spinning.abort();
    await assert.rejects(other);
    assert.equal(await promising(exports.quick, { slice: 1 })(4), 8);
  });

  it("hold nothing of instances that are closed", async () => {
    const { signal } = new AbortController();
    const calls = [];
    const hold = (instance, name, options, ...parameters) => calls.push(promising(instance.exports[name], { signal, ...options })(...parameters).catch((error) => error));
    for (const [name, options, ...parameters] of [["ask_later", {}], ["spin", { slice: 0.5 }], ["count", { fuel: 1000 }, 1n << 40n]]) {
      const instance = await instantiate(module, { env: { again() {}, later: new Suspending(() => new Promise(() => {})) } });
      hold(instance, name, options, ...parameters);
      await sleep(5);
      close(instance);
    }
    assert.deepEqual(getEventListeners(signal, "abort"), []);
    assert.deepEqual((await Promise.all(calls)).map(({ name }) => name), ["SuspendError", "SuspendError", "BudgetExhausted"]);
  });

  it("hold nothing of calls that have ended", async () => {
    const { exports } = await instantiate(module, { env: { again() {}, later() {} } });
    const { signal } = new AbortController();
    for (let round = 0; round < 3; round++) {
      const calls = Array.from({ length: 20 }, () => promising(exports.count, { slice: 1, signal })(300_000n));
      assert.equal(getEventListeners(signal, "abort").length, 1);
      await Promise.all(calls);
      assert.equal(getEventListeners(signal, "abort").length, 0);
    }
  });
});
