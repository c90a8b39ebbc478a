/** What functions that were added to a guarded module are on its stack, as its section tells (docs/abi.md). */

import { ADDED_BITS, ADDED_ENTRY, FUNCTIONS_SECTION, GUARD_SECTION, INDIRECT_IGNORED, ONLY_LIST } from "./abi.js";
import { bytesOf, readNumbers } from "./sections.js";

/**
 * Return which kind of list was given, how many imports were removed, the first function that was added, and, by index, what
 * the others are and of which function. Where a module does not tell, it is taken for an only-list, and the first one is undefined.
 * Throws `LinkError` where what it tells cannot be, as far as that shows: no engine says how many functions there are.
 * @param {WebAssembly.Module} module
 */
export function readAdded(module) {
  const bytes = bytesOf(module, GUARD_SECTION);
  const numbers = readNumbers(bytes);
  const [lists = ONLY_LIST, removed = 0, end, ...rest] = numbers;
  const count = bytesOf(module, FUNCTIONS_SECTION).length * 8;
  /** @type {Map<number, [kind: number, original: number]>} */
  const kinds = new Map();
  const originals = [0, 0, 0, 0];
  let index = end;
  for (let at = 0; at < rest.length; ) {
    const kind = rest[at] & ((1 << ADDED_BITS) - 1);
    index += rest[at++] >>> ADDED_BITS;
    if (kind > ADDED_ENTRY) originals[kind] += rest[at++];
    kinds.set(index, [kind, originals[kind]]);
  }
  const isSound = numbers.length > 2 && numbers.every((number) => number < 2 ** 32) && bytes[bytes.length - 1] < 128;
  const isOne = isSound && lists >= ONLY_LIST && lists <= INDIRECT_IGNORED && end <= (count || Infinity);
  if (bytes.length && !(isOne && originals.every((original) => original < end) && index < 2 ** 32)) {
    throw new WebAssembly.LinkError(`the section ${GUARD_SECTION} tells what cannot be: the module is not instrumented as it says`);
  }
  return { lists, removed, end, kinds };
}
