/**
 * The lines of a recording: where they go, and what has been seen since the last one.
 *
 * Each is a JSON object of its own, `{ caesura_record: 1, module, functions, missing }` (docs/javascript.md has its parts).
 * In Node, where CAESURA_RECORD names a file, a line is appended by one call to a file that is opened for it, so that any
 * number of processes and workers write to one file and any of them may be killed. A line is written as soon as functions are
 * seen for the first time, and has only these: how often things were seen since then is in that of the process' end. So what
 * is written grows with the program, whatever it does. Without a file the lines are kept for `recorded`.
 *
 * Nothing here may break the program that is recorded: a file that cannot be written is said once, on standard error.
 */

import { printable } from "./printable.js";
import { isBetter, MOST_IMPORTS } from "./record_examples.js";

/** A function of a module, as it was seen waiting in one import: how often, since the last line. @typedef {{ count: number }} Seen */

/**
 * A function of a module, by the import, `module.name`, or null if that is not known.
 * @typedef {object} SeenFunction
 * @property {Map<string | null, Seen>} byImport
 * @property {string | null} site The import of the example.
 * @property {string[]} stack An example, from the import to the function: the shortest that was seen, and of these the first by its text.
 * @property {boolean} told Whether the example stands in a line already.
 */

/** The functions of a module, by their entries. @typedef {Map<string, SeenFunction>} Functions */

const VERSION = 1;

const { process } = /** @type {any} */ (globalThis);

/** @type {typeof import("node:fs") | undefined} */
const files = process?.getBuiltinModule?.("node:fs");
// As they are now: what is recorded may put others in their place.
const { openSync, writeSync, closeSync, constants } = files ?? /** @type {any} */ ({});
/** A pipe that nobody reads is an error, and no program stands still for it. */
const flags = constants && constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK;

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
    const file = openSync(path, flags);
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

// A line is divided beyond so many characters of names: who reads it has an end.
const LONGEST = 1_000_000;

/**
 * Divide what a line is to have into as many lines as it takes.
 * @template Item
 * @param {Item[]} items
 * @param {(item: Item) => number} lengthOf
 * @returns {Item[][]}
 */
function divided(items, lengthOf) {
  /** @type {Item[][]} */
  const parts = [];
  let left = 0;
  for (const item of items) {
    const length = lengthOf(item);
    if (!parts.length || length > left) {
      parts.push([]);
      left = LONGEST;
    }
    parts.at(-1)?.push(item);
    left -= length;
  }
  return parts;
}

/** The functions that were seen for the first time since the last lines, and of which modules. @type {[module: string, functions: Functions][]} */
let news = [];

/**
 * Return what was seen of a function so far, to be added to.
 * @param {string} module What lines call its module.
 * @param {string} entry
 * @param {string | null} site The import.
 * @param {string[]} stack An example, shortened.
 * @returns {Seen}
 */
export function seenOf(module, entry, site, stack) {
  let functions = modules.get(module);
  if (!functions) modules.set(module, (functions = new Map()));
  let known = functions.get(entry);
  if (!known) {
    functions.set(entry, (known = { byImport: new Map(), site, stack, told: false }));
    news.push([module, new Map([[entry, known]])]);
  }
  const { byImport } = known;
  if (!byImport.has(site) && byImport.size >= MOST_IMPORTS) site = null;
  if (isBetter(stack, known.stack)) Object.assign(known, { site, stack, told: false });
  let seen = byImport.get(site);
  if (!seen) byImport.set(site, (seen = { count: 0 }));
  return seen;
}

/**
 * Write what was seen of functions since the last lines: at least a line for each module, and each import in which it waited.
 * @param {Iterable<[module: string, functions: Functions]>} all
 */
function writeSeen(all) {
  /** @type {Map<string, Map<string | null, [entry: string, told: { stack?: string[] }][]>>} */
  const byModule = new Map();
  for (const [module, functions] of all) {
    let bySite = byModule.get(module);
    if (!bySite) byModule.set(module, (bySite = new Map()));
    for (const [entry, known] of functions) {
      for (const [site, seen] of known.byImport) {
        if (!seen.count) continue;
        const isExample = !known.told && site == known.site;
        const told = { count: seen.count, import: site, ...(isExample ? { stack: known.stack } : {}) };
        known.told ||= isExample;
        seen.count = 0;
        if (!bySite.has(site)) bySite.set(site, []);
        bySite.get(site)?.push([entry, told]);
      }
    }
  }
  for (const [module, bySite] of byModule) {
    for (const entries of bySite.values()) {
      const lengthOf = (/** @type {[string, { stack?: string[] }]} */ [entry, { stack = [] }]) => stack.reduce((sum, name) => sum + name.length, entry.length);
      for (const part of divided(entries, lengthOf)) write({ module, functions: Object.fromEntries(part) });
    }
  }
}

/** Write what was seen since the last lines. */
export function flush() {
  news = [];
  writeSeen(modules);
}

/** The same of functions that were seen for the first time. */
export function flushNews() {
  const all = news;
  news = [];
  writeSeen(all);
}

/**
 * Note which functions kept a guest from being suspended, as a list leaves them out: each once, however often that is.
 * @param {string[]} missing Their entries, innermost first.
 * @param {string} [module] Of which module they are, if they are of one.
 */
export function noteMissing(missing, module) {
  const added = missing.filter((entry) => {
    const key = JSON.stringify([entry, module]);
    return !said.has(key) && said.add(key);
  });
  for (const part of divided(added, ({ length }) => length)) write({ module, missing: part });
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
