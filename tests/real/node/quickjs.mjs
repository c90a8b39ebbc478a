// Runs the scripts of quickjs_suite.mjs in QuickJS and prints, as JSON, what each of them returned (or threw) and how
// often QuickJS was suspended meanwhile.
// Usage: node quickjs.mjs synchronous
//        node quickjs.mjs instrumented <module> <percent of the host's calls that take their time> <seed>

// The work is done in a thread with a large stack: V8's optimised frames for QuickJS's interpreter, one for each level
// of recursion in a script, can be large.

import { createHash } from "node:crypto";
import { isMainThread, Worker } from "node:worker_threads";
import { loadInstrumented, loadSynchronous } from "./quickjs_engine.mjs";
import { SCRIPTS } from "./quickjs_suite.mjs";

const [mode, file, percent = "100", seed = "0"] = process.argv.slice(2);

const hash = (value) => createHash("md5").update(String(value)).digest();
const HOST = {
  ask: (vm, x) => vm.newNumber(hash(vm.dump(x)).readUInt16LE(0) % 100),
  text: (vm, x) => vm.newString(`<${hash(vm.dump(x)).toString("hex").slice(0, 4)}>`),
  fail: (vm, x) => {
    throw new Error(`failed with ${vm.dump(x)}`);
  },
};

let calls = 0;
const isSlow = () => hash(`${seed}:${calls++}`).readUInt16LE(0) % 100 < Number(percent);
const later = () => new Promise(setImmediate);

function define(vm, asynchronous) {
  for (const [name, compute] of Object.entries(HOST)) {
    const handle = asynchronous
      ? vm.newAsyncifiedFunction(name, (x) => (isSlow() ? later().then(() => compute(vm, x)) : compute(vm, x)))
      : vm.newFunction(name, (x) => compute(vm, x));
    handle.consume((handle) => vm.setProp(vm.global, name, handle));
  }
}

async function evaluate(vm, script) {
  const wrapped = `JSON.stringify((${script})())`;
  const result = mode === "synchronous" ? vm.evalCode(wrapped) : await vm.evalCodeAsync(wrapped);
  if (result.error) return { threw: result.error.consume((handle) => vm.dump(handle)) };
  return { value: JSON.parse(result.value.consume((handle) => vm.getString(handle))) };
}

async function main() {
  const loaded =
    mode === "synchronous"
      ? { quickjs: await loadSynchronous(), counts: { suspensions: 0 } }
      : await loadInstrumented(file);
  const scripts = {};
  for (const [name, script] of Object.entries(SCRIPTS)) {
    const before = loaded.counts.suspensions;
    const vm = loaded.quickjs.newContext();
    define(vm, mode !== "synchronous");
    scripts[name] = { outcome: await evaluate(vm, script), suspensions: loaded.counts.suspensions - before };
    vm.dispose();
  }
  console.log(JSON.stringify({ scripts, calls }));
}

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url), {
    argv: process.argv.slice(2),
    resourceLimits: { stackSizeMb: 256 },
  });
  worker.on("error", (error) => {
    console.error(error);
    process.exitCode = 1;
  });
} else {
  await main();
}
