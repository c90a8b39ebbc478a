/**
 * What SQLite is measured with: kinds of work from its own speed test (speedtest1.c), over a database in memory. `rows` is
 * the size of its tables. What changes the database is rolled back, so that every repetition does the same.
 */

const numbers = (count) =>
  `WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < ${count})`;
const scramble = (column, modulus) => `${column} * 7919 % ${modulus}`;
const rolledBack = (work, question) => `BEGIN; ${work}; ${question}; ROLLBACK;`;

export const setUp = (rows) => `
  CREATE TABLE item (id INTEGER PRIMARY KEY, owner INTEGER, price REAL, name TEXT);
  CREATE TABLE owner (id INTEGER PRIMARY KEY, city TEXT, name TEXT);
  ${numbers(rows)} INSERT INTO item
    SELECT i, ${scramble("i", Math.ceil(rows / 20))}, i * 37 % 1009 / 7.0, printf('item %05d', ${scramble("i", rows)}) FROM numbers;
  ${numbers(Math.ceil(rows / 20))} INSERT INTO owner
    SELECT i - 1, substr('Bergen  Cadiz   Dublin  Eger    ', 1 + i % 4 * 8, 8), printf('owner %d', i * 31 % 97) FROM numbers;
  CREATE INDEX item_by_owner ON item (owner, price);
  CREATE INDEX item_by_name ON item (name);`;

export const statements = (rows) => ({
  "bulk insert": rolledBack(
    `CREATE TABLE copy (a INTEGER, b INTEGER, c TEXT);
     ${numbers(rows)} INSERT INTO copy SELECT i, ${scramble("i", rows)}, 'number ' || i FROM numbers`,
    "SELECT count(*), sum(b), max(c) FROM copy",
  ),
  "single inserts": rolledBack(
    Array.from(
      { length: Math.ceil(rows / 10) },
      (_, i) => `INSERT INTO item VALUES (${rows + 1 + i}, ${i % 50}, ${i / 4}, 'new ${(i * 7919) % rows}')`,
    ).join(";"),
    `SELECT count(*), sum(price) FROM item WHERE id > ${rows}`,
  ),
  "insert with index": rolledBack(
    `CREATE TABLE sorted (a TEXT PRIMARY KEY, b INTEGER) WITHOUT ROWID;
     ${numbers(Math.ceil(rows / 2))} INSERT INTO sorted SELECT printf('%x', i * 7919 % 1048576), i FROM numbers`,
    "SELECT count(*), min(a), sum(b) FROM sorted",
  ),
  "full scan": "SELECT count(*), avg(price), max(id) FROM item WHERE price BETWEEN 40 AND 90 AND name LIKE '%7%'",
  "indexed select": `${numbers(Math.ceil(rows / 2))}
     SELECT sum(item.id), count(*) FROM numbers JOIN item ON item.name = printf('item %05d', i * 3 % ${rows})`,
  join: `SELECT owner.city, count(*), sum(price) FROM owner JOIN item ON item.owner = owner.id
     JOIN owner AS other ON other.id = item.id % ${Math.ceil(rows / 20)} GROUP BY owner.city ORDER BY owner.city`,
  subquery: `SELECT sum(id), count(*) FROM owner
     WHERE (SELECT avg(price) FROM item WHERE item.owner = owner.id) > 70
     AND EXISTS (SELECT 1 FROM item WHERE item.owner = owner.id AND price < 4 AND name > 'item 00100')`,
  update: rolledBack(
    "UPDATE item SET name = name || '!' , owner = owner + 1 WHERE id % 5 = 0",
    "SELECT sum(owner), count(*) FROM item WHERE name LIKE '%!'",
  ),
  delete: rolledBack(
    "DELETE FROM item WHERE owner % 3 = 0",
    "SELECT count(*), sum(price), max(name) FROM item",
  ),
  "group by": `SELECT count(*), sum(total), max(most) FROM
     (SELECT substr(name, -3) AS ending, sum(price) AS total, count(*) AS most FROM item GROUP BY ending)`,
  "order by": `SELECT sum(id * place) FROM
     (SELECT id, row_number() OVER (ORDER BY price DESC, name) AS place FROM item) WHERE place % 100 = 0`,
  expressions: `SELECT sum(length(replace(upper(name), 'T', '--'))), sum(round(price * 1.19, 2) + abs(owner - 50)),
     sum(CASE WHEN id % 3 = 0 THEN instr(name, '9') WHEN owner IN (1, 2, 3, 5, 8) THEN 1 ELSE -1 END) FROM item`,
  "create index": rolledBack("CREATE INDEX item_by_price ON item (price, id)", "SELECT count(*) FROM item WHERE price > 100"),
  vacuum: "VACUUM; SELECT sum(id), count(*) FROM item",
});
