/** An abort ends what an import has called in the guest as well, whatever bounds the call around it. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { instantiate, Suspending } from "../src/index.js";
import { BudgetExhausted, promising, usage } from "../src/slices.js";
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
