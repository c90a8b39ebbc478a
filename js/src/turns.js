/**
 * Turns: of the guests that have something to compute, one runs in each turn of the event loop, so that timers, I/O and
 * events wait for one slice, however many guests compute. A call that would begin, or go on, after guests have had a quarter
 * of a slice in this turn waits for one, too, and so does one whose guest has had a slice since its last.
 *
 * A turn is a task of its own, by `setImmediate`, or a message where there is none: microtasks would keep timers out, and
 * browsers delay timers of zero.
 */

import { FairShares } from "./policy.js";

/** @typedef {import("./policy.js").Share} Share */
/** @typedef {import("./policy.js").Policy} Policy */

/** @type {Policy} */
let policy = new FairShares();
/** What goes on when it is a guest's turn, or is told why none comes. @typedef {(failure?: Error) => void} GoOn */

/** What waits for each guest's turn. @type {Map<Share, GoOn[]>} */
const waiting = new Map();
// Of a slice: when guests have computed for so long in this turn, who comes waits for the next.
const AT_ONCE = 0.25;
let isScheduled = false;
/** Milliseconds for which guests have computed in this turn, and whether that is enough. */
let spent = 0;
export let isFull = false;

/** Call a function in a task of its own. @type {(f: () => void) => void} */
const after =
  globalThis.setImmediate ??
  ((f) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      f();
    };
    port2.postMessage(0);
  });

/** Let the next guest go on when the event loop has had its turn. */
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  after(next);
}

function next() {
  isScheduled = isFull = false;
  spent = 0;
  let goOn;
  try {
    goOn = chosen();
  } catch (error) {
    return failAll(error);
  }
  if (waiting.size) schedule();
  goOn?.();
}

/** What goes on now, of what waits. Throws what the policy throws, and TypeError for what it must not choose. */
function chosen() {
  const share = policy.choose();
  if (!share) {
    if (waiting.size) throw new TypeError("it has chosen nobody, though guests wait for a turn");
    return;
  }
  const list = waiting.get(share);
  if (!list) {
    if (share instanceof Promise) {
      share.catch(() => {}); // it is told what is wrong already
      throw new TypeError("it has chosen a promise, and has to choose at once");
    }
    throw new TypeError("it has chosen what is no guest that waits for a turn");
  }
  if (list[1]) {
    policy.add(share);
    share.ran = 0;
  } else waiting.delete(share);
  return list.shift();
}

/** Tell all that wait that the policy does not say whose turn it is: else they wait for ever. @param {unknown} cause */
function failAll(cause) {
  const all = [...waiting];
  waiting.clear();
  for (const [share, list] of all) {
    try {
      policy.remove(share);
    } catch {
      // It has failed already.
    }
    for (const goOn of list) goOn(failure(cause));
  }
}

// @ts-ignore: the second parameter is newer than TypeScript's libraries.
const failure = (/** @type {unknown} */ cause) => new TypeError(`the policy has failed, so no turn comes: ${told(cause)}`, { cause });

/** What somebody has thrown, as text: anything can be thrown, and not all of it can be text. @param {unknown} thrown */
function told(thrown) {
  try {
    return String(thrown);
  } catch {
    return typeof thrown;
  }
}

const AsyncFunction = (async () => {}).constructor;

/** Call a function when it is a guest's turn. @param {Share} share @param {GoOn} goOn */
export function wait(share, goOn) {
  const list = waiting.get(share);
  if (list) list.push(goOn);
  else {
    try {
      policy.add(share);
    } catch (error) {
      return queueMicrotask(() => goOn(failure(error)));
    }
    waiting.set(share, [goOn]);
    share.ran = 0;
  }
  schedule();
}

/** Do not call it any more. @param {Share} share @param {GoOn | undefined} goOn */
export function forget(share, goOn) {
  const list = waiting.get(share);
  const at = goOn && list ? list.indexOf(goOn) : -1;
  if (at < 0) return;
  list?.splice(at, 1);
  if (list?.[0]) return;
  waiting.delete(share);
  try {
    policy.remove(share);
  } catch (error) {
    queueMicrotask(() => failAll(error)); // who forgets may be in the middle of something
  }
}

/** A guest has computed. @param {number} milliseconds @param {number} slice How long it may at once. */
export function spend(milliseconds, slice) {
  spent += milliseconds;
  if (spent < AT_ONCE * slice || isFull) return;
  isFull = true;
  schedule();
}

/**
 * Let a policy say whose turn it is, of all guests of this thread.
 * @param {Policy} chosen An object with the methods of `FairShares`, which is the policy where nobody says.
 */
export function usePolicy(chosen) {
  if (typeof chosen == "function") throw new TypeError("the policy is a class or a function: give an object with its methods, such as new FairShares()");
  for (const name of /** @type {const} */ (["add", "remove", "choose"])) {
    if (typeof chosen?.[name] != "function") throw new TypeError(`the policy has no method ${name}`);
    if (chosen[name] instanceof AsyncFunction) throw new TypeError(`the policy's method ${name} is an async function, and has to answer at once`);
  }
  if (waiting.size) throw new TypeError("guests wait for a turn by another policy: choose one before guests compute");
  policy = chosen;
}
