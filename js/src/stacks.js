/**
 * The shadow stacks of a guest: the part of C's stack that lies in memory, below an address that a global holds.
 *
 * They cannot be moved, because the guest holds addresses of what lies there. So the first call runs on the guest's own and
 * leaves the pointer below its frames while it is suspended, and calls that start meanwhile get stacks from the allocator, as
 * large as the guest's own. A guest that compares the pointer with the limits of its stack finds those of the stack that it
 * runs on, if it keeps them where they can be set. Nothing keeps a guest from running over a stack's end, but when it
 * suspends, and before it is resumed, it is noticed.
 */

import { REWINDING, UNWINDING } from "./call.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {ReturnType<typeof makeStacks>} Stacks */

// The size of further stacks where nobody knows that of the guest's own.
const DEFAULT_SIZE = 1 << 16;

/** Give a number the type of a pointer. @param {any} pointer @param {number} number @returns {any} */
export const like = (pointer, number) => (typeof pointer == "bigint" ? BigInt(number) : number);

/** The number that a pointer is: one of 32 bits comes with a sign. @param {any} pointer */
export const unsigned = (pointer) => (typeof pointer == "bigint" ? Number(pointer) : pointer >>> 0);

/**
 * @param {any} exports Of the guest.
 * @param {(bytes: number) => any} take Allocates in the guest.
 * @param {number} [wanted] The size of further stacks, in bytes.
 * @param {any} [told] The lowest address of the guest's own stack, as the module tells it.
 */
export function makeStacks(exports, take, wanted, told) {
  const get = exports.emscripten_stack_get_current ?? exports.stackSave;
  const set = exports._emscripten_stack_restore ?? exports.stackRestore;
  /** The global or the functions that hold the pointer. @type {{ value?: any }} */
  const register =
    exports.asyncify_stack_pointer ??
    exports.__stack_pointer ??
    (get && set ? Object.defineProperty({}, "value", { get, set }) : {});
  /** The pointer where nothing runs; undefined where there is none. */
  const top = register.value;

  /** The globals in which the guest keeps the limits of its stack, if it does. @type {{ value: any }[][]} */
  const [lows, highs] = ["low", "high"].map((end) =>
    Object.keys(exports).flatMap((name) => (name.startsWith(`asyncify_stack_${end}`) ? exports[name] : [])),
  );
  const readLow = exports.emscripten_stack_get_end ?? (() => (lows[0] ?? exports.__stack_low)?.value);
  const readHigh = exports.emscripten_stack_get_base ?? (() => (highs[0] ?? exports.__stack_high)?.value);
  /** Set the limits, and return what they were. @param {any} low @param {any} high @returns {[low: any, high: any]} */
  const limit = (low, high) => {
    /** @type {[any, any]} */
    const before = [readLow(), readHigh()];
    for (const global of lows) global.value = low;
    for (const global of highs) global.value = high;
    if (!lows[0] && before[1]) {
      exports.emscripten_stack_set_limits?.(high, low);
      exports.__set_stack_limits?.(high, low);
    }
    return before;
  };

  /** The lowest address of the guest's own stack; undefined as long as nobody knows. @type {number | undefined} */
  let lowest = told;
  const findLowest = () => (lowest ??= top && unsigned(readHigh() ?? 0) >= unsigned(top) ? unsigned(readLow()) : undefined);

  /** The call on the guest's own stack. @type {Call | undefined} */
  let main;
  /** Further stacks that nobody uses, and the size of all. @type {any[]} */
  const spare = [];
  let size = 0;

  /**
   * See that a call has not run over the end of its stack. (Above it, it may: guests switch stacks themselves, too.)
   * @param {Call} call
   * @param {any} [pointer]
   */
  const check = (call, pointer = register.value) => {
    if (!top) return;
    const end = call.stack ?? (main == call ? findLowest() : undefined);
    if (end === undefined || unsigned(pointer) >= unsigned(end)) return;
    const bytes = call.stack ? size : unsigned(top) - unsigned(end);
    throw new RangeError(`export ${call.name}: the C stack of ${bytes} bytes has overflowed`);
  };

  return {
    check,

    /** Find a stack for a call that starts. Where no other can be had, it runs below what is on the guest's own. @param {Call} call */
    start(call) {
      if (!top) return;
      if (main || register.value != top) {
        size ||= wanted ?? unsigned(top) - (findLowest() ?? unsigned(top) - DEFAULT_SIZE);
        call.stack = spare.pop() ?? take(size);
      }
      if (call.stack) call.pointer = (call.stack + like(top, size)) & like(top, -16);
      else if (!main) {
        main = call;
        call.home = top;
      }
    },

    /** Leave the guest's own stack to a call of which nobody knew whose it is, if it is free. @param {Call} call */
    adopt(call) {
      main ??= call;
    },

    /** The size of the stack that a call would need to suspend, and has not; 0 if it has what it needs. @param {Call} call */
    lacking: (call) => (!top || main == call || call.stack ? 0 : size),

    /** Let a call run on its stack. Returns what is to be restored. @param {Call} call */
    enter(call) {
      if (!top) return;
      const outer = register.value;
      // What was allocated on the guest's own stack while the call waited stays: the import may return its address.
      if (main == call && call.state && unsigned(outer) < unsigned(call.pointer)) call.pointer = outer;
      if (call.state) check(call, call.pointer);
      if (call.stack) call.limits = limit(call.stack, call.stack + like(top, size));
      if (call.pointer) register.value = call.pointer;
      return outer;
    },

    /**
     * A call has suspended or ended.
     * @param {Call} call
     * @param {any} outer What `enter` returned; undefined for a call that has been adopted.
     * @param {number} left Where a thunk has left the pointer of a call that is suspended; 0: it is still set.
     */
    leave(call, outer, left) {
      if (!top) return;
      let next = main == call ? call.home : outer;
      if (call.state == UNWINDING) {
        call.pointer = like(top, left) || register.value;
        if (main == call) next = call.pointer;
      }
      if (next) register.value = next;
      if (call.limits) limit(...call.limits);
      call.limits = undefined;
    },

    /** Take back the stack of a call that has ended. @param {Call} call */
    finish(call) {
      if (call.stack) spare.push(call.stack);
      if (main != call) return;
      main = undefined;
      // It could not be resumed.
      if (call.state == REWINDING) register.value = call.home;
    },
  };
}
