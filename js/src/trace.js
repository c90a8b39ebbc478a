/** Which functions of a module are on the engine's stack: read from a stack trace, which engines only agree on as text. */

/**
 * Return the lines of the innermost functions of WebAssembly on the stack that `wanted` picks by their index. A line has
 * the function's name, where the module has names, and its index. Some engines also tell modules apart, by a part of the
 * text: V8 by a hash.
 * @param {(index: number, module: string) => boolean} wanted
 */
export function functionsOnStack(wanted) {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = Infinity;
  const { stack } = /** @type {{ stack: string }} */ (new Error());
  Error.stackTraceLimit = limit;
  const found = [];
  let inside = false;
  for (const line of stack.split("\n")) {
    const index = /([^\s(@]*)wasm-function\[(\d+)/.exec(line);
    if (!index && inside) break;
    if (index) {
      inside = true;
      if (wanted(+index[2], index[1])) found.push(line.trim());
    }
  }
  return found;
}
