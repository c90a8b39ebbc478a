/** Functions that a list leaves out: a suspension across them is refused before anything is unwound, and all are named. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import * as ponyfill from "../src/index.js";
import { missing, openPage } from "./support/chromium.mjs";
import { bytes, repository, sleep, waysToRun } from "./support/guests.mjs";

const { Instance, promising, Suspending } = ponyfill;

/** The functions that an error says are missing. */
const missingIn = ({ name, message }) => {
  assert.equal(name, "SuspendError", message);
  return JSON.parse(/Missing in the list: (.*)$/m.exec(message)[1]);
};

/** What is missing where a call is refused. @param {Promise<any>} call */
const refused = (call) => call.then((value) => assert.fail(`${value}`), missingIn);

/** An instance; `call` is what the import of this name does. */
function start(module, call = () => 0) {
  const ask = new Suspending((number) => (number > 100 ? number : sleep(0, number)));
  const { exports } = new Instance(module, { env: { ask, call: new Suspending((...args) => call(exports, ...args)) } });
  return exports;
}

/** A module without its names. */
function withoutNames(code) {
  const parts = [code.subarray(0, 8)];
  for (let at = 8; at < code.length; ) {
    let [end, size, shift] = [at + 1, 0, 0];
    do size |= (code[end] & 127) << (7 * shift++);
    while (code[end++] > 127);
    const length = code[end];
    const isNames = code[at] == 0 && code.subarray(end + 1, end + 1 + length).toString() == "name";
    end += size;
    if (!isNames) parts.push(code.subarray(at, end));
    at = end;
  }
  return Buffer.concat(parts);
}

for (const { way, module } of waysToRun("guarded")) {
  describe(`what a list leaves out: ${way}`, () => {
    it("is named whole, and the instance goes on", async () => {
      const exports = start(module);
      for (let round = 0; round < 3; round++) {
        assert.deepEqual(await refused(promising(exports.run)(1)), ["forgotten", "also"]);
        assert.equal(await promising(exports.good)(1), 12);
      }
      assert.equal(exports.passed.value, 0, "nothing of it has run");
    });

    it("is in nobody's way where nothing has to wait", async () => {
      const exports = start(module);
      assert.equal(await promising(exports.run)(101), 112);
      assert.equal(exports.passed.value, 1);
      assert.equal(await promising(exports.trapping)(101), 101);
    });

    it("is found through a table, as an export, and below a deep recursion", async () => {
      const exports = start(module);
      assert.deepEqual(await refused(promising(exports.choose)(1, 3)), ["forgotten", "pick"]);
      assert.deepEqual(await refused(promising(exports.choose)(0, 3)), ["pick"]);
      assert.deepEqual(await refused(promising(exports.pick)(0, 3)), ["pick"]);
      assert.deepEqual(await refused(promising(exports.down)(2000)), ["forgotten"]);
      assert.equal(await promising(exports.wait)(1), 2);
    });

    it("is told with the stack, a line for each function", async () => {
      const { message } = await promising(start(module).down)(30).catch((error) => error);
      assert.equal(
        message,
        [
          "env.ask has to wait, but 1 function on the stack is not instrumented, since the list leaves it out. " + 'Missing in the list: ["forgotten"]',
          "The stack, innermost first; * marks what is missing:",
          "    env.ask",
          "    wait",
          "  * forgotten",
          "    down (31 times)",
          "Add it to the only-list (`caesura fix` does), or take what of it is on the remove-list off it, and instrument the module again.",
        ].join("\n"),
      );
    });

    it("counts from where the guest was entered last", async () => {
      /** @type {Promise<any>[]} */
      const inner = [];
      const exports = start(module, ({ good, run, table }) => {
        inner.push(promising(good)(1), refused(promising(run)(1)), promising(table.get(0))(1), refused(promising(table.get(1))(1)));
        return 7;
      });
      assert.equal(await promising(exports.around)(), 1007);
      assert.deepEqual(await Promise.all(inner), [12, ["forgotten", "also"], 2, ["forgotten"]]);
      const others = start(module, ({ good }) => promising(good)(1));
      assert.deepEqual(await refused(promising(others.around)()), ["around"]);
      assert.equal(await promising(others.within)(), 2012);
    });

    it("counts no more once it has trapped, or an import has thrown", async () => {
      const exports = start(module, ({ trapping }) => {
        assert.throws(() => trapping(0), WebAssembly.RuntimeError);
        return sleep(0, 5);
      });
      assert.equal(await promising(exports.within)(), 2005);
      await assert.rejects(promising(exports.trapping)(0), WebAssembly.RuntimeError);
      assert.equal(await promising(exports.table.get(0))(1), 2);
      const failing = start(module, ({ trapping }) => {
        const call = promising(trapping)(0);
        return call.catch(() => 6);
      });
      assert.equal(await promising(failing.within)(), 2006);
      const throwing = start(module, () => {
        throw new RangeError("no");
      });
      await assert.rejects(promising(throwing.around)(), RangeError);
      assert.equal(await promising(throwing.table.get(0))(1), 2);
      assert.throws(() => throwing.trapping(0), WebAssembly.RuntimeError);
      assert.equal(await promising(throwing.table.get(0))(1), 2, "nobody has seen the trap");
    });

    it("of one instance and of one call concerns no other", async () => {
      const [one, other] = [start(module), start(module)];
      const waiting = [promising(one.good)(1), promising(other.good)(2), promising(one.good)(3)];
      assert.deepEqual(await refused(promising(one.run)(1)), ["forgotten", "also"]);
      waiting.push(promising(one.good)(4));
      assert.deepEqual(await refused(promising(other.pick)(0, 1)), ["pick"]);
      assert.deepEqual(await Promise.all(waiting), [12, 13, 14, 15]);
    });

    it("is found in each of several instances that call each other", async () => {
      const inner = start(module);
      const link = (ask) => new Instance(module, { env: { ask, call: () => 0 } }).exports;
      assert.equal(await promising(link(inner.wait).good)(1), 13);
      assert.deepEqual(await refused(promising(link(inner.wait).run)(1)), ["forgotten", "also"]);
      assert.deepEqual(await refused(promising(link(inner.run).good)(1)), ["forgotten", "also"]);
      assert.deepEqual(await refused(promising(link(inner.down).choose)(0, 1)), ["forgotten", "pick"]);
      assert.equal(await promising(link(inner.good).good)(1), 23);
      assert.equal(inner.passed.value, 0);
    });

    it("leaves a promise that fails to nobody", async () => {
      const ask = new Suspending(() => Promise.reject(new Error("unheard")));
      const { exports } = new Instance(module, { env: { ask, call: () => 0 } });
      assert.deepEqual(await refused(promising(exports.run)(1)), ["forgotten", "also"]);
      await sleep(1);
    });
  });
}

for (const build of ["plain", "thunks"]) {
  it(`functions without names go by their index: ${build}`, async () => {
    const exports = start(new WebAssembly.Module(withoutNames(bytes("guarded", build))));
    assert.deepEqual(await refused(promising(exports.run)(1)), ["#4", "#5"]);
    const { message } = await promising(exports.down)(5).catch((error) => error);
    assert.match(message, /\n {4}env.ask\n {4}#3\n {2}\* #4\n {4}#10 \(6 times\)\n/);
  });
}

for (const build of ["plain", "thunks"]) {
  it(`a function in its second body is no missing one: ${build}`, async () => {
    const [resumed, turned] = ["resumed", "turned"].map((name) => start(new WebAssembly.Module(bytes(name, build))));
    assert.deepEqual(await refused(promising(resumed.walk)(0)), ["left"]);
    const { message } = await promising(resumed.outer)(0).catch((error) => error);
    assert.match(message, /\["left"\]\n.*\n {4}env.ask\n {2}\* left\n {4}middle\n {4}walk\n {4}outer\nAdd/);
    assert.deepEqual(await refused(promising(turned.turn)(0)), ["turn"], "what it cannot be resumed in is missing all the same");
  });
}

it("is the same in Chromium", { skip: missing }, async () => {
  const { page, close } = await openPage("what a list leaves out");
  try {
    for (const build of ["plain", "thunks", "secondary"]) {
      const [messages, results] = await page.evaluate(
        async (code) => {
          const { Instance, promising, Suspending } = await import("/js/src/index.js");
          const module = new WebAssembly.Module(Uint8Array.from(code));
          const ask = new Suspending((number) => new Promise((resolve) => setTimeout(resolve, 0, number)));
          const { exports } = new Instance(module, { env: { ask, call: () => 0 } });
          const message = (call) => call.catch((error) => String(error));
          const messages = [await message(promising(exports.run)(1)), await message(promising(exports.down)(300))];
          return [messages, [await promising(exports.good)(1), exports.passed.value]];
        },
        [...bytes("guarded", build)],
      );
      assert.match(messages[0], /^SuspendError: env.ask has to wait, but 2 functions .*\["forgotten","also"\]\n[^]*\n {2}\* forgotten\n {2}\* also\n {4}run\n/);
      assert.match(messages[1], /\n {2}\* forgotten\n {4}down \(301 times\)\n/);
      assert.deepEqual(results, [12, 0]);
    }
  } finally {
    await close();
  }
});

it("a recording has what is missing", () => {
  const folder = mkdtempSync(join(tmpdir(), "guard-"));
  try {
    const program = `
      import { readFileSync } from "node:fs";
      import { Instance, promising, Suspending } from ${JSON.stringify(new URL("../src/index.js", import.meta.url))};
      const module = new WebAssembly.Module(readFileSync(process.argv[1]));
      const { exports } = new Instance(module, { env: { ask: new Suspending(async () => 1), call() {} } });
      await promising(exports.run)(1).catch(({ name }) => console.log(name));`;
    const file = join(folder, "recording");
    const wasm = fileURLToPath(new URL("build/js/guarded.thunks.wasm", repository));
    const env = { ...process.env, CAESURA_RECORD: file };
    const recorder = String(new URL("../src/record.js", import.meta.url));
    const parameters = ["--import", recorder, "--input-type=module", "-e", program, wasm];
    const { stdout, stderr } = spawnSync(process.execPath, parameters, { env, encoding: "utf8" });
    assert.equal(stdout, "SuspendError\n", stderr);
    const lines = readFileSync(file, "utf8").trim().split("\n");
    assert.deepEqual(lines.flatMap((line) => JSON.parse(line).missing ?? []), ["forgotten", "also"]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
