/**
 * How sections of a saved state are compressed: not at all, by zstd, or by deflate.
 *
 * All three are read. What is written is deflate, which engines come with; zstd leaves about as much. The bytes may be
 * anybody's: nothing is unpacked beyond the size that the section says, which the reader has bounded before.
 */

import { unpackZstd } from "./zstd.js";

export const STORED = 0;
export const ZSTD = 1;
export const DEFLATE = 2;

/** @param {Uint8Array} bytes @param {CompressionStream | DecompressionStream} stream */
const through = (bytes, stream) => {
  const blob = new Blob([/** @type {BlobPart} */ (bytes)]);
  return blob.stream().pipeThrough(/** @type {any} */ (stream)).getReader();
};

/** @param {Uint8Array[]} pieces @returns {Uint8Array} */
export function joined(pieces) {
  if (pieces.length == 1) return pieces[0];
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let place = 0;
  for (const piece of pieces) {
    whole.set(piece, place);
    place += piece.length;
  }
  return whole;
}

/** Return bytes compressed, and how; they are stored if compressing makes them no smaller. @param {Uint8Array} bytes @returns {Promise<[number, Uint8Array]>} */
export async function pack(bytes) {
  const reader = through(bytes, new CompressionStream("deflate-raw"));
  const pieces = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    pieces.push(value);
  }
  const packed = joined(pieces);
  return packed.length < bytes.length ? [DEFLATE, packed] : [STORED, bytes];
}

/**
 * Return what is in a section, which has so many bytes. Throws an Error that says what is wrong.
 * @param {number} codec @param {Uint8Array} bytes @param {number} size
 * @returns {Promise<Uint8Array>}
 */
export async function unpack(codec, bytes, size) {
  if (codec == ZSTD) return unpackZstd(bytes, size);
  if (codec == STORED) {
    if (bytes.length != size) throw new Error(`it has ${bytes.length} bytes, not the ${size} that are its size`);
    return bytes;
  }
  const content = await inflate(bytes, size);
  // The last byte has bits that are needed, unless what is needed ended before.
  if ((await takesMore()) && (await inflate(bytes.subarray(0, -1), size).then(Boolean, () => false))) {
    throw new Error("something comes after its end");
  }
  return content;
}

/** Whether the engine overlooks what comes after the end of deflated bytes, as Node 20 does. @type {Promise<boolean> | undefined} */
let lenient;
const takesMore = () => (lenient ??= inflate(Uint8Array.of(3, 0, 0), 0).then(Boolean, () => false));

/** @param {Uint8Array} bytes @param {number} size @returns {Promise<Uint8Array>} */
async function inflate(bytes, size) {
  const content = new Uint8Array(size);
  const reader = through(bytes, new DecompressionStream("deflate-raw"));
  let place = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    if (place + value.length > size) {
      reader.cancel().catch(() => {});
      throw new Error(`it does not end after the ${size} bytes that are its size`);
    }
    content.set(value, place);
    place += value.length;
  }
  if (place < size) throw new Error(`it ends ${size - place} bytes too early`);
  return content;
}
