/**
 * What an instrumented module tells of itself: by the names of its exports, and in custom sections (docs/abi.md).
 */

import {
  CONTRACT_SECTION,
  CONTRACT_VERSION,
  EXPORTED_IMPORTS_SECTION,
  FACT_CALLS_REFERENCES,
  FUNCTIONS_SECTION,
  MOST_RESULTS_TOLD,
  NEWEST_VERSION,
  RESULTS_SECTION,
  SET_DATA_POINTER,
  START_UNWIND,
  STATE_GLOBAL,
  UNVERSIONED_SECTION,
} from "./abi.js";
import { readAdded } from "./added.js";
import { bytesOf, readNumbers } from "./sections.js";

const SECTIONS = [CONTRACT_SECTION, UNVERSIONED_SECTION, FUNCTIONS_SECTION, RESULTS_SECTION, EXPORTED_IMPORTS_SECTION];

/** Whether any module was instrumented: a function that nobody knows may be from one. */
export let instrumentedAny = false;

/**
 * @typedef {object} Description
 * @property {WebAssembly.Module} module For saved states.
 * @property {boolean} instrumented
 * @property {boolean} thunks
 * @property {Uint8Array} listed Which functions may be on the stack at a suspension, a bit for each.
 * @property {Uint8Array[]} results For each imported function how many results it has, and their kinds.
 * @property {number} facts
 * @property {boolean} shares Whether other modules have its state: each tells of its own functions only.
 * @property {number[]} exportedImports The function indices of imports that are exported by thunks, by the export's number.
 * @property {ReturnType<typeof readAdded>} added Of a module that is guarded: what functions that were added are.
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
  const thunks = has(SET_DATA_POINTER);
  const [contract, unversioned, listed, kinds, again] = SECTIONS.map((name) => bytesOf(module, name));
  const [version = thunks || unversioned.length ? 0 : CONTRACT_VERSION, facts, stackLow] = readNumbers(contract);
  if (version < CONTRACT_VERSION || version > NEWEST_VERSION) {
    throw new WebAssembly.LinkError(`contract version ${version}, this host knows ${CONTRACT_VERSION} to ${NEWEST_VERSION}: instrument the module anew`);
  }
  /** @type {Uint8Array[]} */
  const results = [];
  for (let at = 0; at < kinds.length; ) results.push(kinds.subarray(at, (at += 1 + (kinds[at] & MOST_RESULTS_TOLD))));
  const numbers = readNumbers(again);
  const exportedImports = [];
  for (let at = 0; at < numbers.length; ) exportedImports[numbers[at++]] = numbers[at++];
  const outside = [...entries, ...WebAssembly.Module.imports(module)];
  const reached = outside.some(({ kind }) => kind == "table");
  return {
    module,
    instrumented,
    thunks,
    listed,
    results,
    facts: facts ?? (reached ? FACT_CALLS_REFERENCES : 0),
    shares: outside.some(({ name }) => name == STATE_GLOBAL),
    exportedImports,
    added: readAdded(module),
    stackLow,
  };
}

/** Whether a function is not instrumented. @param {Description} description @param {number} index */
export const isStranger = ({ listed }, index) => !(((listed[index >> 3] ?? 255) >> (index & 7)) & 1);
