/**
 * Records suspensions by the engine's own JSPI, from the engine's stack: of modules as they are, without any instrumentation.
 *
 * Each function that the program marks as suspending is wrapped where it is imported, so that its name is known. Where it
 * returns a promise the stack is read: the functions of WebAssembly up to the first frame of JavaScript are those that wait.
 * A stack that was seen before, which most were, only counts. V8's frames give the names of the module's name section as
 * they are, and where there are none the index.
 *
 * Wrapping them where they are marked was rejected: one function may be imported under several names. So was `promising`,
 * which needs nothing: a call is recorded whoever has begun it.
 */

import { ADDED_COPY, COPY_PREFIX } from "./abi.js";
import { readAdded } from "./added.js";
import { shortened, shortenedName } from "./record_examples.js";
import { entryFor, flushNews, leaveOut, seenOf, warn } from "./record_lines.js";
import { EngineError, readStack } from "./trace.js";

/** @typedef {import("./record_lines.js").Seen} Seen */
/** @typedef {import("./trace.js").Frame} Frame */

/** A frame of V8's text. Names can hold anything. */
const TEXT = /^(?:([^]*) \()?([^\s(]*):?wasm-function\[(\d+)\]:0x[0-9a-f]+\)?$/;

// Beyond so many frames in stacks that are known, these are forgotten: a program may never have the same stack twice.
const MOST_FRAMES = 1_000_000;

/** A function on a stack: its module's label, its index, and its name if it has any. @typedef {[string, number, string | null]} Place */

/** What a stack adds to: each function and how often it is on it. @typedef {[seen: Seen, times: number][]} Known */

/** What instances are called in keys, their modules' labels, and what was added to these. @type {WeakMap<object, { key: string, label: () => string, added: ReturnType<typeof readAdded> }>} */
const instances = new WeakMap();
let made = 0;

/** Stacks that were seen. @type {Map<string, Known>} */
const stacks = new Map();
let frames = 0;

/**
 * Know an instance when it is on the stack.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {() => string} label Gives what its module is called in lines.
 */
export function introduce(instance, module, label) {
  instances.set(instance, { key: `${++made}:`, label, added: readAdded(module) });
}

/**
 * Return the innermost functions of WebAssembly, up to JavaScript; nothing where the engine's stacks cannot be read.
 * @param {Function} above What they called.
 */
function readGuest(above) {
  let stack = readStack(above);
  if (typeof stack[0] == "string") {
    stack = stack.join("\n").split(/\n {4}at /).slice(1);
    if (!stack.length) return;
  }
  const end = stack.findIndex((frame) => (typeof frame == "string" ? !TEXT.test(frame) : typeof frame.getFunction() != "number"));
  return end < 0 ? stack : stack.slice(0, end);
}

/** @param {Frame} frame */
function keyOf(frame) {
  if (typeof frame == "string") return frame;
  return (instances.get(frame.getThis())?.key ?? frame.getScriptNameOrSourceURL()) + frame.getFunction();
}

/** What a module is called by V8, without what it says of all modules. @param {string} address */
const shorten = (address) => address.replace(/^wasm:\/\/wasm\//, "").replace(/:$/, "");

/** Where a frame is: nowhere, if it is of what was added to a module. @param {Frame} frame @returns {Place | []} */
function placeOf(frame) {
  if (typeof frame == "string") {
    const [, name, address, index] = /** @type {RegExpExecArray} */ (TEXT.exec(frame));
    return [shorten(address), +index, name ?? null];
  }
  const { label, added } = instances.get(frame.getThis()) ?? {};
  const module = label?.() ?? shorten(frame.getScriptNameOrSourceURL());
  const { removed = 0, end = Infinity, kinds } = added ?? {};
  const index = frame.getFunction();
  const name = frame.getFunctionName();
  if (index < end) return [module, index + removed, name];
  const [kind, original = 0] = kinds?.get(index) ?? [];
  return kind == ADDED_COPY ? [module, original + removed, name?.replace(COPY_PREFIX, "")] : [];
}

/**
 * Take a stack that was not seen before. Returns what it adds to.
 * @param {Frame[]} stack
 * @param {string} site The import.
 * @returns {Known}
 */
function learn(stack, site) {
  /** @type {Map<Seen, number>} */
  const times = new Map();
  // From the import to the function that is looked at, without what came back to a function in between: as short as the
  // functions are many, however deep a recursion is, and each a caller of the one before.
  /** @type {string[]} */
  const path = [site];
  /** @type {Map<string, number>} */
  const steps = new Map();
  const places = /** @type {Place[]} */ (stack.map(placeOf).filter(([label]) => label !== undefined));
  for (const [label, index, name] of places) {
    const entry = entryFor(name, index);
    const step = label == places[0][0] ? entry : `${entry} (${label})`;
    const before = steps.get(step);
    if (before === undefined) steps.set(step, path.push(step) - 1);
    else for (const left of path.splice(before + 1)) steps.delete(left);
    const seen = seenOf(label, entry, shortenedName(site), shortened(path));
    times.set(seen, (times.get(seen) ?? 0) + 1);
  }
  return [...times];
}

/**
 * Note a suspension.
 * @param {string} site The import.
 * @param {Function} above What the guest has called.
 */
function note(site, above) {
  const stack = readGuest(above);
  if (!stack) return leaveOut("no stack can be read here: only V8's can, and none where `Error.stackTraceLimit` is 0 and cannot be set");
  const { length } = stack;
  if (typeof stack[0] == "string" && length >= EngineError.stackTraceLimit) warn("recording: stacks are cut off, since `Error.stackTraceLimit` cannot be set");
  const key = `${site}\n${stack.map(keyOf).join()}`;
  let known = stacks.get(key);
  if (!known) {
    known = learn(stack, site);
    frames += length;
    if (frames > MOST_FRAMES) {
      stacks.clear();
      frames = length;
    }
    stacks.set(key, known);
  }
  if (!known.length) {
    leaveOut(
      `no function was on the stack when ${site} suspended a call: what called it had left by a tail call, which only a build ` +
        "with `caesura instrument --record` notes, or was JavaScript",
    );
  }
  for (const [seen, times] of known) seen.count += times;
  flushNews();
}

/** Whether the engine waits for a value. @param {any} value */
const isAwaited = (value) => value instanceof Promise || (Object(value) === value && typeof value.then == "function");

/**
 * Return the same function, which notes when it lets the guest wait.
 * @param {Function} f
 * @param {string} site The import: `module.name`.
 */
export function noting(f, site) {
  return function noted(/** @type {any[]} */ ...args) {
    const result = Reflect.apply(f, undefined, args);
    if (!isAwaited(result)) return result;
    try {
      note(site, noted);
    } catch (error) {
      leaveOut(`a stack cannot be read: ${error}`);
    }
    return result;
  };
}
