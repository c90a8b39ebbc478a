/** Builds the guests once and loads them, each in every way that this engine can run. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import * as ponyfill from "../../src/index.js";

export const repository = new URL("../../../", import.meta.url);

export function findPython() {
  const local = fileURLToPath(new URL(".venv/bin/python", repository));
  return process.env.CAESURA_PYTHON ?? (existsSync(local) ? local : "python3");
}

try {
  execFileSync(findPython(), [fileURLToPath(new URL("../build_guests.py", import.meta.url))], { stdio: "inherit" });
} catch {
  console.error(
    `The guests could not be built with ${findPython()}, which needs caesura and wasmtime: ` +
      "run `make test` once, or set CAESURA_PYTHON.",
  );
  process.exit(1);
}

export const hasNative = "Suspending" in WebAssembly;

/** The bytes of a guest, or undefined if it is not built in that way. */
export function bytes(name, build) {
  const file = new URL(`build/js/${name}.${build}.wasm`, repository);
  return existsSync(file) ? readFileSync(file) : undefined;
}

/** The ways to run a guest here: its builds over the ponyfill, and over the engine's own JSPI. */
export function waysToRun(name) {
  const ways = [];
  for (const build of ["plain", "thunks", "secondary", "saved", "saved_thunks", "binaryen"]) {
    const code = bytes(name, build);
    if (code && WebAssembly.validate(code)) ways.push({ way: build, module: new WebAssembly.Module(code), api: ponyfill });
  }
  const bare = bytes(name, "bare");
  if (bare && hasNative) {
    const module = new WebAssembly.Module(bare);
    ways.push({ way: "native", module, api: WebAssembly });
    ways.push({ way: "native behind the ponyfill", module, api: ponyfill });
  }
  return ways;
}

export const sleep = (milliseconds, value) => new Promise((resolve) => setTimeout(resolve, milliseconds, value));
