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

/**
 * A function of a module, as it was seen.
 * @typedef {object} Seen
 * @property {number} count How often, since the last line.
 * @property {string | null} import The import that has suspended it, if it is known: `module.name`.
 * @property {string[]} stack From that import to the function: the shortest that was seen, and of these the first by its text.
 */

/**
 * What was seen of a module, by the entries of its functions.
 * @typedef {Map<string, Seen>} Functions
 */

const VERSION = 1;

const { process } = /** @type {any} */ (globalThis);

/** @type {typeof import("node:fs") | undefined} */
const files = process?.getBuiltinModule?.("node:fs");
// As they are now: what is recorded may put others in their place.
const { openSync, writeSync, closeSync } = files ?? /** @type {any} */ ({});

/** The file, wherever the program will go from here. @type {string | undefined} */
const path = files && process.env.CAESURA_RECORD && process.getBuiltinModule("node:path").resolve(process.env.CAESURA_RECORD);

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
  if (said.has(message)) return;
  said.add(message);
  try {
    if (writeSync) writeSync(2, `caesura: ${message}\n`);
    else console.warn(`caesura: ${message}`);
  } catch {
    // Nobody can read it.
  }
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

/** Return what was seen of a module so far, to be added to. @param {string} module Its label. @returns {Functions} */
export function functionsOf(module) {
  let functions = modules.get(module);
  if (!functions) modules.set(module, (functions = new Map()));
  return functions;
}

/** Whether a stack is a better example than another: shorter, or as short and earlier by its text. @param {string[]} one @param {string[]} other */
export function isBetter(one, other) {
  if (one.length != other.length) return one.length < other.length;
  return one.join("\n") < other.join("\n");
}

/** Write what was seen since the last lines, one for each module. */
export function flush() {
  for (const [module, seen] of modules) {
    const fresh = [...seen].filter(([, { count }]) => count);
    if (fresh.length) write({ module, functions: Object.fromEntries(fresh) });
    for (const [, one] of fresh) one.count = 0;
  }
}

/**
 * Note which functions kept a guest from being suspended, as a list leaves them out.
 * @param {string[]} missing Their entries, innermost first.
 */
export function noteMissing(missing) {
  const line = JSON.stringify(missing);
  if (!missing.length || said.has(line)) return;
  said.add(line);
  write({ missing });
}

/** Note that nothing was seen, if that is so, and why. @param {string | undefined} reason Nothing where nobody suspended. */
export function noteNothing(reason) {
  if (!written) write({ unrecorded: reason });
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
