/**
 * Measures what a suspension and resumption costs at several depths, through the plain ABI: a loop around the guest's
 * export, and an import that suspends whenever it is called. Gives, beside the times of `times` suspensions, the bytes of
 * asyncify stack that one of them takes.
 *
 *     node suspending.mjs '{"leastMilliseconds": 100, "times": {"<depth>": <times>, ...},
 *                           "files": {"<variant>": "<module>", ...}}'
 */

import { readFileSync } from "node:fs";
import { mapValues, measure, report, request } from "./timing.mjs";

const { leastMilliseconds, times, files } = request();
const FRAMES = ["small", "large"];
const HEADER = 8;

async function load(file) {
  let isUnwinding = false;
  let isRewinding = false;
  const ask = (value) => {
    if (isRewinding) {
      isRewinding = false;
      exports.asyncify_stop_rewind();
      return value * 7;
    }
    isUnwinding = true;
    exports.asyncify_start_unwind(data);
    return 0;
  };
  const { instance } = await WebAssembly.instantiate(readFileSync(file), { env: { ask } });
  const { exports } = instance;
  exports._initialize();
  const data = exports.stack_address();
  const pointers = new Int32Array(exports.memory.buffer, data, 2);
  pointers.set([data + HEADER, data + exports.stack_size()]);

  /** Runs an export that suspends some times; gives its result and how often it was suspended, and how large that was. */
  return (frames, depth, times) => {
    const entry = exports[frames];
    let suspensions = 0;
    let bytes = 0;
    let result = entry(depth, times);
    while (isUnwinding) {
      isUnwinding = false;
      if (suspensions++ === 0) bytes = pointers[0] - data - HEADER;
      exports.asyncify_stop_unwind();
      exports.asyncify_start_rewind(data);
      isRewinding = true;
      result = entry(0, 0);
    }
    return { outcome: JSON.stringify({ result, suspensions }), bytes };
  };
}

const bytes = {};
const variants = await mapValues(files, async (file, variant) => {
  const run = await load(file);
  const parts = {};
  bytes[variant] = {};
  for (const frames of FRAMES) {
    for (const [depth, count] of Object.entries(times)) {
      const part = `${frames} ${depth}`;
      bytes[variant][part] = run(frames, Number(depth), 1).bytes;
      parts[part] = () => run(frames, Number(depth), count).outcome;
    }
  }
  return parts;
});
report({ bytes, measured: await measure(variants, leastMilliseconds) });
