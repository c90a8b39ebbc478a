/**
 * An instance of an instrumented module: its asyncify stack, its shadow stacks, and the steps of both ABIs.
 *
 * One area of memory serves all suspended calls: only one call unwinds or rewinds at a time, and a call's frames are
 * copied out when another call needs their place, so that a program with one call at a time never copies. Shadow stacks
 * cannot be moved, because the guest holds addresses of what lies there: the first call runs on the guest's own stack
 * and leaves the pointer below its frames while it is suspended, and calls that start meanwhile get stacks of their own.
 *
 * Modules that are linked dynamically share the two globals of the ABI, and are one guest: the state of one is the state
 * of all, so are the frames, and a suspension counts for the call that runs, whichever of them asked for it.
 *
 * Plain ABI: five exported functions. Thunk ABI: a control block in memory; there, functions without an entry thunk (out
 * of a table) are driven with both. A factory and not a class: minifiers shorten variables, but not properties.
 */

import { REWINDING, RUNNING, UNWINDING } from "./call.js";
import { fail, SuspendError } from "./errors.js";
import { functionsOnStack } from "./trace.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {ReturnType<typeof makeGuest>} Guest */

/**
 * What the standard leaves to the embedder.
 * @typedef {object} Options
 * @property {number} [stackSize] Bytes for the asyncify stack, where it is allocated. Default: 256 KiB.
 * @property {number} [shadowStackSize] Bytes for each shadow stack. Default: 64 KiB.
 * @property {(bytes: number) => number | bigint} [allocate] Allocates memory in the guest. Default: its `malloc`.
 * @property {[start: number | bigint, end: number | bigint]} [region] Where to put the asyncify stack instead.
 * @property {string} [memory] The export that is the memory with the asyncify stack.
 */

// The control block of the thunk ABI, in bytes from its address. The plain ABI knows only the beginning, but has the same
// room here.
const CURRENT = 0;
const STATUS = 16;
const STACK_POINTER = 24;
const FRAMES = 288;
const RUN = 0;
const SUSPEND = 1;
const CALL_AGAIN = 3;
// What one push of frame values can need, in bytes: with less left when a call traps, the stack was too small.
const PUSH = 128;

const NOTHING = new Uint8Array();
const CLOSED = "the instance is closed";

/** Give a number the type of a pointer. @param {any} pointer @param {number} number @returns {any} */
const like = (pointer, number) => (typeof pointer == "bigint" ? BigInt(number) : number);

/** The number that a pointer is: one of 32 bits comes with a sign. @param {any} pointer */
const unsigned = (pointer) => (typeof pointer == "bigint" ? Number(pointer) : pointer >>> 0);

/** Whether any module was instrumented: a function that nobody knows may be from one. */
export let instrumentedAny = false;

/**
 * Return what a module tells of itself: whether it is instrumented, and with thunks, and (empty where it does not tell) which
 * functions may be on the stack at a suspension, a bit for each, and how many results each import has.
 * @param {WebAssembly.Module} module
 */
export function describe(module) {
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  const instrumented = names.includes("asyncify_start_unwind");
  instrumentedAny ||= instrumented;
  const [listed, resultCounts] = ["asyncify.functions", "asyncify.results"].map(
    (name) => new Uint8Array(WebAssembly.Module.customSections(module, name)[0]),
  );
  return { instrumented, thunks: names.includes("asyncify_set_data_pointer"), listed, resultCounts };
}

/** @typedef {ReturnType<typeof describe>} Description */

/**
 * @param {Description} description Of the module, or of the first one that has these globals.
 * @param {Options} options
 */
export function makeGuest({ instrumented, thunks }, options) {
  const { stackSize = 1 << 18, shadowStackSize = 1 << 16, allocate, region, memory: memoryName } = options;

  /** @type {any} */
  let exports = {};
  /** The bits of each module that has suspended, by what stack traces call it. @type {Map<string, Uint8Array>} */
  const traced = new Map();
  /** @type {any} */
  let memory;
  /** The global or the functions that hold the shadow stack pointer. @type {{ value?: any }} */
  let stackPointer = {};
  /** The shadow stack pointer where nothing runs; undefined where there is none. @type {any} */
  let top;
  /** The call on the guest's own shadow stack. @type {Call | undefined} */
  let main;
  /** Shadow stacks that nobody uses. @type {any[]} */
  const spare = [];
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
      if (exports.asyncify_memory) end = buffer.byteLength;
    }
    return pointers;
  };
  /** @param {number} offset */
  const read = (offset) => Number(view()[place + offset / width]);
  const write = (/** @type {number} */ offset, /** @type {number} */ number) => {
    view()[place + offset / width] = like(pointer, number);
  };

  /** Allocate in the guest; 0 or undefined if that fails. @param {number} bytes @returns {any} */
  const take = (bytes) => (allocate ? allocate(bytes) : exports.malloc?.(like(top, bytes)));

  /** Find a place for the asyncify stack, once. Returns whether there is one. */
  const settleDown = () => {
    if (!base && memory) {
      const [start, limit] = exports.asyncify_memory ? [16] : (region ?? [take(stackSize)]);
      if (start) {
        if (typeof start == "bigint") width = 8;
        const at = Math.ceil(unsigned(start) / 16) * 16;
        pointer = like(start, at);
        place = at / width;
        base = at + FRAMES;
        end = limit ? unsigned(limit) : unsigned(start) + stackSize;
        pointers = [];
        // What an allocator gives has been used before.
        new Uint8Array(memory.buffer).fill(0, at, base);
        if (thunks) exports.asyncify_set_data_pointer(pointer);
      }
    }
    return base;
  };

  /**
   * Give the control block and the place of the frames to a call; another call's frames are copied out.
   * @param {Call} call
   * @param {number} status
   * @param {any} [current] The end of its frames.
   */
  const own = (call, status, current = base) => {
    if (owner != call && owner?.promise) owner.frames = new Uint8Array(memory.buffer).slice(base, owner.limit);
    owner = call;
    write(CURRENT, current);
    write(width, end);
    write(STATUS, status);
    write(STACK_POINTER, 0);
  };

  /** @param {Call} call */
  const lost = (call) =>
    new SuspendError(
      `export ${call.name}: not instrumented: ${functionsOnStack(() => true)[0] ?? "a function or the import"}`,
    );

  /**
   * Make the instance usable after an exception or a trap. Returns the error to report.
   * @param {Call} call
   * @param {any} [error]
   */
  const recover = (call, error) => {
    if (call.state) {
      if (call.state == UNWINDING && read(CURRENT) + PUSH > end) {
        error = new RangeError(`export ${call.name}: the asyncify stack of ${end - base} bytes is too small`);
      }
      own(call, RUN);
      try {
        exports.asyncify_stop_unwind();
      } catch {
        // It reports the overflow once more.
      }
      call.state = RUNNING;
      call.promise = undefined;
    }
    return error;
  };

  /** @param {Call} call */
  const finish = (call) => {
    calls.delete(call);
    if (main == call) main = undefined;
    if (call.stack) spare.push(call.stack);
  };

  const guest = {
    instrumented,
    thunks,
    lost,
    recover,
    finish,

    /** Remember what may be the memory. @param {any} value */
    offer(value) {
      if (value instanceof WebAssembly.Memory) memory ??= value;
    },

    /** Take the instance's exports. @param {WebAssembly.Exports} given */
    link(given) {
      exports = given;
      const imported = memory;
      memory = exports[memoryName ?? "asyncify_memory"];
      if (!memoryName) [exports.memory, ...Object.values(exports), imported].forEach(guest.offer);
      const get = exports.emscripten_stack_get_current ?? exports.stackSave;
      const set = exports._emscripten_stack_restore ?? exports.stackRestore;
      stackPointer =
        exports.asyncify_stack_pointer ??
        exports.__stack_pointer ??
        (get && set ? Object.defineProperty({}, "value", { get, set }) : {});
      top = stackPointer.value;
    },

    settleDown,

    /**
     * Prepare for a call's start or its rewinding. Returns the shadow stack pointer of whoever runs now.
     * @param {Call} call
     */
    enter(call) {
      if (closed) fail(CLOSED);
      const outer = stackPointer.value;
      if (call.state == REWINDING) {
        // What was allocated on the guest's own stack while the call waited stays: the import may return its address.
        if (main == call && unsigned(outer) < unsigned(call.pointer)) call.pointer = outer;
        own(call, CALL_AGAIN, call.limit);
        if (call.frames) new Uint8Array(memory.buffer).set(call.frames, base);
        call.frames = undefined;
        if (!call.thunk) exports.asyncify_start_rewind(pointer);
      } else {
        calls.add(call);
        if (top) {
          // The guest's own stack serves if nothing is on it. Where no other can be had, the call runs below what is.
          if (main || outer != top) call.stack = spare.pop() ?? take(shadowStackSize);
          if (call.stack) call.pointer = (call.stack + like(top, shadowStackSize)) & like(top, -16);
          else if (!main) {
            main = call;
            call.home = outer;
          }
        }
      }
      if (call.pointer) stackPointer.value = call.pointer;
      return outer;
    },

    /**
     * Begin to unwind a call. Returns what the import is to return meanwhile: it converts to any type of number.
     * @param {Call | undefined} call
     * @param {Function} site The import, as the guest sees it.
     * @param {any} promise What it returned.
     * @param {Description} module The module that imports it.
     * @param {number} index The import's function index.
     * @param {string} name The import's name.
     * @param {boolean} checks Whether to look for functions that are not instrumented.
     */
    suspend(call, site, promise, { listed, resultCounts }, index, name, checks) {
      const refuse = (/** @type {string} */ why) => fail(`${name} cannot suspend: ${why}`);
      if (!call) return refuse("outside of a promising call");
      if (!call.entry || (call.guest ?? guest) != guest) refuse("across JavaScript or another instance");
      if (!instrumented) refuse("not instrumented");
      const stranger = (/** @type {Uint8Array} */ bits, /** @type {number} */ f) => !(((bits[f >> 3] ?? 255) >> (f & 7)) & 1);
      if (stranger(listed, index)) refuse("not on the import list");
      /** The module of the innermost function. @type {string | undefined} */
      let place;
      const strangers =
        checks &&
        functionsOnStack((f, module) => {
          place ??= module;
          // Where a trace calls two modules the same, it cannot be told whose functions these are.
          if (module == place) traced.set(module, (traced.get(module) ?? listed) == listed ? listed : NOTHING);
          return stranger(traced.get(module) ?? NOTHING, f);
        }).join();
      if (strangers) refuse(`not instrumented: ${strangers}`);
      if (!call.guest) {
        call.guest = guest;
        calls.add(call);
        main ??= call;
      }
      if ((top && main != call && !call.stack) || !settleDown()) refuse("no allocator, region or memory for a stack");
      call.site = site;
      call.promise = promise;
      call.state = UNWINDING;
      own(call, SUSPEND);
      if (!thunks) exports.asyncify_start_unwind(pointer);
      return resultCounts[index] > 1 ? Array(resultCounts[index]).fill("0") : "0";
    },

    /** The call has reached the import that suspended it. */
    land() {
      if (!thunks) exports.asyncify_stop_rewind();
    },

    /**
     * A call has suspended or ended.
     * @param {Call} call
     * @param {any} outer What `enter` returned.
     */
    leave(call, outer) {
      let next = main == call ? call.home : outer;
      if (call.state == UNWINDING) {
        call.limit = read(CURRENT);
        // Entry thunks have put the pointer back, if they know it.
        call.pointer = like(top, read(STACK_POINTER)) || stackPointer.value;
        own(call, RUN, call.limit);
        if (!call.thunk) {
          // Binaryen's modules write first, and trap here.
          if (call.limit > end) throw recover(call);
          exports.asyncify_stop_unwind();
        }
        if (main == call) next = call.pointer;
      }
      if (next) stackPointer.value = next;
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
