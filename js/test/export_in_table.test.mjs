/**
 * An export that JavaScript has put into the guest's own table begins anew for the guard, though the guest has called it: what a
 * list leaves out above it is found on the stack, or when control comes back to it, and named all the same.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { Instance, promising, Suspending } from "../src/index.js";
import { bytes, sleep } from "./support/guests.mjs";

for (const build of ["listed_plain", "listed_thunks"]) {
  const module = new WebAssembly.Module(bytes("crossed", build));
  for (const checkStack of [true, false]) {
    describe(`an export of the guest in its table: ${build}${checkStack ? "" : ", stacks are not looked at"}`, () => {
      let asked = 0;
      const ask = new Suspending((number) => (asked++, sleep(1, number)));
      const start = () => new Instance(module, { env: { ask } }, { checkStack, region: [1024, 65536] }).exports;
      const refused = async (exports) => {
        const error = await promising(exports.below)().then(assert.fail, (reason) => reason);
        assert.equal(error.name, "SuspendError");
        assert.match(error.message, /^env\.ask has to wait, but the only-list leaves out functions on the stack\. Missing in the list: \["left"\]\n/);
        assert.match(error.message, /\n {4}env\.ask\n(?: {4}[^\n]*\n)* {2}\* left\n {4}below\n/);
        assert.match(error.message, /\nAdd them to it \(`caesura fix` does\) and instrument the module again\.$/);
      };

      it("is refused below what a list leaves out, with its name, and the guest stays usable", async () => {
        const exports = start();
        await refused(exports);
        exports.table.set(0, exports.cb);
        for (let round = 0; round < 3; round++) {
          asked = 0;
          await refused(exports);
          assert.equal(asked, 1);
          assert.equal(exports.asyncify_unsuspendable.value, 0);
          assert.equal(await promising(exports.cb)(), 17);
          assert.equal(exports.asyncify_get_state?.() ?? 0, 0);
        }
      });

      it("waits below what is on the list, also when it is called by the guest", async () => {
        const exports = start();
        exports.table.set(0, exports.cb);
        asked = 0;
        assert.deepEqual(await Promise.all([promising(exports.run)(), promising(exports.run)()]), [117, 117]);
        assert.equal(asked, 2);
      });
    });
  }
}

it("is a trap as ever where it has nothing to do with lists", async () => {
  const module = new WebAssembly.Module(bytes("crossed", "listed_plain"));
  const ask = new Suspending((number) => sleep(1, number));
  const { table, below, run } = new Instance(module, { env: { ask } }, { region: [1024, 65536] }).exports;
  table.set(0, null);
  for (const f of [below, run]) await assert.rejects(promising(f)(), WebAssembly.RuntimeError);
});
