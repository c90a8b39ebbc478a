/**
 * What is said where a call cannot be suspended since a list leaves out functions on the stack: all that are missing in it, and
 * the stack. One line has them as a JSON array, as lists name functions, so that `caesura fix` finds it in any output: by the
 * names that engines have from the module's name section, or by the index in the original, as they have no hash of a body.
 */

import {
  ADDED_COPY,
  ADDED_ENTRY,
  ADDED_GUARD,
  ADDED_SECOND_BODY,
  COPY_PREFIX,
  FACT_BY_LISTS,
  INDIRECT_IGNORED,
  NOT_INSTRUMENTED_FUNCTION,
  ONLY_LIST,
  REMOVE_LIST,
} from "./abi.js";
import { isStranger } from "./description.js";
import { SuspendError } from "./errors.js";
import { printable } from "./printable.js";
import { tell } from "./recording.js";
import { functionName, indexOf, moduleOf } from "./trace.js";

/** @typedef {import("./description.js").Description} Description */
/** @typedef {[index: number, module: Description, frame: import("./trace.js").Frame]} OnStack A function on the stack, and the module that it is of. */
/**
 * The functions on the stack, innermost first, and whether these are all; `unread` where more may be between them than is seen.
 * @typedef {OnStack[] & { whole?: boolean, unread?: boolean }} Stack
 */

// How many lines of a stack are shown, half of them from each end.
const LINES = 100;

// Characters of a name; a function of a longer one goes by its index. A module may have names of megabytes.
const LONGEST = 5000;

/** By the kind of list: what leaves functions out, and what is to be done. @type {Record<number, string[]>} */
const LISTS = {
  [ONLY_LIST]: ["the only-list", "Add them to it (`caesura fix` does)"],
  [REMOVE_LIST]: ["the remove-list", "Take what of them is on it off"],
  [INDIRECT_IGNORED]: ["ignore_indirect", "Put them on the add-list, or leave it out"],
};

/**
 * Return why a call cannot be suspended, and note what is missing in a recording, if there is one. Nothing if nothing is in the
 * way: what is in it stands on the stack, itself or the function of the guard that it has called.
 * @param {string} waiting The import that has to wait.
 * @param {Stack} stack The functions from there to the call.
 * @param {unknown} isRefused Whether the guest tells that something is in the way.
 * @returns {string | undefined}
 */
export function findMissing(waiting, stack, isRefused) {
  /** @type {Set<string>} */
  const missing = new Set();
  /** @type {[line: string, times: number][]} */
  const lines = [[`    ${waiting}`, 1]];
  let list = ONLY_LIST;
  /** Whether anything was called, and whether by the guard, so that it cannot be resumed there. */
  let called, isGuarded;
  /** Whether a function was called through one that says nothing: what calls itself so is in it once. */
  let isMarking;
  for (const [index, description, frame] of stack) {
    // An older caesura does not tell what functions are that it has added: all count as the guard's.
    const { lists, removed, end, kinds } = description.added;
    const byLists = description.facts & FACT_BY_LISTS;
    const isOwn = index < (end ?? description.listed.length * 8);
    const [kind, original] = kinds.get(index) ?? [isOwn || end || !byLists ? undefined : ADDED_GUARD, index];
    // A second body stands for the function below, which has called it.
    if (kind == ADDED_SECOND_BODY) continue;
    isRefused ||= kind == ADDED_GUARD && end;
    if (isOwn || kind == ADDED_COPY) {
      // A module may have functions with such names itself.
      const name = functionName(frame)?.slice(kind && COPY_PREFIX.length);
      const entry = name && name.length <= LONGEST ? name : `#${original + removed}`;
      const isMissing = isOwn && (isGuarded || (byLists && isStranger(description, index)));
      if (isMissing) missing.add(entry);
      if (isMissing || !missing.size) list = lists;
      const line = `  ${isMissing ? "*" : " "} ${printable(entry)}`;
      const last = lines.at(-1);
      if (last?.[0] != line) lines.push([line, 1]);
      else if (!isMarking) last[1]++;
    }
    isMarking = !isOwn && kind == undefined;
    // Where modules share their state it may stand for what has left by a tail call.
    isGuarded = called && kind == ADDED_GUARD && (lists == INDIRECT_IGNORED || !description.shares);
    called = true;
  }
  const entries = [...missing];
  if (entries[0]) tell("missing", entries);
  else if (!isRefused) return;
  const more = lines.length - LINES;
  if (more > 0) lines.splice(LINES / 2, more, [`    ... ${more} more ...`, 1]);
  if (!stack.whole) lines.push(["    ...", 1]);
  const [why, todo] = LISTS[list];
  const head = list == ONLY_LIST ? "Missing in the list" : "Not instrumented";
  return `${waiting} has to wait, but ${why} leaves out functions on the stack. ${entries[0] ? `${head}: ${printable(JSON.stringify(entries))}` : "Nobody knows which"}
The stack, innermost first; * marks these:
${lines.map(([line, times]) => (times > 1 ? `${line} (${times} times)` : line)).join("\n")}
${todo} and instrument the module again.`;
}

/**
 * Whether a guest may not tell what is missing: an export of it, which begins anew, was called from inside. Only then the stack
 * is asked, as V8 may show a function there that it has inlined where another is called.
 * @param {Stack} stack
 */
export function hidesMissing(stack) {
  for (let at = stack.length - 1; at > 0; at--) {
    const [index, { added }] = stack[at - 1];
    if (added.kinds.get(index)?.[0] == ADDED_ENTRY) return true;
  }
}

/**
 * Return what is to be thrown instead of an error: the same where a guest that unwinds, or is about to, has trapped in what a
 * list leaves out. A trap's stack is text, of as many functions as the program has set.
 * @param {any} error
 * @param {Description} description Of the module that may have trapped.
 * @param {string} waiting
 */
export function explain(error, description, waiting) {
  if (!(error instanceof WebAssembly.RuntimeError)) return error;
  const lines = String(error.stack).split("\n");
  const refused = lines.findIndex((line) => functionName(line)?.endsWith(NOT_INSTRUMENTED_FUNCTION));
  if (refused < 0) return error;
  /** @type {Stack} */
  const stack = [];
  for (const line of lines.slice(refused + 1)) {
    const index = indexOf(line);
    // It counts from where the guest was entered last, or its scheduler has called.
    stack.whole = index === undefined || moduleOf(line) != moduleOf(lines[refused]) || description.added.kinds.get(index)?.[0] == ADDED_ENTRY;
    if (index === undefined || stack.whole) break;
    stack.push([index, description, line]);
  }
  return new SuspendError(findMissing(waiting, stack, true), { cause: error });
}
