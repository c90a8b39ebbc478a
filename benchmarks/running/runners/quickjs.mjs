/**
 * Measures the programs of quickjs_programs.mjs, or of another collection, in QuickJS, never suspended, under the
 * synchronous build's glue.
 *
 *     node quickjs.mjs '{"scale": 1, "leastMilliseconds": 100, "files": {"<variant>": "<module>", ...}}'
 */

import { readFileSync } from "node:fs";
import { newQuickJSWASMModuleFromVariant, newVariant } from "quickjs-emscripten-core";
import synchronousVariant from "@jitl/quickjs-wasmfile-release-sync";
import { mapValues, measure, report, request, someOf } from "./timing.mjs";

const { scale, leastMilliseconds, collection = "./quickjs_programs.mjs", set = "PROGRAMS", only, files } = request();
const { [set]: collected } = await import(collection);

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
  return mapValues(someOf(collected, only), (program) => prepare(quickjs.newContext(), program));
}

function prepare(vm, { size, source, isAsynchronous }) {
  vm.unwrapResult(vm.evalCode(`const run = ${source}; let done`)).dispose();
  const amount = Math.ceil(size * scale);
  if (!isAsynchronous) return () => evaluate(vm, `JSON.stringify(run(${amount}))`);
  return () => {
    evaluate(vm, `done = "nothing"; run(${amount}).then((value) => (done = JSON.stringify(value))); ""`);
    vm.runtime.executePendingJobs().dispose();
    return evaluate(vm, "done");
  };
}

function evaluate(vm, source) {
  return vm.unwrapResult(vm.evalCode(source)).consume((handle) => vm.getString(handle));
}

report(await measure(await mapValues(files, load), leastMilliseconds));
