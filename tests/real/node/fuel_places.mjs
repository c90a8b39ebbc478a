// Runs a script in QuickJS of npm's quickjs-wasi with pause points, under the plain ABI, and prints, as JSON, what it gave,
// the fuel that it used, and of each pause the fuel used until then, and the size and a digest of what was saved. Imports
// return 0. test_same_fuel.py does the same in Wasmtime.
// Usage: node fuel_places.mjs <module> <script> <JSON list of portions of fuel, the last of which is enough>

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { read, write } from "../../../js/test/support/quickjs_text.mjs";

const [STACK_SIZE, STRUCTURE_SIZE, UNWINDING] = [1 << 17, 8, 1];

const [file, script, given] = process.argv.slice(2);
const portions = JSON.parse(given);
const module = new WebAssembly.Module(readFileSync(file));
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
const instance = new WebAssembly.Instance(module, imports);
const { exports } = instance;
const { asyncify_fuel: fuel, asyncify_pause_data: place, memory } = exports;

exports._initialize();
exports.qjs_init();
const structure = exports.malloc(STACK_SIZE);
const start = structure + STRUCTURE_SIZE;
const words = () => new Uint32Array(memory.buffer, structure, 2);
words().set([start, structure + STACK_SIZE]);
place.value = structure;
const [source, size] = write(instance, script);
const parameters = [source, size, write(instance, "script.js")[0], 0];
let used = 0n;
const pauses = [];
for (const portion of portions) {
  fuel.value = BigInt(portion);
  if (pauses.length) exports.asyncify_start_rewind(structure);
  const value = exports.qjs_eval(...parameters);
  used += BigInt(portion) - fuel.value;
  if (exports.asyncify_get_state() !== UNWINDING) {
    fuel.value = 1n << 60n;
    process.stdout.write(JSON.stringify({ result: read(instance, value), used: Number(used), pauses }) + "\n");
    break;
  }
  exports.asyncify_stop_unwind();
  const frames = new Uint8Array(memory.buffer, start, words()[0] - start);
  pauses.push([Number(used), frames.length, createHash("sha256").update(frames).digest("hex")]);
}
