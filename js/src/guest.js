/**
 * An instance of an instrumented module: its asyncify stack, its shadow stacks, and the steps of both ABIs.
 *
 * One area of memory serves all suspended calls: only one call unwinds or rewinds at a time, and a call's frames are
 * copied out when another call needs their place, so that a program with one call at a time never copies. Shadow stacks
 * cannot be moved, because the guest holds addresses of what lies there: the first call runs on the guest's own stack
 * and leaves the pointer below its frames while it is suspended, and calls that start meanwhile get stacks of their own.
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

// The control block of the thunk ABI, in words from its address.
const STATUS = 4;
const STACK_POINTER = 6;
const SUSPEND = 1;
const CALL_AGAIN = 3;
// What one push of frame values can need, in bytes: with less left when a call traps, the stack was too small.
const PUSH = 128;

const CLOSED = "the instance is closed";

/** Whether any module was instrumented: a function that nobody knows may be from one. */
export let instrumentedAny = false;

/**
 * @param {WebAssembly.Module} module
 * @param {Options} options
 */
export function makeGuest(module, options) {
  const { stackSize = 1 << 18, shadowStackSize = 1 << 16, allocate, region, memory: memoryName } = options;
  const exporting = (/** @type {string} */ wanted) =>
    WebAssembly.Module.exports(module).some(({ name }) => name == wanted);
  const instrumented = exporting("asyncify_start_unwind");
  const thunks = exporting("asyncify_set_data_pointer");
  instrumentedAny ||= instrumented;

  // Which functions may be on the stack at a suspension, a bit for each, and how many results each import has. Both are
  // empty where the module does not tell.
  const [listed, resultCounts] = ["functions", "results"].map(
    (name) => new Uint8Array(WebAssembly.Module.customSections(module, `asyncify.${name}`)[0]),
  );

  /** @type {any} */
  let exports = {};
  /** @type {any} */
  let memory;
  /** The global or the functions that hold the shadow stack pointer. @type {{ value?: any }} */
  let stackPointer = {};
  /** The shadow stack pointer where nothing runs; undefined where there is none. @type {any} */
  let top;
  /** Make a number an address of the shadow stack. @param {number} number @returns {any} */
  const cast = (number) => (typeof top == "bigint" ? BigInt : Number)(number);
  /** The call on the guest's own shadow stack. @type {Call | undefined} */
  let main;
  /** Shadow stacks that nobody uses. @type {any[]} */
  const spare = [];
  /** All calls that have not ended. @type {Set<Call>} */
  const calls = new Set();
  let closed = false;
  /** The call that the frames in memory belong to. @type {Call | undefined} */
  let owner;
  /** The data structure's address as the guest takes it. @type {any} */
  let pointer;
  /** The data structure's place in words, and where its second field is. */
  let place = 0;
  let endPlace = 0;
  /** Where the frames begin, and where the room for them ends. */
  let base = 0;
  let end = 0;
  let words = new Int32Array();

  /** Bring the view of the memory up to date: it moves when it grows. */
  const refresh = () => {
    if (words.length) return;
    words = new Int32Array(memory.buffer, 0, memory.buffer.byteLength >> 2);
    if (exports.asyncify_memory) end = memory.buffer.byteLength;
  };

  /** Allocate in the guest; 0 or undefined if that fails. @param {number} bytes @returns {any} */
  const take = (bytes) => (allocate ?? exports.malloc)?.(bytes);

  /** Find a place for the asyncify stack, once. Returns whether there is one. */
  const settleDown = () => {
    if (!base && memory) {
      pointer = exports.asyncify_memory ? 16 : region ? region[0] : take(stackSize);
      if (pointer) {
        if (thunks) exports.asyncify_set_data_pointer(pointer);
        const at = Number(pointer);
        place = at >>> 2;
        endPlace = place + (typeof pointer == "bigint" ? 2 : 1);
        base = at + (thunks ? 288 : 16);
        end = region ? Number(region[1]) : at + stackSize;
        words = new Int32Array();
      }
    }
    return base;
  };

  /** Write the data structure. @param {number} current */
  const point = (current) => {
    words[place] = current;
    words[endPlace] = end;
  };

  /** Give the place of the frames to a call; those of another call that needs them are copied out. @param {Call} call */
  const own = (call) => {
    refresh();
    if (owner && owner != call && owner.promise) {
      owner.frames = new Uint8Array(words.buffer).slice(base, owner.limit);
    }
    owner = call;
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
      refresh();
      if (call.state == UNWINDING && end - (words[place] >>> 0) < PUSH) {
        error = new RangeError(`export ${call.name}: the asyncify stack of ${end - base} bytes is too small`);
      }
      point(base);
      try {
        exports.asyncify_stop_unwind();
      } catch {
        // It reports the overflow once more.
      }
      if (thunks) words[place + STATUS] = words[place + STACK_POINTER] = 0;
      call.state = RUNNING;
      call.promise = undefined;
    }
    return error;
  };

  /** @param {Call} call */
  const finish = (call) => {
    calls.delete(call);
    if (owner == call) owner = undefined;
    if (main == call) main = undefined;
    if (call.stack) spare.push(call.stack);
  };

  const guest = {
    instrumented,
    lost,
    recover,
    finish,

    /** Remember what may be the memory. @param {any} value */
    offer(value) {
      if (value instanceof WebAssembly.Memory) memory ??= value;
    },

    /** Take an instance's exports. @param {WebAssembly.Instance} instance */
    link(instance) {
      exports = instance.exports;
      const imported = memory;
      memory = exports[memoryName ?? "asyncify_memory"];
      [...Object.values(exports), imported].forEach(guest.offer);
      const get = exports.emscripten_stack_get_current ?? exports.stackSave;
      const set = exports._emscripten_stack_restore ?? exports.stackRestore;
      stackPointer =
        exports.asyncify_stack_pointer ??
        exports.__stack_pointer ??
        (get && set ? Object.defineProperty({}, "value", { get, set }) : {});
      top = stackPointer.value;
    },

    settleDown,

    /** What an import returns while its call is unwound: it converts to any number type. @param {number} index */
    placeholder(index) {
      return resultCounts[index] > 1 ? Array(resultCounts[index]).fill("0") : "0";
    },

    /**
     * Prepare for a call's start or its rewinding. Returns the shadow stack pointer of whoever runs now.
     * @param {Call} call
     */
    enter(call) {
      if (closed) fail(CLOSED);
      const outer = stackPointer.value;
      if (call.state == REWINDING) {
        own(call);
        if (call.frames) new Uint8Array(words.buffer).set(call.frames, base);
        call.frames = undefined;
        point(/** @type {number} */ (call.limit));
        if (thunks) words[place + STATUS] = CALL_AGAIN;
        if (!call.thunk) exports.asyncify_start_rewind(pointer);
      } else {
        calls.add(call);
        if (top) {
          // The guest's own stack serves if nothing is on it. Where no other can be had, the call runs below what is.
          if (main || outer != top) call.stack = spare.pop() ?? take(shadowStackSize);
          if (call.stack) call.pointer = (call.stack + cast(shadowStackSize)) & cast(-16);
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
     * Begin to unwind a call.
     * @param {Call} call
     * @param {number} index The import's function index.
     * @param {string} name The import's name.
     * @param {boolean} checks Whether to look for functions that are not instrumented.
     */
    suspend(call, index, name, checks) {
      const refuse = (/** @type {string} */ why) => fail(`${name} cannot suspend: ${why}`);
      if (!instrumented) refuse("not instrumented");
      if (call.guest && call.guest != guest) refuse("called across instances");
      const stranger = (/** @type {number} */ f) => !(((listed[f >> 3] ?? 255) >> (f & 7)) & 1);
      if (stranger(index)) refuse("not on the import list");
      const strangers = checks && functionsOnStack(stranger).join();
      if (strangers) refuse(`not instrumented: ${strangers}`);
      if (!call.guest) {
        call.guest = guest;
        calls.add(call);
        main ??= call;
      }
      if (top && main != call && !call.stack) refuse("no allocator or memory for another shadow stack");
      if (!settleDown()) refuse(`no allocator, region or memory for ${stackSize} bytes of stack`);
      own(call);
      point(base);
      if (thunks) words[place + STATUS] = SUSPEND;
      else exports.asyncify_start_unwind(pointer);
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
        refresh();
        call.limit = words[place] >>> 0;
        let left = stackPointer.value;
        if (thunks) words[place + STATUS] = 0;
        if (call.thunk) {
          left = cast(words[place + STACK_POINTER] >>> 0);
          words[place + STACK_POINTER] = 0;
        } else {
          // Binaryen's modules write first, and trap here.
          if (call.limit > end) throw recover(call);
          exports.asyncify_stop_unwind();
        }
        call.pointer = left;
        if (main == call) next = left;
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
