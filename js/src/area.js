/**
 * The area of memory with the control block and, behind it, the frames of one suspended call.
 *
 * One area serves all suspended calls: only one call unwinds or rewinds at a time, and a call's frames are copied out when
 * another call needs their place, so that a program with one call at a time never copies. The plain ABI knows only the
 * beginning of the block, but has the same room here.
 */

import { CURRENT_OFFSET, FRAMES_OFFSET, STACK_POINTER_OFFSET, STATUS_OFFSET, STATUS_RUN } from "./abi.js";
import { findRoom } from "./room.js";
import { like, unsigned } from "./stacks.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {ReturnType<typeof makeArea>} Area */

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
  /** Where the frames begin, and where the room for them ends. */
  let base = 0;
  let end = 0;
  /** The memory from the block on, as pointers, which is empty once it has moved, as it does when it grows. */
  let fields = /** @type {any} */ ([]);
  /** How many bytes a pointer has. */
  let width = 4;
  /** The call that the frames in memory belong to. @type {Call | undefined} */
  let owner;

  /** Return the memory's bytes. */
  const bytes = () => new Uint8Array(memory.buffer);

  /** Return the fields of the block, brought up to date. */
  const block = () => {
    if (!fields.length) {
      const { buffer } = memory;
      fields = new (width > 4 ? BigUint64Array : Uint32Array)(buffer, base - FRAMES_OFFSET);
      if (exports.asyncify_memory) end = buffer.byteLength;
    }
    return fields;
  };
  const read = (/** @type {number} */ offset) => Number(block()[offset / width]);
  const write = (/** @type {number} */ offset, /** @type {number} */ number) => {
    block()[offset / width] = like(pointer, number);
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
    if (owner != call && owner?.promise) owner.frames = bytes().slice(base, base + /** @type {number} */ (owner.size));
    owner = call;
    write(CURRENT_OFFSET, base + size);
    write(width, end);
    write(STATUS_OFFSET, status);
    write(STACK_POINTER_OFFSET, 0);
    if (call.frames) bytes().set(call.frames, base);
    call.frames = undefined;
  };

  return {
    read,
    write,
    tell,

    /** Begin to rewind; where the block is the guest was told before. */
    rewind: () => exports.asyncify_start_rewind(pointer),

    /** Find a place, once. Returns why there is none. */
    settle() {
      if (base) return;
      const found = findRoom(exports, memory, facts, options);
      if (typeof found == "string") return found;
      const from = unsigned(found[0]);
      const to = Number(found[1]);
      const at = Math.ceil(from / 16) * 16;
      if (at + FRAMES_OFFSET > to) throw tooSmall(to - at - FRAMES_OFFSET);
      if (to > memory.buffer.byteLength) throw new RangeError(`asyncify stack at ${from} to ${to}: beyond the memory's end`);
      pointer = like(found[0], at);
      if (typeof pointer == "bigint") width = 8;
      if (thunks) tell(exports.asyncify_set_data_pointer);
      base = at + FRAMES_OFFSET;
      end = to;
      // What an allocator gives has been used before.
      bytes().fill(0, at, base);
    },

    give,

    /** Keep the frames of a call that has unwound. Returns whether they lie in the area. @param {Call} call */
    keep(call) {
      call.size = read(CURRENT_OFFSET) - base;
      give(call, STATUS_RUN, call.size);
      return base + call.size <= end;
    },

    /** The error for a call that trapped because its frames did not fit; nothing if they would have. @param {Call} call */
    overflow: ({ name }) => (read(CURRENT_OFFSET) + PUSH > end ? tooSmall(end - base, `export ${name}: `) : undefined),
  };
}
