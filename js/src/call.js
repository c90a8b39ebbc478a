/**
 * One call of a promising export: from its start over its suspensions to its result.
 *
 * `current` is the call whose frames are on top of the engine's stack, `HOST` where a frame of JavaScript is on top of
 * them or of another function of a guest, and undefined where nothing of a guest runs, or only what was called without a
 * promise. Only what runs directly under a call can suspend, as in the standard. Each suspension is waited for on its own,
 * and the call resolves one promise at its end; to make the whole call an async function was rejected, since cancellation
 * would then need a race of promises for each suspension.
 */

import { STATE_ELSEWHERE } from "./abi.js";
import { abandon, raise } from "./errors.js";
import { printable } from "./printable.js";
import { guestFrames } from "./trace.js";

/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./description.js").Description} Description */

// States of a call; one that waits has unwound.
export const RUNNING = 0;
export const UNWINDING = 1;
export const REWINDING = 2;

// As the module's own: in each suspension, a constant of another module is read anew.
const ELSEWHERE = STATE_ELSEWHERE;

/**
 * @typedef {object} Call
 * @property {Guest} [guest] Its instance; unknown for a function out of a table.
 * @property {Guest} [first] The one whose function is called; of a function out of a table it is known once it was suspended.
 * @property {Function} entry The exported function.
 * @property {any} [thunk] Its entry thunk, which is called instead where there is one.
 * @property {string} name The export's name.
 * @property {any[]} args
 * @property {boolean} [direct] Whether the export is itself an import: then there is nothing to unwind.
 * @property {boolean | [from: Site, depth: number, frame: string]} [converts] What the engine may be converting, which may call
 * anything: the arguments, or what an import has returned, with how many functions were on the stack, and the innermost.
 * @property {(value: any) => void} resolve
 * @property {(reason: any) => void} reject
 * @property {() => void} [ended] Called once the call has ended.
 * @property {number} [runs] How often control had come to a guest from another, in what was unwound.
 * @property {Part[]} [parts] What other guests, whose functions are on the stack, have of it.
 * @property {Part} [whole] For such a part: the call.
 * @property {any} [outer] For such a part: what is to be restored.
 * @property {number} state
 * @property {Site} [site] The import that suspended the call.
 * @property {any[]} [asked] What the guest has called it with.
 * @property {any} [promise] What the call waits for.
 * @property {() => any} [answer] Returns or throws what became of it.
 * @property {AbortSignal} [signal] What aborts it.
 * @property {AbortSignal} [aborted] The signal, once it is aborted and until its reason was thrown.
 * @property {number} [pointer] The shadow stack pointer to run with.
 * @property {import("./stacks.js").Place} [place] The shadow stack that it runs on.
 * @property {import("./stacks.js").Kept} [kept] What was allocated for it on another's.
 * @property {import("./stacks.js").Back} [back] Where who waits for it will put the pointer back to.
 * @property {boolean} [lost] Whether others have overwritten what it has there.
 * @property {{ low: number, high: number }} [limits] Those of the stack that it was entered from, where it runs on another.
 * @property {number} [size] How many bytes its frames have.
 * @property {import("./slices.js").Bounds} [bounds] What it may take, in slices.
 * @property {import("./slices.js").Sliced} [sliced] What is left of that.
 * @property {ArrayLike<number>} [frames] The frames where another call needed their place.
 */

/** @typedef {Call & { guest: Guest }} Part What a guest has of a call. */

/**
 * An imported function.
 * @typedef {object} Site
 * @property {Function} f
 * @property {boolean} suspends Whether it was marked as suspending.
 * @property {Guest} guest The instance that imports it.
 * @property {import("./description.js").Description} module The module that imports it.
 * @property {number} index Its function index.
 * @property {string} name
 * @property {any} blank What it returns where its results do not matter: it converts to whatever types they have.
 * @property {() => any} [made] Gives that, or what the guest makes where it must be of its own types; known when it suspends.
 * @property {Function} [stub] What the guest calls.
 */

/** Stands for frames of JavaScript on top of a guest's. */
const HOST = /** @type {Call} */ ({});

/** @type {Call | undefined} */
export let current;

/** The guest whose import runs. @type {Guest | undefined} */
let calling;

/** @typedef {Set<WeakRef<{ value: number }>>} Globals Of all instances. */

/** What says whether a function is on the stack that a list leaves out. @type {Globals} */
export const marks = new Set();

/** The states of those whose functions can leave for others' by tail calls. @type {Globals} */
export const leaving = new Set();

/** Do something with each that is there. @param {Globals} globals @param {(global: { value: number }) => void} f */
function forAll(globals, f) {
  for (const one of globals) {
    const global = one.deref();
    if (global) f(global);
    else globals.delete(one);
  }
}

/**
 * Say whether a call is rewound: then functions of instances that have no part in it trap, as they have left for what was on
 * the stack and should not run again.
 * @param {number} isRewound
 */
export const tellOthers = (isRewound) =>
  leaving.size &&
  forAll(leaving, (state) => {
    // The state of those that have a part is another one.
    if (!(state.value % ELSEWHERE)) state.value = isRewound && ELSEWHERE;
  });

/**
 * Let nothing be on the stack that a list leaves out: what has failed may have left it.
 * @param {Guest} [guest] In this one; undefined: in whatever instance, as nothing of any is on the stack.
 */
function clearMarks(guest) {
  if (guest) guest.guard.value = 0;
  else forAll(marks, (mark) => (mark.value = 0));
}

/** Whether the engine may have to convert a value by calling its methods. @param {any} value */
export const isObject = (value) => Object(value) === value;

/**
 * Return an import's result, as a list where the guest takes several: of what cannot be iterated, the engine would name code
 * of this package.
 * @param {Site} site
 * @param {any} result
 */
export function checkResult({ name, blank }, result) {
  if (!Array.isArray(blank)) return result;
  if (typeof result?.[Symbol.iterator] == "function") return [...result];
  throw new TypeError(`${printable(name)}: the guest takes several results, and this one is not iterable`);
}

/** What the engine calls to convert an object. */
export const METHODS = [Symbol.toPrimitive, "valueOf", "toString"];

/**
 * Whether what calls an import was called by a conversion. No function of JavaScript is on the stack there that tells so; but
 * another export than the call's is the outermost function, or what has called the import that returned an object is still
 * at that call.
 * @param {Call} call
 * @param {Site} site
 * @param {[index: number, frame: any][]} frames All functions that are on the stack in this call.
 */
export function isConverting({ converts, thunk, entry, args }, site, frames) {
  if (converts === true) {
    const [index, frame] = frames.at(-1) ?? [];
    const begun = Object.values(frame?.getThis?.()?.exports ?? []).filter((value) => value.name == index);
    // By an argument's method, the call's own function may be there twice, one below the other: which is it?
    return begun[0] && (!begun.includes(thunk || entry) || (!thunk && args.some((value) => METHODS.some((method) => value?.[method]?.name?.endsWith(entry.name)))));
  }
  if (!converts) return;
  const [from, depth, below] = converts;
  const above = frames.length - depth;
  return (above || from != site) && String(frames[above]?.[1]) == below;
}

/** Return what an import returns to a call, and note it if the engine may call methods of it. @param {Call | undefined} call @param {Site} site @param {any} result */
function pass(call, site, result) {
  const { blank, stub } = site;
  if (call?.entry && (Array.isArray(blank) ? blank.some((one, at) => one && isObject(result[at])) : blank && isObject(result))) {
    const { frames } = guestFrames(stub);
    if (!isConverting(call, site, frames)) call.converts = [site, frames.length, String(frames[0]?.[1])];
  }
  return result;
}

/**
 * Wrap an imported function so that what it calls does not count as part of the call that it serves. That goes for
 * everything on the way, like a `then` that is a getter.
 * @param {Site} site
 */
export function importStub(site) {
  const { f, suspends, guest } = site;
  return (site.stub = (/** @type {any[]} */ ...args) => {
    const call = current;
    const owner = call?.guest ?? guest;
    current = HOST;
    const outer = guest.pointer;
    const before = calling;
    let masked;
    try {
      if (call?.state) return pass(call, site, owner.land(call, site));
      calling = guest;
      masked = guest.slicing?.mask();
      guest.pointer = guest.stacks?.position();
      const told = suspends && guest.guard.value;
      const result = f(...args);
      if (suspends && (guest.suspendAlways || typeof result?.then == "function")) {
        guest.guard.value = told; // what f has called may have left the guest by an exception
        try {
          return owner.suspend(call, site, result, args);
        } catch (error) {
          abandon(result);
          throw error;
        }
      }
      const value = checkResult(site, result);
      return pass(call, site, masked ? masked.convert(value, site) : value);
    } catch (error) {
      throw masked ? masked(site, error) : error;
    } finally {
      masked?.();
      calling = before;
      current = call;
      guest.pointer = outer;
    }
  });
}

/** Run a call on until it ends or suspends, and see to what comes then. @param {Call} call */
export function step(call) {
  const outer = current;
  /** @type {(ran?: boolean) => void} */
  const rest = (ran) => call.guest?.stacks.rest(ran);
  // This comes before whatever the imports that are called here do once they have waited.
  if (outer) queueMicrotask(rest);
  // What is called here, but for the guest, counts no more as part of an outer call than what an import calls.
  const host = outer && HOST;
  current = host;
  try {
    const pointer = call.guest?.enter(call, !outer);
    // Whose a function out of a table is nobody knows. (No name: there is nothing in it, see below.)
    if (!call.guest && call.name) clearMarks(outer && calling);
    let result;
    current = call;
    const { slicing } = call.guest ?? {};
    try {
      slicing?.begin(call);
      tellOthers(call.state);
      result = (call.thunk || call.entry)(...call.args);
    } catch (error) {
      slicing?.fail(call);
      throw call.guest?.recover(call, error) ?? error;
    } finally {
      current = host;
      tellOthers(RUNNING);
      slicing?.end(call);
      call.guest?.leave(call, pointer);
    }
    if (call.promise) {
      wait(call);
      if (call.aborted) interrupt(call, call.aborted);
    } else call.resolve(result);
  } catch (error) {
    call.promise = undefined;
    call.reject(error);
  }
  current = outer;
  if (!call.promise) {
    call.ended?.();
    call.guest?.finish(call, !outer);
  }
  if (!outer) rest(true);
}

/** The frame of `step` that enters a guest. @type {import("./trace.js").Frame} */
let entered;

/** Whether a frame of JavaScript is `step`'s, from where it enters a guest. @param {import("./trace.js").Frame} frame */
export function isEntry(frame) {
  if (!entered) {
    const entry = () => {
      entered = guestFrames(entry).below;
    };
    step({ entry, name: "", args: [], state: RUNNING, resolve() {}, reject: raise });
  }
  return frame.getPosition() == entered.getPosition() && frame.getScriptNameOrSourceURL() == entered.getScriptNameOrSourceURL();
}

/** Wait for a call's promise. @param {Call} call */
async function wait(call) {
  const { promise } = call;
  let answer;
  try {
    const value = await promise;
    answer = () => value;
  } catch (reason) {
    answer = () => raise(reason);
  }
  settle(call, promise, answer);
}

/**
 * Resume a call with what it waited for, unless it was resumed already.
 * @param {Call} call
 * @param {any} promise What the answer came from.
 * @param {() => any} answer
 */
export function settle(call, promise, answer) {
  const again = (/** @type {any} */ failure) => settle(call, promise, failure ? () => raise(failure) : call.aborted ? abortion(call, call.aborted) : answer);
  if (call.promise != promise || call.guest?.slicing?.defers(call, again, answer)) return;
  call.promise = undefined;
  call.answer = answer;
  call.state = REWINDING;
  step(call);
}

/** What a call waits for, once a signal is aborted. @param {Call} call @param {AbortSignal} signal */
const abortion = (call, signal) => () => {
  call.aborted = undefined;
  raise(signal.reason);
};

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
    if (call.aborted && call.promise) settle(call, call.promise, abortion(call, signal));
  });
}
