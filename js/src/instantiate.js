/**
 * The standard's ways to make an instance. They wrap the imports of instrumented modules and remember whose the exports
 * are; exports stay what they are, so that they can be put into tables and imported elsewhere.
 */

import { importStub } from "./call.js";
import { EngineInstance, engineInstantiate, EngineSuspending } from "./errors.js";
import { makeGuest } from "./guest.js";
import { exported, isExported, suspending } from "./promising.js";

/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./guest.js").Options} Options */
/** @typedef {WebAssembly.Imports | undefined} Imports */

/** @type {WeakMap<WebAssembly.Instance, Guest>} */
const instances = new WeakMap();

/**
 * Return what the engine is to import.
 * @param {WebAssembly.Module} compiled
 * @param {Guest} guest
 * @param {any} imports
 */
function adapt(compiled, guest, imports) {
  /** @type {any} */
  const adapted = {};
  let functions = 0;
  for (const { module, name, kind } of WebAssembly.Module.imports(compiled)) {
    let value = imports[module][name];
    guest.offer(value);
    const index = kind == "function" ? functions++ : -1;
    const f = suspending.get(value);
    if (f && !guest.instrumented && EngineSuspending) {
      value = new EngineSuspending(f);
    } else if (f || (guest.instrumented && typeof value == "function" && !isExported(value))) {
      value = importStub(guest, f ?? value, !!f, index, `${module}.${name}`);
    }
    (adapted[module] ??= {})[name] = value;
  }
  return adapted;
}

/** @param {Guest} guest @param {WebAssembly.Instance} instance */
function link(guest, instance) {
  guest.link(instance);
  instances.set(instance, guest);
  for (const [name, value] of Object.entries(instance.exports)) {
    if (typeof value == "function" && !exported.has(value)) {
      exported.set(value, { guest, name, thunk: instance.exports[`asyncify_entry:${name}`] });
    }
  }
  return instance;
}

/**
 * @param {WebAssembly.Module | BufferSource} source
 * @param {Imports} [imports]
 * @param {Options} [options] Also goes to the engine, as its options for compiling.
 * @returns {Promise<any>}
 */
export async function instantiate(source, imports, options = {}) {
  const compiled = source instanceof WebAssembly.Module;
  // @ts-ignore: the second parameter is newer than TypeScript's libraries.
  const module = compiled ? source : await WebAssembly.compile(source, options);
  const guest = makeGuest(module, options);
  const instance = link(guest, await engineInstantiate(module, adapt(module, guest, imports)));
  return compiled ? instance : { module, instance };
}

/**
 * @param {Response | PromiseLike<Response>} source
 * @param {Imports} [imports]
 * @param {Options} [options]
 * @returns {Promise<WebAssembly.WebAssemblyInstantiatedSource>}
 */
export async function instantiateStreaming(source, imports, options) {
  // @ts-ignore: as above.
  const module = await WebAssembly.compileStreaming(source, options);
  return { module, instance: await instantiate(module, imports, options) };
}

/** @type {{ new (module: WebAssembly.Module, imports?: Imports, options?: Options): WebAssembly.Instance }} */
export const Instance = new Proxy(EngineInstance, {
  construct(_, [module, imports, options = {}]) {
    const guest = makeGuest(module, options);
    return link(guest, new EngineInstance(module, adapt(module, guest, imports)));
  },
});

/**
 * Reject all calls of an instance that have not ended, and those to come. Not in the standard.
 * @param {WebAssembly.Instance} instance
 */
export function close(instance) {
  instances.get(instance)?.close();
}
