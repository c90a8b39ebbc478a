// Runs the scripts of the benchmarks in PHP with pause points, under the glue of npm's build for engines with JSPI: whenever
// the module pauses, what it saved is overwritten, put back, and the call goes on. Prints, as JSON, what each script gave, how
// often it paused, and the fuel that it used; of a module without pause points what the scripts gave.
// Usage: node paused_php.mjs <module> <largest portion of fuel, 0: one that is never used up> <seed>

import { readFileSync } from "node:fs";
import { SCRIPTS } from "../../../benchmarks/running/runners/php_scripts.mjs";
import { makePausing } from "./pausing.mjs";

const [file, largest, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const SCALE = 0.002;
const { counts, pausing, throughTables } = makePausing(largest, seed);
throughTables(); // the glue puts exports there, and calls what it finds

// The scripts have nothing to wait for: what the glue wraps for suspending never does.
WebAssembly.Suspending = function (implementation) {
  return (...values) => {
    const result = implementation(...values);
    if (result instanceof Promise) throw new Error(`PHP has to wait in ${implementation.name}`);
    return result;
  };
};
WebAssembly.promising = (exported) => async (...values) => exported(...values);

// What would be different from run to run, for a program that asks.
let now = 1_700_000_000_000;
Date.now = () => (now += 1);
performance.now = () => (now += 1) - 1_700_000_000_000;
const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (source, imports) => {
  const { module, instance } = await instantiate(source, imports);
  return { module, instance: { exports: pausing(instance.exports) } };
};

const { loadNodeRuntime } = await import("@php-wasm/node");
const { PHP } = await import("@php-wasm/universal");
const php = new PHP(await loadNodeRuntime("8.3", { emscriptenOptions: { processId: 1, wasmBinary: readFileSync(file) } }));
const programs = {};
for (const [name, { size, code }] of Object.entries(SCRIPTS)) {
  const before = { pauses: counts.pauses, used: counts.used() };
  const { text, errors, exitCode } = await php.run({ code: `<?php $n = ${Math.ceil(size * SCALE)}; ${code}` });
  if (exitCode !== 0) throw new Error(`PHP ended with ${exitCode}: ${text} ${errors}`);
  programs[name] = { outcome: text, pauses: counts.pauses - before.pauses, used: Number(counts.used() - before.used) };
}
process.stdout.write(JSON.stringify(programs) + "\n", () => process.exit()); // PHP's proxy for outgoing connections listens for ever
