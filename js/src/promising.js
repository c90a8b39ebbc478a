/**
 * The standard's two wrappers: `Suspending` marks an import that returns promises, `promising` makes an export return one.
 *
 * What they do depends on the instance, which `promising` looks up; `Suspending` only keeps the function for `instantiate`.
 */

import { interrupt, isObject, RUNNING, step } from "./call.js";
import { enginePromising, isExported } from "./errors.js";
import { instrumentedAny } from "./description.js";
import { readSignal } from "./options.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./guest.js").Guest} Guest */

/**
 * What is known of instances and of exported functions; `original` is what a function was imported as, if it is an import, and
 * `again` if it is a thunk of one.
 * @type {WeakMap<object, { guest: Guest, name?: string, thunk?: any, original?: any, again?: any }>}
 */
export const exported = new WeakMap();

/** What aborts each call that a signal is for; one listener serves all of them, while there are some. @type {WeakMap<AbortSignal, Set<() => void> & EventListenerObject>} */
const listening = new WeakMap();

/** Outside of `listen`, whose calls the engine would keep with a function made there. */
const LISTENER = {
  /** @this {Set<() => void>} */
  handleEvent() {
    this.forEach((one) => one());
  },
};

/** Let a signal abort a call. Returns what is to be called once the call has ended. @param {AbortSignal} signal @param {() => void} abort */
export function listen(signal, abort) {
  const aborts = listening.get(signal) ?? Object.assign(/** @type {Set<() => void>} */ (new Set()), LISTENER);
  listening.set(signal, aborts);
  if (!aborts.size) signal.addEventListener("abort", aborts);
  aborts.add(abort);
  return () => {
    if (aborts.delete(abort) && !aborts.size) signal.removeEventListener("abort", aborts);
  };
}

/** Let a signal abort a call that has not begun. @param {Call} call @param {AbortSignal} signal */
export function obey(call, signal) {
  call.signal = signal;
  call.ended = listen(signal, () => interrupt(call, signal));
}

/** Make a function look like the export that it calls. @param {Function} wrapper @param {Function} f @returns {any} */
const named = (wrapper, f) => Object.defineProperties(wrapper, { name: { value: f.name }, length: { value: f.length } });

/**
 * `promising` by the engine's own JSPI. It offers no way into a call that waits: an abort only rejects what was returned.
 * @param {any} f
 * @param {{ signal?: AbortSignal }} [options]
 */
export function promisingByEngine(f, options) {
  const signal = readSignal(options);
  const start = /** @type {Function} */ (enginePromising)(f);
  if (!signal) return start;
  const wrapper = (/** @type {any[]} */ ...args) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) throw signal.reason;
      const ended = listen(signal, () => reject(signal.reason));
      (async () => start(...args))().then(resolve, reject).finally(ended);
    });
  return named(wrapper, f);
}

/** An import that may return a promise, which the guest then waits for. */
export class Suspending {
  /** @protected @type {(...args: any[]) => any} */
  f;

  /** @param {(...args: any[]) => any} f */
  constructor(f) {
    if (typeof f != "function" || isExported(f)) {
      throw new TypeError("not a function of JavaScript");
    }
    this.f = f;
  }
}

/**
 * Return a function that calls an export and returns a promise of its results.
 * @template {any[]} [Parameters=any[]]
 * @template [Result=any]
 * @param {((...args: Parameters) => Result) | WebAssembly.ExportValue} f A function that an instance exports.
 * @param {{ signal?: AbortSignal }} [options] `signal` is not in the standard: its reason is thrown where the guest waits, or rejects what the engine's JSPI runs.
 * @returns {(...args: Parameters) => Promise<Result>}
 */
export function promising(f, options) {
  return promisingWith(f, options);
}

/**
 * The same for calls with slices and budgets.
 * @param {any} f
 * @param {any} [options]
 * @param {import("./slices.js").Bounds} [bounds] What each call may take.
 * @returns {(...args: any[]) => Promise<any>}
 */
export function promisingWith(f, options, bounds) {
  if (!isExported(f)) throw new TypeError("not a function of WebAssembly");
  const { guest, name = f.name, thunk, original } = exported.get(f) ?? {};
  // Nobody knows whose the functions out of tables are; they are taken for ours where there are instrumented modules.
  if (!(guest ? guest.instrumented : instrumentedAny) && enginePromising) return promisingByEngine(f, options);
  const signal = readSignal(options);
  const wrapper = (/** @type {any[]} */ ...args) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      /** @type {Call} */
      const call = {
        guest,
        first: guest,
        entry: f,
        thunk: thunk && !guest?.area.settle() && thunk,
        name,
        args,
        direct: !!original,
        converts: args.some(isObject),
        resolve,
        reject,
        state: RUNNING,
        bounds,
      };
      if (signal) obey(call, signal);
      const begin = () => guest?.slicing?.defers(call, begin) || step(call);
      begin();
    });
  return named(wrapper, f);
}
