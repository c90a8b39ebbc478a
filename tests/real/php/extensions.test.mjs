/**
 * PHP 8.3 with extensions, which are side modules: they wait by imports of their own and by functions of PHP, for servers
 * that speak as much of Redis', Memcached's and the debugger's protocols as is asked here. Run by `node --test`;
 * CAESURA_PHP_BUILD chooses `plain`, `thunks` or `native`.
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { createServer } from "node:net";

import { instrument, load, run } from "./running.mjs";

const build = process.env.CAESURA_PHP_BUILD ?? ("Suspending" in WebAssembly ? "native" : "thunks");

/** Start a server that answers what it is sent, a moment later; returns it and its port. */
async function serve(answer) {
  const server = createServer((connection) => {
    connection.on("error", () => {});
    connection.on("data", (data) => setTimeout(() => connection.write(answer(String(data))), 1));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, port: server.address().port };
}

describe(`PHP 8.3 with extensions, ${build}`, () => {
  let php;
  const servers = [];

  before(async () => {
    if (build != "native") instrument(build);
    php = await (await load(build, ["redis", "memcached", "xdebug"]))();
  });

  after(() => {
    php?.exit();
    for (const server of servers) server.close();
    // PHP's proxy for outgoing connections listens for ever.
    setTimeout(() => process.exit(), 100).unref();
  });

  const listen = async (answer) => {
    const { server, port } = await serve(answer);
    servers.push(server);
    return port;
  };

  it("has them", async () => {
    const { text } = await run(php, "echo implode(',', array_intersect(['redis', 'memcached', 'xdebug'], get_loaded_extensions()));");
    assert.equal(text, "redis,memcached,xdebug");
  });

  it("asks Redis", async () => {
    const port = await listen((text) => (/GET/.test(text) ? "$5\r\nvalue\r\n" : /INCR/.test(text) ? ":7\r\n" : "+OK\r\n"));
    const code = `$r = new Redis; $r->connect('127.0.0.1', ${port}); echo $r->set('k', 'v') ? 'set ' : '', $r->get('k');
      echo implode(',', array_map(fn($x) => $x . $r->incr('n'), ['a', 'b']));`;
    assert.deepEqual(await run(php, code), { text: "set valuea7,b7", exitCode: 0 });
  });

  it("asks Memcached", async () => {
    const port = await listen((text) => (/^get/.test(text) ? "VALUE k 0 5\r\nvalue\r\nEND\r\n" : "STORED\r\n"));
    const code = `$m = new Memcached; $m->addServer('127.0.0.1', ${port}); echo $m->set('k', 'value') ? 'set ' : '', $m->get('k');`;
    assert.deepEqual(await run(php, code), { text: "set value", exitCode: 0 });
  });

  it("waits in PHP's own code, below and beside the debugger's", async () => {
    const code = "function f($n) { usleep(10); return $n ? 1 + f($n - 1) : 0; } echo f(20), implode(array_map('f', [1, 2]));";
    assert.deepEqual(await run(php, code), { text: "2012", exitCode: 0 });
  });
});
