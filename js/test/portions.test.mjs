/**
 * A guest gets its count in portions, by how fast it has counted. One that changes its speed on purpose in the middle of a
 * portion does not keep the thread for longer than docs/javascript.md says. The clock here is the guest's own count of the
 * instructions that it has run, so that no machine's speed matters.
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { instantiate } from "../src/index.js";
import { promising, usage } from "../src/slices.js";
import { bytes } from "./support/guests.mjs";

const SLICE = 5;
// Instructions in a millisecond, of a fast machine; and what docs/javascript.md allows beyond a slice, for each of its milliseconds.
const PACE = 2_000_000;
const TOLERANCE = 2_000_000;

describe("portions", () => {
  const { now } = performance;
  let instance;
  const ran = () => Number(new BigInt64Array(instance.exports.memory.buffer)[0]);

  before(async () => {
    instance = await instantiate(new WebAssembly.Module(bytes("uneven", "fuel_thunks")), {}, { region: [1024, 65536] });
    performance.now = () => ran() / PACE;
  });
  after(() => {
    performance.now = now;
  });

  for (const [quick, slow] of [[1_000_000, 4000], [30_000, 100], [300_000, 20_000], [1, 30_000], [7_000_000, 1]]) {
    it(`${quick} iterations that count for much, and ${slow} that count for little`, async () => {
      const phases = Math.ceil(400_000_000 / (15 * quick + 8500 * slow));
      const [began, slices] = [ran(), usage(instance).slices];
      let [last, longest] = [began, 0];
      let isDone = false;
      const look = () => {
        longest = Math.max(longest, ran() - last);
        last = ran();
        if (!isDone) setImmediate(look);
      };
      setImmediate(look);
      try {
        await promising(instance.exports.run, { slice: SLICE })(quick, slow, phases);
      } finally {
        isDone = true;
      }
      look();
      assert.ok(longest <= SLICE * (PACE + TOLERANCE), `${longest} instructions at once`);
      assert.ok(usage(instance).slices - slices > 10, `${usage(instance).slices - slices} slices`);
      assert.ok(ran() - began >= 400_000_000);
    });
  }
});
