/** Functions that a list leaves out: a suspension across them is refused before anything is unwound, and all are named. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import * as ponyfill from "../src/index.js";
import { explaining } from "../src/refusals.js";
import { missing, openPage } from "./support/chromium.mjs";
import { bytes, repository, sleep, waysToRun } from "./support/guests.mjs";

const { Instance, promising, Suspending } = ponyfill;

/** The functions that an error says are missing. */
const missingIn = ({ name, message }) => {
  assert.equal(name, "SuspendError", message);
  return JSON.parse(/(?:Missing in the list|Not instrumented): (.*)$/m.exec(message)[1]);
};

/** What is missing where a call is refused. @param {Promise<any>} call */
const refused = (call) => call.then((value) => assert.fail(`${value}`), missingIn);

/** An instance; `call` is what the import of this name does. */
function start(module, call = () => 0) {
  const ask = new Suspending((number) => (number > 100 ? number : sleep(0, number)));
  const { exports } = new Instance(module, { env: { ask, call: new Suspending((...args) => call(exports, ...args)) } });
  return exports;
}

/** A module without its custom section of a name. */
function withoutSection(code, name) {
  const parts = [code.subarray(0, 8)];
  for (let at = 8; at < code.length; ) {
    let [end, size, shift] = [at + 1, 0, 0];
    do size |= (code[end] & 127) << (7 * shift++);
    while (code[end++] > 127);
    const length = code[end];
    const isNames = code[at] == 0 && code.subarray(end + 1, end + 1 + length).toString() == name;
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
          'env.ask has to wait, but the only-list leaves out functions on the stack. Missing in the list: ["forgotten"]',
          "The stack, innermost first; * marks these:",
          "    env.ask",
          "    wait",
          "  * forgotten",
          "    down (31 times)",
          "Add them to it (`caesura fix` does) and instrument the module again.",
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

/** Which function is missing where each of these is called. */
const LEAVING = {
  by_import: "by_import",
  by_name: "by_name",
  by_table: "by_table",
  by_index: "by_index",
  by_chain: "by_import", // the other one has left for it, and can be named once this is on the list
  to_import: "by_import",
  to_name: "by_name",
  to_table: "by_table",
  to_index: "by_index",
  to_chain: "by_import",
  leaves: "by_import",
  from_table: "by_import",
};

for (const { way, module } of waysToRun("leaving")) {
  describe(`what leaves by a tail call: ${way}`, () => {
    const start = (ask) => new Instance(module, { env: { ask, note: (number) => number + 30 } }, { region: [1024, 65536] }).exports;
    const wait = () => start(new Suspending((number) => sleep(0, number + 1)));

    it("is refused in time, and is what is named", async () => {
      const exports = wait();
      for (const [name, missing] of Object.entries(LEAVING)) {
        exports.passed.value = 0;
        assert.deepEqual(await refused(promising(exports[name])(5)), [missing], name);
        assert.equal(exports.passed.value, name.endsWith("chain") ? 2 : 1, `${name} has run once`);
        assert.equal(await promising(exports.deep)(2), 108);
      }
      assert.deepEqual(await refused(promising(exports.to_other)(0)), ["by_other"]);
      assert.deepEqual(await refused(promising(exports.table.get(2))(0)), ["by_import"]);
      assert.deepEqual(await refused(promising(exports.to_far)(40)), ["far"]);
    });

    it("is in nobody's way where nothing has to wait", async () => {
      const exports = start(new Suspending((number) => number + 1));
      assert.deepEqual(await Promise.all([exports.to_import, exports.to_name, exports.to_table].map((one) => promising(one)(5))), [1006, 1106, 1006]);
      assert.equal(await promising(wait().to_other)(5), 1035);
    });

    it("is found in each of several instances that call each other", async () => {
      const inner = wait();
      const outer = start(inner.read);
      assert.equal(await promising(outer.read)(5), 206);
      assert.deepEqual(await refused(promising(outer.to_import)(5)), ["by_import"]);
      assert.deepEqual(await refused(promising(outer.leaves)(5)), ["by_import"]);
      assert.deepEqual(await refused(promising(start(inner.to_name).read)(5)), ["by_name"]);
      assert.deepEqual(await refused(promising(start(start(inner.read).to_import).read)(5)), ["by_import"]);
      assert.deepEqual([outer.passed.value, inner.passed.value], [2, 1]);
      assert.equal(await promising(outer.deep)(5), 211);
    });

    it("counts no more where an import has caught what has left the guest", async () => {
      let exports;
      const failing = (number) => {
        if (number == 5) throw new RangeError("no");
        if (number == 8) assert.throws(() => exports.by_import(5), RangeError);
        if (number == 9) assert.throws(() => exports.table.get(2)(5), RangeError);
        return number == 10 ? promising(exports.table.get(2))(5).catch(() => 1) : sleep(0, number);
      };
      exports = start(new Suspending(failing));
      for (const number of [8, 9, 10, 8]) assert.equal(await promising(exports.read)(number), number == 10 ? 101 : number + 100);
      await assert.rejects(promising(exports.table.get(2))(5), RangeError);
      assert.deepEqual(await refused(promising(exports.table.get(2))(6)), ["by_import"]);
      assert.equal(await promising(exports.table.get(1))(6), 106);
    });
  });
}

for (const build of ["shared_plain", "shared_thunks"]) {
  it(`what leaves by name where modules share their state is refused, and nobody else is named: ${build}`, async () => {
    const ask = new Suspending((number) => sleep(0, number + 1));
    const { exports } = new Instance(new WebAssembly.Module(bytes("leaving", build)), { env: { ask, note() {} } }, { region: [1024, 65536] });
    for (const name of ["by_import", "by_name", "to_import", "to_name", "leaves"]) {
      exports.passed.value = 0;
      await assert.rejects(promising(exports[name])(5), { name: "SuspendError", message: /on the stack. Nobody knows which\nThe stack/ });
      assert.equal(exports.passed.value, 1);
      assert.equal(await promising(exports.deep)(2), 108);
    }
    assert.deepEqual(await refused(promising(exports.to_far)(1)), ["far"]);
  });
}

for (const build of ["plain", "thunks"]) {
  it(`the engine's stack may be cut off: ${build}`, () => {
    const program = (/** @type {string} */ first) => `
      ${first};
      const { readFileSync } = await import("node:fs");
      const { Instance, promising, Suspending } = await import(${JSON.stringify(new URL("../src/index.js", import.meta.url))});
      const module = new WebAssembly.Module(readFileSync(process.argv[1]));
      const { exports } = new Instance(module, { env: { ask: new Suspending(async (number) => number + 1), note() {} } }, { region: [1024, 65536] });
      for (const depth of [1, 300]) await promising(exports.to_far)(depth).catch(({ message }) => console.log(message));
      await promising(exports.to_import)(1).catch(({ message }) => console.log(message.split("\\n")[0]));
      console.log(await promising(exports.deep)(300).catch(({ message }) => message.replace(/:.*/, "")));`;
    const wasm = fileURLToPath(new URL(`build/js/leaving.${build}.wasm`, repository));
    const start = (first) => {
      const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program(first), wasm], { encoding: "utf8" });
      assert.equal(stderr, "");
      return stdout;
    };
    const why = "env.ask has to wait, but the only-list leaves out functions on the stack.";
    const rest = "The stack, innermost first; * marks these:\n    env.ask\n    read\n    deep (DEPTH times)";
    const todo = "Add them to it (`caesura fix` does) and instrument the module again.\n";
    const shown = (depth) => `${why} Missing in the list: ["far"]\n${rest.replace("DEPTH", depth + 1)}\n  * far\n    to_far\n${todo}`;
    const leaving = `${why} Missing in the list: ["by_import"]\n`;
    const whole = shown(1) + shown(300) + leaving + "406\n";
    const others = "env.ask cannot suspend\n"; // its table may have functions of others
    assert.equal(start("Error.stackTraceLimit = 1"), whole);
    assert.equal(start("globalThis.Error = class extends Error {}"), whole);
    if (process.getBuiltinModule) assert.equal(start("Object.freeze(Error)"), whole, "by another realm");
    const alone = "process.getBuiltinModule = undefined; ";
    const frozen = start(`${alone}Object.freeze(Error)`);
    assert.ok(frozen.startsWith(`${why} Missing in the list: ["far"]\n`), frozen);
    assert.ok(frozen.includes(`\n${why} Nobody knows which\n${rest.replace(/ .DEPTH.*/, "")}`), frozen);
    assert.match(frozen, / {4}deep \(\d+ times\)\n {4}\.\.\.\nAdd/);
    assert.ok(frozen.endsWith(leaving + others), frozen);
    const unseen = `${why} Nobody knows which\n`;
    const nothing = `${unseen}The stack, innermost first; * marks these:\n    env.ask\n    ...\n${todo}`;
    assert.equal(start(`${alone}Error.stackTraceLimit = 0; Object.freeze(Error)`), nothing + nothing + unseen + others);
  });
}

for (const build of ["plain", "thunks"]) {
  it(`functions without names go by their index: ${build}`, async () => {
    const exports = start(new WebAssembly.Module(withoutSection(bytes("guarded", build), "name")));
    assert.deepEqual(await refused(promising(exports.run)(1)), ["#4", "#5"]);
    const { message } = await promising(exports.down)(5).catch((error) => error);
    assert.match(message, /\n {4}env.ask\n {4}#3\n {2}\* #4\n {4}#10 \(6 times\)\n/);
  });
}

for (const build of ["plain", "thunks"]) {
  it(`a module that does not tell what was added is refused all the same: ${build}`, async () => {
    const older = (name) => start(new WebAssembly.Module(withoutSection(bytes(name, build), "asyncify.guard")));
    const missing = await refused(promising(older("guarded").run)(1));
    for (const name of ["forgotten", "also"]) assert.ok(missing.includes(name));
    assert.ok((await refused(promising(older("resumed").outer)(0))).includes("left"));
    assert.ok((await refused(promising(older("turned").turn)(0))).includes("turn"));
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

  it(`nor is it without names: ${build}`, async () => {
    const [resumed, turned] = ["resumed", "turned"].map((name) => start(new WebAssembly.Module(bytes(name, `nameless_${build}`))));
    const message = (call) => call.then(() => assert.fail(), (error) => error.message);
    assert.match(await message(promising(resumed.walk)(0)), /: \["#2"\]\n.*\n {4}env.ask\n {2}\* #2\n {4}#3\n {4}#4\nAdd/);
    assert.match(await message(promising(resumed.outer)(0)), /: \["#2"\]\n.*\n {4}env.ask\n {2}\* #2\n {4}#3\n {4}#4\n {4}#5\nAdd/);
    assert.match(await message(promising(turned.turn)(0)), /Not instrumented: \["#3"\]\n.*\n {4}env.ask\n {4}#2\n {2}\* #3\nPut/);
  });

  it(`a copy of a function is shown as that, and is not missing: ${build}`, async () => {
    for (const [kind, [inner, down, left, run]] of [[build, ["inner", "down", "left", "run"]], [`nameless_${build}`, ["#2", "#3", "#4", "#5"]]]) {
      const exports = start(new WebAssembly.Module(bytes("copied", kind)));
      assert.deepEqual(await refused(promising(exports.run)(3)), [left]);
      const { message } = await promising(exports.run)(3).catch((error) => error);
      assert.ok(message.includes(`:\n    env.ask\n    ${inner}\n    ${down} (4 times)\n  * ${left}\n    ${run}\nAdd`), message);
      assert.equal(await promising(exports.good)(3), 10);
    }
  });

  it(`what is to be done depends on the kind of list: ${build}`, async () => {
    const [removed, turned] = ["lists", "turned"].map((name) => new WebAssembly.Module(bytes(name, build)));
    const env = { ask: new Suspending((number) => sleep(0, number)), other() {}, note() {} };
    const messages = [];
    for (const call of [promising(new Instance(removed, { env }).exports.run)(1), promising(new Instance(turned, { env }).exports.turn)(0)]) {
      messages.push((await call.catch((error) => error)).message.split("\n"));
    }
    assert.match(messages[0][0], /, but the remove-list leaves out functions on the stack. Not instrumented: \["forgotten",/);
    assert.equal(messages[0].at(-1), "Take what of them is on it off and instrument the module again.");
    assert.match(messages[1][0], /, but ignore_indirect leaves out functions on the stack. Not instrumented: \["turn"\]/);
    assert.equal(messages[1].at(-1), "Put them on the add-list, or leave it out and instrument the module again.");
  });
}

for (const [build, names] of [["plain", ["pause", "left", "work", "deep"]], ["nameless_plain", ["#5", "#6", "#7", "#8"]]]) {
  describe(`a guest with a scheduler of its own: ${build}`, () => {
    const [pause, left, work, deep] = names;
    const module = new WebAssembly.Module(bytes("scheduled", build));
    const instance = (log = []) => new Instance(module, { env: { log: (number) => log.push(number) } });

    it("tells what is missing, whole, where it is called so", () => {
      const log = [];
      const { run } = instance(log).exports;
      const limit = Error.stackTraceLimit;
      assert.throws(() => explaining(run, module)(1, 300), (error) => {
        assert.deepEqual(missingIn(error), [left]);
        assert.ok(error.message.startsWith("the guest has to wait, but the only-list leaves out functions on the stack."), error.message);
        assert.ok(error.message.includes(`:\n    the guest\n    ${pause}\n  * ${left}\n    ${work}\n    ${deep} (301 times)\nAdd them`), error.message);
        return error.cause instanceof WebAssembly.RuntimeError;
      });
      assert.equal(Error.stackTraceLimit, limit);
      assert.deepEqual(log, [1], "nothing has changed");
      assert.throws(() => run(1, 0), WebAssembly.RuntimeError);
    });

    it("runs as ever where nothing is missing", () => {
      const log = [];
      explaining(instance(log).exports.run, module)(0, 0);
      assert.deepEqual(log, [1, 5, 3, 4, 6]);
    });

    it("tells it through promising, too", async () => {
      const call = explaining(promising(instance().exports.run), module);
      assert.deepEqual(await refused(call(1, 2)), [left]);
    });

    it("throws all else as it is", async () => {
      const failing = new Instance(module, { env: { log: () => { throw new RangeError("no"); } } });
      assert.throws(() => explaining(failing.exports.run, module)(1, 0), RangeError);
      await assert.rejects(explaining(promising(failing.exports.run), module)(1, 0), RangeError);
      assert.throws(() => explaining(() => WebAssembly.Module.exports(1), module)(), TypeError);
      assert.throws(() => explaining(5, module), { name: "TypeError", message: /^explaining: / });
      assert.throws(() => explaining(failing.exports.run, failing), { name: "TypeError", message: /^explaining: / });
    });
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
      assert.match(messages[0], /^SuspendError: env.ask has to wait, but the only-list .*\["forgotten","also"\]\n[^]*\n {2}\* forgotten\n {2}\* also\n {4}run\n/);
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
