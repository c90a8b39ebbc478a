/** What functions that were added to a guarded module are on its stack, as its section tells (docs/abi.md). */

import { ADDED_BITS, ADDED_ENTRY, GUARD_SECTION, ONLY_LIST } from "./abi.js";
import { bytesOf, readNumbers } from "./sections.js";

/**
 * Return which kind of list was given, how many imports were removed, the first function that was added, and, by index, what
 * the others are and of which function. Where a module does not tell, it is taken for an only-list, and the first one is undefined.
 * @param {WebAssembly.Module} module
 */
export function readAdded(module) {
  const [lists = ONLY_LIST, removed = 0, end, ...rest] = readNumbers(bytesOf(module, GUARD_SECTION));
  /** @type {Map<number, [kind: number, original: number]>} */
  const kinds = new Map();
  const originals = [0, 0, 0, 0];
  let index = end;
  for (let at = 0; at < rest.length; ) {
    const kind = rest[at] & ((1 << ADDED_BITS) - 1);
    index += rest[at++] >> ADDED_BITS;
    if (kind > ADDED_ENTRY) originals[kind] += rest[at++];
    kinds.set(index, [kind, originals[kind]]);
  }
  return { lists, removed, end, kinds };
}
