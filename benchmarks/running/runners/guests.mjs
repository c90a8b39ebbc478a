/**
 * Measures C programs that are never suspended: the import that might only counts how often it is called.
 *
 *     node guests.mjs '{"scale": 1, "leastMilliseconds": 100, "files": {"<variant>": {"<program>": "<module>"}, ...}}'
 */

import { readFileSync } from "node:fs";
import { mapValues, measure, report, request } from "./timing.mjs";

const { scale, leastMilliseconds, files } = request();

async function load(file) {
  let pauses = 0;
  const imports = { env: { pause: () => pauses++ } };
  const { instance } = await WebAssembly.instantiate(readFileSync(file), imports);
  const { _initialize: initialize, run, usual_size: usualSize } = instance.exports;
  initialize();
  const size = Math.ceil(usualSize() * scale);
  return () => {
    pauses = 0;
    const result = run(size);
    return `${result} after ${pauses}`;
  };
}

report(await measure(await mapValues(files, (programs) => mapValues(programs, load)), leastMilliseconds));
