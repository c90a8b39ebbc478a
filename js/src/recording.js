/**
 * What the package tells a recording: `tell` hands on what a guest has done to `caesura/record`, if somebody has loaded that.
 */

/** Where the recorder is found: its `push` takes what it is told. */
const RECORDER = Symbol.for("caesura.record");

/**
 * Tell the recorder of `"missing", entries`: a suspension was refused, as a list leaves these functions out, innermost first.
 *
 * @param {["missing", string[]]} event
 */
export const tell = (...event) => /** @type {any} */ (globalThis)[RECORDER]?.push(event);
