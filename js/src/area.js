/**
 * The area of memory with the control block and, behind it, the frames of one suspended call.
 *
 * One area serves all suspended calls: only one call unwinds or rewinds at a time, and a call's frames are copied out when
 * another call needs their place, so that a program with one call at a time never copies. The plain ABI knows only the
 * beginning of the block, but has the same room here.
 */

import {
  FACT_PAUSES_BY_FUEL,
  FACT_PAUSES_BY_REQUEST,
  FRAMES_OFFSET,
  PAUSE_OFFSET,
  PREEMPT_FRAMES_OFFSET,
  STACK_POINTER_OFFSET,
  STATUS_OFFSET,
  STATUS_PAUSED,
  STATUS_RUN,
} from "./abi.js";
import { findRoom } from "./room.js";
import { like, unsigned } from "./stacks.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {ReturnType<typeof makeArea>} Area */

// As the module's own: in each suspension, a constant of another module is read anew.
const NO_CHANGE = STATUS_RUN;
const AT_STATUS = STATUS_OFFSET;
const AT_STACK_POINTER = STACK_POINTER_OFFSET;

// What one push of frame values can need, in bytes: with less left when a call traps, the stack was too small.
const PUSH = 128;

/**
 * @param {import("./guest.js").Exports} exports
 * @param {any} memory The one with the asyncify stack.
 * @param {import("./description.js").Description} description
 * @param {import("./guest.js").Options} options
 */
export function makeArea(exports, memory, { thunks, facts }, options) {
  /** The control block's address as the guest takes it. @type {any} */
  let pointer;
  /** The size of the block: where there are pause points, they look at what is behind the results, which has to be zero. */
  const head = facts & (FACT_PAUSES_BY_REQUEST | FACT_PAUSES_BY_FUEL) ? PREEMPT_FRAMES_OFFSET : FRAMES_OFFSET;
  /** Where the frames begin, and where the room for them ends. */
  let base = 0;
  let end = 0;
  /** The memory from the block on, as pointers, which is empty once it has moved, as it does when it grows. */
  let fields = /** @type {any} */ ([]);
  /** All of the memory, made with the fields. @type {Uint8Array} */
  let bytes;
  /** How many bytes a pointer has. */
  let width = 4;
  /** The call that the frames in memory belong to. @type {Call | undefined} */
  let owner;

  /** Return the fields of the block, brought up to date, and the bytes with them. */
  const block = () => {
    if (!fields.length) {
      const { buffer } = memory;
      fields = new (width > 4 ? BigUint64Array : Uint32Array)(buffer, base - head);
      bytes = new Uint8Array(buffer);
      if (exports.asyncify_memory) end = buffer.byteLength;
    }
    return fields;
  };
  /** How many bytes of frames there are. */
  const sizeNow = () => Number(block()[0]) - base;

  /**
   * Write the fields that the guest knows.
   * @param {any} now They, up to date.
   * @param {number} status
   * @param {number} size How many bytes of frames there are.
   */
  const fill = (now, status, size) => {
    now[0] = like(pointer, base + size);
    now[1] = like(pointer, end);
    if (!thunks) return;
    now[AT_STATUS / width] = like(pointer, status);
    now[AT_STACK_POINTER / width] = like(pointer, 0);
  };

  /** Tell a function of the guest where the block is, in whatever type it was given. @param {Function} f */
  const tell = (f) => {
    try {
      f(pointer);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      const kind = width > 4 ? "numbers" : "BigInts";
      throw new TypeError(`option ${options.region ? "region" : "allocate"}: this guest's addresses are ${kind}`);
    }
  };

  /** @param {number} size @param {string} [subject] */
  const tooSmall = (size, subject = "") =>
    new RangeError(`${subject}the asyncify stack of ${size} bytes is too small (option ${options.region ? "region" : "stackSize"})`);

  /**
   * Give the block and the place of the frames to a call; another call's frames are copied out.
   * @param {Call} call
   * @param {number} status
   * @param {number} [size] How many bytes of frames it has.
   */
  const give = (call, status, size = 0) => {
    const now = block();
    if (owner != call && owner?.promise) owner.frames = bytes.slice(base, base + /** @type {number} */ (owner.size));
    owner = call;
    fill(now, status, size);
    if (call.frames) {
      bytes.set(call.frames, base);
      call.frames = undefined;
    }
  };

  return {
    head,
    tell,
    give,
    sizeNow,

    /**
     * Say what is to become of a pause: a call that may be suspended there, or PAUSE_NOT_NOW, or PAUSE_REFUSED.
     * @param {Call | number} of
     */
    pause(of) {
      if (!base) return;
      const isCall = typeof of == "object";
      if (isCall && owner != of) give(of, NO_CHANGE);
      const global = exports.asyncify_pause_data;
      if (global) global.value = isCall ? pointer : like(pointer, of);
      else block()[PAUSE_OFFSET / width] = like(pointer, isCall ? base : of);
    },

    /** Whether the guest has begun to unwind by itself. */
    paused: () => !!base && (thunks ? Number(block()[AT_STATUS / width]) == STATUS_PAUSED : !!exports.asyncify_get_state()),

    /** Know nothing more of a call, which has ended: what it was called with may go. @param {Call} call */
    forget(call) {
      if (owner == call) owner = undefined;
    },

    /** Return where the guest has left its shadow stack pointer in the block; 0: it has not. */
    stackPointer: () => (thunks ? Number(block()[AT_STACK_POINTER / width]) : 0),

    /** Say that no call is to be suspended or resumed. */
    run() {
      block()[AT_STATUS / width] = like(pointer, NO_CHANGE);
    },

    /** Begin to rewind; where the block is the guest was told before. */
    rewind: () => exports.asyncify_start_rewind(pointer),

    /** Let the guest forget the references in a suspended call's frames, which will not be rewound. @param {Call} call */
    drop(call) {
      give(call, NO_CHANGE, call.size);
      exports.asyncify_drop_references?.(pointer);
    },

    /** Find a place, once. Returns why there is none. */
    settle() {
      if (base) return;
      const found = findRoom(exports, memory, facts, options);
      if (typeof found == "string") return found;
      const from = unsigned(found[0]);
      const to = Number(found[1]);
      // Where pauses begin at 0, there are none.
      const at = Math.ceil((from || head - FRAMES_OFFSET) / 16) * 16;
      if (at + head > to) throw tooSmall(to - at - head);
      if (to > memory.buffer.byteLength) throw new RangeError(`asyncify stack at ${from} to ${to}: beyond the memory`);
      pointer = like(found[0], at);
      if (typeof pointer == "bigint") width = 8;
      if (thunks) tell(exports.asyncify_set_data_pointer);
      base = at + head;
      end = to;
      // What an allocator gives has been used before.
      block();
      bytes.fill(0, at, base);
    },

    /** Keep the frames of a call that has unwound. Returns whether they lie in the area. @param {Call} call */
    keep(call) {
      const size = (call.size = sizeNow());
      fill(fields, NO_CHANGE, size);
      return base + size <= end;
    },

    /** The error for a call that trapped because its frames did not fit; nothing if they would have. @param {Call} call */
    overflow: ({ name }) => (base + sizeNow() + PUSH > end ? tooSmall(end - base, `export ${name}: `) : undefined),
  };
}
