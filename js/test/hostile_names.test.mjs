/** Names that modules give are escaped in messages: terminals act upon control characters, and a line end begins a line. */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as ponyfill from "../src/index.js";
import { printable } from "../src/printable.js";
import { sleep, waysToRun } from "./support/guests.mjs";

const { close, Instance, promising, Suspending } = ponyfill;

const IMPORT = "\x1b[2J\n\u202eask";
const SHOWN = "env.\\u001b[2J\\u000a\\u202eask";

/** Fails if a message has what it should not, or lacks a text. */
function check(error, ...texts) {
  for (const text of texts) assert.ok(error.message.includes(text), error.message);
  for (const line of error.message.split("\n")) assert.equal(printable(line), line);
  assert.ok(!error.message.includes("\n\\u202e"));
}

for (const { way, module } of waysToRun("hostile_names")) {
  describe(`names that terminals would act upon: ${way}`, () => {
    const start = (ask = (value) => sleep(0, value)) => new Instance(module, { env: { [IMPORT]: new Suspending(ask) } });

    it("are escaped where a list leaves out a function of such a name", async () => {
      const { exports } = start();
      const error = await promising(exports["run\x1b\n"])(1).catch((reason) => reason);
      check(error, `${SHOWN} has to wait`, "* left\\u001b[2J\\u009b", '["left\\u001b[2J\\u009b"');
      assert.equal(JSON.parse(/Not instrumented: (.*)$/m.exec(error.message)[1])[0], "left\x1b[2J\x9b");
    });

    it("are escaped where an import cannot suspend", () => {
      const { exports } = start();
      assert.throws(() => exports["good\x1b\n"](1), (error) => !check(error, SHOWN));
    });

    it("are escaped where the instance is closed", async () => {
      const instance = start();
      close(instance);
      const error = await promising(instance.exports["good\x1b\n"])(1).catch((reason) => reason);
      check(error);
    });

    it("are escaped where what is to be imported is not there", () => {
      assert.throws(() => new Instance(module, {}), (error) => !check(error, SHOWN));
    });
  });
}

it("are escaped as in JSON", () => {
  assert.equal(printable("a b\t\n\x7f\x9b\u00a0\u200b\u2028\ud800\u{e0001}\u00e9\u{1f600}"), "a b\\u0009\\u000a\\u007f\\u009b\\u00a0\\u200b\\u2028\\ud800\\udb40\\udc01\u00e9\u{1f600}");
});
