/**
 * The JSON of a saved state: one way to write it, reading that takes no other, and what a change makes of it.
 *
 * Canonical means: UTF-8, keys in the order of their characters, no spaces, only what must be escaped is, numbers are
 * integers, and there is no null. What is read is written again and compared, which at once finds keys that stand twice and
 * every other liberty. `JSON.stringify` alone does not do, since engines put keys that are numbers first.
 */

import { isRecord, Mistake, shown } from "./fields.js";

/** In bytes: how long a document may be. */
export const LONGEST = 16 << 20;

/** Characters, without half a surrogate pair. */
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @param {any} value @returns {string} */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (!isRecord(value)) return JSON.stringify(value);
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)}}`;
}

/** @param {Record<string, any>} document @returns {Uint8Array} */
export function writeDocument(document) {
  const content = new TextEncoder().encode(canonical(document));
  if (content.length > LONGEST) throw new Mistake(`the document would have ${content.length} bytes, more than ${LONGEST}`);
  return content;
}

/** @param {Uint8Array} content @returns {Record<string, any>} */
export function readDocument(content) {
  let text;
  let document;
  try {
    text = UTF8.decode(content);
    document = JSON.parse(text);
  } catch (error) {
    throw new Mistake(`it is not JSON: ${/** @type {Error} */ (error).message}`);
  }
  if (!isRecord(document)) throw new Mistake("it is not an object");
  let again;
  try {
    again = canonical(document);
  } catch {
    throw new Mistake("it is nested too deeply");
  }
  if (again != text) {
    let place = 0;
    while (again[place] == text[place]) place++;
    throw new Mistake(`it is not canonical JSON from its character ${place} on: ${shown(text.slice(Math.max(0, place - 10), place + 20))}`);
  }
  return document;
}

/** What a merge patch (RFC 7386) makes of a document. @param {any} old @param {any} patch @returns {any} */
export function merged(old, patch) {
  const made = new Map(Object.entries(isRecord(old) ? old : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) made.delete(key);
    else made.set(key, isRecord(value) ? merged(made.get(key), value) : value);
  }
  return Object.fromEntries(made);
}

/** The merge patch that makes the new document of the old one. @param {any} old @param {any} now */
export function difference(old, now) {
  /** @type {[string, any][]} */
  const patch = Object.keys(old)
    .filter((key) => !Object.hasOwn(now, key))
    .map((key) => [key, null]);
  for (const [key, value] of Object.entries(now)) {
    const before = Object.hasOwn(old, key) ? old[key] : undefined;
    if (isRecord(value) && isRecord(before)) {
      const inner = difference(before, value);
      if (Object.keys(inner).length) patch.push([key, inner]);
    } else if (before === undefined || canonical(value) != canonical(before)) patch.push([key, value]);
  }
  return Object.fromEntries(patch);
}
