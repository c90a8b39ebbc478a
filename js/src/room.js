/**
 * Finding room in a guest's memory: for the asyncify stack, once, and for further C stacks.
 */

import { CONTROL_BLOCK, FACT_ADDED_MEMORY } from "./abi.js";
import { isAddress } from "./options.js";
import { unsigned } from "./stacks.js";

/** @typedef {import("./guest.js").Options} Options */

// About as many frames as a native stack of a megabyte can hold.
const DEFAULT = 1 << 19;

/**
 * Allocate in a guest. Returns 0 or undefined if that fails.
 * @param {import("./guest.js").Exports} exports
 * @param {Options} options
 * @param {number} bytes
 * @returns {any}
 */
export function take(exports, { allocate }, bytes) {
  if (!allocate) return exports.malloc?.(String(bytes)); // becomes either type of address
  const address = allocate(bytes);
  if (!isAddress(address)) throw new TypeError(`option allocate: it returned no integer or BigInt, but ${String(address)}`);
  return address;
}

/**
 * Why there is no room.
 * @param {import("./guest.js").Exports} exports
 * @param {Options} options
 * @param {string} what
 * @param {number} bytes
 * @param {string} option That for its size.
 * @param {string} others
 */
export const noRoom = (exports, { allocate }, what, bytes, option, others) =>
  allocate || exports.malloc
    ? `the allocator has no ${bytes} bytes for ${what} (option ${option})`
    : `no allocator for ${what}: it needs the export malloc, or the option allocate${others}`;

/**
 * Do something for which the guest's code is no call's, and not bounded. Where it counts, that is not counted.
 * @template T
 * @param {import("./guest.js").Exports} exports
 * @param {() => T} act
 * @returns {T}
 */
export function uncounted({ asyncify_fuel: counter }, act) {
  if (!counter) return act();
  const { value } = counter;
  counter.value = 1n << 62n;
  try {
    return act();
  } finally {
    counter.value = value;
  }
}

/**
 * Return where the asyncify stack is to begin and end, or why nowhere.
 * @param {import("./guest.js").Exports} exports
 * @param {any} memory
 * @param {number} facts
 * @param {Options} options
 */
export function findRoom(exports, memory, facts, options) {
  const { region, stackSize = DEFAULT } = options;
  if (!memory) return "no memory is exported";
  if (exports.asyncify_memory) return [CONTROL_BLOCK, memory.buffer.byteLength];
  if (region) return region;
  if (facts & FACT_ADDED_MEMORY) {
    // Nobody else uses it.
    memory.grow(Math.ceil(Math.max(0, stackSize - memory.buffer.byteLength) / 65536));
    return [0, stackSize];
  }
  let size = stackSize;
  const start = uncounted(exports, () => {
    const first = take(exports, options, size);
    // An allocator that does not look at the memory's end may have room for less, too.
    const fits = first && unsigned(first) + size <= memory.buffer.byteLength;
    return fits || size != DEFAULT ? first : take(exports, options, (size /= 2));
  });
  return start ? [start, unsigned(start) + size] : noRoom(exports, options, "the asyncify stack", size, "stackSize", " or region");
}
