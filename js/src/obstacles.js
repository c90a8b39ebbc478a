/**
 * What stands on the engine's stack in a call: other guests, which are unwound with it, and what keeps it from being
 * unwound: JavaScript, and instances that are not instrumented.
 */

import { isConverting, isEntry } from "./call.js";
import { EngineInstance, SuspendError } from "./errors.js";
import { printable } from "./printable.js";
import { guestFrames, moduleOf } from "./trace.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./call.js").Site} Site */
/** @typedef {import("./description.js").Description} Description */

/** What a frame of the engine's stack looks like to a reader. @param {any} frame */
const where = (frame) => printable(String(frame).trim());

/** Why a call cannot be suspended, or resumed: what has left is not on the stack, and only its own instance could tell. */
export const LEFT = "across a tail call to another instance";

/**
 * What is known of an instance that the package made; `unlisted` are functions of other guests, with their indices there,
 * that it imports without their being on its import list.
 * @typedef {{ guest: Guest, description: Description, unlisted: [guest: object, index: number][] }} Known
 */

/** What is known of instances. @type {WeakMap<any, Known>} */
export const known = new WeakMap();

/**
 * Look at the functions between an import and the call that it would suspend. Returns why they cannot be unwound; nothing
 * if they can. A call without any is marked as direct.
 * @param {Call} call
 * @param {Site} site
 * @param {Guest[]} runs Takes the guests, each as often as control came to it from another, innermost first.
 * @param {import("./missing.js").Stack} stack Takes the functions of guests.
 */
export function findObstacle(call, site, runs, stack) {
  const { stub, module, guest } = site;
  const { frames, below, whole, unread } = guestFrames(stub);
  stack.whole = whole;
  stack.unread = unread;
  if (below && !isEntry(below)) return `across JavaScript: ${where(below)}`;
  if (below) {
    if (isConverting(call, site, frames)) return "across JavaScript: a conversion";
    call.direct ||= !frames.length && !call.first;
    // The entry thunk is on the stack, even if what it has called has left.
    if (call.thunk) frames.pop();
  }
  /** The frame above, and its function. @type {any} */
  let above;
  let called = -1;
  for (const [index, frame] of frames) {
    const instance = frame.getThis?.();
    // Where frames are text, functions of modules that are linked dynamically cannot be told apart.
    let found = known.get(instance);
    if (!found && !(instance instanceof EngineInstance) && moduleOf(frame) == moduleOf(frames[0][1])) found = { guest, description: module, unlisted: [] };
    if (found?.guest.instrumented) {
      const inner = runs.at(-1);
      if (found.guest != inner) runs.push(found.guest);
      if (found.unlisted.some(([other, at]) => other == inner && at == called)) return `not on the import list: ${where(above)}`;
      [called, above] = [index, frame];
      stack.push([index, found.description, frame]);
    } else if (instance || !guest.handlers[1]) return `across another instance: ${where(frame)}`;
  }
  return below && !call.direct && (call.first ??= runs.at(-1)) != runs.at(-1) && LEFT;
}

/** The error for a call that reached an import which it should not, or left no frames. @param {Call} call */
export function lost(call) {
  const inner = guestFrames().frames[0]?.[1];
  return new SuspendError(`export ${printable(call.name)}: not instrumented: ${inner ? where(inner) : "a function or the import"}`);
}
