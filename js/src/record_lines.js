/**
 * The lines of a recording: where they go, and what has been seen since the last one.
 *
 * Each is a JSON object of its own, `{ caesura_record: 1, module, functions, missing }` (docs/javascript.md has its parts).
 * In Node, where CAESURA_RECORD names a file, a line is appended by one call to a file that is opened for it, so that any
 * number of processes and workers write to one file and any of them may be killed. A line is written as soon as a function is
 * seen for the first time; how often things were seen since then is in the next one, or in that of the process' end. Without
 * a file the lines are kept for `recorded`.
 *
 * Nothing here may break the program that is recorded: a file that cannot be written is said once, on standard error.
 */

import { printable } from "./printable.js";

/**
 * A function of a module, as it was seen waiting in one import.
 * @typedef {object} Seen
 * @property {number} count How often, since the last line.
 * @property {string[]} stack From the import to the function: the shortest that was seen, and of these the first by its text.
 */

/** The functions of a module, by their entries, and each by the import, `module.name`, or null if that is not known. @typedef {Map<string, Map<string | null, Seen>>} Functions */

const VERSION = 1;

const { process } = /** @type {any} */ (globalThis);

/** @type {typeof import("node:fs") | undefined} */
const files = process?.getBuiltinModule?.("node:fs");
// As they are now: what is recorded may put others in their place.
const { openSync, writeSync, closeSync } = files ?? /** @type {any} */ ({});

/** The file, wherever the program will go from here. @type {string | undefined} */
const path = files && process.env.CAESURA_RECORD && process.getBuiltinModule("node:path").resolve(process.env.CAESURA_RECORD);
// Workers and child processes that are started elsewhere have the same.
if (path && path != process.env.CAESURA_RECORD) process.env.CAESURA_RECORD = path;

/** Whether a line could not be written to its end. */
let torn = false;
let unwritable = false;
let written = false;

/** Lines that were not written to a file. @type {string[]} */
let kept = [];

/** What was seen, by module. @type {Map<string, Functions>} */
const modules = new Map();

const said = new Set();

/** Say what is wrong, once. @param {string} message */
export function warn(message) {
  message = printable(message);
  if (said.has(message)) return;
  said.add(message);
  try {
    if (writeSync) writeSync(2, `caesura: ${message}\n`);
    else console.warn(`caesura: ${message}`);
  } catch {
    // Nobody can read it.
  }
}

/** Why the first suspension that is not recorded is not. @type {string | undefined} */
let unrecorded;

/** Say, once, why what a guest has done is not recorded. @param {string} reason */
export function leaveOut(reason) {
  unrecorded ??= reason;
  warn(`recording: ${reason}`);
}

/** @param {string} line */
function append(line) {
  if (unwritable) return;
  try {
    const bytes = new TextEncoder().encode(`${torn ? "\n" : ""}${line}\n`);
    const file = openSync(path, "a");
    try {
      torn = writeSync(file, bytes) < bytes.length;
    } finally {
      closeSync(file);
    }
    if (torn) warn(`recording: a line in '${path}' is incomplete: is the disk full?`);
  } catch (error) {
    unwritable = true;
    warn(`recording: cannot append to '${path}': ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {object} content */
function write(content) {
  written = true;
  const line = JSON.stringify({ caesura_record: VERSION, ...content });
  if (path) append(line);
  else kept.push(line);
}

/**
 * The entry of a list for a function: its name, or its index where it has none, or one that would mean every function, as a
 * list has `*` for what no line can hold, or that looks like an index.
 * @param {string | null | undefined} name
 * @param {number} index
 */
export const entryFor = (name, index) => (!name || /^([\s\0\x1c-\x1f\x85*]*|#\d+)$/.test(name) ? `#${index}` : name);

/** Whether a stack is a better example than another: shorter, or as short and earlier by its text. @param {string[]} one @param {string[]} other */
function isBetter(one, other) {
  if (one.length != other.length) return one.length < other.length;
  return one.join("\n") < other.join("\n");
}

/** Whether a function was seen for the first time since the last lines. */
let hasNews = false;

/**
 * Return what was seen of a function so far, to be added to.
 * @param {string} module What lines call its module.
 * @param {string} entry
 * @param {string | null} site The import.
 * @param {string[]} stack An example.
 * @returns {Seen}
 */
export function seenOf(module, entry, site, stack) {
  let functions = modules.get(module);
  if (!functions) modules.set(module, (functions = new Map()));
  let byImport = functions.get(entry);
  if (!byImport) {
    functions.set(entry, (byImport = new Map()));
    hasNews = true;
  }
  let seen = byImport.get(site);
  if (!seen) byImport.set(site, (seen = { count: 0, stack: [...stack] }));
  else if (isBetter(stack, seen.stack)) seen.stack = [...stack];
  return seen;
}

/** Write what was seen since the last lines: one for each module, and each import in which it waited. */
export function flush() {
  hasNews = false;
  for (const [module, functions] of modules) {
    /** @type {Map<string | null, [entry: string, object][]>} */
    const bySite = new Map();
    for (const [entry, byImport] of functions) {
      for (const [site, seen] of byImport) {
        if (!seen.count) continue;
        if (!bySite.has(site)) bySite.set(site, []);
        bySite.get(site)?.push([entry, { count: seen.count, import: site, stack: seen.stack }]);
        seen.count = 0;
      }
    }
    for (const entries of bySite.values()) write({ module, functions: Object.fromEntries(entries) });
  }
}

/** The same if a function was seen for the first time. */
export function flushNews() {
  if (hasNews) flush();
}

/**
 * Note which functions kept a guest from being suspended, as a list leaves them out.
 * @param {string[]} missing Their entries, innermost first.
 * @param {string} [module] Of which module they are, if they are of one.
 */
export function noteMissing(missing, module) {
  const line = JSON.stringify([missing, module]);
  if (!missing.length || said.has(line)) return;
  said.add(line);
  write({ module, missing });
}

/**
 * Note that nothing was recorded, if that is so, and why.
 * @param {string | undefined} reason Why nothing can be seen of an instance, if there is one; what was seen and left out comes first.
 */
export function noteNothing(reason) {
  if (!written) write({ unrecorded: unrecorded ?? reason });
}

/** Return the lines that were not written to a file, once. */
export function takeKept() {
  const lines = kept;
  kept = [];
  return lines;
}

/** Let something be done when the process, or this thread of it, ends. @param {() => void} end */
export function atExit(end) {
  if (!path) return;
  // One more than the program expects to be there: it is not to be warned for that.
  if (process.getMaxListeners()) process.setMaxListeners(process.getMaxListeners() + 1);
  process.on("exit", end);
}

/** Whether lines are written to a file. */
export const toFile = !!path;
