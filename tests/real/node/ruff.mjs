// Ruff's linter and formatter for Python, a module of Rust with wasm-bindgen: what JavaScript owns passes through its
// functions as externrefs, and lies in a table of them. Prints, as JSON, what it says about some sources, how often the
// module called JavaScript, and how often it was suspended.
// Usage: node ruff.mjs [<instrumented module> <step>], where every <step>-th call of JavaScript takes its time; without
// a module, the one of the package runs, and nothing does.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";

import { Instance, Suspending, promising } from "../../../js/src/index.js";

const [instrumented, step] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const path = require.resolve("@astral-sh/ruff-wasm-nodejs");
const NAMES = "wasm, passStringToWasm0, getStringFromWasm0, takeFromExternrefTable0, length: () => WASM_VECTOR_LEN";

let [working, calls, suspensions] = [false, 0, 0];

/** Return an import that takes its time at every `step`-th call. */
function suspended(original) {
  return new Suspending((...parameters) => {
    if (!working || ++calls % Number(step) !== 0) return original(...parameters);
    suspensions++;
    return new Promise(setImmediate).then(() => original(...parameters));
  });
}

/** What the package's glue makes an instance with. */
class SuspendedInstance {
  constructor(module, imports) {
    const marked = Object.entries(imports).map(([space, functions]) => [
      space,
      Object.fromEntries(Object.entries(functions).map(([name, original]) => [name, suspended(original)])),
    ]);
    const allocate = (size) => exports.__wbindgen_malloc(size, 16);
    const { exports } = new Instance(module, Object.fromEntries(marked), { allocate });
    this.exports = exports;
  }
}

/** Run the package's glue over a module, and return what it keeps to itself. */
function loadGlue() {
  const engine = { Module: WebAssembly.Module, Instance: WebAssembly.Instance };
  if (instrumented) {
    engine.Module = class {
      constructor() {
        return new WebAssembly.Module(readFileSync(instrumented));
      }
    };
    engine.Instance = SuspendedInstance;
  }
  const source = `${readFileSync(path, "utf8")}\nreturn { ${NAMES} };`;
  const glue = new Function("require", "module", "exports", "__dirname", "WebAssembly", source);
  return glue(require, { exports: {} }, {}, dirname(path), engine);
}

const glue = loadGlue();
const enter = (name, ...parameters) => {
  const entry = glue.wasm[name];
  return instrumented ? promising(entry)(...parameters) : entry(...parameters);
};

/** The calls that the glue's class `Workspace` makes, but waiting for them. */
async function openWorkspace(options) {
  const [workspace, error, failed] = await enter("workspace_new", options, 0);
  if (failed) throw glue.takeFromExternrefTable0(error);
  return workspace;
}

function passString(text) {
  const { __wbindgen_malloc, __wbindgen_realloc } = glue.wasm;
  return [glue.passStringToWasm0(text, __wbindgen_malloc, __wbindgen_realloc), glue.length()];
}

async function check(workspace, text) {
  const [result, error, failed] = await enter("workspace_check", workspace, ...passString(text));
  if (failed) throw glue.takeFromExternrefTable0(error);
  return glue.takeFromExternrefTable0(result);
}

async function print(name, workspace, text) {
  const [address, size, error, failed] = await enter(name, workspace, ...passString(text));
  if (failed) throw glue.takeFromExternrefTable0(error);
  return glue.getStringFromWasm0(address, size);
}

const OPTIONS = {
  "line-length": 60,
  "target-version": "py311",
  "indent-width": 2,
  lint: { select: ["E", "F", "W", "I", "UP", "B", "SIM"], ignore: ["E731"], "dummy-variable-rgx": "^_$" },
  format: { "quote-style": "single", "indent-style": "space" },
};
const SOURCES = [
  "import sys, os\nfrom typing import List\n\ndef f(a: List[int] = []):\n    l = 1\n    if a == None:\n        return  os\n",
  "x = {  'a':37,'b':42,\n\n'c':927}\ny = 'hello '+       'world'\nclass A(object):\n  def g(self, *, k=1): return not (x in y)\n",
  "try:\n    pass\nexcept:\n    raise ValueError(f'{1}')\n# é 中 𝒳\nprint('%s' % 'ж', undefined_name)\n",
  "def broken(:\n    return\n",
  "",
];

async function outcome(action) {
  try {
    return await action();
  } catch (error) {
    return { thrown: String(error) };
  }
}

working = true;
const workspace = await openWorkspace(OPTIONS);
const results = [];
for (const text of SOURCES) {
  results.push(await outcome(() => check(workspace, text)));
  for (const name of ["format", "tokens", "parse", "comments"]) {
    results.push(await outcome(() => print(`workspace_${name}`, workspace, text)));
  }
}
for (const options of [{ lint: { select: ["NONE1"] } }, { "line-length": "long" }, { unknown: [1, { a: null }] }, 7]) {
  results.push(await outcome(async () => typeof (await openWorkspace(options))));
}
console.log(JSON.stringify({ results, calls, suspensions }));
