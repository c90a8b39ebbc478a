/**
 * The standard's two wrappers: `Suspending` marks an import that returns promises, `promising` makes an export return one.
 *
 * What they do depends on the instance, which `promising` looks up; `Suspending` only keeps the function for `instantiate`.
 */

import { interrupt, isObject, RUNNING, step } from "./call.js";
import { enginePromising, isExported } from "./errors.js";
import { instrumentedAny } from "./guest.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./guest.js").Guest} Guest */

/**
 * What is known of instances and of exported functions; `original` is what a function was imported as, if it is an import.
 * @type {WeakMap<object, { guest: Guest, name?: string, thunk?: any, original?: any }>}
 */
export const exported = new WeakMap();

/** The calls that a signal aborts; one listener serves all of them. @type {WeakMap<AbortSignal, Set<Call>>} */
const listening = new WeakMap();

/** Let a signal abort a call until it has ended. @param {AbortSignal} signal @param {Call} call */
function listen(signal, call) {
  let calls = listening.get(signal);
  if (!calls) {
    const waiting = (calls = new Set());
    listening.set(signal, waiting);
    signal.addEventListener("abort", () => waiting.forEach((one) => interrupt(one, signal)), { once: true });
  }
  calls.add(call);
  call.ended = () => calls.delete(call);
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
 * @param {{ signal?: AbortSignal }} [options] `signal` is not in the standard: its reason is thrown where the guest waits.
 * @returns {(...args: Parameters) => Promise<Result>}
 */
export function promising(f, { signal } = {}) {
  if (!isExported(f)) throw new TypeError("not a function of WebAssembly");
  const { guest, name = f.name, thunk, original } = exported.get(f) ?? {};
  // Nobody knows whose the functions out of tables are; they are taken for ours where there are instrumented modules.
  if (!(guest ? guest.instrumented : instrumentedAny) && enginePromising) return enginePromising(f);
  const wrapper = (/** @type {any[]} */ ...args) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      /** @type {Call} */
      const call = {
        guest,
        entry: f,
        thunk: thunk && !guest?.settleDown() && thunk,
        name,
        args,
        direct: !!original,
        converts: args.some(isObject),
        resolve,
        reject,
        state: RUNNING,
      };
      if (signal) listen(signal, call);
      step(call);
    });
  return Object.defineProperties(wrapper, { name: { value: f.name }, length: { value: f.length } });
}
