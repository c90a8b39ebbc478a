/**
 * An instance of an instrumented module: its asyncify stack, its shadow stacks, and the steps of both ABIs.
 *
 * One area of memory serves all suspended calls: only one call unwinds or rewinds at a time, and a call's frames are
 * copied out when another call needs their place, so that a program with one call at a time never copies.
 *
 * Modules that are linked dynamically share the two globals of the ABI, and are one guest: the state of one is the state
 * of all, so are the frames, and a suspension counts for the call that runs, whichever of them asked for it.
 *
 * Plain ABI: five exported functions. Thunk ABI: a control block in memory; there, functions without an entry thunk (out
 * of a table) are driven with both. A factory and not a class: minifiers shorten variables, but not properties.
 */

import {
  ASYNCIFY_MEMORY,
  CONTROL_BLOCK,
  CURRENT_OFFSET,
  EXPORTED_IMPORTS_SECTION,
  FACTS_SECTION,
  FACT_ADDED_MEMORY,
  FACT_BY_LISTS,
  FACT_CALLS_REFERENCES,
  FACT_FIXED_STACK,
  FACT_HIDDEN_STACK,
  FACT_STACK_LOW,
  FACT_UNCLEAR_STACK,
  FRAMES_OFFSET,
  FUNCTIONS_SECTION,
  MOST_RESULTS_TOLD,
  RESULTS_SECTION,
  SET_DATA_POINTER,
  STACK_POINTER_OFFSET,
  START_REWIND,
  START_UNWIND,
  STATUS_OFFSET,
  STATUS_RESUME_CALL,
  STATUS_RUN,
  STATUS_SUSPEND,
  STOP_REWIND,
  STOP_UNWIND,
} from "./abi.js";
import { checkResult, isEntry, isObject, REWINDING, RUNNING, UNWINDING } from "./call.js";
import { EngineInstance, fail, isExported, SuspendError } from "./errors.js";
import { isAddress } from "./options.js";
import { like, makeStacks, unsigned } from "./stacks.js";
import { guestFrames, moduleOf } from "./trace.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./call.js").Site} Site */
/** @typedef {ReturnType<typeof makeGuest>} Guest */

/**
 * What the standard leaves to the embedder.
 * @typedef {object} Options
 * @property {number} [stackSize] Bytes for the asyncify stack, where it is allocated. Default: 512 KiB, or half of it if there is no more.
 * @property {number} [shadowStackSize] Bytes for each further C stack. Default: as many as the guest's own has.
 * @property {boolean} [singleStack] Whether to refuse calls while another has not ended: for guests that scan their C stack.
 * @property {(bytes: number) => number | bigint} [allocate] Allocates memory in the guest. Default: its `malloc`.
 * @property {[start: number | bigint, end: number | bigint]} [region] Where to put the asyncify stack instead.
 * @property {string} [memory] The export that is the memory with the asyncify stack.
 * @property {boolean} [suspendAlways] Whether results of suspending imports that are no promises suspend too.
 * @property {boolean} [checkStack] Whether to look for functions of others between the guest's where they can be. Default: true.
 * @property {string[]} [builtins] For the engine's compiler: sets of functions that it provides itself.
 * @property {string | null} [importedStringConstants] For the engine's compiler: the module of imported strings.
 */

// What one push of frame values can need, in bytes: with less left when a call traps, the stack was too small.
const PUSH = 128;

// About as many frames as a native stack of a megabyte can hold.
const DEFAULT = 1 << 19;

// How many functions a message names.
const NAMED = 20;

const CLOSED = "the instance is closed";

/** @param {Site} site @param {string} why */
const refuse = (site, why) => fail(`${site.name} cannot suspend: ${why}`);

/** What a frame of the engine's stack looks like to a reader. @param {any} frame */
const where = (frame) => String(frame).trim();

/** Whether a function is not instrumented. @param {Description} description @param {number} index */
const isStranger = ({ listed }, index) => !(((listed[index >> 3] ?? 255) >> (index & 7)) & 1);

/** Whether any module was instrumented: a function that nobody knows may be from one. */
export let instrumentedAny = false;

/**
 * What a module tells of itself.
 * @typedef {object} Description
 * @property {boolean} instrumented
 * @property {boolean} thunks
 * @property {Uint8Array} listed Which functions may be on the stack at a suspension, a bit for each.
 * @property {Uint8Array[]} results For each imported function how many results it has, and their kinds.
 * @property {number} facts
 * @property {Map<number, number>} exportedImports The function indices of imports that are exported by thunks, by the export's number.
 * @property {number} [stackLow] The lowest address of the guest's own shadow stack.
 */

/**
 * Return what a module tells of itself. Where it does not, which functions may suspend is not known, and all results are
 * numbers; and a table that others can reach says that these may get between its functions.
 * @param {WebAssembly.Module} module
 * @returns {Description}
 */
export function describe(module) {
  const entries = WebAssembly.Module.exports(module);
  const has = (/** @type {string} */ wanted) => entries.some(({ name }) => name == wanted);
  const instrumented = has(START_UNWIND);
  instrumentedAny ||= instrumented;
  const [listed, kinds, [facts, ...rest], again] = [FUNCTIONS_SECTION, RESULTS_SECTION, FACTS_SECTION, EXPORTED_IMPORTS_SECTION].map(
    (name) => new Uint8Array(WebAssembly.Module.customSections(module, name)[0]),
  );
  /** @type {Uint8Array[]} */
  const results = [];
  for (let at = 0; at < kinds.length; ) results.push(kinds.subarray(at, (at += 1 + (kinds[at] & MOST_RESULTS_TOLD))));
  const numbers = readNumbers(again);
  const exportedImports = new Map(numbers.flatMap((number, at) => (at % 2 ? [] : [[number, numbers[at + 1]]])));
  const reached = [...entries, ...WebAssembly.Module.imports(module)].some(({ kind }) => kind == "table");
  return {
    instrumented,
    thunks: has(SET_DATA_POINTER),
    listed,
    results,
    facts: facts ?? (reached ? FACT_CALLS_REFERENCES : 0),
    exportedImports,
    stackLow: facts & FACT_STACK_LOW ? readNumbers(rest)[0] : undefined,
  };
}

/** Read numbers in LEB128. @param {Iterable<number>} bytes */
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

/**
 * @param {Description} description Of the module, or of the first one that has these globals.
 * @param {Options} options
 */
export function makeGuest({ instrumented, thunks, facts, stackLow }, options) {
  let { stackSize = DEFAULT } = options;
  const { shadowStackSize, singleStack, allocate, region, memory: memoryName } = options;
  const { suspendAlways, checkStack = true } = options;

  /** @type {any} */
  let exports = {};
  /** Its instances: several share the globals where modules are linked dynamically. @type {Map<unknown, Description>} */
  const instances = new Map();
  /** Whether to look at the stack at every suspension. */
  let wary = false;
  /** @type {any} */
  let memory;
  /** Its shadow stacks, once it has exports. @type {import("./stacks.js").Stacks} */
  let stacks;
  /** All calls that have not ended. @type {Set<Call>} */
  const calls = new Set();
  let closed = false;
  /** The call that the frames in memory belong to. @type {Call | undefined} */
  let owner;
  /** The control block's address as the guest takes it. @type {any} */
  let pointer;
  /** The memory as an array of pointers, how many bytes each has, and which of them is the control block's first. */
  let pointers = /** @type {any} */ ([]);
  let width = 4;
  let place = 0;
  /** Where the frames begin, and where the room for them ends. */
  let base = 0;
  let end = 0;

  /** Return the memory's view, brought up to date: it moves when it grows. */
  const view = () => {
    if (!pointers.length) {
      const { buffer } = memory;
      pointers = width > 4 ? new BigUint64Array(buffer) : new Uint32Array(buffer);
      if (exports[ASYNCIFY_MEMORY]) end = buffer.byteLength;
    }
    return pointers;
  };
  /** @param {number} offset */
  const read = (offset) => Number(view()[place + offset / width]);
  const write = (/** @type {number} */ offset, /** @type {number} */ number) => {
    view()[place + offset / width] = like(pointer, number);
  };

  /** Allocate in the guest; 0 or undefined if that fails. @param {number} bytes @returns {any} */
  const take = (bytes) => {
    if (!allocate) return exports.malloc?.(String(bytes)); // becomes either type of address
    const address = allocate(bytes);
    if (!isAddress(address)) throw new TypeError(`option allocate: it returned no integer or BigInt, but ${String(address)}`);
    return address;
  };
  /** Why there is no room. @param {string} what @param {number} bytes @param {string} option Its size. @param {string} others */
  const noRoom = (what, bytes, option, others) =>
    allocate || exports.malloc
      ? `the allocator has no ${bytes} bytes for ${what} (option ${option})`
      : `no allocator for ${what}: it needs the export malloc, or the option allocate${others}`;

  /** Tell the guest where the control block is, in whatever type it was given. @param {Function} f */
  const tell = (f) => {
    try {
      f(pointer);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      const kind = typeof pointer == "bigint" ? "numbers" : "BigInts";
      throw new TypeError(`option ${region ? "region" : "allocate"}: this guest's addresses are ${kind}`);
    }
  };

  /** Find a place for the asyncify stack, once. Returns why there is none. */
  const settleDown = () => {
    if (base) return;
    if (!memory) return "no memory is exported";
    const [start, limit] = findRoom();
    if (start === undefined) return noRoom("the asyncify stack", stackSize, "stackSize", " or region");
    const from = unsigned(start);
    const at = Math.ceil(from / 16) * 16;
    const to = limit === undefined ? from + stackSize : unsigned(limit);
    if (at + FRAMES_OFFSET > to) throw tooSmall(to - at - FRAMES_OFFSET);
    if (to > memory.buffer.byteLength) throw new RangeError(`asyncify stack at ${from} to ${to}: beyond the memory's end`);
    if (typeof start == "bigint") width = 8;
    pointer = like(start, at);
    if (thunks) tell(exports[SET_DATA_POINTER]);
    place = at / width;
    base = at + FRAMES_OFFSET;
    end = to;
    pointers = [];
    // What an allocator gives has been used before.
    new Uint8Array(memory.buffer).fill(0, at, base);
  };

  /** Return where the asyncify stack is to lie, and its end if that is not `stackSize` behind. */
  const findRoom = () => {
    if (exports[ASYNCIFY_MEMORY]) return [CONTROL_BLOCK, memory.buffer.byteLength];
    if (region) return region;
    if (facts & FACT_ADDED_MEMORY) {
      // Nobody else uses it.
      memory.grow(Math.ceil(Math.max(0, stackSize - memory.buffer.byteLength) / 65536));
      return [0];
    }
    let start = take(stackSize);
    // An allocator that does not look at the memory's end may have room for less, too.
    const fits = start && unsigned(start) + stackSize <= memory.buffer.byteLength;
    if (!fits && stackSize == DEFAULT) start = take((stackSize /= 2));
    return [start || undefined];
  };

  /** @param {string} subject @param {number} bytes */
  const tooSmall = (bytes, subject = "") => new RangeError(`${subject}the asyncify stack of ${bytes} bytes is too small (option ${region ? "region" : "stackSize"})`);

  /**
   * Give the control block and the place of the frames to a call; another call's frames are copied out.
   * @param {Call} call
   * @param {number} status
   * @param {any} [current] The end of its frames.
   */
  const own = (call, status, current = base) => {
    if (owner != call && owner?.promise) owner.frames = new Uint8Array(memory.buffer).slice(base, owner.limit);
    owner = call;
    write(CURRENT_OFFSET, current);
    write(width, end);
    write(STATUS_OFFSET, status);
    write(STACK_POINTER_OFFSET, 0);
  };

  /** Whether the guest calls an import through a thunk: its own it does, others it may have in a table. @param {Site} site */
  const byThunk = (site) => thunks && site.guest == guest;

  /** @param {Call} call */
  const lost = (call) => {
    const [, inner] = guestFrames().frames[0] ?? [];
    return new SuspendError(`export ${call.name}: not instrumented: ${inner ? where(inner) : "a function or the import"}`);
  };

  /**
   * Look at the functions between an import and the call that it would suspend. Returns why they cannot be unwound; nothing
   * if they can.
   * @param {Call} call
   * @param {Site} site
   */
  const look = (call, { stub, module }) => {
    const { frames, below } = guestFrames(stub);
    if (below && !isEntry(below)) return `across JavaScript: ${where(below)}`;
    if (below && !frames.length) call.direct = true;
    /** By function, as recursion has many frames of one. @type {Map<string, string>} */
    const strangers = new Map();
    for (const [index, frame] of frames) {
      const instance = frame.getThis?.();
      // Where frames are text, functions of modules that are linked dynamically cannot be told apart.
      let description = instances.get(instance);
      if (!description && !(instance instanceof EngineInstance) && moduleOf(frame) == moduleOf(frames[0][1])) description = module;
      if (description) isStranger(description, index) && strangers.set(`${moduleOf(frame)} ${index}`, where(frame));
      else if (instance || instances.size < 2) return `across another instance: ${where(frame)}`;
    }
    const more = strangers.size > NAMED ? `, and ${strangers.size - NAMED} more` : "";
    return strangers.size ? `not instrumented: ${[...strangers.values()].slice(0, NAMED).join(", ")}${more}` : "";
  };

  /**
   * Make the instance usable after an exception or a trap. Returns the error to report.
   * @param {Call} call
   * @param {any} [error]
   */
  const recover = (call, error) => {
    if (call.state && !call.direct) {
      if (call.state == UNWINDING && read(CURRENT_OFFSET) + PUSH > end) error = tooSmall(end - base, `export ${call.name}: `);
      own(call, STATUS_RUN);
      try {
        exports[STOP_UNWIND]();
      } catch {
        // It reports the overflow once more.
      }
      call.state = RUNNING;
      call.promise = undefined;
    }
    return error;
  };

  /** @param {Call} call @param {boolean} [idle] Whether nothing of the guest runs. */
  const finish = (call, idle) => {
    calls.delete(call);
    stacks.finish(call, idle);
  };

  const guest = {
    instrumented,
    thunks,
    suspendAlways,
    recover,
    finish,
    rest: () => stacks.rest(),

    /**
     * Take one of its instances, and whether functions of others may be called by its own.
     * @param {WebAssembly.Instance} instance
     * @param {Description} description
     * @param {boolean} foreign
     */
    add(instance, description, foreign) {
      instances.set(instance, description);
      wary ||= !!(description.facts & FACT_BY_LISTS || (checkStack && (foreign || description.facts & FACT_CALLS_REFERENCES)));
    },

    /** Remember what may be the memory. @param {any} value */
    offer(value) {
      if (value instanceof WebAssembly.Memory) memory ??= value;
    },

    /** Take the instance's exports. @param {WebAssembly.Exports} given */
    link(given) {
      exports = given;
      const imported = memory;
      memory = exports[ASYNCIFY_MEMORY] ?? exports[/** @type {string} */ (memoryName)];
      if (!memoryName) [exports.memory, ...Object.values(exports), imported].forEach(guest.offer);
      const isMain = (/** @type {any} */ value) => value instanceof WebAssembly.Memory && value != exports[ASYNCIFY_MEMORY];
      stacks = makeStacks(exports, take, shadowStackSize, stackLow, [exports.memory, ...Object.values(exports), imported].find(isMain));
    },

    settleDown,

    /**
     * Prepare for a call's start or its rewinding. Returns the shadow stack pointer of whoever runs now.
     * @param {Call} call
     * @param {boolean} idle Whether nothing else of the guest runs.
     */
    enter(call, idle) {
      if (closed) fail(CLOSED);
      if (idle) stacks.wake(call);
      if (!call.state) {
        if ((singleStack ?? facts & FACT_FIXED_STACK) && calls.size) {
          const why = singleStack ? "singleStack" : "the guest compares its C stack pointer with constants; singleStack: false allows it";
          fail(`export ${call.name}: another call has not ended (${why})`);
        }
        calls.add(call);
        if (!call.direct) stacks.start(call, idle);
      }
      if (call.direct) return;
      const outer = stacks.enter(call);
      if (call.state) {
        own(call, STATUS_RESUME_CALL, call.limit);
        if (call.frames) new Uint8Array(memory.buffer).set(call.frames, base);
        call.frames = undefined;
        if (!call.thunk) exports[START_REWIND](pointer);
      }
      return outer;
    },

    /**
     * Begin to unwind a call. Returns what the import is to return meanwhile: it converts to whatever type it has.
     * @param {Call | undefined} call
     * @param {Site} site
     * @param {any} result What the import returned: what the call is to wait for.
     */
    suspend(call, site, result) {
      if (!call) return refuse(site, "outside of a promising call");
      if (!call.entry) refuse(site, "across JavaScript");
      if ((call.guest ?? guest) != guest) refuse(site, `across another instance, whose export ${call.name} was called`);
      if (!instrumented && !call.direct) refuse(site, "the module is not instrumented, and the engine has no JSPI");
      if (isStranger(site.module, site.index)) refuse(site, "not on the import list (--imports)");
      const obstacle = (wary || call.converts || !call.guest || site.guest != guest) && look(call, site);
      if (obstacle) refuse(site, obstacle);
      if (!call.guest) {
        call.guest = guest;
        calls.add(call);
        if (!call.direct) stacks.adopt(call);
      }
      if (!call.direct) {
        if (calls.size > 1 && singleStack == undefined && (facts & FACT_UNCLEAR_STACK || (facts & FACT_HIDDEN_STACK && !stacks.known))) {
          const way = facts & FACT_UNCLEAR_STACK ? "export its pointer as" : "instrument with --thunks, or export";
          const why = `nobody knows where the guest's C stack is: ${way} __stack_pointer (singleStack: false allows it)`;
          refuse(site, `another call has not ended, and ${why}`);
        }
        const lacking = stacks.lacking(call);
        const missing = lacking ? noRoom("another C stack", lacking, "shadowStackSize", "") : settleDown();
        if (missing) refuse(site, missing);
        stacks.check(call);
      }
      if (call.converts) {
        // That is done. When the call is resumed the engine converts its arguments again, to no effect.
        call.converts = false;
        call.args = call.args.map((value) => (isObject(value) && "valueOf" in value && !isExported(value) ? "0" : value));
      }
      call.site = site;
      call.promise = suspendAlways ? Promise.resolve(result) : result;
      call.state = UNWINDING;
      if (!call.direct) {
        own(call, byThunk(site) ? STATUS_SUSPEND : STATUS_RUN);
        if (!byThunk(site)) tell(exports[START_UNWIND]);
      }
      return site.blank;
    },

    /**
     * A call has reached an import while it unwinds or rewinds: the one that suspended it, or something was left out.
     * @param {Call} call
     * @param {Site} site
     */
    land(call, site) {
      if (call.state != REWINDING || call.site != site) throw lost(call);
      call.state = RUNNING;
      if (!call.direct && !byThunk(site)) {
        write(STATUS_OFFSET, STATUS_RUN);
        exports[STOP_REWIND]();
      }
      const value = checkResult(site, /** @type {Function} */ (call.answer)());
      call.converts = isObject(value);
      return value;
    },

    /**
     * A call has suspended or ended.
     * @param {Call} call
     * @param {any} outer What `enter` returned.
     */
    leave(call, outer) {
      if (call.direct) return;
      // Entry thunks have put the pointer back, if they know it.
      stacks.leave(call, outer, call.state == UNWINDING ? read(STACK_POINTER_OFFSET) : 0);
      if (call.state == UNWINDING) {
        call.limit = read(CURRENT_OFFSET);
        own(call, STATUS_RUN, call.limit);
        if (!call.thunk) {
          // Binaryen's modules write first, and trap here.
          if (call.limit > end) throw recover(call);
          exports[STOP_UNWIND]();
        }
      }
      if (call.state == REWINDING || (call.state && call.limit == base)) throw recover(call, lost(call));
    },

    /** Reject all calls. What was allocated goes with the instance. */
    close() {
      closed = true;
      for (const call of calls) {
        call.promise = undefined;
        call.reject(new SuspendError(CLOSED));
        finish(call);
      }
    },
  };
  return guest;
}
