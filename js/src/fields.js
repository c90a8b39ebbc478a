/**
 * Kinds of fields of a saved state's document: for each how a value becomes JSON, how JSON becomes a value, and what is
 * refused on either way. The same as `caesura.snapshots.fields` in Python: what one reads and writes the other does.
 *
 * What is read comes from strangers, so nothing is taken for what it should be, and an object's own properties are all that
 * it has. Integers are numbers as far as those are exact, and BigInts beyond; bits are always BigInts.
 */

/** @typedef {{ read(value: any, bulk: Bulk): any, write(value: any, bulk: Uint8Array[]): any, fallback?: any }} Kind */

/** What is wrong with a value; `path` leads to it, from the outside to the inside. */
export class Mistake extends Error {
  /** @param {string} reason @param {...(string | number)} path */
  constructor(reason, ...path) {
    super(reason);
    this.reason = reason;
    this.path = path;
  }
}

/** The text of a mistake. @param {Mistake} mistake */
export const told = ({ reason, path }) => (path.length ? `${path.join(".")}: ${reason}` : reason);

/** Do something with what is at a place in something larger. @template T @param {string | number} name @param {() => T} act @returns {T} */
export function within(name, act) {
  try {
    return act();
  } catch (error) {
    if (error instanceof Mistake) throw new Mistake(error.reason, name, ...error.path);
    throw error;
  }
}

/** A value for a message, of which a stranger may have made a long one. @param {any} value */
export function shown(value) {
  const text = Array.isArray(value) ? "an array" : value && typeof value == "object" ? "an object" : typeof value == "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Bytes that lie beside the JSON, one value after the other. What is in the JSON of each is its size. */
export class Bulk {
  /** @param {Uint8Array} content */
  constructor(content) {
    /** @type {Uint8Array} */
    this.content = content;
    this.place = 0;
  }

  /** @param {number} size @returns {Uint8Array} */
  take(size) {
    if (size > this.left) throw new Mistake(`${size} bytes of bulk are more than there are`);
    return this.content.subarray(this.place, (this.place += size));
  }

  /** How many bytes nobody took. */
  get left() {
    return this.content.length - this.place;
  }
}

/** @param {any} value */
export const isRecord = (value) => typeof value == "object" && value !== null && !Array.isArray(value);

/** @param {any} value */
const expectRecord = (value) => {
  if (!isRecord(value)) throw new Mistake(`${shown(value)} is not an object`);
};
/** @param {any} value */
const expectArray = (value) => {
  if (!Array.isArray(value)) throw new Mistake(`${shown(value)} is not an array`);
};

const INTEGER = /^(0|-?[1-9][0-9]{0,38})$/;

/** An integer as it is at hand: a number where that is exact. @param {bigint} value */
const handy = (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value);

/**
 * An integer within bounds.
 * @param {bigint | number} low @param {bigint | number} high @param {boolean} [large] Whether it is a BigInt always.
 * @returns {Kind}
 */
export function integer(low, high, large = false) {
  /** @param {bigint} value */
  const check = (value) => {
    if (value < low || value > high) throw new Mistake(`${shown(value)} is not within ${low} and ${high}`);
    return value;
  };
  return {
    read(value) {
      let found;
      if (typeof value == "string") {
        if (!INTEGER.test(value)) throw new Mistake(`${shown(value)} is not an integer`);
        found = BigInt(value);
        if (typeof handy(found) == "number") throw new Mistake(`${value} is text, and must be a number`);
      } else {
        if (!Number.isInteger(value)) throw new Mistake(`${shown(value)} is not an integer`);
        if (!Number.isSafeInteger(value)) throw new Mistake(`${shown(value)} is a number, and must be text`);
        found = BigInt(value);
      }
      check(found);
      return large ? found : handy(found);
    },
    write(value) {
      if (typeof value != "bigint" && !Number.isSafeInteger(value)) throw new Mistake(`${shown(value)} is not an integer`);
      const found = handy(check(BigInt(value)));
      return typeof found == "bigint" ? String(found) : found;
    },
  };
}

/** A value that JSON has itself. @param {(value: any) => void} check @returns {Kind} */
const plain = (check) => {
  /** @param {any} value */
  const same = (value) => {
    check(value);
    return value;
  };
  return { read: same, write: same };
};

const MOST_CHARACTERS = 1 << 20;

export const text = plain((value) => {
  if (typeof value != "string") throw new Mistake(`${shown(value)} is not text`);
  if (value.length > 2 * MOST_CHARACTERS || [...value].length > MOST_CHARACTERS) throw new Mistake(`${value.length} characters are more than ${MOST_CHARACTERS}`);
});

export const flag = plain((value) => {
  if (typeof value != "boolean") throw new Mistake(`${shown(value)} is neither true nor false`);
});

/** One of some words. @param {readonly string[]} words */
export const choice = (words) =>
  plain((value) => {
    if (!words.includes(value)) throw new Mistake(`${shown(value)} is none of ${words.join(", ")}`);
  });

/** A digest, as text. */
export const digest = plain((value) => {
  if (typeof value != "string" || !/^[0-9a-f]{64}$/.test(value)) {
    throw new Mistake(`${shown(value)} is not a digest, 64 hexadecimal digits in lower case`);
  }
});

const SIZE = integer(0, Number.MAX_SAFE_INTEGER);

/** Bytes, which lie in the bulk. @type {Kind} */
export const bytes = {
  read: (value, bulk) => bulk.take(SIZE.read(value, bulk)),
  write(value, bulk) {
    if (!(value instanceof Uint8Array)) throw new Mistake(`${shown(value)} is not bytes`);
    bulk.push(value);
    return value.length;
  },
};

/** An array. @param {Kind} kind @returns {Kind} */
export const items = (kind) => ({
  read(value, bulk) {
    expectArray(value);
    return value.map((/** @type {any} */ item, /** @type {number} */ place) => within(place, () => kind.read(item, bulk)));
  },
  write(value, bulk) {
    expectArray(value);
    return value.map((/** @type {any} */ item, /** @type {number} */ place) => within(place, () => kind.write(item, bulk)));
  },
});

/** An array of a certain length, each part of a kind of its own. @param {...Kind} kinds @returns {Kind} */
export const row = (...kinds) => {
  /** @param {any} value */
  const expect = (value) => {
    expectArray(value);
    if (value.length != kinds.length) throw new Mistake(`${value.length} items, and there must be ${kinds.length}`);
  };
  return {
    read(value, bulk) {
      expect(value);
      return kinds.map((kind, place) => within(place, () => kind.read(value[place], bulk)));
    },
    write(value, bulk) {
      expect(value);
      return kinds.map((kind, place) => within(place, () => kind.write(value[place], bulk)));
    },
  };
};

/** An array, as an object whose keys are the places: of these, a change can name some. @param {Kind} kind @returns {Kind} */
export const numbered = (kind) => ({
  read(value, bulk) {
    expectRecord(value);
    const names = Object.keys(value);
    names.forEach((_, place) => {
      if (!Object.hasOwn(value, place)) throw new Mistake(`there are ${names.length} items, but none with the number ${place}`);
    });
    return names.map((_, place) => within(place, () => kind.read(value[place], bulk)));
  },
  write(value, bulk) {
    expectArray(value);
    return Object.fromEntries(value.map((/** @type {any} */ item, /** @type {number} */ place) => [place, within(place, () => kind.write(item, bulk))]));
  },
});

/** @param {string} key */
function numberOf(key) {
  const number = Number(key);
  if (/^(0|[1-9][0-9]{0,9})$/.test(key) && number < 2 ** 32) return number;
  throw new Mistake("a number of 32 bits must stand here", shown(key));
}

/** Records with another number each, ascending, as an object whose keys are these numbers. @param {Kind} kind @param {string} key @returns {Kind} */
export const keyed = (kind, key) => ({
  read(value, bulk) {
    expectRecord(value);
    const numbers = Object.keys(value).map(numberOf).sort((one, other) => one - other);
    return numbers.map((number) =>
      within(number, () => {
        const record = value[number];
        expectRecord(record);
        if (Object.hasOwn(record, key)) throw new Mistake("this is what its key says already", key);
        return kind.read({ ...record, [key]: number }, bulk);
      }),
    );
  },
  write(value, bulk) {
    expectArray(value);
    let last = -1;
    return Object.fromEntries(
      value.map((/** @type {any} */ item, /** @type {number} */ place) => {
        const { [key]: number, ...record } = within(place, () => kind.write(item, bulk));
        if (number <= last) throw new Mistake(`${key} ${number} comes after ${last}`, place);
        last = number;
        return [number, record];
      }),
    );
  },
});

/** A field that has a value of which nothing is written. @param {Kind} kind @param {any} [fallback] Default: undefined. @returns {Kind} */
export const maybe = (kind, fallback) => ({ ...kind, fallback: { value: fallback } });

/** Whether a value is what nothing is written of, which is a plain value, an empty array, or an object of such. @param {any} value @param {any} fallback @returns {boolean} */
const isSame = (value, fallback) =>
  value === fallback ||
  (Array.isArray(fallback)
    ? Array.isArray(value) && !value.length
    : isRecord(fallback) && isRecord(value) && Object.keys({ ...value, ...fallback }).every((name) => isSame(value[name], fallback[name])));

/**
 * An object with certain fields, in the order in which their bulk lies. `check` throws for what single fields do not tell.
 * @param {Record<string, Kind>} fields
 * @param {(value: any) => void} [check]
 * @returns {Kind}
 */
export const record = (fields, check = () => {}) => ({
  read(value, bulk) {
    expectRecord(value);
    for (const name of Object.keys(value)) if (!Object.hasOwn(fields, name)) throw new Mistake("there is no such field", name);
    /** @type {Record<string, any>} */
    const made = {};
    for (const [name, { read, fallback }] of Object.entries(fields)) {
      if (Object.hasOwn(value, name)) {
        made[name] = within(name, () => read(value[name], bulk));
        if (fallback && isSame(made[name], fallback.value)) throw new Mistake("this is the value of which nothing is written", name);
      } else if (fallback) made[name] = fallback.value;
      else throw new Mistake("this is missing", name);
    }
    check(made);
    return made;
  },
  write(value, bulk) {
    /** @type {Record<string, any>} */
    const written = {};
    for (const [name, { write, fallback }] of Object.entries(fields)) {
      if (!fallback || !isSame(value[name], fallback.value)) written[name] = within(name, () => write(value[name], bulk));
    }
    check(value);
    return written;
  },
});
