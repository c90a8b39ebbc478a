/**
 * Takes the places of the functions of `WebAssembly` that mark imports and make instances.
 *
 * The program sees functions of the same names, which construct the engine's own objects: `instanceof` holds, and nothing that
 * a program compares is another.
 */

import { take } from "./record_instances.js";
import { warn } from "./record_lines.js";
import { noting } from "./record_stacks.js";

/** @param {any} value */
const isObject = (value) => Object(value) === value;

/** What engines were told to wait for. @type {WeakMap<object, Function>} */
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

/**
 * Return imports that are read once where the program's are, with others in the place of those that suspend.
 * @param {any} imports
 * @param {any} EngineSuspending
 */
function adaptImports(imports, EngineSuspending) {
  if (!isObject(imports)) return imports;
  // The objects behind it may be frozen: what a proxy of these gives has to be what they hold.
  return new Proxy(Object.create(null), {
    get(_, module) {
      const names = imports[module];
      if (!isObject(names)) return names;
      return new Proxy(Object.create(null), {
        get(__, name) {
          const value = names[name];
          const f = isObject(value) && suspending.get(value);
          return f ? new EngineSuspending(noting(f, `${String(module)}.${String(name)}`)) : value;
        },
      });
    },
  });
}

/** The realms' objects whose functions were replaced. */
const hooked = new WeakSet();

/** Take the places of a realm's functions. @param {any} wasm Its `WebAssembly`. */
export function hook(wasm) {
  if (!isObject(wasm) || hooked.has(wasm)) return;
  hooked.add(wasm);
  const { Module, Instance, instantiate, instantiateStreaming, Suspending: EngineSuspending } = wasm;
  /** @param {any} instance @param {any} module */
  const taken = (instance, module) => take(instance, module, !!EngineSuspending);
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
      taken(Reflect.construct(engine, [module, adaptImports(imports, EngineSuspending), ...rest], derived), module),
  });
  replace(wasm, "Instance", HookedInstance);
  replace(Instance.prototype, "constructor", HookedInstance);
  for (const [name, f] of Object.entries({ instantiate, instantiateStreaming })) {
    if (!f) continue;
    const later = new Proxy(f, {
      async apply(engine, self, [source, imports, ...rest]) {
        const made = await Reflect.apply(engine, self, [source, adaptImports(imports, EngineSuspending), ...rest]);
        if (source instanceof Module) taken(made, source);
        else taken(made.instance, made.module);
        return made;
      },
    });
    replace(wasm, name, later);
  }
}
