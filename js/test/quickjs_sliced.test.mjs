/**
 * QuickJS of npm's quickjs-wasi as a sandbox: scripts that compute take turns, with a comparator that asks the host, and go on
 * from wherever their fuel has ended, each time in a new instance. Needs that package.
 */

import assert from "node:assert/strict";
import { it } from "node:test";

import { Instance, Suspending } from "../src/index.js";
import { BudgetExhausted, promising, usage } from "../src/slices.js";
import { pending, restore, snapshot } from "../src/snapshot.js";
import { bytes } from "./support/guests.mjs";
import { read, write } from "./support/quickjs_text.mjs";

const code = bytes("quickjs_wasi", "fuel_thunks");
const skip = !code && "npm's quickjs-wasi is not installed";
const module = code && new WebAssembly.Module(code);

const SCRIPT = `
let words = [];
for (let number = 0; number < 1000; number++) words.push("word " + (number * 7919) % 3001);
words.sort();
const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
const few = [3, 1, 2].sort((one, other) => ask(one, other));
JSON.stringify([fib(15), few, words.join().length, /(a|b)*c/.test("abab".repeat(50) + "c"), (2n ** 300n % 1000007n).toString()])`;
const RESULT = new Function("ask", SCRIPT.replace(/JSON.stringify.*$/, "return $&"))((one, other) => one - other);

/** What QuickJS imports; the host compares two numbers, as numbers of the guest's. */
function importsOf(owner) {
  const imports = {};
  const compare = async (...values) => {
    await null;
    const { exports } = owner.instance;
    const [one, other] = new Uint32Array(exports.memory.buffer, values[4], 2);
    return exports.qjs_new_number(exports.qjs_get_float64(one) - exports.qjs_get_float64(other));
  };
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = name == "host_call" ? new Suspending(compare) : () => 0;
  }
  return imports;
}

/** An instance, and where its script is. */
function begin() {
  const owner = {};
  const instance = (owner.instance = new Instance(module, importsOf(owner)));
  const { exports } = instance;
  exports._initialize();
  assert.equal(exports.qjs_init(), 0);
  const [name, size] = write(instance, "ask");
  exports.qjs_set_prop_string(exports.qjs_get_global(), name, exports.qjs_new_host_function(name, size, 2));
  const [script, length] = write(instance, SCRIPT);
  return { instance, script: [script, length, write(instance, "script.js")[0], 0] };
}

it("scripts take turns, and come to the same as without", { skip }, async () => {
  const guests = Array.from({ length: 4 }, begin);
  const results = await Promise.all(guests.map(({ instance, script }) => promising(instance.exports.qjs_eval, { slice: 0.5 })(...script)));
  guests.forEach(({ instance }, number) => assert.equal(read(instance, results[number]), RESULT));
  const counts = guests.map(({ instance }) => usage(instance));
  assert.ok(counts.every(({ slices }) => slices > 3));
});

it("a script goes on from wherever its fuel has ended, in another instance", { skip }, async () => {
  const { instance: first, script } = begin();
  let running = promising(first.exports.qjs_eval, { fuel: 3_000_000, slice: 1 })(...script);
  let instance = first;
  let places = 0;
  for (;;) {
    const result = await running.catch((error) => error);
    if (!(result instanceof BudgetExhausted)) {
      assert.equal(read(instance, result), RESULT);
      break;
    }
    places++;
    const owner = {};
    ({ instance } = await restore(await snapshot(instance), module, importsOf(owner)));
    owner.instance = instance;
    const [call] = pending(instance);
    running = call.resume(undefined, { fuel: 3_000_001 });
  }
  assert.ok(places > 10, `${places} places`);
});
