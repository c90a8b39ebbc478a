/**
 * Measures the scripts of php_scripts.mjs, or of another collection, in PHP, never suspended, under the glue of npm's
 * build for engines with JSPI.
 *
 *     node php.mjs '{"scale": 1, "leastMilliseconds": 100, "files": {"<variant>": "<module>", ...}}'
 *
 * The glue wraps functions for suspending and exports for promises. In all variants and engines the wrappers do nothing
 * here: the scripts have nothing to wait for, and what is measured is the module alone.
 */

import { readFileSync } from "node:fs";
import { mapValues, measure, report, request, someOf } from "./timing.mjs";

const { scale, leastMilliseconds, collection = "./php_scripts.mjs", set = "SCRIPTS", only, files } = request();
const { [set]: collected } = await import(collection);

WebAssembly.Suspending = function (implementation) {
  return (...values) => {
    const result = implementation(...values);
    if (result instanceof Promise) throw new Error(`PHP has to wait in ${implementation.name}`);
    return result;
  };
};
WebAssembly.promising = (exported) => async (...values) => exported(...values);

// The packages look for JSPI when they are loaded.
const { loadNodeRuntime } = await import("@php-wasm/node");
const { PHP } = await import("@php-wasm/universal");

async function load(file) {
  const emscriptenOptions = { processId: 1, wasmBinary: readFileSync(file) };
  const php = new PHP(await loadNodeRuntime("8.3", { emscriptenOptions }));
  return mapValues(someOf(collected, only), ({ size, code }) => async () => {
    const { text, errors, exitCode } = await php.run({ code: `<?php $n = ${Math.ceil(size * scale)}; ${code}` });
    if (exitCode !== 0) throw new Error(`PHP ended with ${exitCode}: ${text} ${errors}`);
    return text;
  });
}

report(await measure(await mapValues(files, load), leastMilliseconds));
process.exit(); // PHP's proxy for outgoing connections listens for ever
