// `caesura/record` as one file, which `caesura record` has Node load before a program.
// Rendered from js/src by docs/render_record.py.

/**
 * The contract with instrumented modules: names and numbers of docs/abi.md.
 *
 * Rendered from src/caesura/abi.py by docs/render_abi.py.
 */

/**
 * What instrumented modules export.
 * @typedef {object} Exports
 * @property {any} asyncify_start_unwind
 * @property {any} asyncify_stop_unwind
 * @property {any} asyncify_start_rewind
 * @property {any} asyncify_stop_rewind
 * @property {any} asyncify_get_state
 * @property {any} asyncify_drop_references
 * @property {any} asyncify_data_pointer
 * @property {any} asyncify_set_data_pointer
 * @property {any} asyncify_stack_pointer
 * @property {any} asyncify_stack_low
 * @property {any} asyncify_stack_high
 * @property {any} asyncify_memory
 * @property {any} asyncify_start_function
 * @property {any} asyncify_foreign_handler
 * @property {any} asyncify_unsuspendable
 * @property {any} asyncify_leaving_state
 * @property {any} asyncify_fuel
 * @property {any} asyncify_pause_data
 * @property {any} asyncify_recorded
 * @property {any} asyncify_record_changed
 */

const OWN_PREFIX = "asyncify_";
const START_UNWIND = "asyncify_start_unwind";
const STOP_UNWIND = "asyncify_stop_unwind";
const START_REWIND = "asyncify_start_rewind";
const STOP_REWIND = "asyncify_stop_rewind";
const GET_STATE = "asyncify_get_state";
const DROP_REFERENCES = "asyncify_drop_references";
const RESULTS_PREFIX = "asyncify_results:";
const ASYNCIFY_MODULE = "asyncify";
const IMPORTED_START_UNWIND = "start_unwind";
const IMPORTED_STOP_UNWIND = "stop_unwind";
const IMPORTED_START_REWIND = "start_rewind";
const IMPORTED_STOP_REWIND = "stop_rewind";
const IMPORTED_GET_STATE = "get_state";
const GLOBALS_MODULE = "env";
const STATE_GLOBAL = "__asyncify_state";
const DATA_GLOBAL = "__asyncify_data";
const OVERFLOW_FUNCTION = "asyncify_stack_overflow";
const ENTERED_FUNCTION = "asyncify_entered_while_unwinding";
const LEFT_OUT_FUNCTION = "asyncify_suspended_where_left_out";
const ASSERT_PREFIX = "asyncify_assert: suspended below ";
const TAIL_CALLED_FUNCTION = "asyncify_suspended_in_foreign_tail_call";
const FOREIGN_FUNCTION = "asyncify_suspended_in_foreign_handler";
const NOT_INSTRUMENTED_FUNCTION = "asyncify_not_instrumented";
const GUARDED_ENTRY_FUNCTION = "asyncify_guarded_entry";
const GUARD_FUNCTION = "asyncify_guard";
const RESUME_PREFIX = "asyncify_resume:";
const COPY_PREFIX = "asyncify_uninstrumented:";
const FUEL = "asyncify_fuel";
const PAUSE_DATA = "asyncify_pause_data";
const PAUSE_FUNCTION = "asyncify_pause";
const PAUSE_REFUSED_FUNCTION = "asyncify_pause_refused";
const PAUSE_NOT_NOW = 0;
const PAUSE_REFUSED = -1;
const FOREIGN_HANDLER = "asyncify_foreign_handler";
const UNSUSPENDABLE = "asyncify_unsuspendable";
const LEAVING_STATE = "asyncify_leaving_state";
const RECORDED = "asyncify_recorded";
const RECORD_CHANGED = "asyncify_record_changed";
const ENTRY_PREFIX = "asyncify_entry:";
const DATA_POINTER = "asyncify_data_pointer";
const SET_DATA_POINTER = "asyncify_set_data_pointer";
const STACK_POINTER = "asyncify_stack_pointer";
const STACK_LOW = "asyncify_stack_low";
const STACK_HIGH = "asyncify_stack_high";
const ASYNCIFY_MEMORY = "asyncify_memory";
const START_FUNCTION = "asyncify_start_function";
const STATE_PREFIX = "asyncify_state:";
const STATE_MEMORIES = "asyncify_state:memory:";
const STATE_GLOBALS = "asyncify_state:global:";
const STATE_TABLES = "asyncify_state:table:";
const STATE_GET = "asyncify_state:get:";
const STATE_GET_HIGH = "asyncify_state:get_high:";
const STATE_SET = "asyncify_state:set:";
const STATE_PROBE_DATA = "asyncify_state:probe_data:";
const STATE_DROP_DATA = "asyncify_state:drop_data:";
const STATE_PROBE_ELEMENTS = "asyncify_state:probe_elements:";
const STATE_DROP_ELEMENTS = "asyncify_state:drop_elements:";
const STATE_FUNCTIONS = "asyncify_state:functions";
const STATE_LIST_FUNCTIONS = "asyncify_state:list_functions";
const STATE_SIZE = "asyncify_state:size:";
const STATE_FIND = "asyncify_state:find:";
const STATE_CLEAR = "asyncify_state:clear:";
const STATE_FETCH = "asyncify_state:fetch:";
const STATE_STORE = "asyncify_state:store:";
const HELD_GLOBAL = "global:";
const HELD_TABLE = "table:";
const STATE_EXCEPTION = "asyncify_state:exception:";
const STATE_MAKE_EXCEPTION = "asyncify_state:make_exception:";
const LINKER_STACK_POINTER = "__stack_pointer";
const CONTROL_BLOCK = 16;
const CURRENT_OFFSET = 0;
const STATUS_OFFSET = 16;
const STACK_POINTER_OFFSET = 24;
const RESULTS_OFFSET = 32;
const RESULT_SIZE = 16;
const MOST_RESULTS = 16;
const FRAMES_OFFSET = 288;
const PAUSE_OFFSET = 288;
const REQUEST_OFFSET = 296;
const REQUEST_BYTE_OFFSET = 299;
const PREEMPT_FRAMES_OFFSET = 304;
const CONTRACT_VERSION = 1;
const SECOND_VERSION = 2;
const THIRD_VERSION = 3;
const NEWEST_VERSION = 3;
const CONTRACT_SECTION = "asyncify.contract";
const UNVERSIONED_SECTION = "asyncify.facts";
const FUNCTIONS_SECTION = "asyncify.functions";
const RESULTS_SECTION = "asyncify.results";
const EXPORTED_IMPORTS_SECTION = "asyncify.exported_imports";
const STATE_SECTION = "asyncify.state";
const FRAMES_SECTION = "asyncify.frames";
const RECORD_SECTION = "asyncify.record";
const GUARD_SECTION = "asyncify.guard";
const STATE_VERSION = 1;
const SECOND_STATE_VERSION = 2;
const STATE_DIGEST = 32;
const FRAMES_VERSION = 1;
const HAS_FRAME = 1;
const HAS_IDENTITY = 2;
const HAS_DEAD_VALUES = 4;
const LEAVES = 8;
const CALLS_FUNCTION = 0;
const CALLS_TABLE = 1;
const CALLS_REFERENCE = 2;
const SOURCE_UNKNOWN = 0;
const SOURCE_CONSTANT = 1;
const SOURCE_VALUE = 2;
const ONLY_LIST = 1;
const REMOVE_LIST = 2;
const INDIRECT_IGNORED = 3;
const ADDED_GUARD = 0;
const ADDED_ENTRY = 1;
const ADDED_SECOND_BODY = 2;
const ADDED_COPY = 3;
const ADDED_BITS = 2;
const NUMBER_RESULT = 0;
const REFERENCE_RESULT = 1;
const MOST_RESULTS_TOLD = 127;
const BUILTIN_RESULTS = 128;
const BUILTIN_MODULES = "wasm:";
const STATE_NORMAL = 0;
const STATE_UNWINDING = 1;
const STATE_REWINDING = 2;
const STATE_OVERFLOWED = 3;
const STATE_ELSEWHERE = 4;
const STATUS_RUN = 0;
const STATUS_SUSPEND = 1;
const STATUS_RESUME = 2;
const STATUS_RESUME_CALL = 3;
const STATUS_PAUSED = 4;
const STATUS_LOST = 5;
const FACT_BY_LISTS = 1;
const FACT_CALLS_REFERENCES = 2;
const FACT_ADDED_MEMORY = 4;
const FACT_UNCLEAR_STACK = 8;
const FACT_FIXED_STACK = 16;
const FACT_HIDDEN_STACK = 32;
const FACT_LINKED = 64;
const FACT_PAUSES_BY_REQUEST = 128;
const FACT_PAUSES_BY_FUEL = 256;
const FACT_STARTED_BY_ENGINE = 512;

/** Custom sections, most of which consist of unsigned numbers in LEB128. */

/** The bytes of a module's first custom section of a name, if it has one. @param {WebAssembly.Module} module @param {string} name */
const bytesOf = (module, name) => new Uint8Array(WebAssembly.Module.customSections(module, name)[0]);

/** Read them. @param {Iterable<number>} bytes */
function readNumbers(bytes) {
  const numbers = [];
  let [number, scale] = [0, 1];
  for (const byte of bytes) {
    number += (byte & 127) * scale;
    scale *= 128;
    if (byte < 128) {
      numbers.push(number);
      [number, scale] = [0, 1];
    }
  }
  return numbers;
}

/** What functions that were added to a guarded module are on its stack, as its section tells (docs/abi.md). */


/**
 * Return which kind of list was given, how many imports were removed, the first function that was added, and, by index, what
 * the others are and of which function. Where a module does not tell, it is taken for an only-list, and the first one is undefined.
 * Throws `LinkError` where what it tells cannot be, as far as that shows: no engine says how many functions there are.
 * @param {WebAssembly.Module} module
 */
function readAdded(module) {
  const bytes = bytesOf(module, GUARD_SECTION);
  const numbers = readNumbers(bytes);
  const [lists = ONLY_LIST, removed = 0, end, ...rest] = numbers;
  const count = bytesOf(module, FUNCTIONS_SECTION).length * 8;
  /** @type {Map<number, [kind: number, original: number]>} */
  const kinds = new Map();
  const originals = [0, 0, 0, 0];
  let index = end;
  for (let at = 0; at < rest.length; ) {
    const kind = rest[at] & ((1 << ADDED_BITS) - 1);
    index += rest[at++] >>> ADDED_BITS;
    if (kind > ADDED_ENTRY) originals[kind] += rest[at++];
    kinds.set(index, [kind, originals[kind]]);
  }
  const isSound = numbers.length > 2 && numbers.every((number) => number < 2 ** 32) && bytes[bytes.length - 1] < 128;
  const isOne = isSound && lists >= ONLY_LIST && lists <= INDIRECT_IGNORED && end <= (count || Infinity);
  if (bytes.length && !(isOne && originals.every((original) => original < end) && index < 2 ** 32)) {
    throw new WebAssembly.LinkError(`the section ${GUARD_SECTION} tells what cannot be: the module is not instrumented as it says`);
  }
  return { lists, removed, end, kinds };
}

/**
 * Names of imports, exports and functions are whatever a module's author wrote, and messages end in logs and terminals, which
 * act upon some characters. So what cannot be printed is escaped in messages: the same as in the asyncio host's.
 */

// Control characters, what has no glyph of its own or is not assigned, and separators but for the blank.
const UNPRINTABLE = /[^\P{C}]|[\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/**
 * Return a text, such as a name that a module has given, with escapes for what cannot be printed as it is. They are those of
 * JSON, so that what was JSON still is.
 * @param {string} text
 */
const printable = (text) => text.replace(UNPRINTABLE, (one) => one.replace(/[^]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0")));

/**
 * Which functions are on the engine's stack, innermost first.
 *
 * V8 hands out its frames as objects, which tell exactly which instance a function of WebAssembly belongs to, and does so
 * in a third of the time that the text takes. Other engines only have text, on which they agree but for the indices of
 * functions of WebAssembly.
 *
 * What V8 shows is up to properties of `Error`, which a program may have frozen or replaced. Then Node has another realm,
 * which nobody else has touched; that takes a millisecond, once. V8's text was rejected there: instances of one module look
 * alike in it, and what somebody has made of it may be anything.
 */

/** @typedef {any} Frame A frame of V8, or a line of text. */

/** Whether the engine is V8: others write `[native code]` in a line of its own. What may have been done to `Error` does not matter. */
const isV8 = !/\n/.test(/** @type {any} */ (Math.max));

/**
 * Return what a function does, nothing if it throws: what a program has put onto `Error` may do that.
 * @template Result
 * @param {() => Result} f
 */
function attempt(f) {
  try {
    return f();
  } catch {
    // It cannot be read.
  }
}

// A program may put another in its place, before or after this is loaded.
const EngineError = /** @type {any} */ (Object.getPrototypeOf(RangeError));
const captureStackTrace = attempt(() => EngineError.captureStackTrace);

/** What is set while a stack is read. A program's own settings, which may be anything, come back behind it. */
const PREPARE = { value: (/** @type {unknown} */ _, /** @type {Frame[]} */ frames) => frames, configurable: true };
const LIMIT = { value: Infinity, configurable: true };

/**
 * Set a property, whether it can be written or not. Returns what it was.
 * @param {object} owner
 * @param {string} name
 * @param {PropertyDescriptor | undefined} setting
 */
function exchange(owner, name, setting) {
  const before = Object.getOwnPropertyDescriptor(owner, name);
  if (setting) Reflect.defineProperty(owner, name, setting);
  else Reflect.deleteProperty(owner, name);
  return before;
}

/**
 * Call a function while the engine keeps the whole stack of each error.
 * @template Result
 * @param {() => Result} f
 */
function withWholeStacks(f) {
  const limit = exchange(EngineError, "stackTraceLimit", LIMIT);
  try {
    return f();
  } finally {
    exchange(EngineError, "stackTraceLimit", limit);
  }
}

/** Reads a stack by another realm's `Error`. @type {((above?: Function) => any) | undefined} */
let readElsewhere;

/** @returns {typeof readElsewhere} */
function makeReader() {
  const [Elsewhere, make] = /** @type {any} */ (globalThis).process.getBuiltinModule("node:vm").runInNewContext("[Error,()=>({})]");
  Object.defineProperties(Elsewhere, { stackTraceLimit: LIMIT, prepareStackTrace: PREPARE });
  return (above) => {
    const holder = make();
    Elsewhere.captureStackTrace(holder, above);
    return holder.stack;
  };
}

/** Whether a stack consists of V8's frames. @param {any} stack */
const isExact = (stack) => Array.isArray(stack) && stack[0]?.getFunction;

/**
 * @param {Function} [above] Leaves out this function and what it has called, where the engine can.
 * @returns {Frame[]}
 */
function readStack(above) {
  // Where it takes no property more `Error` still inherits them.
  const owner = Object.isExtensible(EngineError) || Object.hasOwn(EngineError, "prepareStackTrace") ? EngineError : Function.prototype;
  let isLimited;
  /** @type {any} */
  let stack;
  attempt(() => {
    const prepare = exchange(owner, "prepareStackTrace", PREPARE);
    try {
      stack = withWholeStacks(() => {
        isLimited = EngineError.stackTraceLimit != Infinity;
        /** @type {{ stack?: any }} */
        const holder = isV8 || captureStackTrace ? {} : new EngineError();
        captureStackTrace?.(holder, above);
        return holder.stack;
      });
    } finally {
      exchange(owner, "prepareStackTrace", prepare);
    }
  });
  if (isV8 && (isLimited || !isExact(stack))) {
    readElsewhere ??= attempt(makeReader) ?? (() => {});
    stack = readElsewhere(above) ?? stack;
  }
  return isExact(stack) ? stack : (typeof stack == "string" ? stack : "").split("\n");
}

/**
 * The name that a function of WebAssembly has in its module's name section, if it has one. In text, Firefox has something in its
 * place.
 * @param {any} frame
 * @returns {string | undefined}
 */
const functionName = (frame) => (frame.getFunctionName ? frame.getFunctionName() : /^\s*(?:at )?(?!wasm-function)([^]*?)(?: \(|@)/.exec(frame)?.[1]);

/** The index of a function of WebAssembly in text; undefined for others. @param {any} frame */
function indexOf(frame) {
  const found = /wasm-function\[(\d+)/.exec(frame);
  return found ? +found[1] : undefined;
}

/** What a frame says of its module: a hash or an address. @param {any} frame */
const moduleOf = (frame) => /([^\s(@]*)wasm-function/.exec(frame)?.[1];

/**
 * Return the innermost functions of WebAssembly without a frame of JavaScript between them, and that frame, where the engine
 * tells it for certain; and whether these are all. Other engines than V8 may cut stacks off: it is not said there.
 * @param {Function} [above] The function of JavaScript that was called by them.
 * @returns {{ frames: [index: number, frame: Frame][], below?: Frame, whole?: boolean, unread?: boolean }}
 */
function guestFrames(above) {
  const stack = readStack(above);
  const exact = isV8 && above && stack[0].getFunction;
  /** @type {[number, Frame][]} */
  const frames = [];
  for (const frame of stack) {
    let index = frame.getFunction?.();
    if (typeof index != "number") {
      // A frame of V8 says by a number, or undefined, whether it is one of WebAssembly.
      index = indexOf(frame);
      if (exact || (index === undefined && frames.length)) return { frames, below: exact && frame, whole: exact || !isV8, unread: !exact && isV8 };
    }
    if (index !== undefined) frames.push([index, frame]);
  }
  return { frames, unread: isV8 };
}

/**
 * Example stacks, as they are noted of each function: shortened, so that what is noted grows with a program and no more.
 *
 * Each function has its own, down to it: on a deep stack these are as many names as the square of its depth. So of a deep stack
 * both ends are kept, with the number of functions in between, and of a long name its beginning. `caesura.recording.examples`
 * is the same in Python: both recorders write the same list.
 */

/** How many names an example has, with the words for those that are left out, and how many stand before these. */
const MOST_IN_EXAMPLE = 40;
const INNER = 20;
const OUTER = MOST_IN_EXAMPLE - INNER - 1;

/** Characters of a name. */
const MOST_CHARACTERS = 200;

/** How many imports are told of one function. */
const MOST_IMPORTS = 40;

/** Return a name as examples have it. @param {string} name */
function shortenedName(name) {
  if (name.length <= MOST_CHARACTERS) return name;
  // Characters are no halves of them. A name may have megabytes.
  const characters = [...name.slice(0, 2 * MOST_CHARACTERS + 2)];
  return characters.length > MOST_CHARACTERS ? characters.slice(0, MOST_CHARACTERS).join("") + "..." : name;
}

/**
 * @param {string[]} inner
 * @param {string[]} outer
 * @param {number} frames
 */
const joined = (inner, outer, frames) => [...inner, `... ${frames - INNER - OUTER} more ...`, ...outer];

/** Return a stack, innermost first, as examples have it. @param {string[]} stack */
function shortened(stack) {
  const { length } = stack;
  return (length > MOST_IN_EXAMPLE ? joined(stack.slice(0, INNER), stack.slice(-OUTER), length) : stack).map(shortenedName);
}

/** How many functions the stack had that an example was made of. @param {string[]} stack */
function framesOf(stack) {
  const leftOut = stack.length == MOST_IN_EXAMPLE && /^\.\.\. (\d{1,15}) more \.\.\.$/.exec(stack[INNER]);
  return leftOut ? stack.length - 1 + +leftOut[1] : stack.length;
}

/**
 * Whether an example is a better one than another: of a shorter stack, or one as short and earlier by its text.
 * @param {string[]} one
 * @param {string[]} other
 */
function isBetter(one, other) {
  const shorter = framesOf(one) - framesOf(other);
  if (shorter) return shorter < 0;
  const at = one.findIndex((name, place) => name != other[place]);
  return at >= 0 && one[at] < other[at];
}

/**
 * The inner end of a chain: the import that it came to, if it did, the first names, and how many there are.
 * @typedef {{ site: string | null, names: string[], frames: number }} End
 */

/**
 * Return what finds the stacks that a build has noted as chains, in which each function tells what it had called: shortened,
 * from what a function had called in the end to itself, and the import there, if it is known. Chains share their inner ends,
 * so each function is visited once to find all of them. One that is a ring, as no build has it, is cut there.
 * @param {(string | { import: string })[]} entries What numbers stand for.
 * @param {(number: number) => number} calledBy What a function had called; none of these numbers where that is not known.
 * @returns {(number: number) => [site: string | null, stack: string[]]}
 */
function chains(entries, calledBy) {
  /** @type {Map<number, End>} */
  const ends = new Map();
  const nameOf = (/** @type {number} */ number) => {
    const entry = entries[number];
    return typeof entry == "string" ? entry : entry.import;
  };
  /** @param {number} number @returns {End} */
  const innermost = (number) => {
    const name = shortenedName(nameOf(number));
    return { site: typeof entries[number] == "string" ? null : name, names: [name], frames: 1 };
  };
  /** @param {number} number */
  const endOf = (number) => {
    /** @type {Set<number>} */
    const way = new Set();
    while (!ends.has(number)) {
      if (way.has(number) || typeof entries[number] != "string") {
        ends.set(number, innermost(number));
        break;
      }
      way.add(number);
      const called = calledBy(number);
      if (called >= 0 && called < entries.length) number = called;
    }
    let end = /** @type {End} */ (ends.get(number));
    for (const one of [...way].reverse()) {
      const { site, names, frames } = end;
      end = ends.get(one) ?? { site, names: names.length < INNER ? [...names, shortenedName(nameOf(one))] : names, frames: frames + 1 };
      ends.set(one, end);
    }
    return end;
  };
  return (number) => {
    const { site, names, frames } = endOf(number);
    const outer = [];
    while (outer.length < Math.min(frames, MOST_IN_EXAMPLE)) {
      outer.unshift(nameOf(number));
      number = calledBy(number);
    }
    return [site, shortened(frames > MOST_IN_EXAMPLE ? joined(names, outer.slice(-OUTER), frames) : outer)];
  };
}

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
function warn(message) {
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
function leaveOut(reason) {
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
const entryFor = (name, index) => (!name || /^([\s\0\x1c-\x1f\x85*]*|#\d+)$/.test(name) ? `#${index}` : name);

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
function seenOf(module, entry, site, stack) {
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
function flush() {
  news = [];
  writeSeen(modules);
}

/** The same of functions that were seen for the first time. */
function flushNews() {
  const all = news;
  news = [];
  writeSeen(all);
}

/**
 * Note which functions kept a guest from being suspended, as a list leaves them out: each once, however often that is.
 * @param {string[]} missing Their entries, innermost first.
 * @param {string} [module] Of which module they are, if they are of one.
 */
function noteMissing(missing, module) {
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
function noteNothing(reason) {
  if (!written) write({ unrecorded: unrecorded ?? reason });
}

/** Return the lines that were not written to a file, once. */
function takeKept() {
  const lines = kept;
  kept = [];
  return lines;
}

/** Let something be done when the process, or this thread of it, ends. @param {() => void} end */
function atExit(end) {
  if (!path) return;
  // One more than the program expects to be there: it is not to be warned for that.
  if (process.getMaxListeners()) process.setMaxListeners(process.getMaxListeners() + 1);
  process.on("exit", end);
}

/** Whether lines are written to a file. */
const toFile = !!path;

/**
 * What lines call a module, so that indices of functions of several are not confused: `caesura.recording.module_label` is the
 * same in Python.
 */


const { Module } = WebAssembly;

const text = new TextDecoder();

/** Return the name that a module has in its name section. @param {WebAssembly.Module} module */
function nameOf(module) {
  const bytes = new Uint8Array(Module.customSections(module, "name")[0] ?? 0);
  if (bytes[0] !== 0) return ""; // it comes first if it is there
  let at = 1;
  const read = () => {
    let number = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      number |= (byte & 127) << shift;
      if (!(byte & 128)) return number;
    }
  };
  read();
  const length = read();
  return text.decode(bytes.subarray(at, at + length));
}

/**
 * Return what a module is called in lines: its name, or a number that is the same for the same imports and exports, and so
 * for a build that caesura has made of it.
 * @param {WebAssembly.Module} module
 */
function labelOf(module) {
  const own = nameOf(module);
  if (own) return shortenedName(own);
  const words = [];
  for (const { module: from, name, kind } of Module.imports(module)) {
    if (from != "asyncify" && !from.startsWith("wasm:") && !name.startsWith("__asyncify_")) words.push(from, name, kind);
  }
  for (const { name, kind } of Module.exports(module)) {
    if (!name.startsWith("asyncify_") && !name.startsWith("__asyncify_")) words.push(name, kind);
  }
  let hash = 0x811c9dc5; // FNV-1a
  for (const letter of words.join("\n")) hash = Math.imul(hash ^ /** @type {number} */ (letter.codePointAt(0)), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** What modules are called in lines. @type {WeakMap<WebAssembly.Module, string>} */
const labels = new WeakMap();

/** Return what lines call a module. @param {WebAssembly.Module} module */
function labelled(module) {
  let label = labels.get(module);
  if (label === undefined) labels.set(module, (label = labelOf(module)));
  return label;
}

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
function introduce(instance, module, label) {
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
function noting(f, site) {
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

/**
 * Reads what recording builds note by themselves: modules that export `asyncify_recorded` (docs/abi.md), under whatever glue
 * drives them.
 *
 * Glue ends each unwinding by `asyncify_stop_unwind`, so what it finds under that name looks at the build behind it, which
 * is one read of a global. It is a function of WebAssembly like any export, since glue may put what is exported into tables.
 * Wrapping the imports was rejected, since these are called far more often, as was whatever enters the guest. With thunks
 * nothing is called, and `look` is called whenever the event loop goes round.
 */


/**
 * An instance of a recording build. It may go away, with what it has counted.
 * @typedef {object} Build
 * @property {WeakRef<any>} instance
 * @property {(string | { import: string })[]} entries What numbers stand for.
 * @property {() => string} label What its module is called.
 * @property {{ seen: import("./record_lines.js").Seen, count: number }[]} taken What was taken of each, and how often it was seen by then.
 */

const HALF = 0xffff_ffffn;

/** @type {Build[]} */
let builds = [];

/** @param {any} exports */
const isBuild = (exports) => !!exports.asyncify_recorded && !!exports.asyncify_record_changed;

/**
 * Take an instance of a recording build.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {() => string} label
 */
function addBuild(instance, module, label) {
  const [section] = WebAssembly.Module.customSections(module, RECORD_SECTION);
  const entries = JSON.parse(new TextDecoder().decode(section));
  const isEntry = (/** @type {any} */ entry) => typeof (entry?.import ?? entry) == "string";
  if (!Array.isArray(entries) || !entries.every(isEntry)) throw new TypeError(`${RECORD_SECTION} is no list of names and imports`);
  builds.push({ instance: new WeakRef(instance), entries, label, taken: [] });
}

/** Take what builds have counted. @param {boolean} all Of all of them, not only of those that have noted a function for the first time. */
function takeCounts(all) {
  builds = builds.filter((build) => {
    const { exports } = build.instance.deref() ?? {};
    try {
      if (exports && (all || exports.asyncify_record_changed.value)) takeFrom(build, exports);
      return exports;
    } catch (error) {
      leaveOut(`${build.label()} cannot be read: ${error}`);
    }
  });
}

/** @param {Build} build @param {any} exports */
function takeFrom({ entries, label, taken }, exports) {
  exports.asyncify_record_changed.value = 0;
  const exampleOf = chains(entries, (number) => Number(BigInt.asUintN(64, exports.asyncify_recorded(number)) >> 32n) - 1);
  for (const [number, entry] of entries.entries()) {
    if (typeof entry != "string") continue;
    const count = Number(exports.asyncify_recorded(number) & HALF);
    const known = taken[number];
    if (count <= (known?.count ?? 0)) continue;
    const seen = known?.seen ?? seenOf(label(), entry, ...exampleOf(number));
    seen.count += count - (known?.count ?? 0);
    taken[number] = { seen, count };
  }
}

/**
 * Notes what is missing in a list where foreign glue tries to suspend a guest below functions that the list leaves out.
 *
 * Such a guest says in `asyncify_unsuspendable` that it cannot be suspended, and traps in `asyncify_start_unwind` (docs/abi.md).
 * What glue finds under that name looks first; the engine's stack has all functions that are missing, at once. The package
 * refuses by itself and tells of it.
 *
 * The functions are those from the import to the export by which the host has entered the guest last, also across JavaScript,
 * since Emscripten's glue calls functions of the guest for it (`invoke_*`) and is passed when the guest is suspended. An
 * export that can be suspended is a function of its own, which caesura has added; one that the list leaves out is itself.
 * Exports that only call out of a table for it (`dynCall_*`) are no entries, although the guest takes them for some: what is
 * missing below is noted, although it does not say so.
 */


const PASSES_ON = "dynCall_";

/** In place of the global that says whether the guest cannot be suspended. */
const UNKNOWN = { value: 1 };

/**
 * Look what is missing, if anything is.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {any} exports
 */
function lookForMissing(instance, module, exports) {
  const functions = Object.entries(exports).filter(([, value]) => typeof value == "function");
  const indices = (/** @type {boolean} */ passesOn) => new Set(functions.filter(([name]) => name.startsWith(PASSES_ON) == passesOn).map(([, f]) => +f.name));
  const passing = indices(true);
  // Tools behind the transformation may have taken the export away: then who is left out on the stack tells.
  let isMarked = (exports.asyncify_unsuspendable ?? UNKNOWN).value != 0;
  if (!isMarked && !passing.size) return;
  const stack = readStack(lookForMissing);
  if (typeof stack[0] == "string") return leaveOut("what is missing in a list cannot be read, since somebody has frozen `Error`");
  const listed = bytesOf(module, FUNCTIONS_SECTION);
  const entered = indices(false);
  // An older caesura does not tell what functions are that it has added: all count as the guard's.
  const { removed, end, kinds } = readAdded(module);
  const isOwn = (/** @type {number} */ index) => index < (end ?? listed.length * 8);
  const isLeftOut = (/** @type {number} */ index) => !((listed[index >> 3] >> (index & 7)) & 1);
  /** @type {Set<string>} */
  const missing = new Set();
  /** Whether anything was called, and whether by the guard, which calls what an instrumented function cannot be resumed in. */
  let [called, isGuarded] = [false, false];
  for (const [at, frame] of stack.entries()) {
    if (frame.getThis() != instance) {
      [called, isGuarded] = [false, false];
      continue;
    }
    const index = frame.getFunction();
    const [kind] = kinds.get(index) ?? [isOwn(index) || end ? undefined : ADDED_GUARD];
    // A second body stands for the function below, which has called it.
    if (kind == ADDED_SECOND_BODY) continue;
    if (isMarked && isOwn(index) && (isLeftOut(index) || isGuarded)) missing.add(entryFor(frame.getFunctionName(), index + removed));
    isMarked ||= passing.has(index);
    if (entered.has(index) && stack[at + 1]?.getThis() != instance) break;
    isGuarded = called && kind == ADDED_GUARD;
    called = true;
  }
  if (missing.size) noteMissing([...missing], labelled(module));
}

/**
 * Functions of WebAssembly that call another one, and JavaScript before or after it: what stands for an instance's exports.
 *
 * Glue may put exports into tables, which take no functions of JavaScript. The object with an instance's exports cannot be
 * changed, so the instance gets another one, which has the same in the same order but for what is replaced.
 */

const I32 = 0x7f;
const I64 = 0x7e;

const nothing = () => {};

/** @param {number} id @param {number[][]} items */
const section = (id, ...items) => {
  const content = [items.length, ...items.flat()];
  return [id, content.length, ...content];
};

/** @param {number[]} parameters */
const type = (...parameters) => [0x60, parameters.length, ...parameters, 0];

/** An imported function of a type: letter of its name. @param {string} name @param {number} kind */
const imported = (name, kind) => [0, 1, name.charCodeAt(0), 0, kind];

/** Return a module whose function calls "b", "f" with its parameters, and "a". @param {number[]} parameters */
function makeModule(...parameters) {
  const code = [0, 0x10, 0, ...parameters.flatMap((_, number) => [0x20, number]), 0x10, 1, 0x10, 2, 0x0b];
  return new WebAssembly.Module(
    Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, type(), type(...parameters)),
      ...section(2, imported("b", 0), imported("f", 1), imported("a", 0)),
      ...section(3, [1]),
      ...section(7, [1, "f".charCodeAt(0), 0, 3]),
      ...section(10, [code.length, ...code]),
    ]),
  );
}

const { Instance } = WebAssembly;

/**
 * Return a function that calls another one.
 * @param {Function} f Takes nothing, or a pointer, and returns nothing.
 * @param {{ before?: () => void, after?: () => void }} what
 */
function around(f, { before = nothing, after = nothing }) {
  const imports = { "": { b: before, f, a: after } };
  for (const parameters of [[], [I32], [I64]]) {
    if (parameters.length != f.length) continue;
    try {
      return new Instance(makeModule(...parameters), imports).exports.f;
    } catch {
      // Its pointers are of the other kind.
    }
  }
}

/**
 * Let an instance export other functions under some names.
 * @param {WebAssembly.Instance} instance
 * @param {Record<string, any>} functions
 */
function replaceExports(instance, functions) {
  const value = Object.freeze(Object.assign(Object.create(null), instance.exports, functions));
  Object.defineProperty(instance, "exports", { value, configurable: true });
}

/**
 * The instances of a program that is recorded: which of them notes what is on its stack, and when to look at it; and which
 * of them says that it cannot be suspended. What stands for their exports is in `record_around.js`.
 */


/** Whether there was any instance, and why the last one whose suspensions cannot be seen is such. */
let met = false;
/** @type {string | undefined} */
let unseen;

/** Write what builds have noted for the first time. */
function look() {
  takeCounts(false);
  flushNews();
}

const { setImmediate } = globalThis;
let looksOften = false;

/** Look whenever the event loop goes round, as it does between a suspension and whatever ends it. */
function lookOften() {
  looksOften = true;
  look();
  setImmediate(lookOften).unref();
}

/**
 * Take an instance that the program has made.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {boolean} hasNative Whether the engine has JSPI.
 */
function take(instance, module, hasNative) {
  try {
    meet(instance, module, hasNative);
  } catch (error) {
    leaveOut(`${labelled(module)} cannot be read: ${error}`);
  }
  return instance;
}

/** @param {WebAssembly.Instance} instance @param {WebAssembly.Module} module @param {boolean} hasNative */
function meet(instance, module, hasNative) {
  const label = () => labelled(module);
  met = true;
  introduce(instance, module, label);
  const { exports } = /** @type {any} */ (instance);
  const { asyncify_start_unwind, asyncify_stop_unwind, asyncify_set_data_pointer } = exports;
  /** @type {Record<string, any>} */
  const replaced = {};
  if (isBuild(exports)) {
    addBuild(instance, module, label);
    if (asyncify_set_data_pointer && toFile && !looksOften) lookOften();
    replaced.asyncify_stop_unwind = around(asyncify_stop_unwind, { after: look });
  } else if (asyncify_start_unwind) unseen = `${label()} was instrumented, but not to be recorded`;
  else if (!hasNative) unseen = `${label()} is no recording build, and this engine has no JSPI`;
  if (asyncify_start_unwind && (exports.asyncify_unsuspendable || readAdded(module).end !== undefined)) {
    replaced.asyncify_start_unwind = around(asyncify_start_unwind, { before: () => lookForMissing(instance, module, exports) });
  }
  if (Object.keys(replaced).length) replaceExports(instance, replaced);
}

/** Write what is left. */
function writeRest() {
  takeCounts(true);
  flush();
}

/** Write what is left at the end of the process, or why there was nothing. */
function end() {
  writeRest();
  if (met) noteNothing(unseen);
}

/**
 * Takes the places of the functions of `WebAssembly` that mark imports and make instances.
 *
 * The program sees functions of the same names, which construct the engine's own objects: `instanceof` holds, and nothing that
 * a program compares is another.
 */


/** @param {any} value */
const isObject = (value) => Object(value) === value;

/** What engines were told to wait for. @type {WeakMap<object, Function>} */
const suspending = new WeakMap();

/**
 * Put something in the place of a property, which is the same but for its value. Where that cannot be, nothing is recorded.
 * @param {any} owner
 * @param {string} name
 * @param {any} value
 */
function replace(owner, name, value) {
  if (!Reflect.defineProperty(owner, name, { value })) warn(`recording: ${name} cannot be replaced, somebody has frozen it`);
}

/**
 * Return imports that are read once where the program's are, with others in the place of those that suspend.
 * @param {any} imports
 * @param {any} EngineSuspending
 */
function adaptImports(imports, EngineSuspending) {
  if (!isObject(imports)) return imports;
  // The objects behind it may be frozen: what a proxy of these gives has to be what they hold.
  return new Proxy(Object.create(null), {
    get(_, module) {
      const names = imports[module];
      if (!isObject(names)) return names;
      return new Proxy(Object.create(null), {
        get(__, name) {
          const value = names[name];
          const f = isObject(value) && suspending.get(value);
          return f ? new EngineSuspending(noting(f, `${String(module)}.${String(name)}`)) : value;
        },
      });
    },
  });
}

/** The realms' objects whose functions were replaced. */
const hooked = new WeakSet();

/** Take the places of a realm's functions. @param {any} wasm Its `WebAssembly`. */
function hook(wasm) {
  if (!isObject(wasm) || hooked.has(wasm)) return;
  hooked.add(wasm);
  const { Module, Instance, instantiate, instantiateStreaming, Suspending: EngineSuspending } = wasm;
  /** @param {any} instance @param {any} module */
  const taken = (instance, module) => take(instance, module, !!EngineSuspending);
  if (EngineSuspending) {
    const Suspending = new Proxy(EngineSuspending, {
      construct(engine, args, derived) {
        const made = Reflect.construct(engine, args, derived);
        suspending.set(made, args[0]);
        return made;
      },
    });
    replace(wasm, "Suspending", Suspending);
    replace(EngineSuspending.prototype, "constructor", Suspending);
  }
  const HookedInstance = new Proxy(Instance, {
    construct: (engine, [module, imports, ...rest], derived) =>
      taken(Reflect.construct(engine, [module, adaptImports(imports, EngineSuspending), ...rest], derived), module),
  });
  replace(wasm, "Instance", HookedInstance);
  replace(Instance.prototype, "constructor", HookedInstance);
  for (const [name, f] of Object.entries({ instantiate, instantiateStreaming })) {
    if (!f) continue;
    const later = new Proxy(f, {
      async apply(engine, self, [source, imports, ...rest]) {
        const made = await Reflect.apply(engine, self, [source, adaptImports(imports, EngineSuspending), ...rest]);
        if (source instanceof Module) taken(made, source);
        else taken(made.instance, made.module);
        return made;
      },
    });
    replace(wasm, name, later);
  }
}

/**
 * Other realms in the same thread, each with a `WebAssembly` of its own: Node's `vm` makes them, and test runners such as Jest
 * run each file of tests in one.
 *
 * The functions of `vm` by which a realm is made, or code gets into it, are replaced, also for those who import them by name.
 */

/**
 * Do something with each realm before any code runs in it.
 * @param {(realm: any) => void} enter Takes its global object.
 */
function withRealms(enter) {
  const { process } = /** @type {any} */ (globalThis);
  const vm = process?.getBuiltinModule?.("node:vm");
  if (!vm) return;
  const { createContext, Script } = vm;
  const { runInContext } = Script.prototype;
  const self = new Script("globalThis");
  const entered = new WeakSet();
  /** @param {any} context */
  const see = (context) => {
    if (entered.has(context)) return;
    entered.add(context);
    try {
      enter(Reflect.apply(runInContext, self, [context]));
    } catch {
      // It is none, as who has made it will be told, or has no place for what is put into it.
    }
  };
  vm.createContext = new Proxy(createContext, {
    apply(f, it, args) {
      const context = Reflect.apply(f, it, args);
      see(context);
      return context;
    },
  });
  Script.prototype.runInContext = new Proxy(runInContext, {
    apply(f, it, [context, ...rest]) {
      if (Object(context) === context) see(context);
      return Reflect.apply(f, it, [context, ...rest]);
    },
  });
  process.getBuiltinModule("node:module").syncBuiltinESMExports();
}

/**
 * Records which functions of WebAssembly are on the stack at suspensions, so that a list of them writes itself.
 *
 * Loaded before a program, as `node --import` does, it takes its place in `WebAssembly`. What is recorded goes to the file
 * that CAESURA_RECORD names, or to who calls `recorded`.
 *
 * For the Python package, whose `caesura record` has Node load it, `docs/render_record.py` makes one file of all that this one
 * imports.
 */


/** Where the package finds the recorder (`recording.js`). */
const RECORDER = Symbol.for("caesura.record");

/** Record what is done in a realm. @param {any} realm Its global object. */
function enter(realm) {
  if (realm[RECORDER]) return;
  const push = (/** @type {["missing", string[]]} */ [, entries]) => noteMissing(entries);
  Object.defineProperty(realm, RECORDER, { value: { push } });
  hook(realm.WebAssembly);
}

/** Return the lines that came since this was called last, each a JSON object; none where they go to a file. */
export function recorded() {
  writeRest();
  return takeKept();
}

// The program's package and the one that it was started with may both have this file.
if (!(RECORDER in globalThis)) {
  // Else V8 shows a function that it has inlined at an indirect call below whichever is called there instead. Nothing is small
  // enough, then. To turn inlining off (`--no-wasm-inlining`) was rejected: V8 then compiles `call_ref` in a way that few use,
  // and crashes there once instances have been collected.
  /** @type {any} */ (globalThis).process?.getBuiltinModule?.("node:v8").setFlagsFromString("--wasm-inlining-max-size=0");
  enter(globalThis);
  withRealms(enter);
  atExit(end);
}
