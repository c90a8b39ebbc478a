/**
 * `caesura/refusals`: for guests with a scheduler of their own, which begins to unwind without asking the host. Where a list
 * leaves out what is on the stack such a guest traps, and the trap has the stack. Of that the same error is made as where an
 * import has to wait.
 *
 * Exports stay what they are, so who calls them has to say so. To wrap all exports of such instances was rejected: they could
 * not be put into tables any more. A trap's stack is text, and engines keep ten functions of it, if they are not told
 * otherwise while it is made.
 */

import { describe } from "./description.js";
import { explain } from "./missing.js";
import { withWholeStacks } from "./trace.js";

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
        throw explain(error, description, "the guest");
      });
    } catch (error) {
      throw explain(error, description, "the guest");
    }
  };
}
