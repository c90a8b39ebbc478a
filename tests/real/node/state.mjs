// Does steps with a module whose state can be read, and prints what each gave.
// Usage: state.mjs MODULE STEPS, STEPS being JSON: a list of steps, each a list of a word and what it needs (see tests/support/stateful.py).
import { readFileSync } from "node:fs";

const [file, steps] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(file));
const imports = Object.create(null);
for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
  if (kind == "function") (imports[from] ??= {})[name] = (value) => value;
  else if (kind == "global") (imports[from] ??= {})[name] = new WebAssembly.Global({ value: "i32", mutable: true }, 7);
}
const { exports } = new WebAssembly.Instance(module, imports);

const given = (value) => (typeof value == "string" ? BigInt(value) : value);
const told = (value) => (typeof value == "bigint" ? String(BigInt.asUintN(64, value)) : typeof value == "number" ? value >>> 0 : null);
const functions = () => {
  exports["asyncify_state:list_functions"]();
  const table = exports["asyncify_state:functions"];
  return Array.from({ length: table.length }, (_, place) => table.get(place));
};
const STEPS = {
  call(name, ...values) {
    try {
      return told(exports[name](...values.map(given)));
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError)) throw error;
      return "trap";
    }
  },
  read: (name) => told(exports[name].value),
  write: (name, value) => void (exports[name].value = given(value)),
  count: () => functions().length,
  sizes: (name) => exports[name].length,
  find: (name, place) => functions().indexOf(exports[name].get(place)),
  put: (name, place, from) => void exports[name].set(place, functions()[from]),
  byte: (name, address) => new Uint8Array(exports[name].buffer)[address],
  names: () => Object.keys(exports),
};
console.log(JSON.stringify(JSON.parse(steps).map(([word, ...rest]) => STEPS[word](...rest) ?? null)));
