// Runs exports of a module under the plain Asyncify ABI and prints, as JSON, what each returned, the calls of its
// imports, its exported global `depth`, how often it was suspended, and how often it could not be, since a handler of an
// exception of JavaScript, or a function that is not instrumented, was on the stack. It imports env.ask and env.tell, and perhaps env.fail, which throws such an
// exception. What is thrown out of a call is told in place of its result.
// Usage: node plain.mjs <module> <step> <calls>, where every <step>-th call of an import suspends (none for 0) and
// <calls> is JSON: [[export, argument, ...], ...]

import { readFileSync } from "node:fs";

const [file, step, calls] = process.argv.slice(2);
const [NORMAL, UNWINDING, REWINDING] = [0, 1, 2];
const STACK = 32768;

const log = [];
let pending = null;
let suspensions = 0;
let refused = 0;

function imported(name, compute) {
  return (value) => {
    const state = exports.asyncify_get_state?.() ?? NORMAL;
    if (state === UNWINDING) throw new Error(`${name} is called while the guest unwinds`);
    if (state === REWINDING) {
      if (pending?.name !== name || pending.value !== value) throw new Error(`rewinding arrived at ${name}(${value})`);
      exports.asyncify_stop_rewind();
      pending = null;
      return compute(value);
    }
    log.push([name, value]);
    if (Number(step) === 0 || log.length % Number(step) !== 0) return compute(value);
    if (exports.asyncify_foreign_handler?.value || exports.asyncify_unsuspendable?.value) {
      refused++;
      return compute(value);
    }
    pending = { name, value };
    suspensions++;
    new Int32Array(exports.memory.buffer).set([STACK + 8, STACK + 16384], STACK >> 2);
    exports.asyncify_start_unwind(STACK);
    return 0;
  };
}

const failures = [];
const imports = {
  env: {
    ask: imported("ask", (value) => (value * 31 + 7) & 0xffff),
    tell: imported("tell", () => undefined),
    fail(value) {
      failures.push(new Error(`failure ${failures.length} by ${value}`));
      throw failures.at(-1);
    },
  },
};
const { instance } = await WebAssembly.instantiate(readFileSync(file), imports);
const { exports } = instance;

function enter(name, parameters) {
  try {
    return exports[name](...parameters);
  } catch (error) {
    if (error instanceof WebAssembly.Exception) return "an exception";
    if (!failures.includes(error)) throw error;
    return error.message;
  }
}

function run([name, ...parameters]) {
  let result = enter(name, parameters);
  while (pending !== null) {
    if (exports.asyncify_get_state() !== UNWINDING) throw new Error("the unwinding was lost");
    exports.asyncify_stop_unwind();
    exports.asyncify_start_rewind(STACK);
    result = enter(
      name,
      parameters.map(() => -77),
    );
  }
  return result;
}

const results = JSON.parse(calls).map(run);
console.log(JSON.stringify({ results, log, depth: exports.depth?.value, suspensions, refused }));
