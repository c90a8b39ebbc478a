/**
 * Records which functions of WebAssembly are on the stack at suspensions, so that a list of them writes itself.
 *
 * Loaded before a program, as `node --import` does, it takes its place in `WebAssembly`. What is recorded goes to the file
 * that CAESURA_RECORD names, or to who calls `recorded`.
 *
 * For the Python package, whose `caesura record` has Node load it, `docs/render_record.py` makes one file of all that this one
 * imports.
 */

import { hook } from "./record_hooks.js";
import { end, writeRest } from "./record_instances.js";
import { atExit, noteMissing, takeKept } from "./record_lines.js";
import { withRealms } from "./record_realms.js";

/** Where the package finds the recorder (`recording.js`). */
const RECORDER = Symbol.for("caesura.record");

/** Record what is done in a realm. @param {any} realm Its global object. */
function enter(realm) {
  if (realm[RECORDER]) return;
  const push = (/** @type {["missing", string[]]} */ [, entries]) => noteMissing(entries);
  Object.defineProperty(realm, RECORDER, { value: { push } });
  hook(realm.WebAssembly);
}

/** Return the lines that came since this was called last, each a JSON object; none where they go to a file. */
export function recorded() {
  writeRest();
  return takeKept();
}

// The program's package and the one that it was started with may both have this file.
if (!(RECORDER in globalThis)) {
  // Else V8 shows a function that it has inlined at an indirect call below whichever is called there instead. Nothing is small
  // enough, then. To turn inlining off (`--no-wasm-inlining`) was rejected: V8 then compiles `call_ref` in a way that few use,
  // and crashes there once instances have been collected.
  /** @type {any} */ (globalThis).process?.getBuiltinModule?.("node:v8").setFlagsFromString("--wasm-inlining-max-size=0");
  enter(globalThis);
  withRealms(enter);
  atExit(end);
}
