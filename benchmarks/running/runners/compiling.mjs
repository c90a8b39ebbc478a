/**
 * Measures how long V8 takes to compile a module, all of it at once, by the compiler that the flags for Node choose
 * (`--liftoff-only` or `--no-liftoff`, both with `--no-wasm-lazy-compilation`). With `--allow-natives-syntax` it gives the
 * bytes of the serialised machine code too, which only the second compiler's code has.
 *
 *     node compiling.mjs '{"file": "<module>", "serialises": true}'
 */

import { readFileSync } from "node:fs";
import { report, request } from "./timing.mjs";

const { file, serialises } = request();
const bytes = readFileSync(file);
const begun = process.cpuUsage();
const module = new WebAssembly.Module(bytes);
const { user, system } = process.cpuUsage(begun); // of all threads
const serialise = serialises ? new Function("module", "return %SerializeWasmModule(module)") : () => undefined;
report({ milliseconds: (user + system) / 1000, machineCode: serialise(module)?.byteLength });
