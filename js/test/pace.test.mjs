/** Portions of fuel: a guest gets on and keeps to its slices, whatever it takes to suspend it, and at whatever speed. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { instantiate } from "../src/index.js";
import { makePace } from "../src/pace.js";
import { promising, usage } from "../src/slices.js";
import { bytes } from "./support/guests.mjs";

const MOST = 0.125;
const SPEED = 300_000;

// What loops that look once in many iterations count for each look.
const CHUNK = 16_384;

/**
 * For how many milliseconds a guest computes in each portion, and how many that takes with what suspends it. It counts so
 * many units each time it looks, and pauses when it looks.
 */
function portions(cost, speed, { count = 300, inALook = 1 } = {}) {
  const pace = makePace();
  return [...Array(count).keys()].map((number) => {
    const units = Math.ceil(Math.floor(pace.portion(MOST)) / inALook) * inALook;
    const own = units / speed(number);
    pace.learn(units, own + cost(number), MOST, true, () => 100_000);
    return [own, own + cost(number)];
  });
}

const sum = (values) => values.reduce((all, value) => all + value, 0);
const efficiency = (taken) => sum(taken.map(([own]) => own)) / sum(taken.map(([, all]) => all));
const longest = (taken) => Math.max(...taken.map(([, all]) => all));

describe("the pace of a guest", () => {
  for (const cost of [0.001, 0.01, 0.05, 0.1, 0.15, 0.3, 1, 5]) {
    for (const speed of [SPEED / 100, SPEED, 3 * SPEED]) {
      for (const inALook of [1, 100, CHUNK]) {
        it(`it gets on where suspending it takes ${cost} ms, at ${speed} units a millisecond, ${inALook} in a look`, () => {
          const taken = portions(() => cost, () => speed, { inALook }).slice(40);
          assert.ok(efficiency(taken) > (cost > 2 * MOST ? 0.4 : 0.1), `${efficiency(taken)}`);
          assert.ok(longest(taken) < 2 * Math.max(MOST, 1000 / speed) + 3 * cost + (3 * inALook) / speed, `${longest(taken)} ms`);
        });
      }
    }
  }

  it("portions are short again when the stack is not deep any more", () => {
    const taken = portions((number) => (number >= 50 && number < 100 ? 1 : 0.01), () => SPEED);
    assert.ok(longest(taken.slice(20, 50)) < 1.2 * MOST);
    assert.ok(efficiency(taken.slice(60, 100)) > 0.3);
    assert.ok(longest(taken.slice(120)) < 1.2 * MOST);
  });

  it("a busy machine, or what takes long, is not taken for a deep stack", () => {
    for (const [units, elapsed, frames, milliseconds] of [[1, 200, 100, MOST], [8_000_000, 200, 1 << 20, MOST], [1, 20, 1 << 20, 20]]) {
      const pace = makePace();
      for (let number = 0; number < 50; number++) pace.learn(Math.floor(pace.portion(MOST)), MOST, MOST, true, () => frames);
      pace.learn(Math.floor(pace.portion(MOST)), 100 * MOST, MOST, true, () => frames);
      assert.equal(pace.portion(MOST), 1);
      pace.learn(units, elapsed, MOST, true, () => frames);
      assert.equal(Math.max(MOST, pace.cost()), milliseconds);
    }
  });

  for (const times of [3, 10, 100]) {
    it(`who becomes ${times} times slower keeps the thread once`, () => {
      const taken = portions(() => 0.01, (number) => (number < 50 ? SPEED : SPEED / times));
      assert.ok(longest(taken.slice(50, 51)) < 1.2 * MOST * times);
      assert.ok(longest(taken.slice(60)) < 2 * Math.max(MOST, (1000 * times) / SPEED));
    });
  }
});

for (const build of ["fuel_plain", "fuel_secondary"].filter((one) => WebAssembly.validate(bytes("computing", one)))) {
  it(`a deep recursion gets on in slices: ${build}`, async () => {
    const results = [];
    const used = [];
    for (const bounds of [{ fuel: 1n << 60n }, { slice: 0.5 }]) {
      const instance = await instantiate(new WebAssembly.Module(bytes("computing", build)), { env: { again() {}, later() {} } });
      results.push(await promising(instance.exports.depth, bounds)(2000, 20_000_000n));
      used.push(usage(instance));
    }
    assert.equal(results[1], results[0]);
    assert.equal(used[1].fuel, used[0].fuel);
    assert.ok(used[1].slices > 0 && used[1].slices < 5000, `${used[1].slices} slices`);
  });
}
