/**
 * What lines call a module, so that indices of functions of several are not confused: `caesura.recording.module_label` is the
 * same in Python.
 */

import { shortenedName } from "./record_examples.js";

const { Module } = WebAssembly;

const text = new TextDecoder();

/** Return the name that a module has in its name section. @param {WebAssembly.Module} module */
function nameOf(module) {
  const bytes = new Uint8Array(Module.customSections(module, "name")[0] ?? 0);
  if (bytes[0] !== 0) return ""; // it comes first if it is there
  let at = 1;
  const read = () => {
    let number = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      number |= (byte & 127) << shift;
      if (!(byte & 128)) return number;
    }
  };
  read();
  const length = read();
  return text.decode(bytes.subarray(at, at + length));
}

/**
 * Return what a module is called in lines: its name, or a number that is the same for the same imports and exports, and so
 * for a build that caesura has made of it.
 * @param {WebAssembly.Module} module
 */
function labelOf(module) {
  const own = nameOf(module);
  if (own) return shortenedName(own);
  const words = [];
  for (const { module: from, name, kind } of Module.imports(module)) {
    if (from != "asyncify" && !from.startsWith("wasm:") && !name.startsWith("__asyncify_")) words.push(from, name, kind);
  }
  for (const { name, kind } of Module.exports(module)) {
    if (!name.startsWith("asyncify_") && !name.startsWith("__asyncify_")) words.push(name, kind);
  }
  let hash = 0x811c9dc5; // FNV-1a
  for (const letter of words.join("\n")) hash = Math.imul(hash ^ /** @type {number} */ (letter.codePointAt(0)), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** What modules are called in lines. @type {WeakMap<WebAssembly.Module, string>} */
const labels = new WeakMap();

/** Return what lines call a module. @param {WebAssembly.Module} module */
export function labelled(module) {
  let label = labels.get(module);
  if (label === undefined) labels.set(module, (label = labelOf(module)));
  return label;
}
