// QuickJS of npm's quickjs-wasi in Node, saved and continued in mid-call by caesura; and saved by the package itself.
//
//     node quickjs_wasi.mjs own SCRIPT STATE            runs the script to its end, then saves it as the package can
//     node quickjs_wasi.mjs begin MODULE SCRIPT STATE   runs the script until it asks, and saves it there
//     node quickjs_wasi.mjs answer MODULE STATE NEW     goes on from one question to the next, prints both, and saves it
//     node quickjs_wasi.mjs end MODULE STATE            goes on to the end, and prints the question and the value

import { readFileSync, writeFileSync } from "node:fs";

import { QuickJS } from "quickjs-wasi";

import { Instance, promising, Suspending } from "../../../js/src/index.js";
import { pending, restore, snapshot } from "../../../js/src/snapshot.js";

const [command, ...files] = process.argv.slice(2);
const read = (file) => readFileSync(file);
const compare = (one, other) => (one > other ? 1 : one < other ? -1 : 0);
const rest = () => new Promise((resolve) => setTimeout(resolve));

let instance;
const imports = {
  env: {
    // Until its end a script gets answers; before, it stays where it asks.
    host_call: new Suspending((...asked) => (command == "end" ? number(asked) : new Promise(() => {}))),
    host_get_timezone_offset: () => 0,
    host_interrupt: () => 0,
    host_promise_rejection: () => {},
    host_module_normalize: () => 0,
    host_module_load: () => 0,
  },
  wasi_snapshot_preview1: {
    clock_time_get: () => 0,
    fd_close: () => 8,
    fd_fdstat_get: () => 8,
    fd_seek: () => 8,
    fd_write: () => 8,
    random_get: () => 0,
  },
};

const textAt = (address) => {
  const bytes = new Uint8Array(instance.exports.memory.buffer);
  return new TextDecoder().decode(bytes.slice(address, bytes.indexOf(0, address)));
};
const textOf = (value) => textAt(instance.exports.qjs_get_string(value));

function put(text) {
  const content = new TextEncoder().encode(`${text}\0`);
  const address = instance.exports.wasm_malloc(content.length);
  new Uint8Array(instance.exports.memory.buffer).set(content, address);
  return [address, content.length - 1];
}

const words = ([, , , count, values]) => Array.from(new Uint32Array(instance.exports.memory.buffer, values, count), textOf);
const number = async (asked) => instance.exports.qjs_new_number(compare(...words(asked)));
const question = (calls) => words(calls[0].arguments).join(" ");

async function begin(module, script) {
  instance = new Instance(new WebAssembly.Module(module), imports);
  const { exports } = instance;
  exports._initialize();
  exports.qjs_init();
  const [name, size] = put("ask");
  exports.qjs_set_prop_string(exports.qjs_get_global(), name, exports.qjs_new_host_function(name, size, 2));
  const [code, length] = put(script);
  promising(exports.qjs_eval)(code, length, put("script.js")[0], 0);
  await rest();
}

if (command == "own") {
  const vm = await QuickJS.create(read(new URL("../../../node_modules/quickjs-wasi/quickjs.wasm", import.meta.url)));
  const ask = vm.newFunction("ask", (one, other) => vm.newNumber(compare(one.toString(), other.toString())));
  vm.setProp(vm.global, "ask", ask);
  console.log(vm.evalCode(read(files[0]).toString()).toString());
  writeFileSync(files[1], QuickJS.serializeSnapshot(vm.snapshot()));
} else if (command == "begin") {
  await begin(read(files[0]), read(files[1]).toString());
  console.log(question(pending(instance)));
  writeFileSync(files[2], await snapshot(instance));
} else {
  const restored = await restore(read(files[1]), read(files[0]), imports);
  const [call] = restored.pending;
  instance = restored.instance;
  console.log(question([call]));
  if (command == "end") {
    console.log(textOf(await call.run()));
  } else {
    call.resume(await number(call.arguments));
    await rest();
    console.log(question(pending(instance)));
    writeFileSync(files[2], await snapshot(instance));
  }
}
