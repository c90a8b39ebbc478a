// Runs the statements of sqlite_suite.mjs on SQLite with pause points, under the glue of the build that cannot be suspended.
// Prints, as JSON, their results, the fuel and the files, and how often it paused; of a module without pause points the
// results alone.
// Usage: node paused_sqlite.mjs <module> <largest portion of fuel, 0: one that is never used up> <seed>

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import * as SQLite from "wa-sqlite/src/sqlite-api.js";
import synchronousGlue from "wa-sqlite/dist/wa-sqlite.mjs";
import { MemoryFiles } from "../../../examples/sqlite_demo/files.mjs";
import { makePausing } from "./pausing.mjs";
import { STATEMENTS } from "./sqlite_suite.mjs";

const [file, largest, seed] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const { counts, pausing } = makePausing(largest, seed);
const compiled = await WebAssembly.compile(readFileSync(file));
const module = await synchronousGlue({
  instantiateWasm: (imports, receive) => receive({ exports: pausing(new WebAssembly.Instance(compiled, imports).exports) }),
});
const sqlite3 = SQLite.Factory(module);
const files = new MemoryFiles();
sqlite3.vfs_register(files, true);
const db = await sqlite3.open_v2("main.db");
sqlite3.create_function(db, "scale", 2, SQLite.SQLITE_UTF8, 0, (context, values) => {
  sqlite3.result_double(context, sqlite3.value_double(values[0]) * sqlite3.value_double(values[1]));
});
const plain = (value) => (value instanceof Uint8Array ? Buffer.from(value).toString("hex") : typeof value === "bigint" ? `${value}n` : value);
const outcomes = [];
for (const sql of STATEMENTS) {
  const rows = [];
  let error = null;
  try {
    await sqlite3.exec(db, sql, (row) => rows.push(row.map(plain)));
  } catch (problem) {
    if (!(problem instanceof SQLite.SQLiteError)) throw problem;
    error = problem.message;
  }
  outcomes.push({ sql, rows, error });
}
await sqlite3.close(db);
const digests = [...files.contents].map(([name, content]) => [name, createHash("sha256").update(content).digest("hex")]);
console.log(JSON.stringify({ outcomes, files: Object.fromEntries(digests), pauses: counts.pauses, used: Number(counts.used()) }));
