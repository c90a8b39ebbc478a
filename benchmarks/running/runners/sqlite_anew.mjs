/**
 * Measures small statements in SQLite, thousands of them and each prepared anew, so that most of the time goes to its
 * parser and to what plans queries. `sqlite3_exec` is called directly, with many statements in one text: what the glue
 * and JavaScript take would only make the ratios look better.
 *
 *     node sqlite_anew.mjs '{"scale": 1, "leastMilliseconds": 100, "collection": "./sqlite_anew_statements.mjs",
 *                            "set": "STATEMENTS", "only": ["<part>", ...], "files": {"<variant>": "<module>", ...}}'
 */

import { loadSynchronous } from "../../../examples/sqlite_demo/engine.mjs";
import { mapValues, measure, report, request, someOf } from "./timing.mjs";

const { scale, leastMilliseconds, collection, set, only, files } = request();
const { SET_UP, [set]: collected } = await import(collection);

async function load(file) {
  const { module, sqlite3 } = await loadSynchronous(file);
  const db = await sqlite3.open_v2(":memory:");
  await sqlite3.exec(db, SET_UP);
  const execute = module.cwrap("sqlite3_exec", "number", ["number", "number", "number", "number", "number"]);
  return mapValues(someOf(collected, only), ({ size, statement, question }) => {
    const statements = Array.from({ length: Math.ceil(size * scale) }, (_, i) => statement(i));
    const text = newText(module, statements.join(";"));
    return async () => {
      await sqlite3.exec(db, "BEGIN");
      const status = execute(db, text, 0, 0, 0);
      const found = [status];
      if (question) await sqlite3.exec(db, question, (row) => found.push(row));
      await sqlite3.exec(db, "ROLLBACK");
      return JSON.stringify(found);
    };
  });
}

function newText(module, text) {
  const bytes = new TextEncoder().encode(`${text}\0`);
  const address = module._sqlite3_malloc(bytes.length);
  module.HEAPU8.set(bytes, address);
  return address;
}

report(await measure(await mapValues(files, load), leastMilliseconds));
