/** Saving: everything that a guest is, read while none of its code runs; nothing of it changes. */

import { FACT_ADDED_MEMORY, STATE_MEMORIES, STATE_PROBE_DATA, STATE_PROBE_ELEMENTS, STATE_TABLES, STATUS_RUN } from "./abi.js";
import { current } from "./call.js";
import { EngineInstance, enginePromising } from "./errors.js";
import { isZero, refuse } from "./format.js";
import { heldSaver, holdersOf, livePlaces } from "./held_references.js";
import { known } from "./obstacles.js";
import { uncounted } from "./room.js";
import { at, referenceSaver } from "./saved_references.js";
import { withSavedStacks } from "./saved_stacks.js";
import { bitsOf, readGlobal } from "./saved_values.js";
import { CHUNK, NULL } from "./schema.js";
import { PAUSE } from "./slicing.js";
import { unsigned } from "./stacks.js";
import { readStateSection } from "./state_section.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./schema.js").State} State */
/** @typedef {import("./state_section.js").StateSection} StateSection */
/** @typedef {ReturnType<typeof referenceSaver>} References */

/** What calls of restored guests were recorded as: their arguments have bits that JavaScript may not keep. @type {WeakMap<Call, import("./schema.js").CallRecord>} */
export const recorded = new WeakMap();

/** What is known of an instance. Throws for one that is none of the ponyfill's. @param {WebAssembly.Instance} instance */
export function find(instance) {
  if (!(instance instanceof EngineInstance)) throw new TypeError("not an instance");
  const found = known.get(instance);
  if (!found) {
    refuse(
      "the package did not make the instance, whose calls are on the engine's stack then: load the instrumented module by " +
        `instantiate of "caesura"${enginePromising ? ", not by WebAssembly's or that of caesura/auto, which are the engine's own JSPI here" : ""}`,
    );
  }
  const { guest, description } = /** @type {import("./obstacles.js").Known} */ (found);
  if (!guest.instrumented) refuse("the module is not instrumented: the stacks of its calls are the engine's, and cannot be saved");
  if (guest.handlers.length > 1) refuse("modules that are linked dynamically cannot be saved");
  return { guest, module: description.module, added: !!(description.facts & FACT_ADDED_MEMORY) };
}

/** @param {Guest} guest */
export const suspended = ({ calls }) => [...calls].filter(({ promise }) => promise);

/**
 * Return what a guest is.
 * @param {WebAssembly.Instance} instance
 * @param {{ saveObject?: import("./saved_references.js").SaveObject, wasi?: import("./schema.js").WasiState }} options
 * @returns {State}
 */
export function capture(instance, options) {
  const { slicing, exports } = find(instance).guest;
  // What counts is as in a guest that nobody has bounded, and reading it may not end at a pause point.
  return slicing && !current ? uncounted(exports, () => read(instance, options)) : read(instance, options);
}

/** @type {typeof capture} */
function read(instance, { saveObject, wasi }) {
  const { guest, module, added } = find(instance);
  if (guest.closed) refuse("the instance is closed, which has ended its calls: take a snapshot before that");
  if (current) {
    refuse(
      "a guest's code is running, so that there is a stack which is no data yet: take a snapshot where it waits. A function " +
        "that the guest has called is such a place once it has waited itself (await null)",
    );
  }
  const section = readStateSection(module);
  if (section.unsaved.length) refuse(`the guest cannot be saved: it has ${section.unsaved.join(", ")}`);
  /** @type {any} */
  const exports = instance.exports;
  for (const index of section.undropped) {
    if (!isDropped(exports[STATE_PROBE_ELEMENTS + index])) refuse(`the guest cannot be saved before it drops element segment ${index}, which has structures or arrays that can change`);
  }
  const references = referenceSaver(exports, section.functions, saveObject);
  const held = heldSaver(exports, section, references);
  const calls = suspended(guest);
  calls.forEach((call) => checkCall(call, exports));
  const area = calls.length ? placeOfFrames(guest, added) : undefined;
  return withSavedStacks(guest, calls, (stacks, where) => {
    const records = calls.map((call, number) => recordOf(call, section, references, where[number]));
    const live = livePlaces(section, records);
    // Objects and exceptions get their numbers in this order, so that the same state is the same bytes, whoever writes it.
    const tables = section.tables.map((item) => {
      const { index, type } = item;
      const runs = live.get(index);
      const numbers = item.declared ? held.read(item, true, runs) : readTable(exports[STATE_TABLES + index], index, type, references, runs);
      return { index, type, elements: packed(numbers) };
    });
    const globals = section.globals.map((item) => {
      const { index, type } = item;
      if (item.declared) return { index, type, bits: BigInt(held.read(item, false)[0]) };
      const bits = readGlobal(exports, index, type, (kind, value) => references.save(kind, value, `global ${index}`));
      return { index, type, bits };
    });
    return {
      module: {
        original: section.original,
        instrumented: section.instrumented,
        contract: section.contract,
        imports: section.imports,
        options: section.options,
        path: "",
      },
      calls: records,
      memories: section.memories.map(({ index, page_size }) => readMemory(exports[STATE_MEMORIES + index], index, page_size)),
      globals,
      tables,
      dropped_data: section.data.filter((index) => isDropped(exports[STATE_PROBE_DATA + index])),
      dropped_elements: section.elements.filter((index) => isDropped(exports[STATE_PROBE_ELEMENTS + index])),
      objects: references.objects,
      exceptions: held.exceptions,
      ...(area && { area }),
      stacks,
      ...(wasi && { wasi }),
    };
  });
}

/** @param {Call} call @param {any} exports */
function checkCall({ name, entry, direct, parts }, exports) {
  if (exports[name] != entry) refuse(`a call of function ${name} cannot be saved: it was not called by an export's name`);
  if (direct) refuse(`the call of ${name} cannot be saved: the export is an import, and nothing of the guest is on its stack`);
  if (parts?.length) refuse(`the call of ${name} cannot be saved: functions of other instances are on its stack`);
}

/**
 * Copy the frames in memory out to their call. Returns where the asyncify stack is, if that is in a memory of the guest's.
 * @param {Guest} guest @param {boolean} added Whether the transformation has added the memory.
 * @returns {[number, number] | undefined}
 */
function placeOfFrames({ area, exports }, added) {
  area.give(/** @type {any} */ ({}), STATUS_RUN);
  if (exports.asyncify_memory || added) return;
  /** @type {number | bigint} */
  let pointer = 0;
  area.tell((/** @type {number | bigint} */ found) => (pointer = found));
  const start = unsigned(pointer);
  for (const memory of Object.values(exports)) {
    if (!(memory instanceof WebAssembly.Memory) || start + area.head > memory.buffer.byteLength) continue;
    const block = new (typeof pointer == "bigint" ? BigUint64Array : Uint32Array)(memory.buffer, start, 2);
    if (Number(block[0]) == start + area.head) return [start, Number(block[1])];
  }
  return refuse("the guest's asyncify stack is in a memory that it does not export");
}

/** @param {Call} call @param {StateSection} section @param {References} references @param {Partial<import("./schema.js").CallRecord>} where */
function recordOf(call, section, references, where) {
  const name = call.site?.name ?? "";
  /** @type {any} */
  const record = { waited: 0, mode: "call", ...recorded.get(call), ...where, frames: Uint8Array.from(/** @type {ArrayLike<number>} */ (call.frames)) };
  if (record.function) return record;
  const types = call.site == PAUSE ? [] : section.parameters[name];
  if (types?.length != call.asked?.length) refuse(`the module does not tell the types of ${name}: instrument the original anew`);
  const save = (/** @type {string} */ type, /** @type {any} */ value) => references.save(type, value, `an argument of ${name}`);
  record.arguments = types.map((type, place) => [type, bitsOf(type, call.asked?.[place], save)]);
  return { stack: 0, stack_pointer: 0, bottom: 0, resting_pointer: 0, ...record, export: call.name, function: name };
}

/** @param {WebAssembly.Memory} memory @param {number} index @param {number} page_size @returns {import("./schema.js").MemoryState} */
export function readMemory({ buffer }, index, page_size) {
  if (!(buffer instanceof ArrayBuffer)) refuse(`memory ${index} is shared with other threads, which go on writing into it: it cannot be saved`);
  const bytes = new Uint8Array(buffer);
  /** @type {[number, Uint8Array][]} */
  const runs = [];
  let start = -1;
  for (let place = 0; place <= bytes.length; place += CHUNK) {
    const used = place < bytes.length && !isZero(bytes.subarray(place, place + CHUNK));
    if (used && start < 0) start = place;
    if (!used && start >= 0) {
      runs.push([start / CHUNK, bytes.slice(start, place)]);
      start = -1;
    }
  }
  if (start >= 0) runs.push([start / CHUNK, bytes.slice(start)]);
  return { index, size: bytes.length, page_size, runs, initial: [] };
}

/**
 * @param {WebAssembly.Table} table @param {number} index @param {string} type @param {References} references
 * @param {import("./held_references.js").Run[]} [runs]
 */
function readTable(table, index, type, references, runs) {
  return holdersOf(runs, Number(table.length)).map((holder, place) =>
    holder === undefined ? NULL : references.save(type, at(table, "get", place), holder || `element ${place} of table ${index}`),
  );
}

/** @param {number[]} numbers */
function packed(numbers) {
  const view = new DataView(new ArrayBuffer(4 * numbers.length));
  numbers.forEach((number, place) => view.setUint32(4 * place, number, true));
  return new Uint8Array(view.buffer);
}

/** @param {Function} probe */
function isDropped(probe) {
  try {
    probe();
    return false;
  } catch {
    return true;
  }
}
