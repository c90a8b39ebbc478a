/** Guests with pause points, which nobody here pauses: they go on whatever their frames hold, and whatever a state says is left to count. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Instance, promising, Suspending } from "../src/index.js";
import { restore, snapshot } from "../src/snapshot.js";
import { bytes, sleep } from "./support/guests.mjs";
import { rest } from "./support/saved.mjs";

const GIVEN = [0x7fff_ffff_7fff_ffffn, 0x0101_0101_0101_0101n, 3000n];
const RESULT = 3000n + (GIVEN[0] ^ GIVEN[1]);
const imports = { env: { ask: new Suspending(() => sleep(0, 7)) } };
const waits = { env: { ask: new Suspending(() => new Promise(() => {})) } };

for (const build of ["flag_secondary", "flag_plain", "fuel_secondary", "fuel_thunks", "fuel_plain"]) {
  // Where the guest has no memory for frames, they lie in its own.
  const options = build.startsWith("fuel") && !build.endsWith("secondary") ? { region: [1024, 60000] } : {};

  describe(`a guest with pause points: ${build}`, { skip: !/thunks|fuel_plain/.test(build) && +process.versions.node.split(".")[0] < 22 && "several memories are newer" }, () => {
    const module = () => new WebAssembly.Module(bytes("pauses", build));

    it("is suspended and resumed", async () => {
      const { run } = new Instance(module(), imports, options).exports;
      assert.deepEqual(await Promise.all([promising(run)(...GIVEN), promising(run)(...GIVEN)]), [RESULT, RESULT]);
    });

    it("goes on from a state in which a budget was nearly used up", async () => {
      const compiled = module();
      const instance = new Instance(compiled, waits, options);
      promising(instance.exports.run)(...GIVEN);
      await rest();
      if (instance.exports.asyncify_fuel) instance.exports.asyncify_fuel.value = 5n;
      const restored = await restore(await snapshot(instance), compiled, imports, options);
      assert.equal(await restored.pending[0].run(), RESULT);
    });
  });
}
