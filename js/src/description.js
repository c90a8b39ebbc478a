/**
 * What an instrumented module tells of itself: by the names of its exports, and in custom sections (docs/abi.md).
 */

import {
  EXPORTED_IMPORTS_SECTION,
  FACT_CALLS_REFERENCES,
  FACT_STACK_LOW,
  FACTS_SECTION,
  FUNCTIONS_SECTION,
  MOST_RESULTS_TOLD,
  RESULTS_SECTION,
  SET_DATA_POINTER,
  START_UNWIND,
} from "./abi.js";

/** Whether any module was instrumented: a function that nobody knows may be from one. */
export let instrumentedAny = false;

/**
 * @typedef {object} Description
 * @property {boolean} instrumented
 * @property {boolean} thunks
 * @property {Uint8Array} listed Which functions may be on the stack at a suspension, a bit for each.
 * @property {Uint8Array[]} results For each imported function how many results it has, and their kinds.
 * @property {number} facts
 * @property {number[]} exportedImports The function indices of imports that are exported by thunks, by the export's number.
 * @property {number} [stackLow] The lowest address of the guest's own shadow stack.
 */

/**
 * Return what a module tells of itself. Where it does not, which functions may suspend is not known, and all results are
 * numbers; and a table that others can reach says that these may get between its functions.
 * @param {WebAssembly.Module} module
 * @returns {Description}
 */
export function describe(module) {
  const entries = WebAssembly.Module.exports(module);
  const has = (/** @type {string} */ wanted) => entries.some(({ name }) => name == wanted);
  const instrumented = has(START_UNWIND);
  instrumentedAny ||= instrumented;
  const [listed, kinds, [facts, ...rest], again] = [FUNCTIONS_SECTION, RESULTS_SECTION, FACTS_SECTION, EXPORTED_IMPORTS_SECTION].map(
    (name) => new Uint8Array(WebAssembly.Module.customSections(module, name)[0]),
  );
  /** @type {Uint8Array[]} */
  const results = [];
  for (let at = 0; at < kinds.length; ) results.push(kinds.subarray(at, (at += 1 + (kinds[at] & MOST_RESULTS_TOLD))));
  const numbers = readNumbers(again);
  const exportedImports = [];
  for (let at = 0; at < numbers.length; ) exportedImports[numbers[at++]] = numbers[at++];
  const reached = [...entries, ...WebAssembly.Module.imports(module)].some(({ kind }) => kind == "table");
  return {
    instrumented,
    thunks: has(SET_DATA_POINTER),
    listed,
    results,
    facts: facts ?? (reached ? FACT_CALLS_REFERENCES : 0),
    exportedImports,
    stackLow: facts & FACT_STACK_LOW ? readNumbers(rest)[0] : undefined,
  };
}

/** Whether a function is not instrumented. @param {Description} description @param {number} index */
export const isStranger = ({ listed }, index) => !(((listed[index >> 3] ?? 255) >> (index & 7)) & 1);

/** Read numbers in LEB128. @param {Iterable<number>} bytes */
function readNumbers(bytes) {
  const numbers = [];
  let [number, scale] = [0, 1];
  for (const byte of bytes) {
    number += (byte & 127) * scale;
    scale *= 128;
    if (byte < 128) {
      numbers.push(number);
      [number, scale] = [0, 1];
    }
  }
  return numbers;
}
