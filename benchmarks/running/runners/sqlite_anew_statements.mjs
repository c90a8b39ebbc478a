/**
 * Small statements of many kinds, each prepared for itself. `size` is how many of them run for some 30 milliseconds.
 * `KEPT_ASIDE` are those that nothing was chosen by: they say whether a choice serves what it was not made for.
 */

const CITIES = ["Bergen", "Cadiz", "Dublin", "Eger", "Faro"];

export const SET_UP = `
  CREATE TABLE item (id INTEGER PRIMARY KEY, owner INTEGER, price REAL, name TEXT);
  CREATE TABLE owner (id INTEGER PRIMARY KEY, city TEXT, name TEXT);
  CREATE TABLE tag (item INTEGER, label TEXT, PRIMARY KEY (item, label)) WITHOUT ROWID;
  CREATE INDEX item_by_owner ON item (owner, price);
  CREATE VIEW dear AS SELECT id, owner, price FROM item WHERE price > 20;
  WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < 200)
    INSERT INTO item SELECT i, i * 31 % 40, i * 37 % 101 / 2.0, 'item ' || i FROM numbers;
  INSERT INTO owner SELECT id, substr('BergenCadiz Dublin', 1 + id % 3 * 6, 6), 'owner ' || id FROM item WHERE id < 40;
  INSERT INTO tag SELECT id, 'tag ' || id % 7 FROM item;`;

export const STATEMENTS = {
  inserts: {
    size: 3000,
    statement: (i) => `INSERT INTO item VALUES (${1000 + i}, ${i % 40}, ${i / 4}, 'new ${(i * 7919) % 3000}')`,
    question: "SELECT count(*), sum(price), max(name) FROM item",
  },
  "inserts with columns": {
    size: 2000,
    statement: (i) => `INSERT OR REPLACE INTO item (name, owner, id, price)
      VALUES (upper('name ${i}') || '-' || ${i % 7}, ${i} % 40, ${1000 + (i % 500)}, ${i} * 1.19 + abs(${i % 13} - 7))`,
    question: "SELECT count(*), sum(price), max(name) FROM item",
  },
  "select by key": {
    size: 3500,
    statement: (i) => `SELECT id, name, price FROM item WHERE id = ${1 + (i % 200)}`,
  },
  joins: {
    size: 900,
    statement: (i) => `SELECT i.name, o.city, t.label FROM item AS i JOIN owner AS o ON o.id = i.owner
      LEFT JOIN tag t ON t.item = i.id WHERE i.id = ${1 + (i % 200)} AND o.name LIKE 'owner%' ORDER BY t.label LIMIT 3`,
  },
  "create and drop": {
    size: 500,
    statement: (i) => (i % 2 ? `DROP TABLE made_${i - 1}` : `CREATE TABLE made_${i} (a INTEGER PRIMARY KEY, b TEXT NOT NULL, c REAL)`),
    question: "SELECT count(*) FROM sqlite_master",
  },
  expressions: {
    size: 1400,
    statement: (i) => `SELECT CASE WHEN ${i} % 3 = 0 THEN 'a' WHEN ${i} BETWEEN 7 AND 90 THEN lower('B') ELSE NULL END,
      (${i} + 2) * 3 - ${i % 7} / 2.5 > 10 OR NOT ${i} & 4, coalesce(NULL, '${CITIES[i % 5]}', 1) || substr('abcdef', ${i % 4})`,
  },
  "common table expressions": {
    size: 450,
    statement: (i) => `WITH cheap(id, price) AS (SELECT id, price FROM item WHERE owner = ${i % 40}),
      most AS (SELECT max(price) AS price FROM cheap) SELECT cheap.id FROM cheap JOIN most USING (price)`,
  },
  "window functions": {
    size: 300,
    statement: (i) => `SELECT id, row_number() OVER (PARTITION BY owner ORDER BY price), sum(price) OVER (ORDER BY id)
      FROM item WHERE id BETWEEN ${i % 100} AND ${(i % 100) + 3}`,
  },
  "long lists": {
    size: 700,
    statement: (i) => `SELECT count(*) FROM item WHERE id IN (${Array.from({ length: 40 }, (_, n) => i + n * 3).join(", ")})`,
  },
  updates: {
    size: 1500,
    statement: (i) => `UPDATE item SET price = price + ${i % 5}, name = 'changed ${i}' WHERE id = ${1 + (i % 200)} AND owner <> ${i}`,
    question: "SELECT count(*), sum(price), max(name) FROM item",
  },
};

export const KEPT_ASIDE = {
  deletes: {
    size: 2500,
    statement: (i) => `DELETE FROM tag WHERE item = ${1 + (i % 200)} AND label = 'tag ${i % 7}'`,
    question: "SELECT count(*) FROM tag",
  },
  "rows of values": {
    size: 400,
    statement: (i) => `INSERT INTO tag VALUES ${Array.from({ length: 12 }, (_, n) => `(${1000 + i}, 'label ${n}')`).join(", ")}`,
    question: "SELECT count(*), max(label) FROM tag",
  },
  subqueries: {
    size: 600,
    statement: (i) => `SELECT name, (SELECT count(*) FROM tag WHERE tag.item = item.id) FROM item
      WHERE owner IN (SELECT id FROM owner WHERE city = '${CITIES[i % 5]}') AND EXISTS (SELECT 1 FROM dear WHERE dear.id = ${i % 200}) LIMIT 2`,
  },
  unions: {
    size: 500,
    statement: (i) => `SELECT id, name FROM item WHERE id = ${i % 200} UNION SELECT id, city FROM owner WHERE id = ${i % 40}
      UNION ALL SELECT ${i}, 'none' ORDER BY 1 DESC`,
  },
  groups: {
    size: 700,
    statement: (i) => `SELECT owner % 4 AS part, count(*), avg(price) FROM item WHERE owner = ${i % 40}
      GROUP BY part HAVING count(*) > 1 ORDER BY 2 DESC`,
  },
  upserts: {
    size: 1000,
    statement: (i) => `INSERT INTO item (id, name) VALUES (${i % 400}, 'put') ON CONFLICT (id) DO UPDATE SET price = price + 1, name = excluded.name`,
    question: "SELECT count(*), sum(price), max(name) FROM item",
  },
};
