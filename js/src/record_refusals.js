/**
 * Notes what is missing in a list where foreign glue tries to suspend a guest below functions that the list leaves out.
 *
 * Such a guest says in `asyncify_unsuspendable` that it cannot be suspended, and traps in `asyncify_start_unwind` (docs/abi.md).
 * What glue finds under that name looks first; the engine's stack has all functions that are missing, at once. The package
 * refuses by itself and tells of it.
 *
 * The functions are those from the import to the export by which the host has entered the guest last, also across JavaScript,
 * since Emscripten's glue calls functions of the guest for it (`invoke_*`) and is passed when the guest is suspended. An
 * export that can be suspended is a function of its own, which caesura has added; one that the list leaves out is itself.
 * Exports that only call out of a table for it (`dynCall_*`) are no entries, although the guest takes them for some: what is
 * missing below is noted, although it does not say so.
 */

import { ADDED_GUARD, ADDED_SECOND_BODY, FUNCTIONS_SECTION } from "./abi.js";
import { readAdded } from "./added.js";
import { labelled } from "./record_labels.js";
import { entryFor, leaveOut, noteMissing } from "./record_lines.js";
import { bytesOf } from "./sections.js";
import { readStack } from "./trace.js";

const PASSES_ON = "dynCall_";

/** In place of the global that says whether the guest cannot be suspended. */
const UNKNOWN = { value: 1 };

/**
 * Look what is missing, if anything is.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {any} exports
 */
export function lookForMissing(instance, module, exports) {
  const functions = Object.entries(exports).filter(([, value]) => typeof value == "function");
  const indices = (/** @type {boolean} */ passesOn) => new Set(functions.filter(([name]) => name.startsWith(PASSES_ON) == passesOn).map(([, f]) => +f.name));
  const passing = indices(true);
  // Tools behind the transformation may have taken the export away: then who is left out on the stack tells.
  let isMarked = (exports.asyncify_unsuspendable ?? UNKNOWN).value != 0;
  if (!isMarked && !passing.size) return;
  const stack = readStack(lookForMissing);
  if (typeof stack[0] == "string") return leaveOut("what is missing in a list cannot be read, since somebody has frozen `Error`");
  const listed = bytesOf(module, FUNCTIONS_SECTION);
  const entered = indices(false);
  // An older caesura does not tell what functions are that it has added: all count as the guard's.
  const { removed, end, kinds } = readAdded(module);
  const isOwn = (/** @type {number} */ index) => index < (end ?? listed.length * 8);
  const isLeftOut = (/** @type {number} */ index) => !((listed[index >> 3] >> (index & 7)) & 1);
  /** @type {Set<string>} */
  const missing = new Set();
  /** Whether anything was called, and whether by the guard, which calls what an instrumented function cannot be resumed in. */
  let [called, isGuarded] = [false, false];
  for (const [at, frame] of stack.entries()) {
    if (frame.getThis() != instance) {
      [called, isGuarded] = [false, false];
      continue;
    }
    const index = frame.getFunction();
    const [kind] = kinds.get(index) ?? [isOwn(index) || end ? undefined : ADDED_GUARD];
    // A second body stands for the function below, which has called it.
    if (kind == ADDED_SECOND_BODY) continue;
    if (isMarked && isOwn(index) && (isLeftOut(index) || isGuarded)) missing.add(entryFor(frame.getFunctionName(), index + removed));
    isMarked ||= passing.has(index);
    if (entered.has(index) && stack[at + 1]?.getThis() != instance) break;
    isGuarded = called && kind == ADDED_GUARD;
    called = true;
  }
  if (missing.size) noteMissing([...missing], labelled(module));
}
