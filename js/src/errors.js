/**
 * The engine's own functions, from before anything was installed over them, and the one error class of this package.
 *
 * Where the engine has JSPI its `SuspendError` is used, so that `instanceof` holds whichever side raised it.
 */

/**
 * What of `WebAssembly` TypeScript's libraries do not know.
 * @typedef {object} StackSwitching
 * @property {new (f: Function) => object} [Suspending]
 * @property {(f: Function) => (...args: any[]) => Promise<any>} [promising]
 * @property {ErrorConstructor} [SuspendError]
 */

export const {
  Instance: EngineInstance,
  instantiate: engineInstantiate,
  instantiateStreaming: engineInstantiateStreaming,
  Suspending: EngineSuspending,
  promising: enginePromising,
  SuspendError: EngineSuspendError,
} = /** @type {typeof WebAssembly & StackSwitching} */ (WebAssembly);

const table = new WebAssembly.Table({ element: "anyfunc", initial: 1 });

/** Whether a value is a function of WebAssembly. @param {any} value @returns {value is Function} */
export function isExported(value) {
  try {
    table.set(0, value);
    table.set(0, null);
  } catch {
    return false;
  }
  return !!value;
}

/** @param {any} reason @returns {never} */
export const raise = (reason) => {
  throw reason;
};

/** Nobody will wait for what an import has returned: that it fails some day is no failure that nobody handles. @param {any} promise */
export const abandon = (promise) => {
  Promise.resolve(promise).catch(() => {});
};

/** @typedef {Error} SuspendError */

/** Why a call could not be suspended: whose fault it is stands in the message. @type {ErrorConstructor} */
export const SuspendError =
  EngineSuspendError ??
  /** @type {any} */ (
    class extends Error {
      /** @override */
      static name = "SuspendError";
      /** @override */
      name = "SuspendError";
    }
  );

/** @param {string} message */
export const fail = (message) => raise(new SuspendError(message));
