/**
 * Other realms in the same thread, each with a `WebAssembly` of its own: Node's `vm` makes them, and test runners such as Jest
 * run each file of tests in one.
 *
 * The functions of `vm` by which a realm is made, or code gets into it, are replaced, also for those who import them by name.
 */

/**
 * Do something with each realm before any code runs in it.
 * @param {(realm: any) => void} enter Takes its global object.
 */
export function withRealms(enter) {
  const { process } = /** @type {any} */ (globalThis);
  const vm = process?.getBuiltinModule?.("node:vm");
  if (!vm) return;
  const { createContext, Script } = vm;
  const { runInContext } = Script.prototype;
  const self = new Script("globalThis");
  const entered = new WeakSet();
  /** @param {any} context */
  const see = (context) => {
    if (entered.has(context)) return;
    entered.add(context);
    try {
      enter(Reflect.apply(runInContext, self, [context]));
    } catch {
      // It is none, as who has made it will be told, or has no place for what is put into it.
    }
  };
  vm.createContext = new Proxy(createContext, {
    apply(f, it, args) {
      const context = Reflect.apply(f, it, args);
      see(context);
      return context;
    },
  });
  Script.prototype.runInContext = new Proxy(runInContext, {
    apply(f, it, [context, ...rest]) {
      if (Object(context) === context) see(context);
      return Reflect.apply(f, it, [context, ...rest]);
    },
  });
  process.getBuiltinModule("node:module").syncBuiltinESMExports();
}
