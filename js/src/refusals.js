/**
 * `caesura/refusals`: for guests with a scheduler of their own, which begins to unwind without asking the host. Where a list
 * leaves out what is on the stack such a guest traps, and the trap has the stack. Of that the same error is made as where an
 * import has to wait.
 *
 * Exports stay what they are, so who calls them has to say so. To wrap all exports of such instances was rejected: they could
 * not be put into tables any more. A trap's stack is text, and engines keep ten functions of it, if they are not told
 * otherwise while it is made.
 */

import { ADDED_ENTRY, NOT_INSTRUMENTED_FUNCTION } from "./abi.js";
import { describe } from "./description.js";
import { SuspendError } from "./errors.js";
import { findMissing } from "./missing.js";
import { indexOf, moduleOf, functionName, withWholeStacks } from "./trace.js";

/**
 * Return what is to be thrown instead of an error.
 * @param {any} error
 * @param {import("./description.js").Description} description Of the module that may have trapped.
 */
function explain(error, description) {
  if (!(error instanceof WebAssembly.RuntimeError)) return error;
  const lines = String(error.stack).split("\n");
  const refused = lines.findIndex((line) => functionName(line)?.endsWith(NOT_INSTRUMENTED_FUNCTION));
  if (refused < 0) return error;
  /** @type {import("./missing.js").Stack} */
  const stack = [];
  for (const line of lines.slice(refused + 1)) {
    const index = indexOf(line);
    // It counts from where the guest was entered last, or its scheduler has called.
    stack.whole = index === undefined || moduleOf(line) != moduleOf(lines[refused]) || description.added.kinds.get(index)?.[0] == ADDED_ENTRY;
    if (index === undefined || stack.whole) break;
    stack.push([index, description, line]);
  }
  return new SuspendError(findMissing("the guest", stack, true), { cause: error });
}

/**
 * Return a function that does what an export does, or what `promising` has made of one, but throws (or rejects with) a
 * `SuspendError` that names what is missing, where the guest's own scheduler traps since a list leaves it out.
 * @template {any[]} Parameters
 * @template Result
 * @param {((...args: Parameters) => Result) | WebAssembly.ExportValue} f
 * @param {WebAssembly.Module} module The one that the export is of.
 * @returns {(...args: Parameters) => Result}
 */
export function explaining(f, module) {
  if (typeof f != "function") throw new TypeError("explaining: not a function");
  if (!(module instanceof WebAssembly.Module)) throw new TypeError("explaining: not the module that the function is of");
  const description = describe(module);
  return (...args) => {
    try {
      const result = withWholeStacks(() => f(...args));
      if (!(result instanceof Promise)) return result;
      return result.catch((/** @type {any} */ error) => {
        throw explain(error, description);
      });
    } catch (error) {
      throw explain(error, description);
    }
  };
}
