/**
 * What the package tells a recording: `tell` hands on what a guest has done to `caesura/record`, if somebody has loaded it.
 *
 * In Node it is loaded where the environment variable CAESURA_RECORD is set. That takes a moment, so what comes before is
 * kept in a list, which the recorder takes when it is there. Nothing of it is loaded otherwise.
 */

/** Where the recorder is found: its `push` takes `[what, ...of it]`. */
const RECORDER = Symbol.for("caesura.record");

const realm = /** @type {any} */ (globalThis);

if (realm.process?.env?.CAESURA_RECORD && !realm[RECORDER]) {
  realm[RECORDER] = [];
  import("./record.js");
}

/**
 * @overload
 * @param {"missing"} what A suspension was refused.
 * @param {string[]} entries The functions that a list leaves out, as lists name them.
 * @returns {void}
 */
/** @param {any[]} event */
export function tell(...event) {
  realm[RECORDER]?.push(event);
}
