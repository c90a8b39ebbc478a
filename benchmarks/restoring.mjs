/**
 * Going on from a saved state in Node: `node restoring.mjs MODULE STATE ROUNDS` prints as JSON how many milliseconds of
 * processor time it takes at least, with the module compiled, from bytes to where a call can be resumed.
 */

import { readFileSync } from "node:fs";

import { restore, snapshot } from "../js/src/snapshot.js";

const [, , modulePath, statePath, rounds] = process.argv;
const module = new WebAssembly.Module(readFileSync(modulePath));
const state = readFileSync(statePath);
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;

async function least(action) {
  let found = Infinity;
  for (let round = 0; round < rounds; round++) {
    const before = process.cpuUsage();
    await action();
    const { user, system } = process.cpuUsage(before);
    found = Math.min(found, (user + system) / 1000);
  }
  return found;
}

const { instance, pending } = await restore(state, module, imports);
if (pending.length != 1) throw new Error(`${pending.length} calls are suspended, not one`);
const restoring = await least(() => restore(state, module, imports));
const saving = await least(() => snapshot(instance));
console.log(JSON.stringify({ node: parseInt(process.versions.node), restore_ms: restoring, snapshot_ms: saving }));
