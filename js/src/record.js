/**
 * Records which functions of WebAssembly are on the stack at suspensions, so that a list of them writes itself.
 *
 * Loaded before a program, as `node --import` does, it takes its place in `WebAssembly`. What is recorded goes to the file
 * that CAESURA_RECORD names, or to who calls `recorded`. The program sees the same functions with the same names, which
 * construct the engine's own objects: `instanceof` holds, and nothing that a program compares is another.
 *
 * It is one file: `docs/render_record.py` puts it and what it imports together for the Python package, whose
 * `caesura record` has Node load it.
 */

import { around, replaceExports } from "./record_around.js";
import { addBuild, isBuild, takeCounts } from "./record_builds.js";
import { atExit, flush, flushNews, noteMissing, noteNothing, takeKept, toFile, warn } from "./record_lines.js";
import { lookForMissing } from "./record_refusals.js";
import { introduce, noting } from "./record_stacks.js";

/** Where the package finds the recorder (`recording.js`). */
const RECORDER = Symbol.for("caesura.record");

const realm = /** @type {any} */ (globalThis);
const { WebAssembly: wasm } = realm;
const { Module } = wasm;

/** @param {any} value */
const isObject = (value) => Object(value) === value;

/** What the engine was told to wait for. @type {WeakMap<object, Function>} */
const suspending = new WeakMap();

/**
 * Put something in the place of a property, which is the same but for its value. Where that cannot be, nothing is recorded.
 * @param {any} owner
 * @param {string} name
 * @param {any} value
 */
function replace(owner, name, value) {
  if (!Reflect.defineProperty(owner, name, { value })) warn(`recording: ${name} cannot be replaced, somebody has frozen it`);
}

/** Return what stands for a function that is imported. @param {any} value @param {string} module @param {string} name */
function adapt(value, module, name) {
  const f = isObject(value) && suspending.get(value);
  return f ? new EngineSuspending(noting(f, `${module}.${name}`)) : value;
}

/** Return imports that are read once where the program's are, with others in the place of those that suspend. @param {any} imports */
function adaptImports(imports) {
  if (!isObject(imports)) return imports;
  // The objects behind it may be frozen: what a proxy of these gives has to be what they hold.
  return new Proxy(Object.create(null), {
    get(_, module) {
      const names = imports[module];
      if (!isObject(names)) return names;
      return new Proxy(Object.create(null), {
        get: (__, name) => adapt(names[name], String(module), String(name)),
      });
    },
  });
}

const text = new TextDecoder();

/** Return the name that a module has in its name section. @param {WebAssembly.Module} module */
function nameOf(module) {
  const bytes = new Uint8Array(Module.customSections(module, "name")[0] ?? 0);
  if (bytes[0] !== 0) return ""; // it comes first if it is there
  let at = 1;
  const read = () => {
    let number = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      number |= (byte & 127) << shift;
      if (!(byte & 128)) return number;
    }
  };
  read();
  const length = read();
  return text.decode(bytes.subarray(at, at + length));
}

/**
 * Return what a module is called in lines: its name, or a number that is the same for the same imports and exports, and so
 * for a build that caesura has made of it.
 * @param {WebAssembly.Module} module
 */
function labelOf(module) {
  const own = nameOf(module);
  if (own) return own;
  const words = [];
  for (const { module: from, name, kind } of Module.imports(module)) {
    if (from != "asyncify" && !from.startsWith("wasm:") && !name.startsWith("__asyncify_")) words.push(from, name, kind);
  }
  for (const { name, kind } of Module.exports(module)) {
    if (!name.startsWith("asyncify_") && !name.startsWith("__asyncify_")) words.push(name, kind);
  }
  let hash = 0x811c9dc5; // FNV-1a
  for (const letter of words.join("\n")) hash = Math.imul(hash ^ /** @type {number} */ (letter.codePointAt(0)), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** What modules are called in lines. @type {WeakMap<WebAssembly.Module, string>} */
const labels = new WeakMap();

/** @param {WebAssembly.Module} module */
function labelled(module) {
  let label = labels.get(module);
  if (label === undefined) labels.set(module, (label = labelOf(module)));
  return label;
}

/** Whether there was any instance, and why the last one whose suspensions cannot be seen is such. */
let met = false;
/** @type {string | undefined} */
let unseen;

/** Write what builds have noted for the first time. */
function look() {
  takeCounts(false);
  flushNews();
}

const { setImmediate } = realm;
let looksOften = false;

/** Look whenever the event loop goes round, as it does between a suspension and whatever ends it. */
function lookOften() {
  looksOften = true;
  look();
  setImmediate(lookOften).unref();
}

/** Take an instance. @param {WebAssembly.Instance} instance @param {WebAssembly.Module} module */
function take(instance, module) {
  const label = () => labelled(module);
  met = true;
  introduce(instance, label);
  const { exports } = /** @type {any} */ (instance);
  const { asyncify_start_unwind, asyncify_stop_unwind, asyncify_set_data_pointer, asyncify_unsuspendable } = exports;
  /** @type {Record<string, any>} */
  const replaced = {};
  if (isBuild(exports)) {
    addBuild(instance, module, label);
    if (asyncify_set_data_pointer && toFile && !looksOften) lookOften();
    replaced.asyncify_stop_unwind = around(asyncify_stop_unwind, { after: look });
  } else if (asyncify_start_unwind) unseen = `${label()} was instrumented, but not to be recorded`;
  else if (!EngineSuspending) unseen = `${label()} is no recording build, and this engine has no JSPI`;
  if (asyncify_unsuspendable) {
    replaced.asyncify_start_unwind = around(asyncify_start_unwind, { before: () => lookForMissing(instance, module, exports) });
  }
  if (Object.keys(replaced).length) replaceExports(instance, replaced);
  return instance;
}

const EngineSuspending = wasm.Suspending;

/** Take the places of the engine's functions. */
function hook() {
  // Else V8 shows a function that it has inlined at an indirect call below whichever is called there instead.
  realm.process?.getBuiltinModule?.("node:v8").setFlagsFromString("--no-wasm-inlining");
  const { Instance, instantiate, instantiateStreaming } = wasm;
  if (EngineSuspending) {
    const Suspending = new Proxy(EngineSuspending, {
      construct(engine, args, derived) {
        const made = Reflect.construct(engine, args, derived);
        suspending.set(made, args[0]);
        return made;
      },
    });
    replace(wasm, "Suspending", Suspending);
    replace(EngineSuspending.prototype, "constructor", Suspending);
  }
  const HookedInstance = new Proxy(Instance, {
    construct: (engine, [module, imports, ...rest], derived) =>
      take(Reflect.construct(engine, [module, adaptImports(imports), ...rest], derived), module),
  });
  replace(wasm, "Instance", HookedInstance);
  replace(Instance.prototype, "constructor", HookedInstance);
  replace(wasm, "instantiate", hooked(instantiate));
  if (instantiateStreaming) replace(wasm, "instantiateStreaming", hooked(instantiateStreaming));
}

/** One of the two functions that make instances later. @param {Function} instantiate */
function hooked(instantiate) {
  return new Proxy(instantiate, {
    async apply(engine, self, [source, imports, ...rest]) {
      const made = await Reflect.apply(engine, self, [source, adaptImports(imports), ...rest]);
      if (source instanceof Module) take(made, source);
      else take(made.instance, made.module);
      return made;
    },
  });
}

/** Write what is left. */
function end() {
  takeCounts(true);
  flush();
}

/** Return the lines that came since this was called last, each a JSON object; none where they go to a file. */
export function recorded() {
  end();
  return takeKept();
}

function start() {
  const push = (/** @type {["missing", string[]]} */ [, entries]) => noteMissing(entries);
  Object.defineProperty(realm, RECORDER, { value: { push } });
  hook();
  atExit(() => {
    end();
    if (met) noteNothing(unseen);
  });
}

// The program's package and the one that it was started with may both have this file.
if (!realm[RECORDER]) start();
