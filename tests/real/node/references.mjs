// Keeps calls of a guest suspended under the plain Asyncify ABI, any number at once, resumes them in any order, and gives
// some of them up. Prints, as JSON, how often it suspended, how many calls there were, and how many of the objects that it
// gave to the guest are still alive when no call is suspended any more.
// Usage: node --expose-gc references.mjs <module> <suspensions> <calls at once>

import { readFileSync } from "node:fs";

const [file, suspensions, most] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const [NORMAL, UNWINDING, REWINDING] = [0, 1, 2];
const STACK = 4096;
const END = 65536;

let seed = 12345;
const random = (below) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % below;

let alive = 0;
const gone = new FinalizationRegistry(() => alive--);

function thing(name) {
  const made = { name };
  alive++;
  gone.register(made);
  return made;
}

const suspended = new Map();
let running;
let count = 0;

function pointers(current) {
  new Uint32Array(exports.memory.buffer).set([current, END], STACK >> 2);
}

const env = {
  ask(number) {
    if (exports.asyncify_get_state() === REWINDING) {
      exports.asyncify_stop_rewind();
      const { answer } = running;
      running.answer = undefined;
      return answer;
    }
    running.answer = thing(`answer to ${number}`);
    count++;
    pointers(STACK + 8);
    exports.asyncify_start_unwind(STACK);
    return null;
  },
  see(kept, got) {
    if ((kept?.name ?? "") !== running.kept || !/^answer to [1-9]/.test(got.name)) throw new Error(`saw ${kept?.name}, ${got.name}`);
  },
};
const { instance } = await WebAssembly.instantiate(readFileSync(file), { env });
const { exports } = instance;

function run(call, ...parameters) {
  running = call;
  const result = exports.run(...parameters);
  if (exports.asyncify_get_state() === NORMAL) {
    if (result[0].name !== "answer to 0" || (result[1]?.name ?? "") !== call.kept) throw new Error("the result is another");
    return;
  }
  if (exports.asyncify_get_state() !== UNWINDING) throw new Error("the unwinding was lost");
  exports.asyncify_stop_unwind();
  const current = new Uint32Array(exports.memory.buffer)[STACK >> 2];
  call.frames = new Uint8Array(exports.memory.buffer).slice(STACK + 8, current);
  suspended.set(call.number, call);
}

function put(call) {
  suspended.delete(call.number);
  new Uint8Array(exports.memory.buffer).set(call.frames, STACK + 8);
  pointers(STACK + 8 + call.frames.length);
}

function resumeOne() {
  const numbers = [...suspended.keys()];
  const call = suspended.get(numbers[random(numbers.length)]);
  put(call);
  if (random(50) === 0) {
    exports.asyncify_drop_references(STACK);
    return;
  }
  exports.asyncify_start_rewind(STACK);
  run(call, -77, null);
}

let number = 0;
while (count < suspensions) {
  if (suspended.size < most && random(3) === 0) {
    const kept = number % 7 ? `of ${number}` : "";
    run({ number, kept }, 1 + random(20), kept ? thing(kept) : null);
    number++;
  } else if (suspended.size) resumeOne();
  // What ends lets go of its objects only when a microtask has run.
  if (count % 1024 === 0) await null;
}
while (suspended.size) resumeOne();
running = undefined;
for (let round = 0; round < 20 && alive > 0; round++) {
  await new Promise((resolve) => setTimeout(resolve, 1));
  globalThis.gc();
}
console.log(JSON.stringify({ suspensions: count, calls: number, alive }));
