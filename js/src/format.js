/**
 * Saved states as bytes, whole or as what changed since another one: docs/snapshots.md is the contract.
 *
 * A file has a checksum and sections, each packed by itself: a document in JSON with everything that is small, the bulk of
 * tables and suspended calls, and the chunks of the memories. Bytes to read are anybody's: first comes the checksum, then
 * sizes, all of which are bounded before anything is unpacked, and then each field.
 */

import { difference, LONGEST, merged, readDocument, writeDocument } from "./document.js";
import { Bulk, isRecord, Mistake, shown, told, within } from "./fields.js";
import { joined, pack, STORED, unpack } from "./packing.js";
import { CHUNK, STATE } from "./schema.js";

/** @typedef {import("./schema.js").State} State */
/** @typedef {import("./schema.js").MemoryState} MemoryState */
/** @typedef {import("./schema.js").Run} Run */
/** @typedef {{ kind: number, codec: number, size: number, stored: Uint8Array, offset: number }} Section */

/** What is wrong with a saved state, or what of a guest cannot be saved. */
export class SnapshotError extends Error {
  /** @override */
  name = "SnapshotError";
}

/** @param {string} why @returns {never} */
export const refuse = (why) => {
  throw new SnapshotError(why);
};

/** In bytes: how much a saved state may hold, unpacked, unless the caller says something else. */
export const LIMIT = 4 * 2 ** 30;

const MAGIC = Uint8Array.of(0, ...new TextEncoder().encode("caesura"));
/** The version that is written, and those that are read: in the first there are no chunks that are as the module makes them. */
const VERSION = 2;
const KNOWN = [1, VERSION];
const DIGEST_SIZE = 32;
const DIGEST = MAGIC.length + 4;
const HEADER = DIGEST + DIGEST_SIZE;

const BASE = 1;
const DOCUMENT = 2;
const BULK = 3;
const PAGES = 4;
const MODULE = 5;
const NAMES = ["", "base", "document", "bulk", "pages", "module"];
const NOTHING = new Uint8Array();

/** @param {string} reason @param {number} offset @returns {never} */
const damaged = (reason, offset) => refuse(`the saved state is damaged at byte offset ${offset} (0x${offset.toString(16)}): ${reason}`);

/** @param {Uint8Array} content @returns {Promise<Uint8Array>} */
export const sha256 = async (content) => new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {BufferSource} */ (content)));

/** @param {Uint8Array} bytes */
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {Uint8Array} one @param {Uint8Array} other */
const same = (one, other) => one.length == other.length && one.every((byte, place) => byte == other[place]);

/** A number in LEB128. @param {number} value */
function leb128(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

/** Return the number at a place, and the place behind it. @param {Uint8Array} data @param {number} place */
function readNumber(data, place) {
  let value = 0;
  for (let count = 0; count < 8; count++) {
    if (place + count >= data.length) damaged("the file ends within a number", place);
    const byte = data[place + count];
    value += (byte & 127) * 128 ** count;
    if (byte < 128) {
      if ((!byte && count) || !Number.isSafeInteger(value)) break;
      return [value, place + count + 1];
    }
  }
  return damaged("a number is not in the shortest form of LEB128, or too large", place);
}

/** @param {Uint8Array} data */
const versionOf = (data) => new DataView(data.buffer, data.byteOffset).getUint32(MAGIC.length, true);

/** @param {Uint8Array} data @returns {Promise<Section[]>} By their kinds. */
async function readSections(data) {
  if (!data.length || !same(data.subarray(0, MAGIC.length), MAGIC.subarray(0, data.length))) {
    refuse("this is not a saved state of caesura: it does not begin with the bytes that those do");
  }
  if (data.length < HEADER) refuse(`the saved state is damaged: it ends after ${data.length} bytes, within its header`);
  const version = versionOf(data);
  if (!KNOWN.includes(version)) {
    refuse(`the saved state is of version ${version} of the format; this version of caesura reads the versions ${KNOWN.join(" and ")}`);
  }
  if (!same(await sha256(data.subarray(HEADER)), data.subarray(DIGEST, HEADER))) {
    refuse("the saved state is damaged: its checksum differs from what it holds; parts are missing or changed");
  }
  /** @type {Section[]} */
  const sections = [];
  for (let place = HEADER; place < data.length; ) {
    if (place + 2 > data.length) damaged("the file ends within the head of a section", place);
    const [kind, codec] = data.subarray(place, place + 2);
    const name = NAMES[kind] || damaged(`a section of kind ${kind}, which version ${version} does not have`, place);
    const [length, behind] = readNumber(data, place + 2);
    const [size, offset] = readNumber(data, behind);
    if (length > data.length - offset) damaged(`the section ${name} has ${length} bytes, and ${data.length - offset} are left`, place);
    if (!size) damaged(`the section ${name} is empty`, place);
    if (codec > 2) damaged(`a section is compressed in a way with the unknown number ${codec}`, offset);
    if (kind < sections.length) damaged(`the section ${name} stands twice or too late`, place);
    sections[kind] = { kind, codec, size, stored: data.subarray(offset, offset + length), offset };
    place = offset + length;
  }
  return sections;
}

/** @param {Section[]} sections @param {number} limit */
function checkSizes(sections, limit) {
  const document = sections[DOCUMENT] ?? refuse("the saved state is damaged: it has no section document");
  if (document.size > LONGEST) damaged(`the document has ${document.size} bytes, more than ${LONGEST}`, document.offset);
  const size = sections.reduce((sum, section) => sum + section.size, 0);
  if (size > limit) refuse(`the saved state holds ${size} bytes, more than the limit of ${limit}`);
  const base = sections[BASE];
  if (base && (base.codec != STORED || base.size != DIGEST_SIZE || base.stored.length != DIGEST_SIZE)) {
    damaged(`the section ${NAMES[BASE]} is not a digest of ${DIGEST_SIZE} bytes`, base.offset);
  }
}

/** @param {Section | undefined} section */
async function contentOf(section) {
  if (!section) return NOTHING;
  try {
    return await unpack(section.codec, section.stored, section.size);
  } catch (error) {
    return damaged(`the section ${NAMES[section.kind]}: ${/** @type {Error} */ (error).message}`, section.offset);
  }
}

/** Where the runs of a memory begin and end, in bytes. @param {any} numbers @param {MemoryState} memory */
function readRanges(numbers, { size, initial }) {
  if (!Array.isArray(numbers) || !numbers.length || numbers.length % 2 || !numbers.every(Number.isSafeInteger)) {
    throw new Mistake("this is not an array of integers, two for each run");
  }
  const chunks = Math.ceil(size / CHUNK);
  /** @type {[number, number][]} */
  const ranges = [];
  let free = 0;
  for (let place = 0; place < numbers.length; place += 2) {
    const [first, count] = numbers.slice(place, place + 2);
    if (first < free || count < 1 || first + count > chunks) {
      throw new Mistake(`${count} chunks from number ${first} on are none, or not beyond those before, or not in the memory`);
    }
    free = first + count + 1;
    if (initial.some((part) => part[0] < first + count && first < part[0] + part[1])) {
      throw new Mistake("some of these chunks are as the module makes them, the state says");
    }
    ranges.push([first * CHUNK, Math.min((first + count) * CHUNK, size)]);
  }
  return ranges;
}

/** @param {any} value @param {State} state @returns {[number, number][][]} By the place of the memory. */
function readRuns(value, { memories }) {
  if (!isRecord(value)) throw new Mistake("this is not an object");
  const known = memories.map(({ index }) => String(index));
  const stranger = Object.keys(value).find((key) => !known.includes(key));
  if (stranger !== undefined) throw new Mistake("there is no such memory", shown(stranger));
  return memories.map((memory) => (Object.hasOwn(value, memory.index) ? within(memory.index, () => readRanges(value[memory.index], memory)) : []));
}

/** The bytes of a memory from one address to another; what it has not is zero. @param {Run[]} runs @param {number} start @param {number} end */
function readBytes(runs, start, end) {
  const found = new Uint8Array(end - start);
  for (const [first, content] of runs) {
    const begin = Math.max(start, first * CHUNK);
    const behind = Math.min(end, first * CHUNK + content.length);
    if (begin < behind) found.set(content.subarray(begin - first * CHUNK, behind - first * CHUNK), begin - start);
  }
  return found;
}

/**
 * The sum with a base, or with its negative, of words of 32 bits, little endian, modulo 2 ** 32. The base is cut off, or goes on
 * with zeros.
 * @param {Uint8Array} content @param {Uint8Array} base @param {1 | -1} sign
 */
function byWords(content, base, sign) {
  const words = Math.ceil(content.length / 4);
  const [made, other] = [content, base.subarray(0, content.length)].map((bytes) => {
    const copy = new Uint8Array(4 * words);
    copy.set(bytes);
    return new DataView(copy.buffer);
  });
  for (let place = 0; place < 4 * words; place += 4) {
    made.setUint32(place, made.getUint32(place, true) + sign * other.getUint32(place, true), true);
  }
  return new Uint8Array(made.buffer, 0, content.length);
}
/** @param {Uint8Array} content @param {Uint8Array} base */
const less = (content, base) => byWords(content, base, -1);
/** @param {Uint8Array} difference @param {Uint8Array} base */
const plus = (difference, base) => byWords(difference, base, 1);

const ZERO = new Int32Array(CHUNK / 4);

/** Whether a chunk, or the part that a memory has of it, is zero. @param {Uint8Array} chunk */
export function isZero(chunk) {
  if (chunk.byteOffset % 4 || chunk.length % 4) return chunk.every((byte) => !byte);
  const words = new Int32Array(chunk.buffer, chunk.byteOffset, chunk.length / 4);
  for (let place = 0; place < words.length; place++) if (words[place]) return false;
  return true;
}

/**
 * The runs of a memory of this size that consists of chunks, of which it has those that `at` returns.
 * @param {number} size @param {(number: number) => Uint8Array | undefined} at
 * @returns {Run[]}
 */
export function gathered(size, at) {
  /** @type {[number, Uint8Array[]][]} */
  const found = [];
  let open = false;
  for (let number = 0; number * CHUNK < size; number++) {
    const chunk = at(number)?.subarray(0, size - number * CHUNK);
    if (chunk && !open) found.push([number, []]);
    open = !!chunk;
    if (chunk) found[found.length - 1][1].push(chunk);
  }
  return found.map(([first, chunks]) => [first, joined(chunks)]);
}

/** The chunks in the runs of a memory that are not zero, by number, each of 4,096 bytes. @param {MemoryState | undefined} memory @returns {Map<number, Uint8Array>} */
export function chunksOf(memory) {
  /** @type {Map<number, Uint8Array>} */
  const chunks = new Map();
  for (const [first, content] of memory?.runs ?? []) {
    for (let place = 0; place < content.length; place += CHUNK) {
      let chunk = content.subarray(place, place + CHUNK);
      if (chunk.length < CHUNK) (chunk = new Uint8Array(CHUNK)).set(content.subarray(place));
      if (!isZero(chunk)) chunks.set(first + place / CHUNK, chunk);
    }
  }
  return chunks;
}

/** Returns what tells of chunks, asked for in ascending order, whether they are as the module makes them. @param {MemoryState} memory */
function initialOf({ initial }) {
  let place = 0;
  return (/** @type {number} */ number) => {
    while (place < initial.length && number >= initial[place][0] + initial[place][1]) place++;
    return place < initial.length && number >= initial[place][0];
  };
}

/** The document of a state, without its runs, and its bulk. @param {State} state */
async function described(state) {
  /** @type {Uint8Array[]} */
  const bulk = [];
  /** @type {Record<string, any>} */
  const document = { state: within("state", () => STATE.write(state, bulk)) };
  if (state.embedded) document.embedded = hex(await sha256(state.embedded));
  return { document, bulk: joined(bulk) };
}

/** Where the runs of memories lie, as the document has it. @param {{ index: number, runs: Run[] }[]} memories */
const runsOf = (memories) =>
  Object.fromEntries(memories.filter(({ runs }) => runs.length).map(({ index, runs }) => [index, runs.flatMap(([first, content]) => [first, Math.ceil(content.length / CHUNK)])]));

/** The digest by which changes name a state. @param {State} state */
async function digestOf(state) {
  const { document, bulk } = await described(state);
  const parts = [await sha256(writeDocument({ ...document, runs: runsOf(state.memories) })), await sha256(bulk)];
  for (const memory of state.memories) {
    const chunks = [...chunksOf(memory)].sort(([one], [other]) => one - other);
    parts.push(...(await Promise.all(chunks.map(([, chunk]) => sha256(chunk)))));
  }
  return sha256(joined(parts));
}

/** @param {[kind: number, content: Uint8Array][]} contents @returns {Promise<Uint8Array>} */
async function writeSections(contents) {
  const sections = [];
  for (const [kind, content] of contents) {
    if (!content.length) continue;
    const [codec, stored] = kind == BASE ? [STORED, content] : await pack(content);
    sections.push(Uint8Array.of(kind, codec, ...leb128(stored.length), ...leb128(content.length)), stored);
  }
  const body = joined(sections);
  const version = new Uint8Array(4);
  version[0] = VERSION;
  return joined([MAGIC, version, await sha256(body), body]);
}

/**
 * Return a state as bytes; with a base, what differs from it.
 * @param {State} state @param {State} [base]
 * @returns {Promise<Uint8Array>}
 */
export async function encode(state, base) {
  try {
    const { document, bulk } = await described(state);
    if (!base) {
      const whole = writeDocument({ ...document, runs: runsOf(state.memories) });
      const pages = state.memories.flatMap(({ runs }) => runs.map(([, content]) => content));
      return await writeSections([[DOCUMENT, whole], [BULK, bulk], [PAGES, joined(pages)], [MODULE, state.embedded ?? NOTHING]]);
    }
    const before = await described(base);
    const memories = state.memories.map((memory) => ({ index: memory.index, runs: changedRuns(base.memories.find(({ index }) => index == memory.index), memory) }));
    const patch = writeDocument({ ...difference(before.document, document), runs: runsOf(memories) });
    const pages = memories.flatMap(({ runs }) => runs.map(([, content]) => content));
    const module = before.document.embedded == document.embedded ? NOTHING : state.embedded ?? NOTHING;
    return await writeSections([[BASE, await digestOf(base)], [DOCUMENT, patch], [BULK, less(bulk, before.bulk)], [PAGES, joined(pages)], [MODULE, module]]);
  } catch (error) {
    if (error instanceof Mistake) refuse(`the state cannot be written: ${told(error)}`);
    throw error;
  }
}

/** The differences of the chunks that differ, but for those that are as the module makes them. @param {MemoryState | undefined} before @param {MemoryState} now */
function changedRuns(before, now) {
  const old = chunksOf(before);
  const chunks = chunksOf(now);
  const last = now.size % CHUNK;
  const isInitial = initialOf(now);
  return gathered(now.size, (number) => {
    if (isInitial(number)) return undefined;
    const zeros = new Uint8Array(ZERO.buffer);
    const changed = less(chunks.get(number) ?? zeros, old.get(number) ?? zeros);
    return isZero(number * CHUNK + CHUNK > now.size ? changed.slice(0, last) : changed) ? undefined : changed;
  });
}

/**
 * Return the state that bytes hold. A base is needed for those that hold what changed since it.
 * @param {Uint8Array} data @param {State} [base] @param {number} [limit] In bytes, unpacked.
 * @returns {Promise<State>}
 */
export async function decode(data, base, limit = LIMIT) {
  const sections = await readSections(data);
  checkSizes(sections, limit);
  const wanted = sections[BASE]?.stored;
  if (wanted) {
    if (!base) refuse(`the saved state holds what changed since the state ${hex(wanted)}: that is needed, too`);
    const found = await digestOf(/** @type {State} */ (base));
    if (!same(found, wanted)) refuse(`the saved state holds what changed since the state ${hex(wanted)}, not since ${hex(found)}`);
  }
  try {
    return await readState(sections, versionOf(data), wanted && base);
  } catch (error) {
    const { offset } = sections[DOCUMENT];
    if (error instanceof Mistake) damaged(`the document: ${told(error)}`, offset);
    if (error instanceof RangeError) refuse(`there is not enough memory for what the saved state holds, or it is nested too deeply: ${error.message}`);
    throw error;
  }
}

/** @param {Section[]} sections @param {number} version @param {State} [base] */
async function readState(sections, version, base) {
  let document = readDocument(await contentOf(sections[DOCUMENT]));
  let bulk = await contentOf(sections[BULK]);
  for (const name of Object.keys(document)) if (!["embedded", "runs", "state"].includes(name)) throw new Mistake("there is no such field", name);
  const { runs: places } = document;
  if (base) {
    const before = await described(base);
    document = merged(before.document, { ...document, runs: null });
    bulk = plus(bulk, before.bulk);
  }
  const content = new Bulk(bulk);
  /** @type {State} */
  const state = within("state", () => STATE.read(document.state, content));
  if (content.left) throw new Mistake(`${content.left} bytes of bulk belong to nothing`);
  if (version == 1 && state.memories.some(({ initial }) => initial.length)) throw new Mistake("version 1 has no such field", "state", "memories", "initial");
  const ranges = within("runs", () => readRuns(places, state));
  const needed = ranges.flat().reduce((sum, [start, end]) => sum + end - start, 0);
  if (needed != (sections[PAGES]?.size ?? 0)) throw new Mistake(`these are ${needed} bytes, other than the section pages has`, "runs");
  const pages = new Bulk(await contentOf(sections[PAGES]));
  state.memories.forEach((memory, place) => {
    const runs = ranges[place].map(([start, end]) => /** @type {Run} */ ([start / CHUNK, pages.take(end - start)]));
    memory.runs = base ? withChanges(base.memories.find(({ index }) => index == memory.index), memory, runs) : runs;
  });
  await readModule(state, document.embedded, await contentOf(sections[MODULE]), base);
  return state;
}

/** @param {MemoryState | undefined} before @param {MemoryState} memory As it is now, but for its runs. @param {Run[]} changes */
function withChanges(before, memory, changes) {
  const chunks = chunksOf(before);
  for (const [first, content] of changes) {
    const now = plus(content, readBytes(before?.runs ?? [], first * CHUNK, first * CHUNK + content.length));
    for (const [number, chunk] of chunksOf({ ...memory, runs: [[first, now]] })) chunks.set(number, chunk);
    for (let place = 0; place < now.length; place += CHUNK) if (isZero(now.subarray(place, place + CHUNK))) chunks.delete(first + place / CHUNK);
  }
  const isInitial = initialOf(memory);
  return gathered(memory.size, (number) => (isInitial(number) ? undefined : chunks.get(number)));
}

/** @param {State} state @param {any} digits @param {Uint8Array} module @param {State} [base] */
async function readModule(state, digits, module, base) {
  if (digits === undefined) {
    if (module.length) throw new Mistake("there is a section with a module, and no word of it", "embedded");
    return;
  }
  state.embedded = module.length ? module : base?.embedded ?? NOTHING;
  if (digits !== hex(await sha256(state.embedded))) throw new Mistake("this is not the digest of the module that is there", "embedded");
}
