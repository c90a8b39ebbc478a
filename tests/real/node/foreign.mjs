// Lets a guest's handler of an exception of JavaScript suspend, under the plain Asyncify ABI, without looking whether it can;
// then lets its call suspend that has thrown nothing. Prints what came of it as JSON.
// Usage: node foreign.mjs <module>

import { readFileSync } from "node:fs";

const STACK = 32768;
const found = {};
const thrown = new Error("the host's");
let rewinding = false;

const imports = {
  env: {
    ask(value) {
      if (rewinding) {
        exports.asyncify_stop_rewind();
        return value;
      }
      new Int32Array(exports.memory.buffer).set([STACK + 8, STACK + 16384], STACK >> 2);
      try {
        exports.asyncify_start_unwind(STACK);
      } catch (error) {
        found["trapped in"] = /at (?:\S+\.)?(asyncify_suspended\w+)/.exec(error.stack)?.[1];
        found.state = exports.asyncify_get_state();
      }
      return 0;
    },
    fail() {
      throw thrown;
    },
  },
};
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(process.argv[2])), imports);

try {
  exports.run(1);
} catch (error) {
  found.thrown = error.message;
}
exports.run(0);
found.suspended = exports.asyncify_get_state() === 1;
exports.asyncify_stop_unwind();
exports.asyncify_start_rewind(STACK);
rewinding = true;
found.result = exports.run(0);
console.log(JSON.stringify(found));
