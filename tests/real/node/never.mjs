// Runs the exports of a module that call env.fail, an import whose result has no value: it takes its time, and throws.
// Prints, as JSON, with what each export failed.
// Usage: node never.mjs <instrumented module>

import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";

import { Instance, Suspending, promising } from "../../../js/src/index.js";

const STACK = 32768;
const module = new WebAssembly.Module(readFileSync(process.argv[2]));
const fail = new Suspending(async (number) => {
  await setImmediate();
  throw new Error(`failed with ${number}`);
});
const { exports } = new Instance(module, { env: { fail } }, { allocate: () => STACK });
const told = {};
for (const name of ["run", "fail"]) await promising(exports[name])(7).catch(({ message }) => (told[name] = message));
console.log(JSON.stringify(told));
