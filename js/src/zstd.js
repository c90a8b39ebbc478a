/**
 * Unpacks zstd (RFC 8878): one frame, of a size that is known before, without a dictionary.
 *
 * The bytes may be anybody's: nothing is written but into the one array that is returned, and all of a frame that is not as
 * the RFC says is an error. Engines do not come with zstd everywhere; npm's fzstd was rejected, since it takes frames that
 * end too early for whole ones, and can be kept busy for hours by a kilobyte.
 */

const MAGIC = 0xfd2fb528;
const WINDOW = 8 << 20;
const BLOCK = 128 << 10;

/** What a table of finite state entropy has for each state: the symbol, how many bits to read, and what to add to them. */
/** @typedef {{ symbols: Uint8Array, bits: Uint8Array, bases: Uint16Array, log: number }} Table */
/** @typedef {{ symbols: Uint8Array, bits: Uint8Array, log: number }} Tree */

/** @param {string} why @returns {never} */
const damaged = (why) => {
  throw new Error(why);
};

/** @param {number} number */
const log2 = (number) => 31 - Math.clz32(number);

/**
 * Bits from the end of some bytes to their beginning. Behind the beginning there are zeros; who has read them sees it by
 * `left`, which is negative then.
 */
class Bits {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    const last = bytes[bytes.length - 1];
    if (!last) damaged("a stream of bits has no end");
    this.bytes = bytes;
    this.left = 8 * (bytes.length - 1) + log2(last);
  }

  /** Return the next bits, at most 24. @param {number} count */
  read(count) {
    this.left -= count;
    return this.at(this.left) & ((1 << count) - 1);
  }

  /** Return the bits from a place on, at least 24 of them. @param {number} place */
  at(place) {
    const { bytes } = this;
    if (place < 0) return place > -25 ? (bytes[0] | (bytes[1] << 8) | (bytes[2] << 16)) << -place : 0;
    const byte = place >> 3;
    return (bytes[byte] | (bytes[byte + 1] << 8) | (bytes[byte + 2] << 16) | (bytes[byte + 3] << 24)) >>> (place & 7);
  }
}

/**
 * Read how probable each symbol is. Returns the table, and where the bytes behind it are.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} largest The largest symbol.
 * @param {number} longest The largest logarithm of the table's size.
 * @returns {[Table, number]}
 */
function readTable(bytes, start, largest, longest) {
  const end = 8 * bytes.length;
  let place = 8 * start;
  /** @param {number} at */
  const bitsAt = (at) => {
    const byte = at >> 3;
    return (bytes[byte] | (bytes[byte + 1] << 8) | (bytes[byte + 2] << 16)) >>> (at & 7);
  };
  const log = (bitsAt(place) & 15) + 5;
  if (log > longest) damaged("a table is larger than it may be");
  place += 4;
  let remaining = (1 << log) + 1;
  let threshold = 1 << log;
  let width = log + 1;
  const counts = [];
  while (remaining > 1) {
    if (place > end || counts.length > largest) damaged("a table has no end");
    const most = 2 * threshold - 1 - remaining;
    const bits = bitsAt(place);
    let count = bits & (threshold - 1);
    if (count < most) place += width - 1;
    else {
      count = bits & (2 * threshold - 1);
      if (count >= threshold) count -= most;
      place += width;
    }
    count--;
    remaining -= Math.abs(count);
    counts.push(count);
    if (!count) {
      for (let more = 3; more == 3; ) {
        more = bitsAt(place) & 3;
        place += 2;
        if (place > end) damaged("a table has no end");
        for (let zero = 0; zero < more; zero++) counts.push(0);
      }
    }
    while (remaining < threshold) {
      width--;
      threshold >>= 1;
    }
  }
  if (remaining < 1 || place > end || counts.length > largest + 1) damaged("a table does not come out even");
  return [makeTable(counts, log), (place + 7) >> 3];
}

/** @param {number[]} counts @param {number} log @returns {Table} */
function makeTable(counts, log) {
  const size = 1 << log;
  const symbols = new Uint8Array(size);
  const bits = new Uint8Array(size);
  const bases = new Uint16Array(size);
  const next = counts.map((count) => Math.abs(count));
  let high = size - 1;
  counts.forEach((count, symbol) => {
    if (count < 0) symbols[high--] = symbol;
  });
  const step = (size >> 1) + (size >> 3) + 3;
  let place = 0;
  counts.forEach((count, symbol) => {
    for (let number = 0; number < count; number++) {
      symbols[place] = symbol;
      do place = (place + step) & (size - 1);
      while (place > high);
    }
  });
  for (let state = 0; state < size; state++) {
    const number = next[symbols[state]]++;
    bits[state] = log - log2(number);
    bases[state] = (number << bits[state]) - size;
  }
  return { symbols, bits, bases, log };
}

/**
 * Read the tree of a Huffman code. Returns it, and where the bytes behind it are.
 * @param {Uint8Array} bytes
 * @param {number} start
 * @returns {[Tree, number]}
 */
function readTree(bytes, start) {
  const head = bytes[start];
  const weights = [];
  let end = start + 1;
  if (head >= 128) {
    const count = head - 127;
    for (let number = 0; number < count; number++) weights.push(number & 1 ? bytes[end++] & 15 : bytes[end] >> 4);
    if (count & 1) end++;
  } else {
    end += head;
    if (end > bytes.length) damaged("the weights of a code have no end");
    const [table, behind] = readTable(bytes.subarray(0, end), start + 1, 255, 6);
    const bits = new Bits(bytes.subarray(behind, end));
    const states = [bits.read(table.log), bits.read(table.log)];
    for (let turn = 0; ; turn ^= 1) {
      if (weights.length > 254) damaged("a code has too many weights");
      const state = states[turn];
      weights.push(table.symbols[state]);
      if (bits.left < table.bits[state]) {
        weights.push(table.symbols[states[turn ^ 1]]);
        break;
      }
      states[turn] = table.bases[state] + bits.read(table.bits[state]);
    }
  }
  if (end > bytes.length) damaged("the weights of a code have no end");
  return [makeTree(weights), end];
}

/** @param {number[]} weights All but the last. @returns {Tree} */
function makeTree(weights) {
  let sum = 0;
  for (const weight of weights) sum += weight && 1 << (weight - 1);
  const log = sum ? log2(sum) + 1 : 0;
  const rest = (1 << log) - sum;
  if (!log || log > 11 || rest & (rest - 1)) damaged("the weights of a code do not come out even");
  weights.push(log2(rest) + 1);
  const symbols = new Uint8Array(1 << log);
  const bits = new Uint8Array(1 << log);
  let place = 0;
  for (let weight = 1; weight <= log; weight++) {
    weights.forEach((one, symbol) => {
      if (one != weight) return;
      const behind = place + (1 << (weight - 1));
      symbols.fill(symbol, place, behind);
      bits.fill(log + 1 - weight, place, behind);
      place = behind;
    });
  }
  return { symbols, bits, log };
}

/** @param {Uint8Array} bytes @param {Tree} tree @param {Uint8Array} out */
function decodeStream(bytes, { symbols, bits: lengths, log }, out) {
  const bits = new Bits(bytes);
  const mask = (1 << log) - 1;
  let { left } = bits;
  for (let place = 0; place < out.length; place++) {
    const state = bits.at(left - log) & mask;
    out[place] = symbols[state];
    left -= lengths[state];
  }
  if (left) damaged("a stream of literals does not come out even");
}

/** The numbers that codes of lengths stand for: the least one of each, and how many bits are added. @param {number[]} widths @param {number} first */
function lengthsOf(widths, first) {
  let next = first;
  const bases = Uint32Array.from(widths, (width) => {
    const base = next;
    next += 1 << width;
    return base;
  });
  return { bases, widths: Uint8Array.from(widths) };
}

const LITERALS = lengthsOf([...Array(16).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], 0);
const MATCHES = lengthsOf([...Array(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], 3);

// The probabilities where a block names none, the largest symbol, and the largest logarithm: of literals' lengths, offsets and matches' lengths.
const KINDS = [
  {
    usual: makeTable([4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1], 6),
    largest: 35,
    longest: 9,
  },
  {
    usual: makeTable([1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1], 5),
    largest: 31,
    longest: 8,
  },
  {
    usual: makeTable(
      [1, 4, 3, 2, 2, 2, 2, 2, 2, ...Array(37).fill(1), ...Array(7).fill(-1)],
      6,
    ),
    largest: 52,
    longest: 9,
  },
];

/** One frame, unpacked block by block into what is returned. */
class Frame {
  /** @param {number} size @param {number} most The most bytes that a block has, packed or unpacked. */
  constructor(size, most) {
    this.out = new Uint8Array(size);
    this.place = 0;
    this.most = most;
    /** @type {Tree | undefined} */
    this.tree = undefined;
    /** @type {(Table | undefined)[]} */
    this.tables = [undefined, undefined, undefined];
    this.offsets = [1, 4, 8];
    this.literals = new Uint8Array(BLOCK);
  }

  /** See that so many bytes may follow. @param {number} count @param {number} [limit] */
  claim(count, limit = this.out.length) {
    if (this.place + count > limit) damaged("there is more in it than its size says");
  }

  /** @param {Uint8Array} bytes */
  compressed(bytes) {
    const limit = Math.min(this.out.length, this.place + this.most);
    const [literals, start] = this.readLiterals(bytes);
    this.runSequences(bytes, start, literals, limit);
  }

  /** @param {Uint8Array} bytes @returns {[Uint8Array, number]} */
  readLiterals(bytes) {
    if (bytes.length < 2) damaged("a block is too short");
    const kind = bytes[0] & 3;
    const format = (bytes[0] >> 2) & 3;
    if (kind < 2) {
      const head = format & 1 ? (format >> 1) + 2 : 1;
      const size = head == 1 ? bytes[0] >> 3 : (bytes[0] >> 4) | (bytes[1] << 4) | (head > 2 ? bytes[2] << 12 : 0);
      const end = head + (kind ? 1 : size);
      if (size > this.most || end > bytes.length) damaged("literals are longer than their block");
      return [kind ? this.literals.subarray(0, size).fill(bytes[head]) : bytes.subarray(head, end), end];
    }
    const width = [10, 10, 14, 18][format];
    const head = [3, 3, 4, 5][format];
    let number = 0;
    for (let place = head - 1; place >= 0; place--) number = number * 256 + bytes[place];
    const size = Math.floor(number / 16) % 2 ** width;
    const end = head + (Math.floor(number / 2 ** (4 + width)) % 2 ** width);
    if (size > this.most || !(end <= bytes.length)) damaged("literals are longer than their block");
    let start = head;
    if (kind == 2) [this.tree, start] = readTree(bytes.subarray(0, end), start);
    const { tree } = this;
    if (!tree) return damaged("literals have no code");
    const out = this.literals.subarray(0, size);
    if (!format) decodeStream(bytes.subarray(start, end), tree, out);
    else {
      const sizes = [0, 2, 4].map((at) => bytes[start + at] | (bytes[start + at + 1] << 8));
      const quarter = (size + 3) >> 2;
      let from = start + 6;
      for (let stream = 0; stream < 4; stream++) {
        const to = stream < 3 ? from + sizes[stream] : end;
        if (to > end || 3 * quarter > size) damaged("streams of literals are longer than their block");
        decodeStream(bytes.subarray(from, to), tree, out.subarray(stream * quarter, stream < 3 ? (stream + 1) * quarter : size));
        from = to;
      }
    }
    return [out, end];
  }

  /** @param {Uint8Array} bytes @param {number} start @param {Uint8Array} literals @param {number} limit */
  runSequences(bytes, start, literals, limit) {
    let count = bytes[start++];
    if (count == 255) {
      count = bytes[start] + (bytes[start + 1] << 8) + 0x7f00;
      start += 2;
    } else if (count > 127) count = ((count - 128) << 8) + bytes[start++];
    if (!(start <= bytes.length)) damaged("a block is too short");
    let used = 0;
    if (count) {
      const modes = bytes[start++];
      if (modes & 3) damaged("a block has modes that there are not");
      const [lengths, offsets, matches] = KINDS.map(({ usual, largest, longest }, kind) => {
        const mode = (modes >> (6 - 2 * kind)) & 3;
        if (mode == 0) this.tables[kind] = usual;
        if (mode == 1) {
          const symbol = bytes[start++];
          if (!(symbol <= largest)) damaged("a table has a symbol that there is not");
          this.tables[kind] = { symbols: Uint8Array.of(symbol), bits: new Uint8Array(1), bases: new Uint16Array(1), log: 0 };
        }
        if (mode == 2) [this.tables[kind], start] = readTable(bytes, start, largest, longest);
        return this.tables[kind] ?? damaged("a block repeats a table that there is not");
      });
      used = this.run(new Bits(bytes.subarray(start)), count, literals, limit, lengths, offsets, matches);
    } else if (start != bytes.length) damaged("a block does not end where its size says");
    const rest = literals.length - used;
    this.claim(rest, limit);
    this.out.set(literals.subarray(used), this.place);
    this.place += rest;
  }

  /**
   * @param {Bits} bits @param {number} count @param {Uint8Array} literals @param {number} limit
   * @param {Table} lengths @param {Table} offsets @param {Table} matches
   */
  run(bits, count, literals, limit, lengths, offsets, matches) {
    const { out, offsets: recent } = this;
    let { place } = this;
    let used = 0;
    let [lengthState, offsetState, matchState] = [bits.read(lengths.log), bits.read(offsets.log), bits.read(matches.log)];
    for (; count; count--) {
      const offsetCode = offsets.symbols[offsetState];
      if (offsetCode > 23) damaged("a match lies too far back");
      const code = (1 << offsetCode) + bits.read(offsetCode);
      const matchCode = matches.symbols[matchState];
      const match = MATCHES.bases[matchCode] + bits.read(MATCHES.widths[matchCode]);
      const lengthCode = lengths.symbols[lengthState];
      const length = LITERALS.bases[lengthCode] + bits.read(LITERALS.widths[lengthCode]);
      if (count > 1) {
        lengthState = lengths.bases[lengthState] + bits.read(lengths.bits[lengthState]);
        matchState = matches.bases[matchState] + bits.read(matches.bits[matchState]);
        offsetState = offsets.bases[offsetState] + bits.read(offsets.bits[offsetState]);
      }
      if (bits.left < 0) damaged("a stream of sequences ends too early");
      let offset;
      if (code > 3) offset = code - 3;
      else {
        const which = code - (length ? 1 : 0);
        offset = which < 3 ? recent[which] : recent[0] - 1;
        if (which > 1) recent[2] = recent[1];
        if (which) recent[1] = recent[0];
        recent[0] = offset;
      }
      if (code > 3) {
        recent[2] = recent[1];
        recent[1] = recent[0];
        recent[0] = offset;
      }
      if (used + length > literals.length) damaged("sequences have more literals than there are");
      if (place + length + match > limit) damaged("there is more in it than its size says");
      for (const end = used + length; used < end; ) out[place++] = literals[used++];
      if (offset < 1 || offset > place) damaged("a match lies too far back");
      for (const end = place + match; place < end; place++) out[place] = out[place - offset];
    }
    if (bits.left) damaged("a stream of sequences does not come out even");
    this.place = place;
    return used;
  }
}

/**
 * Return what is in a frame, which has so many bytes. Throws an Error that says what is wrong.
 * @param {Uint8Array} bytes
 * @param {number} size
 * @returns {Uint8Array}
 */
export function unpackZstd(bytes, size) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 6 || view.getUint32(0, true) != MAGIC) damaged("it does not begin as a frame of zstd does");
  const head = bytes[4];
  const single = (head >> 5) & 1;
  if (head & 8) damaged("its frame has a bit that is reserved");
  let place = 5;
  let window = size;
  if (!single) {
    const base = 2 ** (10 + (bytes[place] >> 3));
    window = base + (base / 8) * (bytes[place++] & 7);
  }
  for (const end = place + [0, 1, 2, 4][head & 3]; place < end; ) if (bytes[place++]) damaged("it needs a dictionary");
  const width = [single, 2, 4, 8][head >> 6];
  if (place + width > bytes.length) damaged("it ends within its head");
  if (width) {
    let told = width == 2 ? 256 : 0;
    for (let byte = 0; byte < width; byte++) told += bytes[place + byte] * 256 ** byte;
    if (told != size) damaged(`its frame has ${told} bytes`);
    place += width;
  }
  if (window > WINDOW) damaged(`it needs a window of ${window} bytes, more than ${WINDOW}`);
  const frame = new Frame(size, Math.min(window, BLOCK));
  for (let last = 0; !last; ) {
    if (place + 3 > bytes.length) damaged("it ends too early");
    const block = bytes[place] | (bytes[place + 1] << 8) | (bytes[place + 2] << 16);
    last = block & 1;
    const kind = (block >> 1) & 3;
    const count = block >> 3;
    place += 3;
    const end = place + (kind == 1 ? 1 : count);
    if (kind == 3 || count > frame.most) damaged("a block is of no kind or size that there is");
    if (end > bytes.length) damaged("it ends too early");
    if (kind == 2) frame.compressed(bytes.subarray(place, end));
    else {
      frame.claim(count);
      if (kind) frame.out.fill(bytes[place], frame.place, frame.place + count);
      else frame.out.set(bytes.subarray(place, end), frame.place);
      frame.place += count;
    }
    place = end;
  }
  if (frame.place != size) damaged(`it ends ${size - frame.place} bytes too early`);
  // The checksum is one of bytes whose own checksum the file has.
  if (place + (head & 4) != bytes.length) damaged("something comes after its frame");
  return frame.out;
}
