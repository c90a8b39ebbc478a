/**
 * Which field of a saved state is of which kind, and what must hold between fields. docs/snapshots.md has the same for
 * people, and `caesura.snapshots.schema` for Python.
 */

import { bytes, choice, digest, flag, integer, isRecord, items, keyed, maybe, Mistake, numbered, record, row, shown, text, within } from "./fields.js";

/** In bytes: what memories are cut into. */
export const CHUNK = 4096;

/** What stands for null among functions and objects. */
export const NULL = 0xffffffff;

/** The largest number that a reference can be (i31). */
const MOST_NUMBER = 0x7fffffff;

/** @typedef {"i32" | "i64" | "f32" | "f64" | "v128" | "funcref" | "externref" | "anyref" | "exnref"} Type */
/** @typedef {{ tag: number, values: [type: Type, bits: bigint][] }} ExceptionState What references to exceptions are to. */
/** @typedef {[first: number, content: Uint8Array]} Run The number of its first chunk, and what is in it and those that follow. */
/**
 * `initial` are the parts that are as the module makes them: the number of the first chunk of each, and how many.
 * @typedef {{ index: number, size: number, page_size: number, runs: Run[], initial: [first: number, count: number][] }} MemoryState
 */
/** @typedef {{ index: number, type: Type, bits: bigint }} GlobalState */
/** @typedef {{ index: number, type: Type, elements: Uint8Array }} TableState */
/** @typedef {{ low: number, high: number, stack: number, neighbour?: number, noted?: Uint8Array }} KeptState */
/**
 * A suspended call. Addresses beyond what numbers hold exactly are BigInts.
 * @typedef {object} CallRecord
 * @property {string} export
 * @property {string} function
 * @property {[type: Type, bits: bigint][]} arguments
 * @property {Uint8Array} frames
 * @property {string} mode
 * @property {number | bigint} waited
 * @property {number} stack
 * @property {number} stack_pointer
 * @property {number} bottom
 * @property {number} resting_pointer
 * @property {KeptState} [kept]
 */
/**
 * @typedef {object} StacksState
 * @property {number} size
 * @property {number[]} stacks
 * @property {number[]} spare
 * @property {number[]} surplus
 * @property {number[]} limits
 * @property {number} [main]
 * @property {number} [home]
 * @property {boolean} settled
 * @property {number} unclaimed
 * @property {number[]} held
 * @property {number[]} late
 */
/** @typedef {{ original: string, instrumented: string, contract: number, imports: string[], options: Record<string, any>, path: string }} ModuleIdentity */
/**
 * What a WASI program sees of the world, as docs/snapshots.md has it.
 * @typedef {object} WasiState
 * @property {string[]} arguments
 * @property {[name: string, value: string][]} environment
 * @property {[guest: string, host: string, writable: boolean][]} folders
 * @property {Record<string, any>[]} descriptors
 * @property {number | bigint} monotonic
 * @property {number} highest
 */
/**
 * @typedef {object} Parts
 * @property {ModuleIdentity} module
 * @property {MemoryState[]} memories
 * @property {GlobalState[]} globals
 * @property {TableState[]} tables
 * @property {number[]} dropped_data
 * @property {number[]} dropped_elements
 * @property {Uint8Array[]} objects
 * @property {ExceptionState[]} exceptions
 * @property {CallRecord[]} calls
 * @property {[number, number]} [area]
 * @property {StacksState} stacks
 * @property {WasiState} [wasi]
 */
/** @typedef {Parts & { embedded?: Uint8Array }} State Everything of a guest, and its module, if that was asked for. */

const U32 = integer(0, 0xffffffff);
const U64 = integer(0, 2n ** 64n - 1n);
const BITS = integer(0, 2n ** 128n - 1n, true);
const LARGEST_MEMORY = 2 ** 48;

/** @type {Record<Type, number>} */
const WIDTHS = { i32: 32, i64: 64, f32: 32, f64: 64, v128: 128, funcref: 32, externref: 32, anyref: 32, exnref: 32 };
const TYPES = Object.keys(WIDTHS);
const TYPE = choice(TYPES);

/** The options of the transformation. @param {any} value */
const checkOptions = (value) => {
  if (!isRecord(value)) throw new Mistake(`${shown(value)} is not an object`);
  for (const [name, item] of Object.entries(value)) {
    if (!/^[a-z][a-z0-9_]{0,63}$/.test(name)) throw new Mistake("this is not the name of an option", shown(name));
    const isList = Array.isArray(item);
    for (const part of isList ? item : [item]) {
      if (typeof part != "string" && (isList || (typeof part != "boolean" && !Number.isSafeInteger(part)))) {
        throw new Mistake(`${shown(part)} is not the value of an option`, name);
      }
    }
  }
  return value;
};

/** @param {Type} type @param {bigint} bits */
const checkValue = (type, bits) => {
  if (bits >> BigInt(WIDTHS[type])) throw new Mistake(`${shown(bits)} has more than the ${WIDTHS[type]} bits of ${type}`, "bits");
};

/** @param {[Type, bigint][]} values @param {string} name */
const checkValues = (values, name) =>
  values.forEach(([type, bits], place) => {
    within(name, () => within(place, () => checkValue(type, bits)));
  });

/** @param {MemoryState} memory */
const checkMemory = ({ size, page_size, initial }) => {
  if (page_size & (page_size - 1)) throw new Mistake(`${page_size} is not a power of two`, "page_size");
  if (size % page_size) throw new Mistake(`${size} is not a multiple of the page size, ${page_size}`, "size");
  let free = 0;
  initial.forEach(([first, count], place) => {
    if (first < free || count < 1 || (first + count - 1) * CHUNK >= size) {
      throw new Mistake(`${count} chunks from number ${first} on are none, or not beyond those before, or not in the memory`, "initial", place);
    }
    free = first + count + 1;
  });
};

/** The numbers in a table's elements. @param {Uint8Array} elements */
export const numbersOf = (elements) => {
  const view = new DataView(elements.buffer, elements.byteOffset, elements.byteLength);
  return Array.from({ length: elements.length / 4 }, (_, place) => view.getUint32(4 * place, true));
};

/** What refers to something else in the state. @param {State} state */
const checkState = ({ objects, exceptions, calls, globals, tables, area, stacks, dropped_data, dropped_elements }) => {
  /** @param {Type} type @param {number} number @param {...(string | number)} path */
  const checkObject = (type, number, ...path) => {
    if (number == NULL) return;
    if (type == "externref" && number >= objects.length) throw new Mistake(`there is no object ${number}`, ...path);
    if (type == "exnref" && number >= exceptions.length) throw new Mistake(`there is no exception ${number}`, ...path);
    if (type == "anyref" && number > MOST_NUMBER) throw new Mistake(`${number} is neither null nor a number of 31 bits`, ...path);
  };
  calls.forEach((call, place) => {
    const { neighbour } = call.kept ?? {};
    if (neighbour !== undefined && (neighbour >= calls.length || neighbour == place)) {
      throw new Mistake(`there is no such other call as ${neighbour}`, "calls", place, "kept", "neighbour");
    }
    for (const [type, bits] of call.arguments) checkObject(type, Number(bits), "calls", place, "arguments");
  });
  if (area && area[1] > Number.MAX_SAFE_INTEGER) throw new Mistake(`${area[1]} is no address in a memory`, "area");
  if (area && area[0] > area[1]) throw new Mistake(`${area[0]} lies above the end, ${area[1]}`, "area");
  if (stacks.main !== undefined && stacks.main >= calls.length) throw new Mistake(`there is no call ${stacks.main}`, "stacks", "main");
  for (const { type, bits, index } of globals) checkObject(type, Number(bits), "globals", index);
  for (const { type, elements, index } of tables) {
    if (type != "funcref") for (const number of numbersOf(elements)) checkObject(type, number, "tables", index);
  }
  for (const [name, segments] of Object.entries({ dropped_data, dropped_elements })) {
    if (segments.some((segment, place) => place && segment <= segments[place - 1])) throw new Mistake("these are not ascending", name);
  }
};

const KEPT = record(
  { low: U64, high: U64, stack: U64, neighbour: maybe(U32), noted: maybe(bytes) },
  ({ low, high }) => {
    if (low > high) throw new Mistake(`${low} lies above high, ${high}`, "low");
  },
);

const CALL = record(
  {
    export: text,
    function: text,
    arguments: items(row(choice(TYPES.slice(0, 7)), BITS)),
    frames: bytes,
    mode: choice(["call", "generate", "agenerate", "start"]),
    waited: maybe(U64, 0),
    stack: maybe(U64, 0),
    stack_pointer: maybe(U64, 0),
    bottom: maybe(U64, 0),
    resting_pointer: maybe(U64, 0),
    kept: maybe(KEPT),
  },
  (call) => checkValues(call.arguments, "arguments"),
);

/** @type {StacksState} */
export const NO_STACKS = { size: 0, stacks: [], spare: [], surplus: [], limits: [], settled: true, unclaimed: 0, held: [], late: [] };

const ADDRESSES = maybe(items(U64), []);
const STACKS = record({
  size: maybe(U64, 0),
  stacks: ADDRESSES,
  spare: ADDRESSES,
  surplus: ADDRESSES,
  limits: ADDRESSES,
  main: maybe(U32),
  home: maybe(U64),
  settled: maybe(flag, true),
  unclaimed: maybe(U64, 0),
  held: ADDRESSES,
  late: ADDRESSES,
});

const DESCRIPTOR = record({
  number: U32,
  kind: choice(["stdin", "stdout", "stderr", "preopen", "file", "folder"]),
  path: maybe(text, ""),
  below: maybe(integer(-1, 0xffffffff), -1),
  lookup: maybe(U32, 0),
  flags: maybe(U32, 0),
  rights: maybe(U64, 0),
  inheriting: maybe(U64, 0),
  offset: maybe(U64, 0),
  identity: maybe(items(U64), []),
});

const WASI = record(
  {
    arguments: maybe(items(text), []),
    environment: maybe(items(row(text, text)), []),
    folders: maybe(items(row(text, text, flag)), []),
    descriptors: maybe(keyed(DESCRIPTOR, "number"), []),
    monotonic: maybe(U64, 0),
    highest: maybe(U32, 0),
  },
  ({ environment }) => {
    const names = environment.map((/** @type {string[]} */ [name]) => name);
    if (new Set(names).size < names.length) throw new Mistake("a name stands twice", "environment");
  },
);

const MODULE = record({
  original: digest,
  instrumented: digest,
  contract: integer(1, 0xffff),
  imports: items(text),
  options: { read: checkOptions, write: checkOptions },
  path: maybe(text, ""),
});

const CHUNKS = integer(0, LARGEST_MEMORY / CHUNK);
const MEMORY = record(
  { index: U32, size: integer(0, LARGEST_MEMORY), page_size: integer(1, 1 << 16), initial: maybe(items(row(CHUNKS, CHUNKS)), []) },
  checkMemory,
);
const GLOBAL = record({ index: U32, type: TYPE, bits: BITS }, ({ type, bits }) => checkValue(type, bits));
const TABLE = record({ index: U32, type: choice(TYPES.slice(5)), elements: bytes }, ({ elements }) => {
  if (elements.length % 4) throw new Mistake(`${elements.length} bytes are not 4 for each element`, "elements");
});

const EXCEPTION = record({ tag: U32, values: maybe(items(row(choice(TYPES.slice(0, 5)), BITS)), []) }, ({ values }) => checkValues(values, "values"));

// In the order in which the bulk lies: that of calls changes most.
export const STATE = record(
  {
    module: MODULE,
    memories: keyed(MEMORY, "index"),
    globals: keyed(GLOBAL, "index"),
    tables: maybe(keyed(TABLE, "index"), []),
    dropped_data: maybe(items(U32), []),
    dropped_elements: maybe(items(U32), []),
    objects: maybe(items(bytes), []),
    exceptions: maybe(items(EXCEPTION), []),
    calls: maybe(numbered(CALL), []),
    area: maybe(row(U64, U64)),
    stacks: maybe(STACKS, NO_STACKS),
    wasi: maybe(WASI),
  },
  checkState,
);
