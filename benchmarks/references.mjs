// Suspends and resumes a guest under the plain ABI, and prints microseconds of CPU time for each suspension, the least of
// several rounds: driven bare, and by the JavaScript host, a promise included.
// Usage: node references.mjs <module> <value: number or object> <depth> <suspensions of a round>

import { readFileSync } from "node:fs";

import { Instance, promising, Suspending } from "../js/src/index.js";

const [file, value, depth, suspensions] = process.argv.slice(2);
const STACK = 4096;
const END = 65536 * 15;
const ROUNDS = 7;

const env = {
  wait() {
    if (exports.asyncify_get_state() === 2) exports.asyncify_stop_rewind();
    else {
      pointers.set([STACK + 8, END], STACK >> 2);
      exports.asyncify_start_unwind(STACK);
    }
  },
};
const module = new WebAssembly.Module(readFileSync(file));
const { exports } = new WebAssembly.Instance(module, { env });
const pointers = new Uint32Array(exports.memory.buffer);
const values = Array.from({ length: 8 }, (_, place) => (value === "number" ? place : { place }));

function bare(count) {
  exports.run(Number(depth), count, ...values);
  while (exports.asyncify_get_state()) {
    exports.asyncify_stop_unwind();
    exports.asyncify_start_rewind(STACK);
    exports.run(0, 0, ...values);
  }
}

const ready = Promise.resolve();
const hosted = new Instance(module, { env: { wait: new Suspending(() => ready) } }, { region: [STACK, END] });
const run = promising(hosted.exports.run);
const byHost = (count) => run(Number(depth), count, ...values);

async function measure(round) {
  let least = Infinity;
  for (let count = 0; count < ROUNDS; count++) {
    const before = process.cpuUsage();
    await round(Number(suspensions));
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, (user + system) / Number(suspensions));
  }
  return least;
}

console.log(JSON.stringify([await measure(bare), await measure(byHost)]));
