/**
 * References in a saved guest: functions of its own by their index, objects of JavaScript by what a codec makes of them.
 *
 * A function has no index that one could ask for. So the module has a table that it fills, when it is asked, with every
 * function that a reference can exist of, and what a reference is shows by comparison with these.
 */

import { STATE_FUNCTIONS, STATE_LIST_FUNCTIONS } from "./abi.js";
import { refuse } from "./format.js";
import { NULL } from "./schema.js";

/** @typedef {(value: any) => Uint8Array} SaveObject */
/** @typedef {(bytes: Uint8Array) => any} LoadObject */

/** Call something of a memory or table whose addresses may have 64 bits. @param {any} of @param {string} method @param {number} at @param {...any} values */
export function at(of, method, at, ...values) {
  try {
    return of[method](at, ...values);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return of[method](BigInt(at), ...values);
  }
}

/** All functions that references can exist of, in the order of the section. @param {any} exports @param {number[]} functions @returns {Function[]} */
function listFunctions(exports, functions) {
  if (!functions.length) return [];
  exports[STATE_LIST_FUNCTIONS]();
  const table = exports[STATE_FUNCTIONS];
  return functions.map((_, place) => table.get(place));
}

/**
 * @param {any} exports @param {number[]} functions @param {SaveObject} [saveObject]
 * @returns {{ objects: Uint8Array[], save(type: string, value: any, what: string): number }}
 */
export function referenceSaver(exports, functions, saveObject) {
  /** @type {Uint8Array[]} */
  const objects = [];
  /** @type {Map<any, number>} */
  const numbers = new Map();
  /** @type {Map<any, number> | undefined} */
  let indices;
  return {
    objects,

    /** The number that a reference is saved as. @param {string} type @param {any} value @param {string} what */
    save(type, value, what) {
      if (type == "funcref") {
        if (value === null) return NULL;
        indices ??= new Map(listFunctions(exports, functions).map((one, place) => [one, functions[place]]));
        return indices.get(value) ?? refuse(`${what} refers to a function that is not the guest's own, which cannot be saved`);
      }
      if (type != "externref") return refuse(`${what} holds a reference of a type that cannot be saved: ${type}`);
      if (value === null) return NULL;
      let number = numbers.get(value);
      if (number === undefined) {
        if (!saveObject) refuse(`${what} refers to a value of JavaScript, ${String(Object.prototype.toString.call(value)).slice(8, -1)}: give snapshot a saveObject, and restore a loadObject, that turn such values into bytes and back`);
        const content = /** @type {SaveObject} */ (saveObject)(value);
        if (!(content instanceof Uint8Array)) refuse(`saveObject returned no Uint8Array for ${what}`);
        numbers.set(value, (number = objects.push(content) - 1));
      }
      return number;
    },
  };
}

/** @param {any} exports @param {number[]} functions @param {Uint8Array[]} objects @param {LoadObject} [loadObject] */
export function referenceLoader(exports, functions, objects, loadObject) {
  /** @type {any[]} */
  const made = [];
  /** @type {Map<number, Function> | undefined} */
  let found;
  return {
    /** @param {string} type @param {number} number @returns {any} */
    load(type, number) {
      if (number == NULL) return null;
      if (type == "funcref") {
        found ??= new Map(listFunctions(exports, functions).map((one, place) => [functions[place], one]));
        return found.get(number) ?? refuse(`the snapshot refers to function ${number}, of which the module makes no references`);
      }
      if (!(number in made)) {
        if (!loadObject) refuse("the snapshot refers to objects of the host: give a loadObject that makes them of bytes");
        made[number] = /** @type {LoadObject} */ (loadObject)(objects[number]);
      }
      return made[number];
    },
  };
}
