/** Memories that threads share: an instance for each thread, which suspends and resumes on its own. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { it } from "node:test";
import { Worker } from "node:worker_threads";

import { waysToRun } from "./support/guests.mjs";

const THREADS = 3;
const TIMES = 100;

for (const { way, module } of waysToRun("threads")) {
  it(`threads share a memory and suspend on their own: ${way}`, async () => {
    const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
    const workerData = { module, memory, native: way == "native", times: TIMES };
    const file = new URL("./support/thread.mjs", import.meta.url);
    const workers = Array.from({ length: THREADS }, () => new Worker(file, { workerData }));
    const results = await Promise.all(workers.map(async (worker) => (await once(worker, "message"))[0]));
    assert.deepEqual(results, new Array(THREADS).fill(TIMES * (15 + 8)));
    assert.equal(new Int32Array(memory.buffer)[4], THREADS * TIMES);
  });
}
