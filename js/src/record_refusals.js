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
 * An instrumented function that is exported as it is (`dynCall_*`) is what `invoke_*` call: that is no entry.
 */

import { labelled } from "./record_labels.js";
import { noteMissing, warn } from "./record_lines.js";
import { readStack } from "./trace.js";

const LISTED_SECTION = "asyncify.functions";
const OWN = "asyncify_";

/**
 * Look what is missing, if anything is.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {any} exports
 */
export function lookForMissing(instance, module, exports) {
  if (!exports.asyncify_unsuspendable.value) return;
  const stack = readStack(lookForMissing);
  if (typeof stack[0] == "string") return warn("recording: what is missing in a list cannot be read, since somebody has frozen `Error`");
  const listed = new Uint8Array(WebAssembly.Module.customSections(module, LISTED_SECTION)[0]);
  const entered = new Set(Object.values(exports).filter((value) => typeof value == "function").map((f) => +f.name));
  const isLeftOut = (/** @type {number} */ index) => index < listed.length * 8 && !((listed[index >> 3] >> (index & 7)) & 1);
  /** @type {Set<string>} */
  const missing = new Set();
  /** Whether the last two functions are added ones: those between others mark calls that cannot be resumed. */
  let [above, beforeThat] = [true, true];
  for (const [at, frame] of stack.entries()) {
    if (frame.getThis() != instance) {
      [above, beforeThat] = [true, true];
      continue;
    }
    const index = frame.getFunction();
    const name = frame.getFunctionName();
    const isAdded = index >= listed.length * 8 || !!name?.startsWith(OWN);
    if (!isAdded && (isLeftOut(index) || (above && !beforeThat))) missing.add(name || `#${index}`);
    if (entered.has(index) && (isAdded || isLeftOut(index)) && stack[at + 1]?.getThis() != instance) break;
    [above, beforeThat] = [isAdded, above];
  }
  noteMissing([...missing], labelled(module));
}
