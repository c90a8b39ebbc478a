// Runs the statements of sqlite_suite.mjs on SQLite and prints, as JSON, their results, the final files' sizes and
// checksums, and how often SQLite was suspended.
// Usage: node sqlite.mjs synchronous|instrumented <module> <suite> [<plan>]
// <suite> is "files" (all files slow) or "virtual" (a slow virtual table as well). <plan> says which calls wait: "all",
// "every <k>", or "share <seed> <percent>".

import { createHash } from "node:crypto";
import * as SQLite from "wa-sqlite/src/sqlite-api.js";
import { ArrayModule } from "wa-sqlite/src/examples/ArrayModule.js";
import { loadInstrumented, loadSynchronous } from "../../../examples/sqlite_demo/engine.mjs";
import { MemoryFiles, SlowFiles } from "../../../examples/sqlite_demo/files.mjs";
import { CITIES, STATEMENTS, VIRTUAL_STATEMENTS } from "./sqlite_suite.mjs";

const [mode, file, suite, plan = "all"] = process.argv.slice(2);

/** A number between 0 and 1 that depends on both arguments. */
function chance(seed, number) {
  return createHash("md5").update(`${seed}:${number}`).digest().readUInt32LE(0) / 2 ** 32;
}

function planned(text) {
  const [kind, ...parameters] = text.split(" ");
  const [first, second] = parameters.map(Number);
  if (kind === "every") return (number) => number % first === first - 1;
  if (kind === "share") return (number) => chance(first, number) < second / 100;
  return () => true;
}

/** The virtual table of the package's examples, each of whose methods waits before it does its work. */
class SlowArray extends ArrayModule {
  #waiting = false;

  static {
    for (const method of [
      "xBestIndex",
      "xOpen",
      "xClose",
      "xFilter",
      "xNext",
      "xEof",
      "xColumn",
      "xRowid",
      "xUpdate",
    ]) {
      const immediate = ArrayModule.prototype[method];
      SlowArray.prototype[method] = function (...parameters) {
        const answer = this.handleAsync(() => new Promise((done) => setImmediate(done, 0)));
        if (this.#waiting === false) {
          this.#waiting = true;
          return answer;
        }
        this.#waiting = false;
        return immediate.apply(this, parameters);
      };
    }
  }
}

const synchronous = mode === "synchronous";
const { sqlite3, counts } = await (synchronous ? loadSynchronous(file) : loadInstrumented(file));
const files = synchronous ? new MemoryFiles() : new SlowFiles(planned(plan));
sqlite3.vfs_register(files, true);
const db = await sqlite3.open_v2("main.db");

sqlite3.create_function(db, "scale", 2, SQLite.SQLITE_UTF8, 0, (context, values) => {
  sqlite3.result_double(context, sqlite3.value_double(values[0]) * sqlite3.value_double(values[1]));
});
if (suite === "virtual") {
  const Table = synchronous ? ArrayModule : SlowArray;
  const table = new Table(
    sqlite3,
    db,
    CITIES.map((row) => [...row]),
    ["name", "size"],
  );
  sqlite3.create_module(db, "array", table, 0);
}

const outcomes = [];
for (const sql of suite === "virtual" ? VIRTUAL_STATEMENTS : STATEMENTS) {
  const rows = [];
  let error = null;
  try {
    await sqlite3.exec(db, sql, (row) => rows.push(row.map(plain)));
  } catch (problem) {
    if (!(problem instanceof SQLite.SQLiteError)) throw problem;
    error = `${problem.code}: ${problem.message}`;
  }
  outcomes.push({ sql, rows, error });
}
await sqlite3.close(db);

function plain(value) {
  return value instanceof Uint8Array || Array.isArray(value)
    ? Buffer.from(value).toString("hex")
    : typeof value === "bigint"
      ? `${value}n`
      : value;
}

console.log(
  JSON.stringify({
    outcomes,
    files: Object.fromEntries(
      [...files.contents].map(([name, bytes]) => [
        name,
        [bytes.byteLength, createHash("sha256").update(bytes).digest("hex")],
      ]),
    ),
    fileCalls: files.calls,
    suspensions: counts.suspensions,
  }),
);
