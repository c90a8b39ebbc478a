/**
 * Measures SQLite on files whose every method is asynchronous, so that it is suspended at each of thousands of calls, in
 * the middle of queries, under the glue that wa-sqlite has for this. The promises are fulfilled at once: what takes time
 * is SQLite, the suspensions, and the glue, which is the same for all variants.
 *
 *     node asynchronous_files.mjs '{"leastMilliseconds": 100, "steps": 9, "files": {"<variant>": "<module>", ...}}'
 */

import { createHash } from "node:crypto";
import { loadInstrumented } from "../../../examples/sqlite_demo/engine.mjs";
import { SlowFiles } from "../../../examples/sqlite_demo/files.mjs";
import { STEPS } from "../../../examples/sqlite_demo/workload.mjs";
import { mapValues, measure, report, request } from "./timing.mjs";

const { leastMilliseconds, steps, files } = request();

class PromisedFiles extends SlowFiles {
  constructor(number) {
    super();
    this.name = `files-${number}`; // SQLite keeps a file system for ever under its name
  }

  answer(_method, compute) {
    return this.handleAsync(async () => compute());
  }
}

async function load(file) {
  const { sqlite3, counts } = await loadInstrumented(file);
  let runs = 0;
  return {
    shop: async () => {
      const before = counts.suspensions;
      const disk = new PromisedFiles(runs++);
      sqlite3.vfs_register(disk, false);
      const db = await sqlite3.open_v2("shop.db", undefined, disk.name);
      const rows = [];
      for (const { sql } of STEPS.slice(0, steps)) await sqlite3.exec(db, sql, (row) => rows.push(row));
      await sqlite3.close(db);
      const content = createHash("sha256").update(disk.contents.get("shop.db")).digest("hex");
      return JSON.stringify({ suspensions: counts.suspensions - before, rows: rows.length, content });
    },
  };
}

report(await measure(await mapValues(files, load), leastMilliseconds));
