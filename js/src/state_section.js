/** What a module's state consists of, as its section `asyncify.state` tells (docs/abi.md). Its author may lie. */

import { SECOND_STATE_VERSION, STATE_DIGEST, STATE_SECTION } from "./abi.js";
import { isRecord } from "./fields.js";
import { hex, refuse } from "./format.js";

/** @typedef {import("./schema.js").Type} Type */

/**
 * @typedef {object} StateSection
 * @property {string} original The digests of the module that was given, and of the instrumented one.
 * @property {string} instrumented
 * @property {number} contract
 * @property {string[]} imports Those that may suspend, as "module.name".
 * @property {Record<string, any>} options
 * @property {Record<string, Type[]>} parameters Their parameters' types.
 * @property {{ index: number, page_size: number, wide: boolean }[]} memories
 * @property {Place[]} globals
 * @property {Place[]} tables
 * @property {number[]} data
 * @property {number[]} elements
 * @property {number[]} functions Those that the module lists, in that order.
 * @property {string[]} unsaved
 * @property {number[]} undropped Those of `elements` that cannot be saved before they are dropped.
 * @property {string[]} [uncallable] Exports that take what JavaScript does not have at hand.
 * @property {{ types?: Type[], unsaved?: string }[]} tags The module's, where exceptions can be in the state.
 * @property {{ tables: number[], runs: boolean }} frames Where references of frames lie.
 */

/** A global or table. One that is reached by functions has its own type as `declared`. @typedef {{ index: number, type: Type, declared?: string }} Place */

/** @param {WebAssembly.Module} module @returns {StateSection} */
export function readStateSection(module) {
  const [payload] = WebAssembly.Module.customSections(module, STATE_SECTION);
  if (!payload) return refuse("the module was instrumented without --snapshots, so that its state cannot be read or put back: instrument the original anew");
  const bytes = new Uint8Array(payload);
  /** @param {number} place @returns {[number, number]} */
  const numberAt = (place) => {
    let number = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[place++] ?? bad("it is cut off");
      number += (byte & 127) * scale;
      if (byte < 128) return [number, place];
    }
  };
  const [version, digests] = numberAt(0);
  if (version < 1 || version > SECOND_STATE_VERSION) {
    refuse(`the module tells of its state by version ${version} of the section ${STATE_SECTION}, and this caesura knows versions up to ${SECOND_STATE_VERSION}: instrument the original anew`);
  }
  const [size, start] = numberAt(digests + 2 * STATE_DIGEST);
  if (start + size > bytes.length) bad("it is cut off");
  let content;
  try {
    content = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(start, start + size)));
  } catch {
    bad("it is no JSON");
  }
  for (const name of ["memories", "globals", "tables", "data", "elements", "imports", "unsaved"]) if (!Array.isArray(content?.[name])) bad(name);
  if (!isRecord(content.options)) bad("options");
  for (const name of ["uncallable", "undropped"]) if (!Array.isArray(content[name] ?? [])) bad(name);
  const functions = [];
  for (let place = 8 * (start + size); place < 8 * bytes.length; place++) {
    if ((bytes[place >> 3] >> (place & 7)) & 1) functions.push(place - 8 * (start + size));
  }
  const original = hex(bytes.subarray(digests, digests + STATE_DIGEST));
  const instrumented = hex(bytes.subarray(digests + STATE_DIGEST, digests + 2 * STATE_DIGEST));
  return { parameters: {}, tags: [], undropped: [], frames: { tables: [], runs: false }, ...content, original, instrumented, functions };
}

/** @param {string} why @returns {never} */
const bad = (why) => refuse(`the section ${STATE_SECTION} of the module is not as it should be: ${why}`);
