// Runs the programs of the benchmarks in QuickJS with pause points, under the glue of the build that cannot be suspended:
// whenever the module pauses, what it saved is overwritten, put back, and the call goes on. Prints, as JSON, what each
// program gave, how often it paused, and the fuel that it used.
// Usage: node paused_quickjs.mjs <module> <largest portion of fuel, 0: one that is never used up> <seed>

import { readFileSync } from "node:fs";
import { newQuickJSWASMModuleFromVariant, newVariant } from "quickjs-emscripten-core";
import synchronousVariant from "@jitl/quickjs-wasmfile-release-sync";
import { makePausing } from "./pausing.mjs";
import { PROGRAMS } from "../../../benchmarks/running/runners/quickjs_programs.mjs";

const [file, largest, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const SCALE = 0.002;
// What the glue makes of this becomes a variable of the guest's environment, and Node 20 has none.
Object.defineProperty(globalThis, "navigator", { value: { language: "en-US", languages: ["en-US"] }, configurable: true });
const { counts, pausing } = makePausing(largest, seed);

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
  const before = { pauses: counts.pauses, used: counts.used() };
  const vm = quickjs.newContext();
  vm.unwrapResult(vm.evalCode(`const run = ${source}`)).dispose();
  const call = `JSON.stringify(run(${Math.ceil(size * SCALE)}))`;
  const outcome = vm.unwrapResult(vm.evalCode(call)).consume((handle) => vm.getString(handle));
  const used = Number(counts.used() - before.used);
  programs[name] = { outcome, pauses: counts.pauses - before.pauses, used };
}
process.stdout.write(JSON.stringify(programs) + "\n");
