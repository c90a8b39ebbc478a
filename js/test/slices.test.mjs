/** Time slices and budgets: guests that compute, in every way, next to others that want their turn. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { close, instantiate, promising as base, Suspending } from "../src/index.js";
import { BudgetExhausted, FairShares, instantiate as instantiateSliced, promising, usage, usePolicy } from "../src/slices.js";
import { bytes, sleep } from "./support/guests.mjs";

const builds = ["fuel_plain", "fuel_thunks", "fuel_secondary"].filter((build) => WebAssembly.validate(bytes("computing", build)));
const modules = Object.fromEntries(builds.map((build) => [build, new WebAssembly.Module(bytes("computing", build))]));
const MUCH = 3_000_000n;
const SPINS = { spin: [], recurse: [], tail: [], through_table: [], grow: [], fill: [], ask_again: [0], count: [-1n], is_even: [-1], fib: [60] };

/** Instances, by their exports. */
const instances = new WeakMap();

/** Twice, since it may be this one that the guests have used up just now. */
const untilNextTurn = async () => {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
};

const exhaustion = (promise) =>
  promise.then(
    (result) => assert.fail(`it returned ${result}`),
    (error) => (assert.ok(error instanceof BudgetExhausted, error.stack), error),
  );

for (const build of builds) {
  const make = async ({ again = (value) => value, later = async (value) => value, ...options } = {}) => {
    const instance = await instantiate(modules[build], { env: { again, later: new Suspending(later) } }, options);
    instances.set(instance.exports, instance);
    await untilNextTurn(); // so that calls begin at once, whatever has computed before
    return instance.exports;
  };

  describe(`time slices: ${build}`, () => {
    for (const [name, parameters] of Object.entries(SPINS)) {
      it(`the event loop goes on next to what computes for ever, until that is given up: ${name}`, async () => {
        const exports = await make();
        const end = new AbortController();
        const spinning = promising(exports[name], { slice: 1, signal: end.signal })(...parameters);
        for (let turns = 0; turns < 3; turns++) await sleep(1);
        end.abort(new Error("enough"));
        await assert.rejects(spinning, /^Error: enough$/);
        assert.equal(await promising(exports.count, { slice: 1 })(5n), 5n);
      });
    }

    it("an abort ends what waits within moments, though it comes when that waits for its turn", async () => {
      let asked = 0;
      const later = async () => {
        if (++asked > 1_000_000) throw new Error("nobody ends it");
        for (const until = performance.now() + 0.05; performance.now() < until; ); // so that it is a turn's last often
        return 0;
      };
      for (let attempt = 0; attempt < 5; attempt++) {
        const exports = await make({ later });
        const end = new AbortController();
        const waiting = promising(exports.ask_later, { slice: 0.2, signal: end.signal })();
        for (let turns = 0; turns < 3; turns++) await sleep(1);
        const before = asked;
        end.abort(new Error("enough"));
        await assert.rejects(waiting, /^Error: enough$/);
        assert.ok(before > 0 && asked - before < 1000, `${asked - before} more`);
      }
    });

    it("what an import calls has no more time than what has called it, and ends with it", async () => {
      for (const limits of [undefined, { slice: 2 }]) {
        const later = () => promising(exports.spin, limits)();
        const exports = await make({ later });
        const end = new AbortController();
        const waiting = promising(exports.later_and_count, { slice: 1, signal: end.signal })(1, 5n);
        for (let turns = 0; turns < 3; turns++) await sleep(1);
        end.abort(new Error("enough"));
        await assert.rejects(waiting, /^Error: enough$/);
        assert.equal(await promising(exports.count, { slice: 1 })(5n), 5n);
      }
    });

    it("results and memory are what they are without", async () => {
      const exports = await make();
      const sliced = (name) => promising(exports[name], { slice: 0.5 });
      assert.equal(await sliced("count")(MUCH), MUCH);
      assert.equal(await sliced("depth")(300, MUCH), MUCH + 300n);
      assert.equal(await sliced("fib")(27), 196418);
      assert.equal(await sliced("is_even")(2_000_001), 0);
      assert.equal(await sliced("quick")(21), 42);
      assert.equal(new BigInt64Array(exports.memory.buffer)[128], MUCH);
    });

    it("guests that compute take turns, next to others that never end", async () => {
      const hostile = new AbortController();
      const spinning = [];
      for (let number = 0; number < 10; number++) {
        spinning.push(promising((await make()).spin, { slice: 1, signal: hostile.signal })().catch((error) => error.name));
      }
      const results = [];
      for (let number = 0; number < 10; number++) results.push(promising((await make()).depth, { slice: 1 })(20, MUCH));
      assert.deepEqual(await Promise.all(results), Array(10).fill(MUCH + 20n));
      hostile.abort();
      assert.deepEqual(await Promise.all(spinning), Array(10).fill("AbortError"));
    });

    it("calls that begin at once take turns, too", async () => {
      let turns = 0;
      const counting = setInterval(() => turns++);
      const all = [];
      const guests = await Promise.all(Array.from({ length: 30 }, () => make()));
      for (const { count } of guests) all.push(promising(count, { slice: 1 })(MUCH));
      await Promise.all(all);
      clearInterval(counting);
      assert.ok(turns > 3, `${turns} turns`);
    });

    it("calls that wait keep their frames while others are paused, and go on behind them", async () => {
      const order = [];
      const exports = await make({ later: (value) => sleep(1, value) });
      const waiting = [1, 2, 3].map((number) => promising(exports.later_and_count, { slice: 0.5 })(number, MUCH));
      waiting.push(base(exports.later_and_count)(4, 10n), promising(exports.depth, { slice: 0.5 })(100, MUCH));
      waiting.forEach((promise, number) => promise.then(() => order.push(number)));
      assert.deepEqual(await Promise.all(waiting), [MUCH + 1n, MUCH + 2n, MUCH + 3n, 14n, MUCH + 100n]);
      assert.equal(order.length, 5);
    });

    it("exports that somebody calls himself while a call is paused trap, and nothing is lost", async () => {
      const exports = await make();
      const running = promising(exports.count, { slice: 0.5 })(10n * MUCH);
      assert.throws(() => exports.count(10n), WebAssembly.RuntimeError);
      assert.equal(exports.quick(4), 8);
      assert.equal(await running, 10n * MUCH);
      assert.equal(exports.count(10n), 10n);
    });

    it("what an import calls in the guest goes on beyond the slice, to a bound", async () => {
      const problems = [];
      const exports = await make({
        again(value) {
          if (value) return Number(exports.count(BigInt(value)) & 0xffn);
          try {
            exports.spin();
          } catch (error) {
            problems.push(error.constructor);
            throw error;
          }
        },
      });
      assert.equal(await promising(exports.call_again, { slice: 0.5 })(200_000), (200_000 & 0xff) + 1);
      await assert.rejects(promising(exports.call_again, { slice: 1 })(0), (error) => {
        assert.ok(error instanceof WebAssembly.RuntimeError);
        assert.match(error.message, /^export call_again: what env.again has called in the guest went on beyond its slice of 1 ms/);
        return true;
      });
      assert.deepEqual(problems, [WebAssembly.RuntimeError]);
      assert.equal(await promising(exports.count, { slice: 1 })(MUCH), MUCH);
    });

    it("what imports take is not the time of what they call in the guest", async () => {
      const busy = () => {
        for (const until = performance.now() + 80; performance.now() < until; );
      };
      for (const isBusy of [1, 2, 4, 7]) {
        const exports = await make({
          again(value) {
            if (isBusy & value) busy();
            if (value == 1) return value;
            assert.equal(exports.count(100n), 100n);
            return value == 2 ? exports.call_again(4) : Number(exports.count(BigInt(value)));
          },
        });
        assert.equal(await promising(exports.again_twice, { slice: 1 })(1, 2), 6);
        assert.equal(await promising(exports.again_twice, { slice: 1 })(2, 1), 6);
      }
    });

    it("what imports call in a row has the 50 ms once in a slice, which ends behind the first that takes them", async () => {
      let stopped = 0;
      const exports = await make({
        again(value) {
          try {
            exports.count(BigInt(value));
          } catch {
            stopped++;
            for (const until = performance.now() + 80; performance.now() < until; ); // the count is ahead of the clock
          }
          return value;
        },
      });
      await promising(exports.again_twice, { slice: 0.1 })(1, 1);
      assert.equal(stopped, 0);
      await promising(exports.again_twice, { slice: 0.1 })(0x7fffffff, 1000);
      assert.equal(stopped, 1);
    });

    it("what counts much in little time is not stopped, call by call", async () => {
      const exports = await make({ again: () => Number(exports.count(400_000n) & 0xffn) });
      for (let times = 0; times < 20; times++) await promising(exports.ask_again, { slice: 5 })(100);
    });

    it("an import that stops what it has called goes on, and so does its call", async () => {
      let attempts = 0;
      const exports = await make({
        again(value) {
          for (; attempts < 3; attempts++) assert.throws(() => exports.spin(), WebAssembly.RuntimeError);
          return value;
        },
      });
      assert.equal(await promising(exports.again_and_count, { slice: 1 })(3, MUCH), MUCH + 3n);
      assert.equal(attempts, 3);
    });

    it("calls that an import makes by promising are paused, and those of other guests", async () => {
      const other = await make();
      const exports = await make({
        later: async (value) => Number((await promising(value ? exports.count : other.count, { slice: 0.5 })(MUCH)) & 0xffn),
      });
      assert.equal(await promising(exports.later_and_count, { slice: 1 })(1, MUCH), MUCH + (MUCH & 0xffn));
      assert.equal(await promising(exports.later_and_count, { slice: 1 })(0, MUCH), MUCH + (MUCH & 0xffn));
    });

    it("a closed guest ends at its next pause point at the latest", async () => {
      const instance = await instantiate(modules[build], { env: { again() {}, later() {} } });
      const spinning = promising(instance.exports.spin, { slice: 1 })();
      const next = promising(instance.exports.count, { slice: 1 })(5n);
      await sleep(1);
      close(instance);
      await assert.rejects(spinning, /the instance is closed/);
      await assert.rejects(next, /the instance is closed/);
    });

    it("what is in somebody's hands when its guest is closed is gone", async () => {
      const instance = await instantiate(modules[build], { env: { again() {}, later() {} } });
      const { call } = await exhaustion(promising(instance.exports.spin, { fuel: 1000 })());
      close(instance);
      await assert.rejects(call.resume(), { name: "SuspendError", message: "the instance is closed" });
      call.drop();
      assert.ok(!call.isHeld);
    });

    it("an asyncify stack that is too small ends the call, not the guest", { skip: build == "fuel_secondary" && "its stack grows" }, async () => {
      const exports = await make({ stackSize: 1024 });
      await assert.rejects(promising(exports.depth, { slice: 0.5 })(1000, MUCH), /^RangeError: export depth: the asyncify stack of \d+ bytes is too small/);
      assert.equal(await promising(exports.count, { slice: 0.5 })(MUCH), MUCH);
    });
  });

  it(`what is counted without bounds counts, too, a start function's as well: ${build}`, async () => {
    const fuels = [];
    for (const slice of [undefined, 1]) {
      const { instance } = await instantiateSliced(bytes("starting", build), {}, { slice });
      fuels.push(usage(instance).fuel);
    }
    assert.ok(fuels[0] > 20_000_000n);
    assert.equal(fuels[1], fuels[0]);
    const counts = [];
    for (const by of [promising, base, (f) => promising(f, { slice: 1 })]) {
      const exports = await make();
      assert.equal(await by(exports.count)(MUCH), MUCH);
      counts.push(usage(instances.get(exports)).fuel);
      await by(exports.count)(MUCH);
      counts.push(usage(instances.get(exports)).fuel / 2n);
    }
    assert.ok(counts[0] > MUCH);
    assert.deepEqual(new Set(counts), new Set([counts[0]]));
  });

  describe(`budgets: ${build}`, () => {
    for (const [name, parameters] of Object.entries(SPINS)) {
      it(`what computes for ever is suspended, and can be dropped: ${name}`, async () => {
        const exports = await make();
        const { call, message } = await exhaustion(promising(exports[name], { fuel: 10_000 })(...parameters));
        assert.match(message, new RegExp(`^the call of ${name} has used up its budget, 10000 units of fuel, and is suspended`));
        assert.ok(call.fuel > 10_000n && call.fuel < 20_000n, `${call.fuel}`);
        const again = await exhaustion(call.resume({ fuel: 5000n, slice: 1 }));
        assert.ok(again.call.fuel > call.fuel + 5000n);
        again.call.drop();
        assert.equal(again.call.isHeld, false);
        await assert.rejects(call.resume(), TypeError);
        assert.equal(await promising(exports.count, { fuel: 10_000 })(5n), 5n);
      });
    }

    it("slices change nothing of what is counted", async () => {
      const counts = [];
      for (const slice of [undefined, 0.5, 2]) {
        const exports = await make();
        const { call } = await exhaustion(promising(exports.depth, { fuel: 7_654_321n, slice })(10, MUCH));
        const used = call.fuel;
        assert.equal(await call.resume(), MUCH + 10n);
        counts.push([used, usage(instances.get(exports)).fuel]);
      }
      assert.deepEqual(counts[1], counts[0]);
      assert.deepEqual(counts[2], counts[0]);
    });

    it("one that is not used up ends nothing, and none bounds nothing", async () => {
      const exports = await make();
      assert.equal(await promising(exports.count)(1000n), 1000n);
      const promise = promising(exports.count, { fuel: 1n << 62n });
      assert.equal(await promise(1000n), 1000n);
      await base(exports.count)(1000n);
      const before = usage(instances.get(exports)).fuel;
      exports.count(1000n);
      assert.equal(usage(instances.get(exports)).fuel - before, before / 3n);
    });

    it("other calls wait for a paused one, but not for one in somebody's hands", async () => {
      const exports = await make();
      const { call } = await exhaustion(promising(exports.spin, { fuel: 1000 })());
      for (const by of [base, promising]) {
        await assert.rejects(by(exports.count)(1n), /^SuspendError: export count: a call of spin is paused in the middle of the guest's code: resume or drop it/);
      }
      call.drop();
      assert.equal(await base(exports.count)(1n), 1n);
    });

    for (const wait of [0, 10]) {
      it(`one that is aborted in somebody's hands is gone with the signal's reason, ${wait} ms later`, async () => {
        const aborted = async () => {
          const exports = await make();
          const end = new AbortController();
          const { call } = await exhaustion(promising(exports.count, { fuel: 1000, signal: end.signal })(MUCH));
          end.abort(new Error("enough"));
          const other = promising(exports.count)(2n); // which nobody has to let go on
          if (wait) await sleep(wait);
          return { exports, call, other };
        };
        const resumed = await aborted();
        await assert.rejects(resumed.call.resume({ fuel: 10 ** 10 }), /^Error: enough$/);
        await assert.rejects(resumed.call.resume(), /^Error: enough$/);
        assert.equal(await resumed.other, 2n);
        const dropped = await aborted();
        if (wait) assert.equal(dropped.call.isHeld, false);
        dropped.call.drop();
        assert.equal(await dropped.other, 2n);
        assert.equal(await promising(dropped.exports.count)(3n), 3n);
      });
    }

    it("what imports call in the guest is charged to their call, which is told", async () => {
      const inner = [];
      const exports = await make({
        later: (value) => {
          const result = promising(exports.count)(BigInt(value));
          inner.push(result);
          return result.then(Number);
        },
      });
      const later = promising(exports.later_and_count, { fuel: 1n << 40n });
      await later(1, 1n); // its frames have room from now on
      const before = usage(instances.get(exports)).fuel;
      assert.equal(await later(100_000, 1000n), 101_000n);
      const used = usage(instances.get(exports)).fuel - before;
      inner.length = 0;
      inner.push(Promise.resolve(100_000n));
      const { call } = await exhaustion(promising(exports.later_and_count, { fuel: used / 2n })(100_000, 1000n));
      assert.equal(call.export, "later_and_count");
      const other = await exhaustion(call.resume({ fuel: used / 4n }));
      assert.equal(await other.call.resume(), 101_000n);
      assert.deepEqual(await Promise.all(inner), [100_000n, 100_000n]);
      assert.equal(usage(instances.get(exports)).fuel - before, 2n * used);
      const { call: third } = await exhaustion(promising(exports.later_and_count, { fuel: used / 2n })(100_000, 1000n));
      third.drop();
      await assert.rejects(inner[2], /the call of later_and_count was dropped/);
      assert.equal(await promising(exports.count)(3n), 3n);
    });

    it("what cannot be suspended is charged, too, and stopped beyond its tolerance", async () => {
      const exports = await make({ again: (value) => (value ? Number(exports.count(BigInt(value))) : exports.spin()) });
      const { call } = await exhaustion(promising(exports.again_and_count, { fuel: 100_000 })(50_000, 50_000n));
      assert.ok(call.fuel > 50_000n * 10n);
      assert.equal(await call.resume(), 100_000n);
      await assert.rejects(promising(exports.again_and_count, { fuel: 100_000 })(0, 5n), /went on beyond its budget/);
      assert.equal(await promising(exports.count)(3n), 3n);
    });
  });
}

for (const build of ["fuel_plain", "fuel_thunks"]) {
  for (const name of ["by_table", "by_value"]) {
    it(`what imports call without an export, and that calls them again, is stopped: ${name}, ${build}`, async () => {
      const { instance } = await instantiate(bytes("called_back", build), {
        env: { by_table: (index, value) => instance.exports.table.get(index)(value), by_value: (f, value) => f(value) },
      });
      const calls = promising(instance.exports[name], { slice: 1 });
      await calls(5);
      await assert.rejects(calls(60), /cannot be suspended/);
    });
  }
}

for (const build of ["fuel_plain", "fuel_thunks"]) {
  describe(`imports that are called in a row: ${build}`, { skip: !WebAssembly.validate(bytes("in_a_row", build)) && "this engine has no tail calls" }, () => {
    for (const name of ["calls", "through_a_table", "tail_calls", "tail_calls_through_a_table", "coroutines"]) {
      it(`the event loop goes on behind each: ${name}`, async () => {
        const events = [];
        const work = () => {
          events.push("work");
          for (const until = performance.now() + 2; performance.now() < until; );
        };
        const { instance } = await instantiate(bytes("in_a_row", build), { env: { work, later: new Suspending(work) } });
        await sleep(1);
        let ended = false;
        const others = () => {
          events.push("others");
          if (!ended) setImmediate(others);
        };
        setImmediate(others);
        await promising(instance.exports[name], { slice: 1 })();
        ended = true;
        assert.equal(events.filter((event) => event == "work").length, 6);
        assert.ok(!events.some((event, at) => event == "work" && events[at + 1] == "work"), events.join());
        assert.ok(usage(instance).slices >= 5);
      });
    }
  });
}

describe("guests whose addresses have 64 bits", { skip: !WebAssembly.validate(bytes("computing64", "fuel_plain")) && "this engine has no such memories" }, () => {
  for (const build of ["fuel_plain", "fuel_thunks"]) {
    it(`have slices and budgets, to where nothing can be suspended: ${build}`, async () => {
      const options = { region: [0n, 65536n] };
      let asked = 0;
      const ask = new Suspending((number) => (++asked == 4 ? Number(exports.count(0, 1n << 60n)) : asked > 4 ? number : sleep(0, number)));
      const { exports } = await instantiate(new WebAssembly.Module(bytes("computing64", build)), { env: { ask } }, options);
      assert.equal(await promising(exports.count, { slice: 0.5 })(20, MUCH), MUCH + 20n);
      const { call } = await exhaustion(promising(exports.count, { fuel: 10_000 })(20, MUCH));
      assert.equal(await call.resume({ slice: 0.5 }), MUCH + 20n);
      assert.equal(await promising(exports.count, { slice: 0.5 })(0, 5n), 5n);
      await assert.rejects(promising(exports.count, { slice: 0.5 })(3, 5n), /went on beyond its slice of 0.5 ms/);
      assert.equal(await promising(exports.count, { slice: 0.5 })(0, 5n), 5n);
    });
  }
});

describe("C stacks of calls that are paused", () => {
  for (const build of ["fuel_plain", "fuel_thunks"]) {
    it(`are kept apart, wherever each is paused and whatever waits: ${build}`, async () => {
      let seed = 7;
      const random = (below) => (seed = (seed * 48271) % 0x7fffffff) % below;
      const ask = new Suspending((id) => (random(3) ? sleep(random(3), id) : Promise.resolve(id)));
      const { exports } = await instantiate(new WebAssembly.Module(bytes("stacks", build)), { env: { ask, host: () => 0 } });
      let pauses = 0;
      const go = async (running) => {
        for (;;) {
          try {
            return await running;
          } catch (error) {
            if (!(error instanceof BudgetExhausted)) throw error;
            pauses++;
            await (random(2) ? null : sleep(random(2)));
            running = error.call.resume({ fuel: 1 + random(40), slice: 0.5 });
          }
        }
      };
      await untilNextTurn(); // so that none has to wait for one
      const calls = Array.from({ length: 12 }, (_, id) => go(promising(exports.dig, { fuel: 30 })(id, 15 + id)));
      assert.deepEqual(await Promise.all(calls), calls.map((_, id) => 2 * (16 + id) * id));
      assert.ok(pauses > 50, `${pauses} pauses`);
    });
  }
});

describe("the policy", () => {
  /** Each slice counts as one, however long it was. */
  class Even extends FairShares {
    chosen = [];
    add(share) {
      if (share.ran) share.ran = 1;
      super.add(share);
    }
    choose() {
      const share = super.choose();
      if (share) this.chosen.push(`${share.weight}/${share.priority}`);
      return share;
    }
  }

  /** Let guests compute for ever. Returns who had the first turns once all compute. */
  async function compete(options, turns) {
    const policy = new Even();
    usePolicy(policy);
    const end = new AbortController();
    const spinning = [];
    for (const share of options) {
      const { exports } = await instantiate(modules.fuel_plain, { env: { again() {}, later() {} } });
      spinning.push(promising(exports.spin, { slice: 1, signal: end.signal, ...share })().catch(() => {}));
    }
    await sleep(1);
    policy.chosen = [];
    while (policy.chosen.length < turns) await sleep(1);
    end.abort();
    await Promise.all(spinning);
    usePolicy(new FairShares());
    return policy.chosen.slice(0, turns);
  }

  it("gives time by weight", async () => {
    const chosen = await compete([{ weight: 1 }, { weight: 3 }], 40);
    const heavy = chosen.filter((name) => name == "3/0").length;
    assert.ok(heavy >= 28 && heavy <= 32, `${heavy} of 40 turns`);
  });

  it("lets those of the highest priority go first, and nobody starve", async () => {
    const chosen = await compete([{ priority: 0 }, { priority: 1 }, { priority: 1 }], 80);
    const low = chosen.filter((name) => name == "1/0").length;
    assert.ok(low >= 3 && low <= 10, `${low} of 80 turns`);
  });

  for (const others of [1, 4]) {
    it(`has the turns of who waits for nothing just before each slice ends, too, next to ${others}`, async () => {
      const slice = 2;
      let units = 0;
      const waiter = await instantiate(modules.fuel_plain, {
        env: {
          again() {},
          later: new Suspending(() => {
            for (const end = performance.now() + 0.6 * slice; performance.now() < end; );
            units++;
            return new Promise((resolve) => setImmediate(resolve, 0));
          }),
        },
      });
      const turns = new Map();
      class Counting extends FairShares {
        choose() {
          const share = super.choose();
          if (share) turns.set(share.exports, (turns.get(share.exports) ?? 0) + 1);
          return share;
        }
      }
      usePolicy(new Counting());
      const end = new AbortController();
      const spinners = await Promise.all(Array.from({ length: others }, () => instantiate(modules.fuel_plain, { env: { again() {}, later() {} } })));
      const all = [...spinners.map(({ exports }) => exports.spin), waiter.exports.ask_later].map((f) => promising(f, { slice, signal: end.signal })().catch(() => {}));
      while (!(turns.get(spinners[0].exports) > 20)) await sleep(1);
      end.abort();
      await Promise.all(all);
      await sleep(1); // one was aborted while it waited for a turn
      assert.ok(units > 1 && units <= 2 * (turns.get(waiter.exports) + 1), `${units} times, ${turns.get(waiter.exports)} turns`);
      usePolicy(new FairShares());
    });
  }

  it("is told of each millisecond once, also where several calls of a guest wait for turns", async () => {
    const instance = await instantiate(modules.fuel_plain, { env: { again() {}, later() {} } });
    const spinner = await instantiate(modules.fuel_plain, { env: { again() {}, later() {} } });
    let charged = 0;
    class Charging extends FairShares {
      add(share) {
        if (share.exports == instance.exports) charged += share.ran;
        super.add(share);
      }
    }
    usePolicy(new Charging());
    const end = new AbortController();
    const spinning = promising(spinner.exports.spin, { slice: 1, signal: end.signal })();
    await sleep(1);
    const count = promising(instance.exports.count, { slice: 1 });
    await Promise.all(Array.from({ length: 8 }, () => count(300_000n)));
    end.abort();
    await assert.rejects(spinning);
    const { time } = usage(instance);
    assert.ok(charged > 0 && charged <= time, `${charged} of ${time} ms`);
    usePolicy(new FairShares());
  });

  it("can be replaced, but not while guests wait for a turn by it, and by none that is incomplete", async () => {
    assert.throws(() => usePolicy({ add() {}, remove() {} }), /^TypeError: the policy has no method choose/);
    assert.throws(() => usePolicy(FairShares), /^TypeError: the policy is a class/);
    assert.throws(() => usePolicy({ add() {}, remove() {}, async choose() {} }), /^TypeError: the policy's method choose is an async function/);
    const { exports } = await instantiate(modules.fuel_plain, { env: { again() {}, later() {} } });
    const end = new AbortController();
    const spinning = promising(exports.spin, { slice: 1, signal: end.signal })();
    await sleep(1);
    try {
      assert.throws(() => usePolicy(new FairShares()), /guests wait for a turn/);
    } finally {
      end.abort();
    }
    await assert.rejects(spinning);
    usePolicy(new FairShares());
  });
});

describe("a policy that fails", () => {
  /** Works for five turns, and then once does what a policy must not do. */
  class Failing extends FairShares {
    turns = 0;
    waiting = 0;
    constructor(fault, thrown = new Error("the policy is wrong")) {
      super();
      this.fault = fault;
      this.thrown = thrown;
    }
    fails(fault) {
      if (this.fault != fault || this.turns < 5 || !this.waiting) return false;
      this.fault = "";
      return true;
    }
    add(share) {
      if (this.fails("add")) throw this.thrown;
      super.add(share);
      this.waiting++;
    }
    remove(share) {
      super.remove(share);
      this.waiting--;
    }
    choose() {
      if (this.fails("choose")) throw this.thrown;
      if (this.fails("promise")) return Promise.reject(new Error("nobody waits for it"));
      if (this.fails("nobody")) return undefined;
      if (this.fails("another")) return { exports: {}, weight: 1 };
      const share = super.choose();
      if (share) [this.turns, this.waiting] = [this.turns + 1, this.waiting - 1];
      return share;
    }
  }

  for (const [fault, message, thrown] of [
    ["promise", /^TypeError: the policy has failed.*it has chosen a promise/],
    ["choose", /^TypeError: the policy has failed.*Symbol\(wrong\)/, Symbol("wrong")],
    ["choose", /^TypeError: the policy has failed.*object/, Object.create(null)],
    ["add", /^TypeError: the policy has failed.*null/, null],
    ["choose", /^TypeError: the policy has failed, so no turn comes: Error: the policy is wrong/],
    ["nobody", /^TypeError: the policy has failed.*it has chosen nobody, though guests wait/],
    ["another", /^TypeError: the policy has failed.*what is no guest that waits/],
    ["add", /^TypeError: the policy has failed.*the policy is wrong/],
  ]) {
    it(`is told to who waits for a turn, and those who come later have theirs: ${fault}, ${message}`, async () => {
      await sleep(1);
      usePolicy(new Failing(fault, thrown));
      const end = new AbortController();
      const guests = [];
      for (let number = 0; number < 3; number++) {
        guests.push((await instantiate(modules.fuel_plain, { env: { again() {}, later: new Suspending(async () => 0) } })).exports);
      }
      const spinning = guests.map(({ spin, ask_later }, number) => promising(number ? spin : ask_later, { slice: 0.5, signal: end.signal })());
      await assert.rejects(fault == "add" ? Promise.race(spinning) : spinning[0], message);
      if (fault != "add") for (const call of spinning) await assert.rejects(call, message);
      end.abort(new Error("enough"));
      await Promise.allSettled(spinning);
      assert.deepEqual(await Promise.all(guests.map(({ count }) => promising(count, { slice: 0.5 })(MUCH))), [MUCH, MUCH, MUCH]);
      usePolicy(new FairShares());
    });
  }

  for (const way of ["abort", "close"]) {
    it(`and does not keep a call from being ended: ${way}`, async () => {
      await sleep(1);
      let isBroken = false;
      class Unforgetting extends FairShares {
        remove(share) {
          super.remove(share);
          if (isBroken) throw new Error("the policy is wrong");
        }
      }
      usePolicy(new Unforgetting());
      const end = new AbortController();
      const instances = [];
      for (let number = 0; number < 3; number++) {
        instances.push(await instantiate(modules.fuel_plain, { env: { again() {}, later() {} } }));
      }
      const [first, ...others] = instances.map(({ exports }, number) => promising(exports.spin, { slice: 0.5, signal: number ? undefined : end.signal })());
      const ends = Promise.allSettled(others);
      await sleep(5);
      isBroken = true;
      if (way == "abort") end.abort(new Error("enough"));
      else close(instances[0]);
      await assert.rejects(first, way == "abort" ? /^Error: enough$/ : /^SuspendError: the instance is closed$/);
      if (way == "close") others.forEach((_, number) => close(instances[number + 1]));
      for (const { reason } of await ends) assert.match(String(reason), /^TypeError: the policy has failed.*the policy is wrong|^SuspendError: the instance is closed$/);
      for (let isBusy = true; isBusy; ) {
        await sleep(1); // those that are closed have had their turn some time
        try {
          usePolicy(new FairShares());
          isBusy = false;
        } catch (error) {
          assert.match(String(error), /guests wait for a turn/);
        }
      }
    });
  }
});

describe("what cannot be bounded is refused", () => {
  it("values that are none", async () => {
    const { exports } = await instantiate(modules.fuel_plain, { env: { again() {}, later() {} } });
    for (const [options, kind] of [
      [{ slice: "1" }, TypeError],
      [{ slice: 0 }, RangeError],
      [{ slice: NaN }, RangeError],
      [{ slice: Infinity }, RangeError],
      [{ slice: -1 }, RangeError],
      [{ fuel: 1.5 }, TypeError],
      [{ fuel: 2 ** 60 }, TypeError],
      [{ fuel: 0 }, RangeError],
      [{ fuel: -5n }, RangeError],
      [{ fuel: (1n << 62n) + 1n }, RangeError],
      [{ slice: 1, weight: 0 }, RangeError],
      [{ slice: 1, weight: 1e-9 }, RangeError],
      [{ slice: 1, weight: 1e9 }, RangeError],
      [{ slice: 1, priority: 0.5 }, TypeError],
      [{ slice: 1, fule: 5 }, TypeError],
      [{ slice: 1, signal: 5 }, TypeError],
    ]) {
      assert.throws(() => promising(exports.count, options), kind, JSON.stringify(options, (_, value) => String(value)));
    }
    assert.throws(() => promising(exports.count, { sliced: 1 }), /^TypeError: option sliced: there is none of this name, but slice, fuel, weight, priority, signal$/);
    await assert.rejects(instantiateSliced(modules.fuel_plain, {}, { budget: 1 }), /^TypeError: option budget: there is none of this name, but .*region.* slice, fuel, weight, priority, signal$/);
    for (const resume of [(call) => call.resume({ sliced: 1 }), (call) => call.resume(7)]) {
      const { call } = await exhaustion(promising(exports.spin, { fuel: 1000 })());
      await assert.rejects(resume(call), /^TypeError: option sliced: there is none of this name, but slice, fuel$|^TypeError: options: not an object: 7/);
      call.drop();
    }
    assert.throws(() => base(exports.count, { slice: 1 }), /^TypeError: option slice/);
  });

  it("modules without pause points, and functions that belong to nobody", async () => {
    const env = { again() {}, later() {} };
    for (const build of ["bare", "thunks"]) {
      const { instance } = await instantiate(bytes("computing", build), { env });
      assert.throws(() => promising(instance.exports.count, { slice: 1 }), /^TypeError: slice and fuel: the module does not count: instrument it with --preempt fuel/);
    }
    const { exports } = await instantiate(modules.fuel_plain, { env });
    assert.throws(() => promising(exports.table.get(0), { slice: 1 }), /^TypeError: slice and fuel: the function is not exported by an instance of caesura's/);
    assert.throws(() => promising(() => {}, { slice: 1 }), TypeError);
    const linked = await instantiate(modules.fuel_plain, { env: { again: exports.quick, later() {} } });
    assert.throws(() => promising(linked.exports.count, { slice: 1 }), /imports functions of other instances/);
    assert.equal(linked.exports.call_again(4), 9);
  });
});

describe("guests with pause points and no slices", () => {
  for (const build of [...builds, "flag_secondary"].filter((build) => WebAssembly.validate(bytes("computing", build)))) {
    it(`run as others do: ${build}`, async () => {
      const env = { again: (value) => value, later: new Suspending((value) => sleep(1, value)) };
      const { instance } = await instantiate(bytes("computing", build), { env });
      const calls = [1, 2, 3].map((number) => base(instance.exports.later_and_count)(number, 1000n));
      assert.deepEqual(await Promise.all(calls), [1001n, 1002n, 1003n]);
      assert.equal(await base(instance.exports.depth)(50, 1000n), 1050n);
    });
  }
});
