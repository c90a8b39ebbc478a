// Runs the programs of the benchmarks in QuickJS with pause points, under the glue of the build that cannot be suspended:
// whenever the module pauses, what it saved is overwritten, put back, and the call goes on. Prints, as JSON, what each
// program gave, how often it paused, and the fuel that it used.
// Usage: node paused_quickjs.mjs <module> <largest portion of fuel, 0: one that is never used up> <seed>

import { readFileSync } from "node:fs";
import { newQuickJSWASMModuleFromVariant, newVariant } from "quickjs-emscripten-core";
import synchronousVariant from "@jitl/quickjs-wasmfile-release-sync";
import { PROGRAMS } from "../../../benchmarks/running/runners/quickjs_programs.mjs";

const [file, largest, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const SCALE = 0.002;
const STACK_SIZE = 1 << 18;
const STRUCTURE_SIZE = 16;
const UNWINDING = 1;
const PLENTY = 1n << 60n;

const counts = { pauses: 0, given: 0n };
let state = seed;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

/** Gives the exports of an instance, whose functions go on wherever they pause. */
function pausing(exports) {
  const { asyncify_fuel: fuel, asyncify_pause_data: place, asyncify_memory: memory } = exports;
  const refill = () => {
    const portion = largest ? BigInt(random(largest)) : PLENTY;
    counts.given += portion - fuel.value;
    fuel.value = portion;
  };
  counts.left = () => fuel.value;
  counts.given = fuel ? fuel.value : 0n;
  if (fuel) refill();
  let depth = 0;
  const wrap = (f) => (...parameters) => {
    if (!memory) return f(...parameters);
    const before = place.value;
    const structure = 1024 + depth++ * STACK_SIZE;
    const start = structure + STRUCTURE_SIZE;
    new Uint32Array(memory.buffer).set([start, structure + STACK_SIZE], structure >> 2);
    place.value = structure;
    try {
      let result = f(...parameters);
      while (exports.asyncify_get_state() === UNWINDING) {
        counts.pauses++;
        exports.asyncify_stop_unwind();
        const end = new Uint32Array(memory.buffer)[structure >> 2];
        const saved = new Uint8Array(memory.buffer).slice(start, end);
        new Uint8Array(memory.buffer).fill(0xaa, start, end);
        refill();
        new Uint8Array(memory.buffer).set(saved, start);
        exports.asyncify_start_rewind(structure);
        result = f(...parameters.map((value) => (typeof value === "bigint" ? 0n : 0)));
      }
      return result;
    } finally {
      depth--;
      place.value = before;
    }
  };
  return Object.fromEntries(Object.entries(exports).map(([name, value]) => [name, typeof value === "function" ? wrap(value) : value]));
}

const compiled = await WebAssembly.compile(readFileSync(file));
const variant = newVariant(synchronousVariant, {
  emscriptenModule: {
    instantiateWasm(imports, receive) {
      receive({ exports: pausing(new WebAssembly.Instance(compiled, imports).exports) }, compiled);
    },
  },
});
const quickjs = await newQuickJSWASMModuleFromVariant(variant);
const programs = {};
for (const [name, { size, source }] of Object.entries(PROGRAMS)) {
  const before = { pauses: counts.pauses, used: counts.given - counts.left() };
  const vm = quickjs.newContext();
  vm.unwrapResult(vm.evalCode(`const run = ${source}`)).dispose();
  const call = `JSON.stringify(run(${Math.ceil(size * SCALE)}))`;
  const outcome = vm.unwrapResult(vm.evalCode(call)).consume((handle) => vm.getString(handle));
  const used = Number(counts.given - counts.left() - before.used);
  programs[name] = { outcome, pauses: counts.pauses - before.pauses, used };
}
process.stdout.write(JSON.stringify(programs) + "\n");
