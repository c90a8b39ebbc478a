// Loads QuickJS from the packages of quickjs-emscripten: the synchronous build as it comes, or that same build,
// instrumented by caesura, under the glue of the package's asyncify build.
//
// Emscripten gives imports and exports short names in the order in which they come, and the two builds do not have
// quite the same: the asyncify build has one import more. Its exports are those of the synchronous build in the same
// order under other names, followed by its own; its imports are the same functions in another order. So both are
// renamed, by position and by a table.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import {
  newQuickJSAsyncWASMModuleFromVariant,
  newQuickJSWASMModuleFromVariant,
  newVariant,
} from "quickjs-emscripten-core";
import asyncifyVariant from "@jitl/quickjs-wasmfile-release-asyncify";
import synchronousVariant from "@jitl/quickjs-wasmfile-release-sync";

const packages = createRequire(import.meta.url);
const modulePath = (name) => packages.resolve(`@jitl/quickjs-wasmfile-release-${name}/wasm`);

// The synchronous build's imports, and what the asyncify build's glue calls them.
const IMPORTS = {
  a: "a", // the memory
  b: "b", // assertion failed
  c: "s", // fd_write
  d: "c", // fd_close
  e: "d", // environ_get
  f: "e", // environ_sizes_get
  g: "f", // qts_host_normalize_module
  h: "g", // qts_host_load_module_source
  i: "h", // qts_host_interrupt_handler
  j: "j", // setitimer
  k: "k", // memory growth
  l: "l", // keepalive
  m: "m", // localtime
  n: "n", // tzset
  o: "o", // fd_seek
  p: "p", // date now
  q: "q", // abort
  r: "r", // proc_exit
  s: "i", // qts_host_call_function
  t: "t", // qts_free_host_ref
};
const SET_ASYNCIFY_STACK_SIZE = "u";
const ASYNCIFY = ["asyncify_start_unwind", "asyncify_stop_unwind", "asyncify_start_rewind", "asyncify_stop_rewind"];
const ASYNCIFY_STACK_SIZE = 1 << 20;

/** Loads the build that cannot be suspended. */
export function loadSynchronous() {
  return newQuickJSWASMModuleFromVariant(synchronousVariant);
}

/** Loads an instrumented file of the same build. `counts.suspensions` counts how often QuickJS was suspended. */
export async function loadInstrumented(file) {
  const counts = { suspensions: 0 };
  const original = await WebAssembly.compile(readFileSync(modulePath("sync")));
  const asyncify = await WebAssembly.compile(readFileSync(modulePath("asyncify")));
  const instrumented = await WebAssembly.compile(readFileSync(file));
  const variant = newVariant(asyncifyVariant, {
    emscriptenModule: {
      instantiateWasm(imports, receive) {
        imports.a[SET_ASYNCIFY_STACK_SIZE](ASYNCIFY_STACK_SIZE, 0);
        const renamed = Object.fromEntries(Object.entries(IMPORTS).map(([ours, theirs]) => [ours, imports.a[theirs]]));
        const { exports } = new WebAssembly.Instance(instrumented, { a: renamed });
        receive({ exports: renameExports(exports, original, asyncify, counts) }, instrumented);
      },
    },
  });
  return { quickjs: await newQuickJSAsyncWASMModuleFromVariant(variant), counts };
}

function renameExports(exports, original, asyncify, counts) {
  const wanted = WebAssembly.Module.exports(asyncify);
  const renamed = {};
  WebAssembly.Module.exports(original).forEach(({ name, kind }, position) => {
    if (wanted[position].kind !== kind) throw new Error(`export ${name} has no counterpart`);
    renamed[wanted[position].name] = exports[name];
  });
  // The asyncify build's last four exports are the ones that only it has.
  wanted.slice(-4).forEach(({ name }, position) => {
    const asyncifyFunction = exports[ASYNCIFY[position]];
    renamed[name] = (...parameters) => {
      if (position === 0) counts.suspensions++;
      asyncifyFunction(...parameters);
    };
  });
  return renamed;
}
