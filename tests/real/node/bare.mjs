// Calls exports of a module that has nothing of ours, and prints what they returned, what imports were called with, and a
// digest of its memory. Usage: bare.mjs MODULE STEPS ANSWERS, both JSON (see tests/support/bare.py).
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const [file, steps, answers] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(file));
const results = [];
const given = (value) =>
  typeof value == "string" ? BigInt(value) : value?.step === undefined ? value : given(results[value.step]);
const told = (value) =>
  Array.isArray(value) ? value.map(told) : typeof value == "bigint" ? String(BigInt.asUintN(64, value)) : value ?? null;
const left = JSON.parse(answers);
const asked = [];
const imports = Object.create(null);
for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
  if (kind != "function") throw new Error(`${from}.${name} is to be given, too`);
  (imports[from] ??= {})[name] = (...values) => {
    asked.push([`${from}.${name}`, ...values.map(told)]);
    const answer = left.shift() ?? 0;
    return Array.isArray(answer) ? answer.map(given) : given(answer);
  };
}
const { exports } = new WebAssembly.Instance(module, imports);
const text = (address) => {
  const bytes = new Uint8Array(exports.memory.buffer, address);
  return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
};
for (const [name, ...values] of JSON.parse(steps)) {
  try {
    results.push(name == "text" ? text(...values.map(given)) : told(exports[name](...values.map(given))));
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    results.push("trap");
  }
}
const memory = createHash("sha256").update(new Uint8Array(exports.memory?.buffer ?? [])).digest("hex");
console.log(JSON.stringify({ results, asked, memory }));
