/**
 * Reads what recording builds note by themselves: modules that export `asyncify_recorded` (docs/abi.md), under whatever glue
 * drives them.
 *
 * Glue ends each unwinding by `asyncify_stop_unwind`, so what it finds under that name looks at the build behind it, which
 * is one read of a global. It is a function of WebAssembly like any export, since glue may put what is exported into tables.
 * Wrapping the imports was rejected, since these are called far more often, as was whatever enters the guest. With thunks
 * nothing is called, and `look` is called whenever the event loop goes round.
 */

import { RECORD_SECTION } from "./abi.js";
import { chains } from "./record_examples.js";
import { leaveOut, seenOf } from "./record_lines.js";

/**
 * An instance of a recording build. It may go away, with what it has counted.
 * @typedef {object} Build
 * @property {WeakRef<any>} instance
 * @property {(string | { import: string })[]} entries What numbers stand for.
 * @property {() => string} label What its module is called.
 * @property {{ seen: import("./record_lines.js").Seen, count: number }[]} taken What was taken of each, and how often it was seen by then.
 */

const HALF = 0xffff_ffffn;

/** @type {Build[]} */
let builds = [];

/** @param {any} exports */
export const isBuild = (exports) => !!exports.asyncify_recorded && !!exports.asyncify_record_changed;

/**
 * Take an instance of a recording build.
 * @param {WebAssembly.Instance} instance
 * @param {WebAssembly.Module} module
 * @param {() => string} label
 */
export function addBuild(instance, module, label) {
  const [section] = WebAssembly.Module.customSections(module, RECORD_SECTION);
  const entries = JSON.parse(new TextDecoder().decode(section));
  const isEntry = (/** @type {any} */ entry) => typeof (entry?.import ?? entry) == "string";
  if (!Array.isArray(entries) || !entries.every(isEntry)) throw new TypeError(`${RECORD_SECTION} is no list of names and imports`);
  builds.push({ instance: new WeakRef(instance), entries, label, taken: [] });
}

/** Take what builds have counted. @param {boolean} all Of all of them, not only of those that have noted a function for the first time. */
export function takeCounts(all) {
  builds = builds.filter((build) => {
    const { exports } = build.instance.deref() ?? {};
    try {
      if (exports && (all || exports.asyncify_record_changed.value)) takeFrom(build, exports);
      return exports;
    } catch (error) {
      leaveOut(`${build.label()} cannot be read: ${error}`);
    }
  });
}

/** @param {Build} build @param {any} exports */
function takeFrom({ entries, label, taken }, exports) {
  exports.asyncify_record_changed.value = 0;
  const exampleOf = chains(entries, (number) => Number(BigInt.asUintN(64, exports.asyncify_recorded(number)) >> 32n) - 1);
  for (const [number, entry] of entries.entries()) {
    if (typeof entry != "string") continue;
    const count = Number(exports.asyncify_recorded(number) & HALF);
    const known = taken[number];
    if (count <= (known?.count ?? 0)) continue;
    const seen = known?.seen ?? seenOf(label(), entry, ...exampleOf(number));
    seen.count += count - (known?.count ?? 0);
    taken[number] = { seen, count };
  }
}
