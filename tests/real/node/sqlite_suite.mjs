// The statements that the SQLite tests run, one by one. Some of them fail, as they must. Nothing in them depends on
// time or chance, so that two runs give the same results and the same bytes in the file.

const numbers = (count) => `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})`;

export const STATEMENTS = [
  "PRAGMA page_size = 512",
  "PRAGMA cache_size = 5",
  "PRAGMA foreign_keys = ON",
  "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born INTEGER, boss INTEGER REFERENCES people)",
  "CREATE TABLE items (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES people ON DELETE CASCADE, price REAL, tag TEXT, UNIQUE (owner, tag))",
  `${numbers(150)} INSERT INTO people SELECT i, printf('person %04d', i * 37 % 151), 1900 + i * 13 % 97, CASE WHEN i > 1 THEN 1 + (i - 1) / 3 END FROM n`,
  `${numbers(900)} INSERT INTO items SELECT i, 1 + i % 150, i * 1.25, 'tag' || (i / 150) FROM n`,

  // Indexes, and queries that use them or cannot.
  "CREATE INDEX items_by_price ON items (price DESC)",
  "CREATE INDEX people_by_name ON people (name COLLATE NOCASE) WHERE born > 1950",
  "SELECT count(*), total(price), min(tag), max(tag), avg(id) FROM items",
  "SELECT id, price FROM items WHERE price BETWEEN 500 AND 512 ORDER BY price DESC",
  "SELECT name FROM people WHERE name LIKE '%7%' AND born > 1910 ORDER BY name COLLATE NOCASE LIMIT 12 OFFSET 3",
  "EXPLAIN QUERY PLAN SELECT * FROM items WHERE price > 100",
  "ANALYZE",
  "SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY idx",

  // Joins and subqueries.
  "SELECT p.name, count(i.id) AS owned, round(sum(i.price), 2) FROM people p JOIN items i ON i.owner = p.id GROUP BY p.id HAVING owned > 5 ORDER BY 3 DESC LIMIT 8",
  "SELECT a.name, b.name FROM people a LEFT JOIN people b ON b.boss = a.id WHERE a.id > 140 ORDER BY a.id",
  "SELECT p.id FROM people p WHERE NOT EXISTS (SELECT 1 FROM people q WHERE q.boss = p.id) ORDER BY p.id LIMIT 10",
  "SELECT name, (SELECT max(price) FROM items WHERE owner = people.id) AS best FROM people ORDER BY best DESC, id LIMIT 5",
  "SELECT tag, price, rank() OVER (PARTITION BY tag ORDER BY price DESC) AS place, sum(price) OVER (PARTITION BY tag ORDER BY price ROWS 2 PRECEDING) FROM items WHERE id % 50 = 0 ORDER BY tag, place",
  "WITH RECURSIVE chain(id, depth) AS (SELECT 150, 0 UNION ALL SELECT boss, depth + 1 FROM people JOIN chain USING (id) WHERE boss IS NOT NULL) SELECT * FROM chain",
  "SELECT born / 10 * 10 AS decade, group_concat(name, ',') FROM (SELECT * FROM people ORDER BY id) WHERE id < 40 GROUP BY decade ORDER BY decade",
  "SELECT id FROM items WHERE tag = 'tag1' INTERSECT SELECT id FROM items WHERE price > 300 EXCEPT SELECT id FROM items WHERE id % 2 ORDER BY id LIMIT 20",
  "SELECT json_group_array(json_object('id', id, 'tag', tag)) FROM (SELECT id, tag FROM items ORDER BY id LIMIT 4)",
  "SELECT hex(zeroblob(4)), quote(x'00ff'), typeof(1.0), 7 / 2, 7 % -2, -7 >> 1, 'a' || 1, abs(-9223372036854775807)",
  "SELECT scale(price, 3) FROM items WHERE id IN (1, 77, 900) ORDER BY scale(id, -1)",

  // Changes, triggers, views.
  "UPDATE items SET price = price * 2 WHERE id % 7 = 3",
  "UPDATE people SET name = upper(name) WHERE id IN (SELECT owner FROM items WHERE price > 1500)",
  "CREATE TABLE log (what TEXT, id INTEGER)",
  "CREATE TRIGGER gone AFTER DELETE ON items BEGIN INSERT INTO log VALUES ('gone', old.id); END",
  "DELETE FROM items WHERE id % 9 = 4",
  "SELECT count(*), sum(id) FROM log",
  "CREATE VIEW rich AS SELECT owner, sum(price) AS worth FROM items GROUP BY owner",
  "SELECT * FROM rich WHERE worth > 5000 ORDER BY worth LIMIT 10",
  "INSERT INTO items (owner, tag, price) VALUES (3, 'tag0', -1) ON CONFLICT (owner, tag) DO UPDATE SET price = excluded.price RETURNING id, price",
  "CREATE TABLE pairs (a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID",
  "INSERT INTO pairs SELECT tag, owner FROM items ORDER BY price",
  "SELECT a, count(*) FROM pairs GROUP BY a ORDER BY a",

  // Errors. The ones in the middle of a statement undo what it did.
  "INSERT INTO items (owner, tag) VALUES (9999, 'nobody')",
  "INSERT INTO people (id, name) SELECT id + 1000, CASE WHEN id = 80 THEN NULL ELSE name END FROM people",
  "SELECT count(*) FROM people",
  "SELEC 1",
  "SELECT missing FROM items",
  "SELECT abs(-9223372036854775807 - 1)",
  "SELECT json('{')",
  "CREATE TABLE items (id)",
  "INSERT INTO pairs SELECT * FROM pairs ORDER BY b DESC",
  "END TRANSACTION",

  // Transactions and savepoints.
  "BEGIN IMMEDIATE",
  "DELETE FROM log",
  "SAVEPOINT inner_one",
  "DROP TABLE pairs",
  "UPDATE people SET born = born + 1",
  "ROLLBACK TO inner_one",
  "SELECT count(*) FROM pairs",
  "RELEASE inner_one",
  "COMMIT",
  "BEGIN",
  "DELETE FROM people",
  "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM items)",
  "ROLLBACK",
  "SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM items), (SELECT count(*) FROM log)",

  // The whole file: copies, other databases, checks.
  "ALTER TABLE items ADD COLUMN note TEXT DEFAULT 'none'",
  "ATTACH 'other.db' AS other",
  "CREATE TABLE other.copy AS SELECT tag, price FROM items WHERE id < 200 ORDER BY price",
  "SELECT count(*), sum(price) FROM other.copy",
  "DETACH other",
  "REINDEX",
  "CREATE TEMP TABLE sorted AS SELECT * FROM items ORDER BY tag DESC, price",
  "SELECT rowid, id FROM sorted WHERE rowid % 200 = 0",
  "VACUUM",
  "PRAGMA integrity_check",
  "PRAGMA foreign_key_check",
];

// Statements over a virtual table, whose methods are JavaScript.
export const VIRTUAL_STATEMENTS = [
  "CREATE VIRTUAL TABLE cities USING array",
  "SELECT rowid, name, size FROM cities ORDER BY size DESC",
  "SELECT a.name, b.name FROM cities a JOIN cities b ON a.size < b.size WHERE a.rowid < 5 ORDER BY 1, 2",
  "CREATE TABLE visits (city TEXT, day INTEGER)",
  "INSERT INTO visits SELECT name, rowid * 3 FROM cities WHERE size > 20",
  "SELECT c.name, count(v.day) FROM cities c LEFT JOIN visits v ON v.city = c.name GROUP BY c.name ORDER BY c.name",
  "INSERT INTO cities (name, size) VALUES ('Ghent', 26)",
  "UPDATE cities SET size = size + 1 WHERE rowid = 2",
  "SELECT (SELECT sum(size) FROM cities WHERE name > v.city) FROM visits v ORDER BY day",
  "SELECT name FROM cities WHERE size IN (SELECT day FROM visits) OR name LIKE 'G%'",
  "DROP TABLE cities",
  "PRAGMA integrity_check",
];

export const CITIES = [
  ["Aachen", 25], ["Bilbao", 35], ["Cork", 21], ["Delft", 10], ["Essen", 58], ["Faro", 6], ["Graz", 29],
];
