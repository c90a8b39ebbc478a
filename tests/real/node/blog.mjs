// Runs blog_js.wat under Node, as a page would: `sleep` unwinds the program, a timer rewinds it, and in between the
// event loop is free. Prints what happened, in order, with the milliseconds since the start.
// Usage: node blog.mjs <instrumented module> <milliseconds after which the other event comes>
import { readFileSync } from "node:fs";

const [file, eventAfter] = process.argv.slice(2);
const NORMAL = 0;
const DATA = 16;

const started = performance.now();
const events = [];
const note = (what) => events.push({ what, at: Math.round(performance.now() - started) });

const imports = {
  env: {
    before: () => note("before"),
    after: () => note("after"),
    sleep(milliseconds) {
      if (exports.asyncify_get_state() !== NORMAL) {
        exports.asyncify_stop_rewind();
        note("awake");
        return;
      }
      note("asleep");
      new Int32Array(exports.memory.buffer).set([DATA + 8, 1024], DATA >> 2);
      exports.asyncify_start_unwind(DATA);
      setTimeout(() => {
        exports.asyncify_start_rewind(DATA);
        exports.main();
        console.log(JSON.stringify(events));
      }, milliseconds);
    },
  },
};

const { instance } = await WebAssembly.instantiate(readFileSync(file), imports);
const { exports } = instance;
setTimeout(() => note("event"), Number(eventAfter));
exports.main();
exports.asyncify_stop_unwind();
note("main returned");
