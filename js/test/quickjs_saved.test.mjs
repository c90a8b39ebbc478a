/**
 * QuickJS of npm's quickjs-wasi, which can be saved between its calls: here in a synchronous function of the host's, which a
 * comparator calls, inside a generator. Needs that package.
 */

import assert from "node:assert/strict";
import { it } from "node:test";

import { Instance, promising, Suspending } from "../src/index.js";
import { restore, snapshot } from "../src/snapshot.js";
import { bytes } from "./support/guests.mjs";
import { rest } from "./support/saved.mjs";
import { read, write } from "./support/quickjs_text.mjs";

const code = bytes("quickjs_wasi", "saved_thunks");

const SCRIPT = `
function* sorted(list) {
  yield "sorted:";
  yield* list.sort((one, other) => ask(one, other));
}
Array.from(sorted(["pear", "fig", "quince", "apple", "plum"])).join(" ")`;

const wait = new Suspending(() => new Promise(() => {}));
const nothing = () => 0;

/** What QuickJS imports: it waits for ever where it calls the host. */
function importsOf(module) {
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    (imports[from] ??= {})[name] = name == "host_call" ? wait : nothing;
  }
  return imports;
}

/** What a comparator asks, and what the host answers. */
function answer(instance, [, , , count, values]) {
  const [one, other] = new Uint32Array(instance.exports.memory.buffer, values, count);
  const [first, second] = [read(instance, one), read(instance, other)];
  return instance.exports.qjs_new_number(first < second ? -1 : first > second ? 1 : 0);
}

it("QuickJS is saved wherever a script waits", { skip: !code && "npm's quickjs-wasi is not installed" }, async () => {
  const module = new WebAssembly.Module(code);
  const imports = importsOf(module);
  let instance = new Instance(module, imports);
  const { exports } = instance;
  exports._initialize();
  assert.equal(exports.qjs_init(), 0);
  const [name, size] = write(instance, "ask");
  exports.qjs_set_prop_string(exports.qjs_get_global(), name, exports.qjs_new_host_function(name, size, 2));
  const [script, length] = write(instance, SCRIPT);
  promising(exports.qjs_eval)(script, length, write(instance, "script.js")[0], 0);
  await rest();
  let steps = 0;
  let result;
  for (; ; steps++) {
    const saved = await snapshot(instance);
    const restored = await restore(saved, module, imports);
    const [call] = restored.pending;
    if (!call) break;
    ({ instance } = restored);
    assert.equal(call.function, "env.host_call");
    call.resume(answer(instance, call.arguments)).then((value) => (result = value));
    await rest();
  }
  assert.equal(read(instance, result), "sorted: apple fig pear plum quince");
  assert.ok(steps > 5, `${steps} comparisons`);
});
