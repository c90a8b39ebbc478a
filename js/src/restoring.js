/**
 * Putting a saved state into a new instance, before any code of the guest's own has run there.
 *
 * Everything that the state says is compared with the module first: memories, globals, tables and segments by their index
 * and kind, calls by their export and import. What a forged state can then do is what a guest can do to itself.
 */

import { CONTROL_BLOCK, ENTRY_PREFIX, PREEMPT_FRAMES_OFFSET, STATE_DROP_DATA, STATE_DROP_ELEMENTS, STATE_MEMORIES, STATE_TABLES } from "./abi.js";
import { UNWINDING } from "./call.js";
import { find, recorded } from "./capture.js";
import { EngineInstance } from "./errors.js";
import { refuse } from "./format.js";
import { heldLoader } from "./held_references.js";
import { at, referenceLoader } from "./saved_references.js";
import { putStacksBack } from "./saved_stacks.js";
import { valueOf, writeGlobal } from "./saved_values.js";
import { CHUNK, numbersOf } from "./schema.js";
import { attach } from "./slices.js";
import { HELD, PAUSE, UNBOUNDED } from "./slicing.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./call.js").Site} Site */
/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./schema.js").State} State */
/** @typedef {import("./schema.js").MemoryState} MemoryState */
/** @typedef {import("./schema.js").CallRecord} CallRecord */
/** @typedef {import("./state_section.js").StateSection} StateSection */
/** @typedef {ReturnType<typeof referenceLoader>} References */

const PAGE = 65536;

/**
 * Throws SnapshotError where a state does not fit the module.
 * @param {WebAssembly.Instance} instance @param {StateSection} section @param {State} state
 * @param {import("./saved_references.js").LoadObject} [loadObject]
 */
export function putBack(instance, section, state, loadObject) {
  const { guest, added } = find(instance);
  /** @type {any} */
  const exports = instance.exports;
  const references = referenceLoader(exports, section.functions, state.objects, loadObject);
  compare("memories", state.memories, section.memories);
  compare("globals", state.globals, section.globals);
  compare("tables", state.tables, section.tables);
  state.memories.forEach((memory, place) => {
    if (memory.page_size != section.memories[place].page_size) refuse(`memory ${memory.index} of the snapshot has other pages than that of the module`);
    writeMemory(exports[STATE_MEMORIES + memory.index], memory);
  });
  const held = heldLoader(exports, state.exceptions, references);
  state.globals.forEach(({ index, type, bits }, place) => {
    const known = section.globals[place];
    if (known.declared) held.putBack(known, false, [Number(bits)]);
    else writeGlobal(exports, index, type, bits, (kind, number) => references.load(kind, number));
  });
  if (exports.asyncify_fuel) exports.asyncify_fuel.value = UNBOUNDED;
  state.tables.forEach(({ index, type, elements }, place) => {
    const known = section.tables[place];
    if (known.declared) held.putBack(known, true, numbersOf(elements));
    else writeTable(exports[STATE_TABLES + index], index, type, numbersOf(elements), references);
  });
  dropAgain("data", exports, STATE_DROP_DATA, state.dropped_data, section.data);
  dropAgain("element", exports, STATE_DROP_ELEMENTS, state.dropped_elements, section.elements);
  if (!state.calls.length) return;
  makeRoom(guest, added, state);
  const calls = state.calls.map((record, place) => makeCall(exports, guest, section, record, `call ${place} of the snapshot (${record.export})`, references));
  for (const call of calls) guest.calls.add(call);
  putStacksBack(guest, state.stacks, calls, state.calls);
  if (calls.some(({ site }) => site == PAUSE)) attach(guest);
}

/** @param {string} what @param {{ index: number, type?: string }[]} given @param {{ index: number, type?: string }[]} wanted */
function compare(what, given, wanted) {
  const differs = given.length != wanted.length || given.some(({ index, type }, place) => index != wanted[place].index || (type && type != wanted[place].type));
  if (differs) refuse(`the snapshot has other ${what} than the module`);
}

/** @param {WebAssembly.Memory} memory @param {MemoryState} state */
function writeMemory(memory, { index, size, page_size, runs, initial }) {
  const { byteLength } = memory.buffer;
  const what = `memory ${index} of the snapshot has ${size} bytes`;
  if (!(memory.buffer instanceof ArrayBuffer)) refuse(`${what}, and that of the module is shared between threads`);
  if (byteLength > size) refuse(`${what}, and that of the module begins with ${byteLength}`);
  try {
    if (byteLength < size) at(memory, "grow", (size - byteLength) / page_size);
  } catch (error) {
    if (error instanceof RangeError) refuse(`${what}, and may not have as many here: ${error.message}`);
    throw error;
  }
  const bytes = new Uint8Array(memory.buffer);
  for (const [first, content] of runs) bytes.set(content, first * CHUNK);
  const kept = runs.map(([first, content]) => [first * CHUNK, first * CHUNK + content.length]);
  for (const [first, count] of initial) kept.push([first * CHUNK, (first + count) * CHUNK]);
  let place = 0;
  for (const [start, end] of kept.sort(([one], [other]) => one - other)) {
    // What grew is zero already.
    clear(bytes.subarray(place, Math.max(place, Math.min(start, byteLength))));
    place = end;
  }
  clear(bytes.subarray(Math.min(place, byteLength), byteLength));
}

/**
 * Something that converts to whatever an export takes, but for functions of a certain type: what a rewound function works
 * with comes from its frame. It is a function, which serves as any reference, and converts to zero as a number.
 * @returns {Function}
 */
function anyArgument() {
  if (!any) {
    // (module (func (export "f")))
    const module = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 4, 1, 2, 0, 11);
    any = /** @type {Function} */ (new EngineInstance(new WebAssembly.Module(module)).exports.f);
    Object.defineProperty(any, Symbol.toPrimitive, { value: () => "0" });
  }
  return any;
}

/** @type {Function | undefined} */
let any;

/** Make a range zero that may have the module's own data; what is zero already takes no memory. @param {Uint8Array} bytes */
function clear(bytes) {
  const words = bytes.byteOffset % 4 ? bytes : new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  for (let place = 0; place < words.length; place++) {
    if (words[place]) {
      const behind = Math.min(words.length, place + CHUNK);
      words.fill(0, place, behind);
      place = behind;
    }
  }
  bytes.fill(0, bytes.length & ~3);
}

/** @param {any} table @param {number} index @param {string} type @param {number[]} numbers @param {References} references */
function writeTable(table, index, type, numbers, references) {
  const missing = numbers.length - Number(table.length);
  if (missing < 0) refuse(`table ${index} of the snapshot has ${numbers.length} elements, and that of the module more`);
  try {
    if (missing) at(table, "grow", missing, null);
  } catch (error) {
    if (error instanceof RangeError) refuse(`table ${index} of the snapshot has ${numbers.length} elements, and may not have as many here: ${error.message}`);
    throw error;
  }
  numbers.forEach((number, place) => at(table, "set", place, references.load(type, number)));
}

/** @param {string} what @param {any} exports @param {string} prefix @param {number[]} dropped @param {number[]} known */
function dropAgain(what, exports, prefix, dropped, known) {
  for (const index of dropped) {
    if (!known.includes(index)) refuse(`the snapshot has dropped ${what} segment ${index}, which the module never drops`);
    exports[prefix + index]();
  }
}

/** See that the asyncify stack is there, and has room for each call's frames. @param {Guest} guest @param {boolean} added @param {State} state */
function makeRoom(guest, added, { calls, area }) {
  const memory = guest.exports.asyncify_memory;
  const { head } = guest.area;
  const size = Math.max(...calls.map(({ frames }) => frames.length));
  const where = "a call of the snapshot has frames for which the asyncify stack has no room here";
  if (memory) {
    const missing = CONTROL_BLOCK + head + size - memory.buffer.byteLength;
    try {
      if (missing > 0) at(memory, "grow", Math.ceil(missing / PAGE));
    } catch (error) {
      refuse(`${where}: ${/** @type {Error} */ (error).message}`);
    }
  } else if (area ? area[0] + head + size > area[1] : !added) refuse(area ? where : "the snapshot does not say where the asyncify stack lies");
  const why = guest.area.settle();
  if (why) refuse(why);
}

/**
 * @param {any} exports @param {Guest} guest @param {StateSection} section @param {CallRecord} record @param {string} where
 * @param {References} references
 */
function makeCall(exports, guest, section, record, where, references) {
  const entry = exports[record.export];
  const thunk = exports[ENTRY_PREFIX + record.export];
  if (section.uncallable?.includes(record.export)) refuse(`${where} is of an export that cannot be called from JavaScript: it takes vectors, or functions of a certain type`);
  if (typeof entry != "function" || (guest.thunks && !thunk)) refuse(`${where} cannot be suspended: the module has no such export, or it was instrumented for other imports`);
  const isPaused = record.function == PAUSE.name && guest.area.head == PREEMPT_FRAMES_OFFSET;
  if (!isPaused && !section.imports.includes(record.function)) refuse(`${where} waits in ${record.function}, which is no import that may suspend`);
  /** @type {import("./schema.js").Type[] | undefined} */
  const types = isPaused ? [] : section.parameters[record.function];
  if (types?.join() != record.arguments.map(([type]) => type).join()) refuse(`${where} has called ${record.function} with other arguments than it takes`);
  if (types.includes("v128")) refuse(`${where} waits in ${record.function}, which takes a vector: functions of JavaScript cannot`);
  if (!record.frames.length) refuse(`${where} has no frames`);
  /** @type {Call} */
  const call = {
    // Which of the guest's imports it is shows when it is rewound.
    guest: isPaused ? guest : Object.assign(Object.create(guest), {
      land(/** @type {Call} */ landing, /** @type {Site} */ site) {
        if (site.name == record.function) Object.assign(landing, { site, guest });
        return guest.land(landing, site);
      },
    }),
    entry,
    thunk,
    name: record.export,
    args: Array(entry.length).fill(anyArgument()),
    resolve() {},
    reject() {},
    state: UNWINDING,
    site: isPaused ? PAUSE : undefined,
    promise: HELD,
    asked: record.arguments.map(([type, bits]) => valueOf(type, bits, (kind, number) => references.load(kind, number))),
    frames: record.frames,
    size: record.frames.length,
  };
  recorded.set(call, record);
  return call;
}
