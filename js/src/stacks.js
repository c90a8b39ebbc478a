/**
 * The shadow stacks of a guest: the part of C's stack that lies in memory, below an address that a global holds.
 *
 * They cannot be moved, because the guest holds addresses of what lies there. So the first call runs on the guest's own and
 * leaves the pointer below its frames while it is suspended, and calls that start meanwhile get stacks from the allocator, as
 * large as the guest's own.
 *
 * While the first call and others wait, and nothing runs, the pointer is on a stack for the host: what imports allocate there
 * after they have waited, to return its address, could be for any of these calls, and stays until all of them have ended. On
 * the first call's stack that call would overwrite it, and to refuse instead was rejected: it would end calls that have
 * allocated nothing.
 *
 * While the first call waits alone the pointer stays below its frames, since a guest may scan its stack. What is allocated
 * there then may be an argument of the call that begins next, which nothing protects once the function that waits has
 * returned. So these bytes are put back whenever the first call has run on and does not use their place.
 *
 * A guest that compares the pointer with the limits of its stack finds those of the stack that it runs on, if it keeps them
 * where they can be set. Nothing keeps a guest from running over a stack's end, but when it suspends, and before it is
 * resumed, it is noticed.
 */

import { STACK_HIGH, STACK_LOW } from "./abi.js";
import { REWINDING, UNWINDING } from "./call.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {"emscripten_stack_get_current" | "stackSave" | "_emscripten_stack_restore" | "stackRestore"} Accessors */
/** @typedef {"emscripten_stack_get_end" | "emscripten_stack_get_base" | "emscripten_stack_set_limits" | "__set_stack_limits"} Limits */
/** @typedef {"__stack_pointer" | "__stack_low" | "__stack_high"} Symbols */
/** @typedef {import("./guest.js").Exports & Partial<Record<Accessors | Limits | Symbols, any>>} Exports */
/** @typedef {ReturnType<typeof makeStacks>} Stacks */

/**
 * What was allocated on a stack for a call that runs on another.
 * @typedef {object} Kept
 * @property {number} low
 * @property {number} high
 * @property {ArrayLike<number>} [bytes] What was there before the stack's own call ran on.
 * @property {boolean} [lost] Whether that call has overwritten it, and still uses the place.
 */

// The size of further stacks where nobody knows that of the guest's own.
const DEFAULT_SIZE = 1 << 16;

/** Give a number the type of a pointer. @param {any} pointer @param {number} number @returns {any} */
export const like = (pointer, number) => (typeof pointer == "bigint" ? BigInt(number) : number);

/** The number that a pointer is: one of 32 bits comes with a sign. @param {any} pointer */
export const unsigned = (pointer) => (typeof pointer == "bigint" ? Number(pointer) : pointer >>> 0);

/**
 * @param {Exports} exports
 * @param {(bytes: number) => any} take Allocates in the guest.
 * @param {number} [wanted] The size of further stacks, in bytes.
 * @param {any} [told] The lowest address of the guest's own stack, as the module tells it.
 * @param {any} [memory] The memory that they lie in.
 */
export function makeStacks(exports, take, wanted, told, memory) {
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
  const [lows, highs] = [STACK_LOW, STACK_HIGH].map((prefix) =>
    Object.entries(exports).flatMap(([name, value]) => (name.startsWith(prefix) ? value : [])),
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
  /** How many calls have one. */
  let others = 0;
  /** The pointer before any call began; undefined while there is none. @type {any} */
  let home;

  /** The stacks for the host. They stay, since it may put the pointer back there at any time. @type {any[]} */
  const hosts = [];
  /** How many of them are in use, and where the pointer is on the last of these. */
  let used = 0;
  /** @type {any} */
  let hostPointer;
  /** While the pointer is there: where else it would be, and the limits. @type {[pointer: any, low: any, high: any] | undefined} */
  let away;

  /** What was allocated below the first call while that waited alone, for the call that began then. @type {Kept | undefined} */
  let kept;
  /** Its bytes, as they are. @param {Kept} place */
  const bytesOf = ({ low, high }) => new Uint8Array(memory.buffer, low, high - low);
  /** Put them back. @param {Kept} place */
  const putBack = (place) => {
    if (place.bytes) bytesOf(place).set(place.bytes);
    place.lost = false;
  };

  /** The highest address of a further stack. @param {any} stack */
  const topOf = (stack) => (stack + like(top, size)) & like(top, -16);
  /** On which of the host's stacks a pointer is; -1: on none. @param {any} pointer */
  const findHost = (pointer) => hosts.findIndex((stack) => pointer >= unsigned(stack) && pointer < unsigned(topOf(stack)));
  /** The error for a stack whose end was run over. @param {Call} call @param {number} bytes @param {string} [whose] */
  const overflow = ({ name, stack }, bytes, whose) => {
    const option = stack || whose ? " (option shadowStackSize)" : "";
    return new RangeError(`export ${name}: ${whose ?? "the"} C stack of ${bytes} bytes has overflowed${option}`);
  };

  /** See that the host has a stack with room for more. Returns nothing if there is none to be had. */
  const provideHost = () => {
    if (used && unsigned(hostPointer) - unsigned(hosts[used - 1]) > size / 2) return hostPointer;
    const stack = hosts[used] ?? spare.pop() ?? take(size);
    if (!stack) return;
    hosts[used++] = stack;
    // Below its highest address, since that may be the next stack's lowest.
    return (hostPointer = topOf(stack) - like(top, 16));
  };

  /**
   * See that a call has not run over the end of its stack. (Above it, it may: guests switch stacks themselves, too.)
   * @param {Call} call
   * @param {any} [pointer]
   */
  const check = (call, pointer = register.value) => {
    if (!top) return;
    const end = call.stack ?? (main == call ? findLowest() : undefined);
    if (end === undefined || unsigned(pointer) >= unsigned(end)) return;
    throw overflow(call, call.stack ? size : unsigned(top) - unsigned(end));
  };

  return {
    check,
    known: !!top,

    /**
     * Find a stack for a call that starts. Where no other can be had, it runs below what is on the guest's own.
     * @param {Call} call
     * @param {boolean} idle Whether nothing else of the guest runs.
     */
    start(call, idle) {
      if (!top) return;
      if (!main && !others) {
        used = findHost(unsigned(register.value)) + 1;
        if (used) {
          // The host has put it back to where it was when there were other calls.
          hostPointer = register.value;
          register.value = top;
        }
        if (idle) home = register.value;
      }
      const low = unsigned(register.value);
      if (idle && main && !others && memory && low < unsigned(main.pointer)) {
        call.kept = kept = { low, high: unsigned(main.pointer) };
      }
      if (main || kept || register.value != top) {
        size ||= wanted ?? unsigned(top) - (findLowest() ?? unsigned(top) - DEFAULT_SIZE);
        call.stack = spare.pop() ?? take(size);
        // Its arguments may be there, also when somebody has put the pointer back.
        if (idle && !main && low < unsigned(top)) kept ??= { low, high: low };
      }
      if (call.stack) {
        call.pointer = topOf(call.stack);
        others++;
      } else if (!main) {
        main = call;
        call.home = top;
        home ??= top;
      }
    },

    /** Leave the guest's own stack to a call of which nobody knew whose it is, if it is free. @param {Call} call */
    adopt(call) {
      main ??= call;
    },

    /** The size of the stack that a call would need to suspend, and has not; 0 if it has what it needs. @param {Call} call */
    lacking: (call) => (!top || ((main == call || call.stack) && (!main || !others || provideHost())) ? 0 : size),

    /** Let the host have a stack of its own, if nobody knows for which call it allocates. Nothing of the guest runs. */
    rest() {
      if (away || !others) return;
      if (!main) {
        // Where the first call was started by a function of the guest, that has returned.
        home ??= register.value;
        return;
      }
      provideHost();
      const last = hosts[used - 1];
      away = [register.value, ...limit(last, topOf(last))];
      register.value = hostPointer;
    },

    /** Take the host's stack from it before a call runs. What was allocated there stays. @param {Call} call */
    wake(call) {
      if (!away) return;
      const found = register.value;
      const at = unsigned(found);
      const host = findHost(at) + 1;
      const [pointer, ...limits] = away;
      away = undefined;
      limit(...limits);
      register.value = pointer;
      if (host) {
        // Who puts it up again may have been overtaken by others, whose part is below.
        if (host == used && at < unsigned(hostPointer)) hostPointer = found;
      } else if (at <= unsigned(top)) {
        // Somebody has put it back to where it was before.
        if (at < unsigned(pointer)) register.value = found;
      } else if (at < unsigned(hostPointer)) {
        hostPointer = hosts[used - 1];
        throw overflow(call, size, "the host's");
      }
    },

    /** Let a call run on its stack. Returns what is to be restored. @param {Call} call */
    enter(call) {
      if (!top) return;
      const outer = register.value;
      // What was allocated on the guest's own stack while the call waited stays: the import may return its address.
      if (main == call && call.state && unsigned(outer) < unsigned(call.pointer)) call.pointer = outer;
      if (call.state) check(call, call.pointer);
      if (call.state && call.kept) {
        if (call.kept.lost) throw new RangeError(`export ${call.name}: the first call has overwritten its arguments on the C stack: take them from malloc`);
        // Somebody has put the pointer back above them, when that call had ended.
        if (!main && unsigned(outer) > call.kept.low) putBack(call.kept);
      }
      if (main == call && kept && !kept.lost) kept.bytes = bytesOf(kept).slice();
      if (call.stack) call.limits = limit(call.stack, topOf(call.stack));
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
      if (main == call && kept?.bytes) {
        const { low, high, bytes } = kept;
        if (call.state != UNWINDING || unsigned(call.pointer) >= high) putBack(kept);
        else kept.lost ||= bytesOf(kept).some((byte, at) => byte != bytes[at]);
        if (call.state != UNWINDING && others && low < unsigned(next)) next = like(top, low);
      }
      if (next) register.value = next;
      if (call.limits) limit(...call.limits);
      call.limits = undefined;
    },

    /**
     * Take back the stack of a call that has ended.
     * @param {Call} call
     * @param {boolean} [idle] Whether nothing of the guest runs.
     */
    finish(call, idle) {
      if (call.stack) {
        spare.push(call.stack);
        others--;
      }
      if (main == call) {
        main = undefined;
        // It could not be resumed.
        if (call.state == REWINDING && call.home) register.value = call.home;
      }
      if (main || others) return;
      // What was allocated for any of them is no longer used.
      used = 0;
      kept = undefined;
      if (idle && unsigned(register.value) < unsigned(home)) register.value = home;
      home = undefined;
    },
  };
}
