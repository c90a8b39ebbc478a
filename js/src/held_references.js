/**
 * References that JavaScript is not shown, in globals, tables and frames: saved and put back by functions of the module
 * (docs/abi.md). What is null, a function, a number of 31 bits, or an exception that carries numbers can be; anything else
 * is refused, and named.
 */

import { HELD_GLOBAL, HELD_TABLE, STATE_CLEAR, STATE_EXCEPTION, STATE_FETCH, STATE_FIND, STATE_MAKE_EXCEPTION, STATE_SIZE, STATE_STORE } from "./abi.js";
import { refuse } from "./format.js";
import { NULL, numbersOf } from "./schema.js";

/** @typedef {import("./schema.js").ExceptionState} ExceptionState */
/** @typedef {import("./schema.js").State} State */
/** @typedef {import("./schema.js").Type} Type */
/** @typedef {import("./state_section.js").Place} Place */
/** @typedef {import("./state_section.js").StateSection} StateSection */
/** @typedef {[start: number, end: number, holder: string]} Run */

/** The bytes on an asyncify stack that tell where references of one table lie. */
const RUN = 8;

/**
 * Which places of the tables with references of frames suspended calls use; what else is there is of calls that have ended
 * by a trap or were given up. Where it is not known, there is nothing for a table.
 * @param {StateSection} section @param {import("./schema.js").CallRecord[]} calls
 * @returns {Map<number, Run[]>}
 */
export function livePlaces({ frames: { tables, runs } }, calls) {
  /** @type {Map<number, Run[]>} */
  const found = new Map();
  if (!runs) return found;
  for (const table of tables) found.set(table, []);
  const size = RUN * tables.length;
  for (const call of calls) {
    if (call.frames.length < size) continue;
    const view = new DataView(call.frames.buffer, call.frames.byteOffset + call.frames.length - size, size);
    tables.forEach((table, place) => {
      const start = view.getUint32(RUN * place, true);
      const holder = `a frame of the call of ${call.export}, which waits in ${call.function},`;
      found.get(table)?.push([start, start + view.getUint32(RUN * place + 4, true), holder]);
    });
  }
  return found;
}

/** Who uses each of so many places: "" for the table itself, undefined for nobody. @param {Run[] | undefined} runs @param {number} size */
export function holdersOf(runs, size) {
  /** @type {(string | undefined)[]} */
  const holders = Array(size).fill(runs ? undefined : "");
  for (const [start, end, holder] of runs ?? []) holders.fill(holder, start, end);
  return holders;
}

/**
 * @param {any} exports @param {StateSection} section
 * @param {{ save(type: string, value: any, what: string): number }} references
 */
export function heldSaver(exports, { tags }, references) {
  /** @type {ExceptionState[]} */
  const exceptions = [];
  /** @type {Map<string, number>} */
  const numbers = new Map();

  /** The number of the exception that was fetched. @param {string} what */
  function saveException(what) {
    for (const [tag, { types = [], unsaved }] of tags.entries()) {
      const results = [exports[STATE_EXCEPTION + tag]()].flat();
      if (!results[0]) continue;
      if (unsaved) refuse(`the guest cannot be saved: ${what} holds an exception of tag ${tag}, which ${unsaved}`);
      let place = 1;
      const values = types.map((type) => {
        let bits = BigInt.asUintN(type == "i32" || type == "f32" ? 32 : 64, results[place++]);
        if (type == "v128") bits |= BigInt.asUintN(64, results[place++]) << 64n;
        return /** @type {[Type, bigint]} */ ([type, bits]);
      });
      const key = `${tag} ${values}`;
      const number = numbers.get(key) ?? exceptions.push({ tag, values }) - 1;
      numbers.set(key, number);
      return number;
    }
    return refuse(`the guest cannot be saved: ${what} holds an exception that is none of the module's own tags: one of the host's, or of another instance`);
  }

  return {
    exceptions,

    /** The numbers of a table's elements, or of a global's. @param {Place} item @param {boolean} isTable @param {Run[]} [runs] */
    read({ index, type, declared }, isTable, runs) {
      const name = (isTable ? HELD_TABLE : HELD_GLOBAL) + index;
      const holders = holdersOf(runs, exports[STATE_SIZE + name]() >>> 0);
      const found = Array(holders.length).fill(NULL);
      for (let place = 0; (place = exports[STATE_FIND + name](place)) >= 0; place++) {
        const holder = holders[place];
        if (holder === undefined) continue;
        const what = holder || (isTable ? `element ${place} of table ${index}` : `global ${index}`);
        if (type == "funcref") found[place] = references.save(type, exports[STATE_FETCH + name](place), what);
        else if (type == "exnref") {
          exports[STATE_FETCH + name](place);
          found[place] = saveException(what);
        } else {
          found[place] = exports[STATE_FETCH + name](place);
          if (found[place] < 0) refuse(`the guest cannot be saved: ${what} holds a reference of type ${declared}, and only null and numbers (i31) can be saved of that`);
        }
      }
      return found;
    },
  };
}

/** @param {any} exports @param {ExceptionState[]} exceptions @param {{ load(type: string, number: number): any }} references */
export function heldLoader(exports, exceptions, references) {
  let made = -1;
  /** Make an exception, unless it is what was made last. @param {number} number */
  const make = (number) => {
    if (number == made) return;
    const { tag, values } = exceptions[number];
    const bits = values.flatMap(([type, value]) => [value, value >> 64n].slice(0, type == "v128" ? 2 : 1));
    exports[STATE_MAKE_EXCEPTION + tag](...bits.map((one) => BigInt.asIntN(64, one)));
    made = number;
  };
  return {
    /** Make the elements of a new instance's table, or a global, what they were. @param {Place} item @param {boolean} isTable @param {number[]} numbers */
    putBack({ index, type, declared }, isTable, numbers) {
      const name = (isTable ? HELD_TABLE : HELD_GLOBAL) + index;
      const what = `${isTable ? "table" : "global"} ${index}`;
      const size = numbers.length;
      if (size < exports[STATE_SIZE + name]() >>> 0) refuse(`${what} of the snapshot has ${size} elements, and that of the module more`);
      if (!exports[STATE_CLEAR + name](size)) refuse(`${what} of the snapshot has ${size} elements, and may not have as many here`);
      numbers.forEach((number, place) => {
        if (number == NULL) return;
        const value = type == "funcref" ? references.load(type, number) : type == "exnref" ? make(number) : number;
        try {
          exports[STATE_STORE + name](place, value);
        } catch (error) {
          if (!(error instanceof WebAssembly.RuntimeError)) throw error;
          refuse(`element ${place} of ${what} of the snapshot is of another type than ${declared}: ${error.message}`);
        }
      });
    },
  };
}

/**
 * Throws SnapshotError for references that do not fit the module, before an instance is made.
 * @param {State} state @param {StateSection} section
 */
export function checkReferences({ exceptions, globals, tables, dropped_elements }, section) {
  const undropped = section.undropped.find((index) => !dropped_elements.includes(index));
  if (undropped !== undefined) refuse(`the snapshot has element segment ${undropped}, which cannot be saved before it is dropped`);
  exceptions.forEach(({ tag, values }, number) => {
    const what = `exception ${number} of the snapshot`;
    const known = section.tags[tag] ?? refuse(`${what} has tag ${tag}, and the module ${section.tags.length} that can be saved`);
    if (known.unsaved) refuse(`${what} has tag ${tag}, which ${known.unsaved}`);
    if (values.map(([type]) => type).join() != known.types?.join()) refuse(`${what} carries something else than its tag, ${tag}, says`);
  });
  const functions = new Set(section.functions);
  /** @param {string} what @param {string} type @param {Place | undefined} known @param {number[]} numbers */
  const check = (what, type, known, numbers) => {
    if (known?.type != type) refuse(`${what} of the snapshot is of another type than that of the module`);
    const unknown = type == "funcref" && numbers.find((number) => number != NULL && !functions.has(number));
    if (typeof unknown == "number") refuse(`the snapshot refers to function ${unknown}, of which the module makes no references`);
    const { declared } = /** @type {Place} */ (known);
    if (declared?.startsWith("(ref ") && !declared.startsWith("(ref null ") && numbers.includes(NULL)) refuse(`${what} of the snapshot holds null, and that of the module, of type ${declared}, never does`);
  };
  const known = new Map(section.globals.map((item) => [item.index, item]));
  for (const { index, type, bits } of globals) if (type.endsWith("ref")) check(`global ${index}`, type, known.get(index), [Number(bits)]);
  const all = new Map(section.tables.map((item) => [item.index, item]));
  for (const { index, type, elements } of tables) check(`table ${index}`, type, all.get(index), numbersOf(elements));
}
