// Calls exports of a module that has nothing of ours, and prints what they returned, what imports were called with, and a
// digest of its memory. Usage: bare.mjs MODULE STEPS ANSWERS, both JSON (see tests/support/bare.py).
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const [file, steps, answers] = process.argv.slice(2);
const module = new WebAssembly.Module(readFileSync(file));
const given = (value) => (typeof value == "string" ? BigInt(value) : value);
const told = (value) =>
  Array.isArray(value) ? value.map(told) : typeof value == "bigint" ? String(BigInt.asUintN(64, value)) : value ?? null;
const left = JSON.parse(answers);
const asked = [];
const imports = Object.create(null);
for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
  if (kind != "function") throw new Error(`${from}.${name} is to be given, too`);
  (imports[from] ??= {})[name] = (...values) => {
    asked.push([`${from}.${name}`, ...values.map(told)]);
    const answer = left.shift();
    return Array.isArray(answer) ? answer.map(given) : given(answer);
  };
}
const { exports } = new WebAssembly.Instance(module, imports);
const results = JSON.parse(steps).map(([name, ...values]) => {
  try {
    return told(exports[name](...values.map(given)));
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    return "trap";
  }
});
const memory = createHash("sha256").update(new Uint8Array(exports.memory?.buffer ?? [])).digest("hex");
console.log(JSON.stringify({ results, asked, memory }));
