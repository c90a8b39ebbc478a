/**
 * What on the engine's stack keeps a call from being unwound: JavaScript, other instances, functions that are not
 * instrumented.
 */

import { isEntry } from "./call.js";
import { isStranger } from "./description.js";
import { EngineInstance, SuspendError } from "./errors.js";
import { guestFrames, moduleOf } from "./trace.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./call.js").Site} Site */
/** @typedef {import("./description.js").Description} Description */

// How many functions a message names.
const NAMED = 20;

/** What a frame of the engine's stack looks like to a reader. @param {any} frame */
const where = (frame) => String(frame).trim();

/**
 * Look at the functions between an import and the call that it would suspend. Returns why they cannot be unwound; nothing
 * if they can. A call without any is marked as direct.
 * @param {Call} call
 * @param {Site} site
 * @param {Map<unknown, Description>} instances The guest's.
 */
export function findObstacle(call, { stub, module }, instances) {
  const { frames, below } = guestFrames(stub);
  if (below && !isEntry(below)) return `across JavaScript: ${where(below)}`;
  if (below && !frames.length) call.direct = true;
  /** By function, as recursion has many frames of one. @type {Map<string, string>} */
  const strangers = new Map();
  for (const [index, frame] of frames) {
    const instance = frame.getThis?.();
    // Where frames are text, functions of modules that are linked dynamically cannot be told apart.
    let description = instances.get(instance);
    if (!description && !(instance instanceof EngineInstance) && moduleOf(frame) == moduleOf(frames[0][1])) description = module;
    if (description) isStranger(description, index) && strangers.set(`${moduleOf(frame)} ${index}`, where(frame));
    else if (instance || instances.size < 2) return `across another instance: ${where(frame)}`;
  }
  const more = strangers.size > NAMED ? `, and ${strangers.size - NAMED} more` : "";
  return strangers.size ? `not instrumented: ${[...strangers.values()].slice(0, NAMED).join(", ")}${more}` : "";
}

/** The error for a call that reached an import which it should not, or left no frames. @param {Call} call */
export function lost(call) {
  const inner = guestFrames().frames[0]?.[1];
  return new SuspendError(`export ${call.name}: not instrumented: ${inner ? where(inner) : "a function or the import"}`);
}
