// What the demo asks of SQLite: a small shop, with small pages and a tiny cache, so that queries go to the files.

export const STEPS = [
  {
    title: "open a database, make tables",
    sql: `
      PRAGMA page_size = 1024;
      PRAGMA cache_size = 6;
      CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL);
      CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers, day INTEGER, cents INTEGER);`,
  },
  {
    title: "insert 200 customers",
    sql: `
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
      INSERT INTO customers
      SELECT i, printf('customer %03d', i), substr('Bergen  Cadiz   Dublin  Eger    ', 1 + i * 7 % 4 * 8, 8) FROM n;`,
  },
  {
    title: "insert 6,000 orders in one transaction",
    sql: `
      BEGIN;
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
      INSERT INTO orders SELECT i, 1 + i * 7919 % 200, i % 365, 100 + i * i * 31 % 99991 FROM n;
      COMMIT;`,
  },
  { title: "index the orders", sql: "CREATE INDEX orders_by_customer ON orders (customer, cents);" },
  {
    title: "join, group and sort",
    show: true,
    sql: `
      SELECT trim(city) AS city, count(*) AS orders, sum(cents) / 100.0 AS revenue, max(cents) / 100.0 AS largest
      FROM customers JOIN orders ON orders.customer = customers.id
      GROUP BY city ORDER BY revenue DESC;`,
  },
  {
    title: "ask a subquery for every customer",
    sql: `
      SELECT name, (SELECT count(*) FROM orders WHERE customer = customers.id AND cents > 90000) AS large
      FROM customers WHERE large > 4 ORDER BY large DESC, name;`,
  },
  { title: "change a third of the orders", sql: "UPDATE orders SET cents = cents + 1 WHERE id % 3 = 0;" },
  { title: "delete and vacuum", sql: "DELETE FROM orders WHERE day > 300; VACUUM;" },
  { title: "check the integrity of the file", sql: "PRAGMA integrity_check;" },
];

/** Runs the steps; `report` hears of each one that is done. Returns the rows of all steps. */
export async function run(sqlite3, report = () => {}) {
  const db = await sqlite3.open_v2("shop.db");
  const results = [];
  for (const { title, sql, show } of STEPS) {
    const rows = [];
    let columns = [];
    await sqlite3.exec(db, sql, (row, names) => {
      columns = names;
      rows.push(row);
    });
    results.push(rows);
    report({ title, rows, columns, show: Boolean(show) });
  }
  await sqlite3.close(db);
  return results;
}
