// Prints whether V8 takes a module. Usage: valid.mjs MODULE.
import { readFileSync } from "node:fs";

console.log(JSON.stringify(WebAssembly.validate(readFileSync(process.argv[2]))));
