// Runs the workload on SQLite twice, instrumented over slow files and synchronous over immediate ones, and tells what
// happened: one JSON object a line, for run.py to show.
// Usage: node demo.mjs <wa-sqlite.wasm> <the same, instrumented>

import { loadInstrumented, loadSynchronous } from "./engine.mjs";
import { MemoryFiles, SlowFiles } from "./files.mjs";
import { run } from "./workload.mjs";

const [original, instrumented] = process.argv.slice(2);
if (!instrumented) {
  console.error("usage: node examples/sqlite_demo/demo.mjs ORIGINAL INSTRUMENTED");
  process.exit(2);
}
const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");

// A heartbeat, to see that Node's event loop is free while SQLite is in the middle of a query.
let beats = 0;
const heart = setInterval(() => beats++, 1);

const slow = await loadInstrumented(instrumented);
const slowFiles = new SlowFiles();
slow.sqlite3.vfs_register(slowFiles, true);
const started = performance.now();
let before = 0;
const slowResults = await run(slow.sqlite3, ({ title, rows, columns, show }) => {
  const suspensions = slow.counts.suspensions - before;
  before = slow.counts.suspensions;
  say({ event: "step", title, suspensions, count: rows.length, ...(show ? { rows, columns } : {}) });
});
const seconds = (performance.now() - started) / 1000;
clearInterval(heart);

const quick = await loadSynchronous(original);
const quickFiles = new MemoryFiles();
quick.sqlite3.vfs_register(quickFiles, true);
const quickResults = await run(quick.sqlite3);

const slowBytes = slowFiles.contents.get("shop.db");
const quickBytes = quickFiles.contents.get("shop.db");
say({
  event: "end",
  version: slow.sqlite3.libversion(),
  seconds,
  beats,
  suspensions: slow.counts.suspensions,
  byMethod: slowFiles.byMethod,
  fileCalls: slowFiles.calls,
  fileCallsSynchronous: quickFiles.calls,
  fileBytes: slowBytes.byteLength,
  rows: slowResults.flat().length,
  sameResults: JSON.stringify(slowResults) === JSON.stringify(quickResults),
  sameFile: Buffer.compare(slowBytes, quickBytes) === 0,
});
