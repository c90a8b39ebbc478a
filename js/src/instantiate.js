/**
 * The standard's ways to make an instance. They wrap the imports of instrumented modules and remember whose the exports
 * are; exports stay what they are, so that they can be put into tables and imported elsewhere.
 */

import { BUILTIN_MODULES, BUILTIN_RESULTS, ENTRY_PREFIX, START_FUNCTION, STATE_GLOBAL } from "./abi.js";
import { importStub, isObject } from "./call.js";
import { EngineInstance, engineInstantiate, enginePromising, EngineSuspending, isExported } from "./errors.js";
import { makeGuest } from "./guest.js";
import { describe, isStranger } from "./description.js";
import { checkOptions } from "./options.js";
import { printable } from "./printable.js";
import { exported, promising, Suspending } from "./promising.js";

/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./guest.js").Options} Options */
/** @typedef {Record<string, Record<string, WebAssembly.ImportValue | Suspending>>} Imports */

/** What holds where options say nothing. @type {Options} */
export const defaults = {};

/** The guests whose modules share globals, by the one that is their state. @type {WeakMap<object, Guest>} */
const groups = new WeakMap();

/**
 * Leave out functions that the engine provides itself: it does not show them among the imports, but they have indices.
 * @param {import("./description.js").Description} description
 * @param {any[]} originals The imports so far, by index.
 * @param {string} module That of the next import.
 */
function skipBuiltins({ results }, originals, module) {
  while (results[originals.length]?.[0] >= BUILTIN_RESULTS && !module.startsWith(BUILTIN_MODULES)) originals.push(undefined);
}

/** Return what is to be imported. @param {any} imports @param {string} module @param {string} name */
function find(imports, module, name) {
  const names = imports?.[module];
  if (isObject(names)) return names[name];
  throw new TypeError(`import '${printable(`${module}.${name}`)}': there is no object '${printable(module)}' among the imports`);
}

/** Turn lists of values into imports: the engine asks for each in turn, so that a name can stand for several. @param {any} lists */
function toImports(lists) {
  for (const names of Object.values(lists)) {
    for (const [name, values] of Object.entries(names)) {
      Object.defineProperty(names, name, { get: () => values.shift() });
    }
  }
  return lists;
}

/**
 * Return what the engine is to import, and a function that takes the instance that comes of it.
 * @param {WebAssembly.Module} compiled
 * @param {any} imports
 * @param {Options} [options]
 * @returns {[WebAssembly.Imports, (instance: WebAssembly.Instance) => WebAssembly.Instance]}
 */
export function prepare(compiled, imports, options) {
  const description = describe(compiled);
  const chosen = { ...defaults, ...checkOptions(options) };
  const wanted = WebAssembly.Module.imports(compiled);
  const shared = wanted.find(({ name }) => name == STATE_GLOBAL);
  const state = shared && find(imports, shared.module, STATE_GLOBAL);
  const group = groups.get(state);
  const named = WebAssembly.Module.exports(compiled).some(({ name, kind }) => name == chosen.memory && kind == "memory");
  if (!group && description.instrumented && chosen.memory !== undefined && !named) {
    throw new TypeError(`option memory: '${chosen.memory}' is not exported as a memory`);
  }
  const guest = group ?? makeGuest(description, chosen);
  if (guest.thunks != description.thunks) throw new WebAssembly.LinkError(`${STATE_GLOBAL}: modules with and without thunks`);
  if (state instanceof WebAssembly.Global) groups.set(state, guest);
  const lists = Object.create(null);
  /** What is imported, by function index, and what of it stays as it is. @type {any[]} */
  const originals = [];
  const passed = new Set();
  /** @type {import("./obstacles.js").Known["unlisted"]} */
  const unlisted = [];
  /** @type {any} */
  let memory;
  for (const { module, name, kind } of wanted) {
    let value = find(imports, module, name);
    if (kind == "memory") memory ??= value;
    if (kind == "function") {
      // An import that another instance exports again is one of this instance, too.
      const { original, again = original } = exported.get(value) ?? {};
      if (again instanceof Suspending) value = again;
      skipBuiltins(description, originals, module);
      const f = value instanceof Suspending && value["f"]; // private, but for this file
      const index = originals.push(value) - 1;
      if (f && !guest.instrumented && EngineSuspending) {
        value = new EngineSuspending(f);
      } else if (f || (guest.instrumented && typeof value == "function" && !isExported(value))) {
        const [first, ...rest] = Array.from(description.results[index]?.subarray(1) ?? [0], (kind) => (kind ? null : "0"));
        const blank = rest.length ? [first, ...rest] : first;
        const site = { f: f || value, suspends: !!f, guest, module: description, index, name: `${module}.${name}`, blank };
        value = importStub(site);
      } else {
        passed.add(value);
        const other = exported.get(value)?.guest;
        if (other && isStranger(description, index)) unlisted.push([other, +value.name]);
      }
    }
    ((lists[module] ??= Object.create(null))[name] ??= []).push(value);
  }
  skipBuiltins(description, originals, "");
  const link = (/** @type {WebAssembly.Instance} */ instance) => {
    const { exports } = instance;
    if (!group) guest.link(exports, memory);
    if (exports[STATE_GLOBAL]) groups.set(exports[STATE_GLOBAL], guest);
    exported.set(instance, { guest });
    guest.add(instance, description, [...passed].some((value) => exported.get(value)?.guest != guest), unlisted);
    WebAssembly.Module.exports(compiled).forEach(({ name }, number) => {
      const value = /** @type {any} */ (exports[name]);
      if (typeof value == "function" && !exported.has(value) && !passed.has(value)) {
        // Engines name an exported function after its index.
        const again = originals[description.exportedImports[number]];
        // Room for frames is not taken before a start function has made the memory what the guest's malloc expects.
        const thunk = name == START_FUNCTION ? undefined : exports[ENTRY_PREFIX + name];
        exported.set(value, { guest, name, thunk, original: originals[+value.name], again });
      }
    });
    return instance;
  };
  return [toImports(lists), link];
}

/** The start function, if the engine has not called it since it may suspend, or the state can be saved. @param {WebAssembly.Instance} instance @returns {any} */
export const startOf = (instance) => (exported.get(instance)?.guest.instrumented ? instance.exports[START_FUNCTION] : undefined);

/**
 * @param {Promise<WebAssembly.Module>} compiling
 * @param {Imports} [imports]
 * @param {Options} [options]
 */
async function whenCompiled(compiling, imports, options) {
  const module = await compiling;
  return { module, instance: await instantiate(module, imports, options) };
}

/**
 * @overload
 * @param {BufferSource} source
 * @param {Imports} [imports]
 * @param {Options} [options] Also go to the engine, as its options for compiling.
 * @returns {Promise<WebAssembly.WebAssemblyInstantiatedSource>}
 */
/**
 * @overload
 * @param {WebAssembly.Module} source
 * @param {Imports} [imports]
 * @param {Options} [options]
 * @returns {Promise<WebAssembly.Instance>}
 */
/**
 * @param {WebAssembly.Module | BufferSource} source
 * @param {Imports} [imports]
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function instantiate(source, imports, options) {
  if (source instanceof WebAssembly.Module) {
    const [adapted, link] = prepare(source, imports, options);
    const instance = link(await engineInstantiate(source, adapted));
    const start = startOf(instance);
    if (start) await promising(start)();
    return instance;
  }
  // @ts-ignore: the second parameter is newer than TypeScript's libraries.
  return whenCompiled(WebAssembly.compile(source, options), imports, options);
}

/**
 * @param {Response | PromiseLike<Response>} source
 * @param {Imports} [imports]
 * @param {Options} [options]
 * @returns {Promise<WebAssembly.WebAssemblyInstantiatedSource>}
 */
export async function instantiateStreaming(source, imports, options) {
  // @ts-ignore: as above.
  return whenCompiled(WebAssembly.compileStreaming(source, options), imports, options);
}

/** @type {{ new (module: WebAssembly.Module, imports?: Imports, options?: Options): WebAssembly.Instance }} */
export const Instance = new Proxy(/** @type {any} */ (EngineInstance), {
  construct(_, [module, imports, options], derived) {
    const [adapted, link] = prepare(module, imports, options);
    const instance = link(Reflect.construct(EngineInstance, [module, adapted], derived));
    startOf(instance)?.();
    return instance;
  },
});

/**
 * Reject all calls of an instance that have not ended, and those to come. Not in the standard. The engine's own JSPI offers
 * no way to do that.
 * @param {WebAssembly.Instance} instance
 */
export function close(instance) {
  const guest = exported.get(instance)?.guest;
  if (!(instance instanceof EngineInstance)) throw new TypeError("close: not an instance");
  if (!guest || (!guest.instrumented && enginePromising)) {
    throw new TypeError("close: calls of others' instances, or by the engine, end by the signal of promising");
  }
  guest.close();
}
