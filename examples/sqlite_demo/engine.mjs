// Loads SQLite from the npm package wa-sqlite: the synchronous build as it comes, or that same build, instrumented by
// caesura, under the package's own glue for asynchronous work.
//
// The package has two builds, wa-sqlite.wasm and wa-sqlite-async.wasm; the second one went through Binaryen's Asyncify
// and is twice as large. Their imports and exports have the same short names (Emscripten numbers them in the same
// order), except for four exports that only the second one has: the glue of the second build knows the Asyncify
// functions as Kb, Lb, Mb and Nb. So an instrumented wa-sqlite.wasm runs under wa-sqlite-async.mjs once its Asyncify
// functions have these names too.

import { readFileSync } from "node:fs";
import { Factory } from "wa-sqlite/src/sqlite-api.js";
import asynchronousGlue from "wa-sqlite/dist/wa-sqlite-async.mjs";
import synchronousGlue from "wa-sqlite/dist/wa-sqlite.mjs";

const GLUE_NAMES = {
  Kb: "asyncify_start_unwind",
  Lb: "asyncify_stop_unwind",
  Mb: "asyncify_start_rewind",
  Nb: "asyncify_stop_rewind",
};

/** Loads the build that cannot be suspended. */
export async function loadSynchronous(file) {
  const module = await synchronousGlue({ wasmBinary: readFileSync(file) });
  return { module, sqlite3: Factory(module), counts: { suspensions: 0 } };
}

/** Loads the same build, instrumented. `counts.suspensions` counts how often SQLite was suspended. */
export async function loadInstrumented(file) {
  const counts = { suspensions: 0 };
  const compiled = await WebAssembly.compile(readFileSync(file));
  const module = await asynchronousGlue({
    instantiateWasm(imports, receive) {
      const { exports } = new WebAssembly.Instance(compiled, imports);
      return receive({ exports: withGlueNames(exports, counts) });
    },
  });
  return { module, sqlite3: Factory(module), counts };
}

function withGlueNames(exports, counts) {
  const renamed = { ...exports };
  for (const [name, meaning] of Object.entries(GLUE_NAMES)) {
    renamed[name] = exports[meaning];
    delete renamed[meaning];
  }
  renamed.Kb = (data) => {
    counts.suspensions++;
    exports.asyncify_start_unwind(data);
  };
  return renamed;
}
