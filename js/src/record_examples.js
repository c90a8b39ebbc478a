/**
 * Example stacks, as they are noted of each function: shortened, so that what is noted grows with a program and no more.
 *
 * Each function has its own, down to it: on a deep stack these are as many names as the square of its depth. So of a deep stack
 * both ends are kept, with the number of functions in between, and of a long name its beginning. `caesura.recording.examples`
 * is the same in Python: both recorders write the same list.
 */

/** How many names an example has, with the words for those that are left out, and how many stand before these. */
const MOST_IN_EXAMPLE = 40;
const INNER = 20;
const OUTER = MOST_IN_EXAMPLE - INNER - 1;

/** Characters of a name. */
const MOST_CHARACTERS = 200;

/** How many imports are told of one function. */
export const MOST_IMPORTS = 40;

/** Return a name as examples have it. @param {string} name */
export function shortenedName(name) {
  if (name.length <= MOST_CHARACTERS) return name;
  // Characters are no halves of them. A name may have megabytes.
  const characters = [...name.slice(0, 2 * MOST_CHARACTERS + 2)];
  return characters.length > MOST_CHARACTERS ? characters.slice(0, MOST_CHARACTERS).join("") + "..." : name;
}

/**
 * @param {string[]} inner
 * @param {string[]} outer
 * @param {number} frames
 */
const joined = (inner, outer, frames) => [...inner, `... ${frames - INNER - OUTER} more ...`, ...outer];

/** Return a stack, innermost first, as examples have it. @param {string[]} stack */
export function shortened(stack) {
  const { length } = stack;
  return (length > MOST_IN_EXAMPLE ? joined(stack.slice(0, INNER), stack.slice(-OUTER), length) : stack).map(shortenedName);
}

/** How many functions the stack had that an example was made of. @param {string[]} stack */
function framesOf(stack) {
  const leftOut = stack.length == MOST_IN_EXAMPLE && /^\.\.\. (\d{1,15}) more \.\.\.$/.exec(stack[INNER]);
  return leftOut ? stack.length - 1 + +leftOut[1] : stack.length;
}

/**
 * Whether an example is a better one than another: of a shorter stack, or one as short and earlier by its text.
 * @param {string[]} one
 * @param {string[]} other
 */
export function isBetter(one, other) {
  const shorter = framesOf(one) - framesOf(other);
  if (shorter) return shorter < 0;
  const at = one.findIndex((name, place) => name != other[place]);
  return at >= 0 && one[at] < other[at];
}

/**
 * The inner end of a chain: the import that it came to, if it did, the first names, and how many there are.
 * @typedef {{ site: string | null, names: string[], frames: number }} End
 */

/**
 * Return what finds the stacks that a build has noted as chains, in which each function tells what it had called: shortened,
 * from what a function had called in the end to itself, and the import there, if it is known. Chains share their inner ends,
 * so each function is visited once to find all of them. One that is a ring, as no build has it, is cut there.
 * @param {(string | { import: string })[]} entries What numbers stand for.
 * @param {(number: number) => number} calledBy What a function had called; none of these numbers where that is not known.
 * @returns {(number: number) => [site: string | null, stack: string[]]}
 */
export function chains(entries, calledBy) {
  /** @type {Map<number, End>} */
  const ends = new Map();
  const nameOf = (/** @type {number} */ number) => {
    const entry = entries[number];
    return typeof entry == "string" ? entry : entry.import;
  };
  /** @param {number} number @returns {End} */
  const innermost = (number) => {
    const name = shortenedName(nameOf(number));
    return { site: typeof entries[number] == "string" ? null : name, names: [name], frames: 1 };
  };
  /** @param {number} number */
  const endOf = (number) => {
    /** @type {Set<number>} */
    const way = new Set();
    while (!ends.has(number)) {
      if (way.has(number) || typeof entries[number] != "string") {
        ends.set(number, innermost(number));
        break;
      }
      way.add(number);
      const called = calledBy(number);
      if (called >= 0 && called < entries.length) number = called;
    }
    let end = /** @type {End} */ (ends.get(number));
    for (const one of [...way].reverse()) {
      const { site, names, frames } = end;
      end = ends.get(one) ?? { site, names: names.length < INNER ? [...names, shortenedName(nameOf(one))] : names, frames: frames + 1 };
      ends.set(one, end);
    }
    return end;
  };
  return (number) => {
    const { site, names, frames } = endOf(number);
    const outer = [];
    while (outer.length < Math.min(frames, MOST_IN_EXAMPLE)) {
      outer.unshift(nameOf(number));
      number = calledBy(number);
    }
    return [site, shortened(frames > MOST_IN_EXAMPLE ? joined(names, outer.slice(-OUTER), frames) : outer)];
  };
}
