/**
 * SQLite and QuickJS, in builds from npm that have no provision for pausing, under the glue that belongs to them: what
 * their imports do takes its time, and their exports return promises. Results must equal those without a pause.
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as SQLite from "wa-sqlite/src/sqlite-api.js";
import sqliteGlue from "wa-sqlite/dist/wa-sqlite.mjs";
import { newQuickJSWASMModuleFromVariant, newVariant } from "quickjs-emscripten-core";
import quickjsVariant from "@jitl/quickjs-wasmfile-release-sync";

import { MemoryFiles } from "../../examples/sqlite_demo/files.mjs";
import { SCRIPTS } from "../../tests/real/node/quickjs_suite.mjs";
import { STATEMENTS } from "../../tests/real/node/sqlite_suite.mjs";
import { bytes, waysToRun } from "./support/guests.mjs";

// The engine's own JSPI would not do: it has one shadow stack for all calls, and refuses imports that are marked as
// suspending where nothing can suspend, even if they do not.
const ways = (name) => waysToRun(name).filter(({ way }) => !way.startsWith("native"));
const later = () => new Promise(setImmediate);

/** The same files, but every method returns a promise. */
class PromisedFiles extends MemoryFiles {}

for (const name of Object.getOwnPropertyNames(MemoryFiles.prototype).filter((key) => key.startsWith("x"))) {
  PromisedFiles.prototype[name] = async function (...parameters) {
    await later();
    return MemoryFiles.prototype[name].apply(this, parameters);
  };
}

// Emscripten shortened the exports' names; these are the functions of SQLite that touch files.
const SLOW_EXPORTS = {
  _sqlite3_open_v2: "qb",
  _sqlite3_prepare_v2: "ya",
  _sqlite3_step: "za",
  _sqlite3_finalize: "Ca",
  _sqlite3_reset: "Da",
  _sqlite3_close: "ob",
};

async function runSQLite(way, files) {
  let exports;
  const glue = await sqliteGlue({
    instantiateWasm(imports, receive) {
      if (!way) return receive(new WebAssembly.Instance(new WebAssembly.Module(bytes("sqlite", "bare")), imports));
      const marked = Object.entries(imports.a).map(([name, value]) => [
        name,
        typeof value == "function" ? new way.api.Suspending(value) : value,
      ]);
      // The guest's malloc has a short name too.
      const options = { allocate: (size) => glue._sqlite3_malloc(size) };
      const instance = new way.api.Instance(way.module, { a: Object.fromEntries(marked) }, options);
      ({ exports } = instance);
      return receive(instance);
    },
  });
  if (way) {
    for (const [name, short] of Object.entries(SLOW_EXPORTS)) glue[name] = way.api.promising(exports[short]);
  }
  const sqlite3 = SQLite.Factory(glue);
  sqlite3.vfs_register(files, true);
  const db = await sqlite3.open_v2("main.db");
  sqlite3.create_function(db, "scale", 2, SQLite.SQLITE_UTF8, 0, (context, values) => {
    sqlite3.result_double(context, sqlite3.value_double(values[0]) * sqlite3.value_double(values[1]));
  });
  const outcomes = [];
  for (const sql of STATEMENTS) {
    const rows = [];
    try {
      await sqlite3.exec(db, sql, (row) => rows.push(row));
      outcomes.push([sql, rows]);
    } catch (problem) {
      if (!(problem instanceof SQLite.SQLiteError)) throw problem;
      outcomes.push([sql, rows, problem.message]);
    }
  }
  await sqlite3.close(db);
  return { outcomes, contents: [...files.contents] };
}

describe("SQLite", () => {
  for (const way of ways("sqlite")) {
    it(`waits for its files: ${way.way}`, async () => {
      const expected = await runSQLite(undefined, new MemoryFiles());
      assert.ok(expected.outcomes.length > 20);
      assert.deepEqual(await runSQLite(way, new PromisedFiles()), expected);
    });
  }
});

const CALL_HOST = "s";
const EVALUATE = "pa";

/** Return a function that runs a script in a context of its own and returns what it came to. */
async function loadQuickJS(way) {
  let evaluate;
  const variant = newVariant(quickjsVariant, {
    emscriptenModule: {
      instantiateWasm(imports, receive) {
        const { [CALL_HOST]: callHost } = imports.a;
        imports.a[CALL_HOST] = new way.api.Suspending(async (...parameters) => {
          await later();
          return callHost(...parameters);
        });
        const options = { allocate: (size) => instance.exports.v(size), shadowStackSize: 1 << 18 };
        const instance = new way.api.Instance(way.module, imports, options);
        evaluate = way.api.promising(instance.exports[EVALUATE]);
        receive(instance, way.module);
      },
    },
  });
  const quickjs = await newQuickJSWASMModuleFromVariant(way ? variant : quickjsVariant);
  return async (script) => {
    const vm = quickjs.newContext();
    const shown = (x) => JSON.stringify(vm.dump(x) ?? null);
    const host = {
      ask: (x) => vm.newNumber(shown(x).length),
      text: (x) => vm.newString(`<${shown(x)}>`),
      fail() {
        throw new Error("failed");
      },
    };
    for (const [name, f] of Object.entries(host)) vm.newFunction(name, f).consume((f) => vm.setProp(vm.global, name, f));
    const code = `JSON.stringify((${script})())`;
    if (!way) {
      const result = vm.evalCode(code);
      return result.error ? vm.dump(result.error).message : vm.getString(result.value);
    }
    // What `evalCode` does, but with an export that returns a promise.
    const text = vm.memory.newHeapCharPointer(code);
    const file = vm.memory.newHeapCharPointer("eval.js");
    const value = await evaluate(vm.ctx.value, text.value.ptr, text.value.strlen, file.value.ptr, 0, 0);
    const error = vm.ffi.QTS_ResolveException(vm.ctx.value, value);
    const handle = vm.memory.heapValueHandle(error || value);
    return error ? vm.dump(handle).message : vm.getString(handle);
  };
}

describe("QuickJS", () => {
  const scripts = Object.entries(SCRIPTS);
  for (const way of ways("quickjs")) {
    it(`waits wherever a script calls the host, one script after the other: ${way.way}`, async () => {
      const [wanted, run] = await Promise.all([loadQuickJS(), loadQuickJS(way)]);
      for (const [name, script] of scripts) assert.equal(await run(script), await wanted(script), name);
    });

    // Emscripten shortened the names of the functions that set the shadow stack pointer; only thunks tell of it.
    const alone = way.way == "plain" && "a guest that hides its stack pointer can only run one call at a time";
    it(`runs all scripts at once: ${way.way}`, { skip: alone }, async () => {
      const [wanted, run] = await Promise.all([loadQuickJS(), loadQuickJS(way)]);
      const results = await Promise.all(scripts.map(([, script]) => run(script)));
      for (const [place, [name, script]] of scripts.entries()) assert.equal(results[place], await wanted(script), name);
    });
  }
});
