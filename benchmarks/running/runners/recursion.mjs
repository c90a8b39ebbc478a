/**
 * Finds how deep a function of a script may recurse in QuickJS until the engine's native stack overflows: never suspended,
 * and when the whole stack has been suspended and resumed once. The size of the engine's frames decides, so it matters which
 * of V8's compilers has made the code: run it with `--liftoff-only` for the first one, or warmed up for the second.
 * (`--no-liftoff` also gives the second one's code, but not the code that runs in practice: Node 24 then inlines functions
 * that are never called.)
 *
 *     node recursion.mjs '{"file": "<module>", "suspends": true, "warmingRuns": 4000}'
 *
 * QuickJS runs under the glue of its synchronous build. The import through which it calls functions of the host is made to
 * suspend, and every export is called again until it has come to its end.
 */

import { readFileSync } from "node:fs";
import { newQuickJSWASMModuleFromVariant, newVariant } from "quickjs-emscripten-core";
import synchronousVariant from "@jitl/quickjs-wasmfile-release-sync";
import { report, request, settle } from "./timing.mjs";

const { file, suspends, warmingRuns } = request();
const HOST_CALL = "s"; // qts_host_call_function, as the glue names it
const ASYNCIFY_STACK = 4 << 20;
const HEADER = 8;
const MOST = 1 << 14;

const compiled = await WebAssembly.compile(readFileSync(file));

/** Loads QuickJS; `state.suspend` set, the next call of the host suspends. */
async function load() {
  const state = { suspend: false, suspensions: 0, data: 0 };
  let isUnwinding = false;
  let isRewinding = false;
  const variant = newVariant(synchronousVariant, {
    emscriptenModule: {
      instantiateWasm(imports, receive) {
        const call = imports.a[HOST_CALL];
        const suspendingCall = (...values) => {
          if (isRewinding) {
            isRewinding = false;
            exports.asyncify_stop_rewind();
          } else if (state.suspend) {
            state.suspend = false;
            isUnwinding = true;
            exports.asyncify_start_unwind(state.data);
            return 0;
          }
          return call(...values);
        };
        const { exports } = new WebAssembly.Instance(compiled, { a: { ...imports.a, [HOST_CALL]: suspendingCall } });
        const again = (exported) => (...values) => {
          let result = exported(...values);
          while (isUnwinding) {
            isUnwinding = false;
            state.suspensions++;
            exports.asyncify_stop_unwind();
            exports.asyncify_start_rewind(state.data);
            isRewinding = true;
            result = exported(...values);
          }
          return result;
        };
        const wrapped = Object.entries(exports).map(([name, value]) => [name, typeof value === "function" ? again(value) : value]);
        receive({ exports: Object.fromEntries(wrapped) }, compiled);
      },
    },
  });
  const quickjs = await newQuickJSWASMModuleFromVariant(variant);
  const runtime = quickjs.newRuntime();
  runtime.setMaxStackSize(0); // the engine's limit counts here, not QuickJS's own
  const vm = runtime.newContext();
  return { vm, state, module: quickjs.module };
}

/** How deep a script recurses before the engine stops it. */
async function depthNeverSuspended() {
  const { vm } = await load();
  vm.unwrapResult(vm.evalCode("var depth = 0; function down(n) { depth = n; return down(n + 1) + 1; }")).dispose();
  try {
    vm.evalCode("down(1)");
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return vm.dump(vm.getProp(vm.global, "depth"));
  }
  throw new Error("QuickJS stopped the recursion before the engine did");
}

/** Recurses until V8 has compiled the code anew, suspended each time if that is possible. */
async function warmUp() {
  const { vm, state } = await prepareToSuspend();
  for (let run = 0; run < warmingRuns; run++) {
    state.suspend = suspends;
    vm.unwrapResult(vm.evalCode("down(20)")).dispose();
    if (run % 100 === 0) await settle();
  }
  await settle();
}

async function prepareToSuspend() {
  const loaded = await load();
  const { vm, state, module } = loaded;
  state.data = module._malloc(ASYNCIFY_STACK);
  new Int32Array(module.HEAPU8.buffer, state.data, 2).set([state.data + HEADER, state.data + ASYNCIFY_STACK]);
  vm.newFunction("ask", () => vm.newNumber(1)).consume((handle) => vm.setProp(vm.global, "ask", handle));
  vm.unwrapResult(vm.evalCode("function down(n) { return n > 1 ? down(n - 1) + 1 : ask(); }")).dispose();
  return loaded;
}

/** Whether a recursion to a depth can be suspended at the bottom, and all of it be resumed. */
async function canResume(depth) {
  const { vm, state } = await prepareToSuspend();
  state.suspend = true;
  try {
    const result = vm.unwrapResult(vm.evalCode(`down(${depth})`)).consume(vm.dump);
    if (result !== depth || state.suspensions !== 1) throw new Error(`depth ${depth}: ${result}, ${state.suspensions} suspensions`);
    return true;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return false;
  }
}

async function depthAllResumed() {
  let least = 1;
  let most = MOST;
  while (most - least > 1) {
    const middle = (least + most) >> 1;
    if (await canResume(middle)) least = middle;
    else most = middle;
  }
  return least;
}

await warmUp();
report({ never: await depthNeverSuspended(), ...(suspends ? { resumed: await depthAllResumed() } : {}) });
