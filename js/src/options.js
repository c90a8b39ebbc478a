/**
 * What may be given as options. All of it is checked before anything is made, since a number that is none would otherwise
 * become an address in the guest, and a name that nobody reads would be taken for one that works.
 */

import { raise } from "./errors.js";

/** @param {string} name @param {string} what */
const wrong = (name, what) => raise(new TypeError(`option ${name}: ${what}`));

/** @param {string} type */
const isA = (type) => (/** @type {any} */ value, /** @type {string} */ name) => typeof value == type || wrong(name, `not a ${type}`);

/** @param {any} value @param {string} name */
const isSize = (value, name) => {
  if (!Number.isSafeInteger(value)) wrong(name, "not an integer number of bytes");
  if (value <= 0) throw new RangeError(`option ${name}: ${value} bytes`);
};

/** Whether a value can be an address: an integer, or a BigInt where addresses have 64 bits. @param {any} value */
export const isAddress = (value) => typeof value == "bigint" || Number.isSafeInteger(value);

/** @param {any} value @param {string} name */
const isRegion = (value, name) => {
  const [start, end] = Array.isArray(value) && value.length == 2 ? value : [];
  if (!isAddress(start) || typeof end != typeof start || !isAddress(end)) wrong(name, "not [start, end], two integers or two BigInts");
  if (start < 0 || end <= start) throw new RangeError(`option ${name}: no addresses from ${start} to ${end}`);
};

/** What sees to the value of each option; the engine does to its own. @type {Record<string, (value: any, name: string) => any>} */
export const OPTIONS = {
  stackSize: isSize,
  shadowStackSize: isSize,
  singleStack: isA("boolean"),
  allocate: isA("function"),
  region: isRegion,
  memory: isA("string"),
  suspendAlways: isA("boolean"),
  checkStack: isA("boolean"),
  builtins() {},
  importedStringConstants() {},
};

/** A signal may come from elsewhere, such as another window: it is known by what it can do. @param {any} value @param {string} name */
export const isSignal = (value, name) =>
  value === null || (typeof value?.aborted == "boolean" && value.addEventListener) || wrong(name, "not an AbortSignal");

/**
 * Refuse options that are wrong; undefined stands for none.
 * @template T
 * @param {T} options
 * @param {Record<string, (value: any, name: string) => any>} [known]
 * @returns {T}
 */
export function checkOptions(options, known = OPTIONS) {
  if (typeof options != "object" && options !== undefined) throw new TypeError(`options: not an object: ${String(options)}`);
  for (const [name, value] of Object.entries(options ?? {})) {
    if (!Object.hasOwn(known, name)) wrong(name, `there is none of this name, but ${Object.keys(known).join(", ")}`);
    if (value !== undefined) known[name](value, name);
  }
  return options;
}

/**
 * Return the signal of `promising`'s options. A number is none: the standard ignores what follows the function, and
 * programs rely on it in `map(promising)`.
 * @param {any} options
 * @returns {AbortSignal | null | undefined}
 */
export function readSignal(options) {
  if (typeof options == "number") return;
  if (options === null) throw new TypeError("options: not an object: null");
  return checkOptions(options, { signal: isSignal })?.signal;
}
