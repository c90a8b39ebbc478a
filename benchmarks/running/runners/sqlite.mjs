/**
 * Measures the statements of sqlite_statements.mjs in SQLite, in memory, never suspended, under the synchronous build's
 * glue.
 *
 *     node sqlite.mjs '{"scale": 1, "leastMilliseconds": 100, "files": {"<variant>": "<module>", ...}}'
 */

import { loadSynchronous } from "../../../examples/sqlite_demo/engine.mjs";
import { mapValues, measure, report, request } from "./timing.mjs";
import { setUp, statements } from "./sqlite_statements.mjs";

const { scale, leastMilliseconds, files } = request();
const rows = Math.ceil(20_000 * scale);

async function load(file) {
  const { sqlite3 } = await loadSynchronous(file);
  const db = await sqlite3.open_v2(":memory:");
  await sqlite3.exec(db, setUp(rows));
  return mapValues(statements(rows), (sql) => async () => {
    const found = [];
    await sqlite3.exec(db, sql, (row) => found.push(row));
    return JSON.stringify(found);
  });
}

report(await measure(await mapValues(files, load), leastMilliseconds));
