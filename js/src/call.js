/**
 * One call of a promising export: from its start over its suspensions to its result.
 *
 * `current` is the call whose frames are on top of the engine's stack, `HOST` where a frame of JavaScript is on top of
 * them, and undefined outside of any call. Only what runs directly under a call can suspend, as in the standard. A
 * call waits with `then` and resolves one promise at its end; async functions were rejected, since cancellation
 * would then need a race of promises for each suspension.
 */

import { fail, raise } from "./errors.js";

/** @typedef {import("./guest.js").Guest} Guest */

export const RUNNING = 0;
export const UNWINDING = 1;
export const WAITING = 2;
export const REWINDING = 3;

/**
 * @typedef {object} Call
 * @property {Guest} [guest] Its instance; unknown for a function out of a table.
 * @property {Function} entry What the engine runs: an exported function or its entry thunk.
 * @property {boolean} thunk Whether `entry` is an entry thunk.
 * @property {string} name The export's name.
 * @property {any[]} args
 * @property {(value: any) => void} resolve
 * @property {(reason: any) => void} reject
 * @property {() => void} [ended] Called once the call has ended.
 * @property {number} state
 * @property {Function} [site] The import that suspended the call.
 * @property {any} [promise] What the call waits for.
 * @property {() => any} [answer] Returns or throws what became of it.
 * @property {AbortSignal} [aborted] The signal, once it is aborted and until its reason was thrown.
 * @property {any} [pointer] The shadow stack pointer to run with.
 * @property {any} [stack] A shadow stack of its own.
 * @property {any} [home] The shadow stack pointer to leave behind, where it runs on the guest's own stack.
 * @property {number} [limit] The end of its frames.
 * @property {Uint8Array} [frames] The frames where another call needed their place.
 */

/** Stands for frames of JavaScript on top of a call. */
const HOST = /** @type {Call} */ ({});

const { then } = Promise.prototype;

/** @type {Call | undefined} */
let current;

/**
 * Wrap an imported function so that what it calls does not count as part of the call that it serves.
 * @param {Guest} guest
 * @param {Function} f
 * @param {boolean} suspends Whether it was marked as suspending.
 * @param {number} index Its function index.
 * @param {string} name
 */
export function importStub(guest, f, suspends, index, name) {
  const placeholder = guest.placeholder(index);
  let suspensions = 0;
  const stub = (/** @type {any[]} */ ...args) => {
    const call = current;
    if (call?.state) {
      if (call.state != REWINDING || call.site != stub) throw guest.lost(call);
      call.state = RUNNING;
      guest.land();
      return /** @type {Function} */ (call.answer)();
    }
    current = call && HOST;
    let result;
    try {
      result = f(...args);
    } finally {
      current = call;
    }
    if (!suspends || typeof result?.then != "function") return result;
    if (!call || call == HOST) {
      return fail(`${name} suspends ${call ? "across JavaScript frames" : "outside of a promising call"}`);
    }
    // Reading the stack is slow: it is done for the first suspension, the second, the fourth and so on.
    guest.suspend(call, index, name, !(suspensions & ++suspensions));
    call.state = UNWINDING;
    call.site = stub;
    call.promise = result;
    return placeholder;
  };
  return stub;
}

/** Run a call until it ends or suspends. @param {Call} call */
function enter(call) {
  const outer = current;
  const pointer = call.guest?.enter(call);
  current = call;
  try {
    return call.entry(...call.args);
  } catch (error) {
    throw call.guest ? call.guest.recover(call, error) : error;
  } finally {
    current = outer;
    call.guest?.leave(call, pointer);
  }
}

/** Run a call on, and see to what comes then. @param {Call} call */
export function step(call) {
  try {
    const result = enter(call);
    const { promise } = call;
    if (promise) {
      call.state = WAITING;
      then.call(
        Promise.resolve(promise),
        (value) => settle(call, promise, () => value),
        (reason) => settle(call, promise, () => raise(reason)),
      );
      if (call.aborted) interrupt(call, call.aborted);
      return;
    }
    call.resolve(result);
  } catch (error) {
    call.reject(error);
  }
  call.ended?.();
  call.guest?.finish(call);
}

/**
 * Resume a call with what it waited for, unless it was resumed already.
 * @param {Call} call
 * @param {any} promise What the answer came from.
 * @param {() => any} answer
 */
function settle(call, promise, answer) {
  if (call.promise != promise) return;
  call.promise = undefined;
  call.answer = answer;
  call.state = REWINDING;
  step(call);
}

/**
 * Throw an abort's reason at a call's pause point: soon if it waits, else at its next suspension. It is thrown once, so
 * that a guest that catches it can suspend to clean up, and never with other frames on the engine's stack, since
 * those may use the shadow stack below the call's.
 * @param {Call} call
 * @param {AbortSignal} signal
 */
export function interrupt(call, signal) {
  call.aborted = signal;
  queueMicrotask(() => {
    if (call.aborted && call.promise) {
      call.aborted = undefined;
      settle(call, call.promise, () => raise(signal.reason));
    }
  });
}
