/**
 * Measures the programs of quickjs_programs.mjs in QuickJS, never suspended, under the synchronous build's glue.
 *
 *     node quickjs.mjs '{"scale": 1, "leastMilliseconds": 100, "files": {"<variant>": "<module>", ...}}'
 */

import { readFileSync } from "node:fs";
import { newQuickJSWASMModuleFromVariant, newVariant } from "quickjs-emscripten-core";
import synchronousVariant from "@jitl/quickjs-wasmfile-release-sync";
import { mapValues, measure, report, request } from "./timing.mjs";
import { PROGRAMS } from "./quickjs_programs.mjs";

const { scale, leastMilliseconds, files } = request();

async function load(file) {
  const compiled = await WebAssembly.compile(readFileSync(file));
  const variant = newVariant(synchronousVariant, {
    emscriptenModule: {
      instantiateWasm(imports, receive) {
        receive(new WebAssembly.Instance(compiled, imports), compiled);
      },
    },
  });
  const quickjs = await newQuickJSWASMModuleFromVariant(variant);
  return mapValues(PROGRAMS, (program) => prepare(quickjs.newContext(), program));
}

function prepare(vm, { size, source }) {
  vm.unwrapResult(vm.evalCode(`const run = ${source}`)).dispose();
  const call = `JSON.stringify(run(${Math.ceil(size * scale)}))`;
  return () => vm.unwrapResult(vm.evalCode(call)).consume((handle) => vm.getString(handle));
}

report(await measure(await mapValues(files, load), leastMilliseconds));
