/**
 * The instances of a program that is recorded: which of them notes what is on its stack, and when to look at it; and which
 * of them says that it cannot be suspended. What stands for their exports is in `record_around.js`.
 */

import { readAdded } from "./added.js";
import { around, replaceExports } from "./record_around.js";
import { addBuild, isBuild, takeCounts } from "./record_builds.js";
import { labelled } from "./record_labels.js";
import { flush, flushNews, leaveOut, noteNothing, toFile } from "./record_lines.js";
import { lookForMissing } from "./record_refusals.js";
import { introduce } from "./record_stacks.js";

/** Whether there was any instance, and why the last one whose suspensions cannot be seen is such. */
let met = false;
/** @type {string | undefined} */
let unseen;

/** Write what builds have noted for the first time. */
function look() {
  takeCounts(false);
  flushNews();
}

const { setImmediate } = globalThis;
let looksOften = false;

/** Look whenever the event loop goes round, as it does between a suspension and whatever ends it. */
function lookOften() {
  looksOften = true;
  look();
  setImmediate(lookOften).unref();
}

/**
 * Take an instance that the program has made.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {boolean} hasNative Whether the engine has JSPI.
 */
export function take(instance, module, hasNative) {
  try {
    meet(instance, module, hasNative);
  } catch (error) {
    leaveOut(`${labelled(module)} cannot be read: ${error}`);
  }
  return instance;
}

/** @param {WebAssembly.Instance} instance @param {WebAssembly.Module} module @param {boolean} hasNative */
function meet(instance, module, hasNative) {
  const label = () => labelled(module);
  met = true;
  introduce(instance, module, label);
  const { exports } = /** @type {any} */ (instance);
  const { asyncify_start_unwind, asyncify_stop_unwind, asyncify_set_data_pointer } = exports;
  /** @type {Record<string, any>} */
  const replaced = {};
  if (isBuild(exports)) {
    addBuild(instance, module, label);
    if (asyncify_set_data_pointer && toFile && !looksOften) lookOften();
    replaced.asyncify_stop_unwind = around(asyncify_stop_unwind, { after: look });
  } else if (asyncify_start_unwind) unseen = `${label()} was instrumented, but not to be recorded`;
  else if (!hasNative) unseen = `${label()} is no recording build, and this engine has no JSPI`;
  if (asyncify_start_unwind && (exports.asyncify_unsuspendable || readAdded(module).end !== undefined)) {
    replaced.asyncify_start_unwind = around(asyncify_start_unwind, { before: () => lookForMissing(instance, module, exports) });
  }
  if (Object.keys(replaced).length) replaceExports(instance, replaced);
}

/** Write what is left. */
export function writeRest() {
  takeCounts(true);
  flush();
}

/** Write what is left at the end of the process, or why there was nothing. */
export function end() {
  writeRest();
  if (met) noteNothing(unseen);
}
