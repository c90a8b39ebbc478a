/**
 * Functions of WebAssembly that call another one, and JavaScript before or after it: what stands for an instance's exports.
 *
 * Glue may put exports into tables, which take no functions of JavaScript. The object with an instance's exports cannot be
 * changed, so the instance gets another one, which has the same in the same order but for what is replaced.
 */

const I32 = 0x7f;
const I64 = 0x7e;

const nothing = () => {};

/** @param {number} id @param {number[][]} items */
const section = (id, ...items) => {
  const content = [items.length, ...items.flat()];
  return [id, content.length, ...content];
};

/** @param {number[]} parameters */
const type = (...parameters) => [0x60, parameters.length, ...parameters, 0];

/** An imported function of a type: letter of its name. @param {string} name @param {number} kind */
const imported = (name, kind) => [0, 1, name.charCodeAt(0), 0, kind];

/** Return a module whose function calls "b", "f" with its parameters, and "a". @param {number[]} parameters */
function makeModule(...parameters) {
  const code = [0, 0x10, 0, ...parameters.flatMap((_, number) => [0x20, number]), 0x10, 1, 0x10, 2, 0x0b];
  return new WebAssembly.Module(
    Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, type(), type(...parameters)),
      ...section(2, imported("b", 0), imported("f", 1), imported("a", 0)),
      ...section(3, [1]),
      ...section(7, [1, "f".charCodeAt(0), 0, 3]),
      ...section(10, [code.length, ...code]),
    ]),
  );
}

const { Instance } = WebAssembly;

/**
 * Return a function that calls another one.
 * @param {Function} f Takes nothing, or a pointer, and returns nothing.
 * @param {{ before?: () => void, after?: () => void }} what
 */
export function around(f, { before = nothing, after = nothing }) {
  const imports = { "": { b: before, f, a: after } };
  for (const parameters of [[], [I32], [I64]]) {
    if (parameters.length != f.length) continue;
    try {
      return new Instance(makeModule(...parameters), imports).exports.f;
    } catch {
      // Its pointers are of the other kind.
    }
  }
}

/**
 * Let an instance export other functions under some names.
 * @param {WebAssembly.Instance} instance
 * @param {Record<string, any>} functions
 */
export function replaceExports(instance, functions) {
  const value = Object.freeze(Object.assign(Object.create(null), instance.exports, functions));
  Object.defineProperty(instance, "exports", { value, configurable: true });
}
