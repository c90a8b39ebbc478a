// Drives an instrumented module by the API of npm's package asyncify-wasm, which knows nothing of caesura.
// Usage: node asyncify_wasm.mjs <instrumented fetches.wasm>; prints what happened as JSON.
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { instantiate } from "../../../node_modules/asyncify-wasm/dist/asyncify.mjs";

const bytes = readFileSync(process.argv[2]);
const notes = [];
const imports = {
  env: {
    // Even questions are answered at once, odd ones later, some much later.
    ask: (question) => (question % 2 ? wait(question, question * 100) : question * 100),
    note: (sum) => notes.push(sum),
  },
};

const { instance } = await instantiate(bytes, imports);
const sum = await instance.exports.sum(8);
const again = await instance.exports.sum(3);
const answers = await instance.exports.answers();

// A compiled module gives an instance itself; the package then sets its prototype. Its own `new Instance` fails in Node.
const other = await instantiate(new WebAssembly.Module(bytes), imports);
const both = await Promise.all([instance.exports.sum(5), other.exports.sum(6)]);

const failing = await instantiate(bytes, {
  env: { ...imports.env, ask: () => Promise.reject(new Error("no answer")) },
});
const failure = await failing.instance.exports.sum(1).catch((error) => error.message);

console.log(JSON.stringify({ sum, again, answers, both, failure, notes: notes.slice(0, 11) }));
