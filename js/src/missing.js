/**
 * What is said where a call cannot be suspended since a list leaves out functions on the stack: all that are missing in it, and
 * the stack. One line has them as a JSON array, as lists name functions, so that `caesura fix` finds it in any output: by the
 * names of the module's own name section, or by the index, as engines have no hash of a body.
 */

import { FACT_BY_LISTS, GUARD_FUNCTION, OWN_PREFIX, RESUME_PREFIX } from "./abi.js";
import { isStranger } from "./description.js";
import { printable } from "./printable.js";
import { tell } from "./recording.js";

/** @typedef {import("./description.js").Description} Description */
/** @typedef {[index: number, module: Description]} OnStack A function on the stack, and the module that it is of. */

// How many lines of a stack are shown, half of them from each end.
const LINES = 100;

// Characters of a name there, and of one that is named in full: a module may have names of megabytes.
const SHOWN = 1000;
const LONGEST = 10_000;

/** JSON in which only printable characters stand, as terminals act upon others. @param {string} json */
const inAscii = (json) => json.replace(/[^ -~]/g, (one) => "\\u" + one.charCodeAt(0).toString(16).padStart(4, "0"));

/** Whether a list leaves a function out. @param {OnStack} one */
export const isLeftOut = ([index, module]) => module.facts & FACT_BY_LISTS && isStranger(module, index);

/** The names of a module's functions, by index. @param {Description} description @returns {string[]} */
function namesOf({ module }) {
  /** @type {string[]} */
  const names = [];
  const bytes = new Uint8Array(WebAssembly.Module.customSections(module, "name")[0]);
  let at = 0;
  const number = () => {
    let [value, scale, byte] = [0, 1, 128];
    for (; byte > 127; scale *= 128) value += ((byte = bytes[at++]) & 127) * scale;
    return value;
  };
  while (at < bytes.length) {
    const kind = bytes[at++];
    const size = number();
    const end = at + size;
    if (kind == 1) {
      for (let count = number(); count-- && at < end; ) {
        const index = number();
        const length = number();
        names[index] = new TextDecoder().decode(bytes.subarray(at, (at += length)));
      }
    }
    at = end;
  }
  return names;
}

/**
 * Return why a call cannot be suspended, and note what is missing in a recording, if there is one. Nothing if nothing is missing.
 * @param {string} waiting The import that has to wait.
 * @param {OnStack[]} stack The functions from there to the call, innermost first.
 * @returns {string | undefined}
 */
export function findMissing(waiting, stack) {
  /** @type {Map<Description, string[]>} */
  const known = new Map();
  const missing = new Set();
  /** @type {[line: string, times: number][]} */
  const lines = [[`    ${waiting}`, 1]];
  /** What was called last (2: what was added, 1: another, 0: nothing), and whether by the guard, so that it cannot be resumed there. */
  let [called, isGuarded] = [0, false];
  for (const one of stack) {
    const [index, module] = one;
    const names = known.get(module) ?? namesOf(module);
    known.set(module, names);
    const name = names[index] || "";
    const bits = module.listed.length * 8;
    // There may be bits for some that were added in the last byte.
    const isAdded = index >= bits || (index > bits - 8 && name.startsWith(OWN_PREFIX));
    // A second body stands for the function below, which has called it.
    if (isAdded && name.startsWith(RESUME_PREFIX)) continue;
    if (!isAdded) {
      const entry = name && name.length <= LONGEST ? name : `#${index}`;
      const isMissing = isLeftOut(one) || isGuarded;
      if (isMissing) missing.add(entry);
      const line = `  ${isMissing ? "*" : " "} ${printable(entry.slice(0, SHOWN))}`;
      const last = lines[lines.length - 1];
      if (last[0] == line) last[1]++;
      else lines.push([line, 1]);
    }
    // Without names nothing tells who else it could be.
    isGuarded = isAdded && called > 0 && (name ? name == GUARD_FUNCTION : called < 2);
    called = isAdded ? 2 : 1;
  }
  const shown = lines.map(([line, times]) => (times > 1 ? `${line} (${times} times)` : line));
  const more = shown.length - LINES;
  if (more > 0) shown.splice(LINES / 2, more, `    ... ${more} more ...`);
  const entries = [...missing];
  const count = entries.length;
  if (!count) return;
  tell("missing", entries);
  const [functions, them] = count == 1 ? ["1 function on the stack is", "it"] : [`${count} functions on the stack are`, "them"];
  return `${waiting} has to wait, but ${functions} not instrumented, since the list leaves ${them} out. Missing in the list: ${inAscii(JSON.stringify(entries))}
The stack, innermost first; * marks what is missing:
${shown.join("\n")}
Add ${them} to the only-list (\`caesura fix\` does), or take what of ${them} is on the remove-list off it, and instrument the module again.`;
}
