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
  for (const [, module] of stack) if (!known.has(module)) known.set(module, namesOf(module));
  const nameOf = (/** @type {OnStack} */ [index, module]) => known.get(module)?.[index] || "";
  const entryOf = (/** @type {OnStack} */ one) => {
    const name = nameOf(one);
    return name && name.length <= LONGEST ? name : `#${one[0]}`;
  };
  /** Whether it is none of the guest's. There may be bits for some of these in the last byte. @param {OnStack} one */
  const isAdded = (one) => {
    const bits = one[1].listed.length * 8;
    return one[0] >= bits || (one[0] > bits - 8 && nameOf(one).startsWith(OWN_PREFIX));
  };
  /** Without second bodies, which stand for the function below, that has called them. */
  stack = stack.filter((one) => !isAdded(one) || !nameOf(one).startsWith(RESUME_PREFIX));
  /** Whether a call goes through the guard; without names nothing tells who else it could be. @param {number} at Of what is called. */
  const isMarked = (at) => at > 0 && isAdded(stack[at]) && (nameOf(stack[at]) || (isAdded(stack[at - 1]) ? "" : GUARD_FUNCTION)) == GUARD_FUNCTION;
  const missing = new Set();
  /** @type {[line: string, times: number][]} */
  const lines = [[`    ${waiting}`, 1]];
  stack.forEach((one, at) => {
    if (isAdded(one)) return;
    const entry = entryOf(one);
    // An instrumented one may make a call that is none of its call sites: what is called so is called by the guard.
    const isMissing = isLeftOut(one) || isMarked(at - 1);
    if (isMissing) missing.add(entry);
    const line = `  ${isMissing ? "*" : " "} ${printable(entry.slice(0, SHOWN))}`;
    const last = lines[lines.length - 1];
    if (last[0] == line) last[1]++;
    else lines.push([line, 1]);
  });
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
Add ${them} to the only-list, or take what of ${them} is on the remove-list off it, and instrument the module again; \`caesura fix\` does both.`;
}
