/**
 * PHP 8.3 as npm ships it for engines with JSPI, with its own glue untouched.
 *
 * Where the engine has JSPI it runs as it is; else `build.py` has instrumented it, and the ponyfill drives it. Run by
 * `node --test`; CAESURA_PHP_BUILD chooses `plain`, `thunks` or `native`.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { install } from "../../../js/src/index.js";
import { contexts } from "./contexts.mjs";

const repository = new URL("../../../", import.meta.url);
const local = fileURLToPath(new URL(".venv/bin/python", repository));
const build = process.env.CAESURA_PHP_BUILD ?? ("Suspending" in WebAssembly ? "native" : "thunks");

// The first wait of a request over the network is not the first of the process: names and sockets have been set up.
const WAYS = {
  usleep: () => "function wait($value) { usleep(20); return $value; }",
  "file_get_contents over HTTP": ({ http }) =>
    `function wait($value) { if (file_get_contents("http://127.0.0.1:${http}/") != "fetched") exit(99); return $value; }`,
  fsockopen: ({ socket }) =>
    `function wait($value) { $f = fsockopen("127.0.0.1", ${socket}); fwrite($f, "hi"); if (fread($f, 9) != "echo hi") exit(98); fclose($f); return $value; }`,
};

describe(`PHP 8.3, ${build}`, () => {
  let php;
  let start;
  const ports = {};
  const servers = [];

  before(async () => {
    let wasmBinary;
    if (build != "native") {
      const file = new URL(`build/php/php_8_3.${build}.wasm`, repository);
      const python = process.env.CAESURA_PYTHON ?? (existsSync(local) ? local : "python3");
      execFileSync(python, [fileURLToPath(new URL("build.py", import.meta.url)), build], { stdio: "inherit" });
      wasmBinary = readFileSync(file);
      install(); // before anything looks for JSPI
    }
    const { loadNodeRuntime } = await import("@php-wasm/node");
    const { PHP } = await import("@php-wasm/universal");
    start = async () => new PHP(await loadNodeRuntime("8.3", { emscriptenOptions: { processId: 1, wasmBinary } }));
    php = await start();

    const http = createHttpServer((_, response) => setTimeout(() => response.end("fetched"), 1));
    const socket = createServer((connection) => {
      connection.on("error", () => {});
      connection.on("data", (data) => setTimeout(() => connection.end(`echo ${data}`), 1));
    });
    for (const [name, server] of Object.entries({ http, socket })) {
      servers.push(server);
      await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
      ports[name] = server.address().port;
    }
  });

  after(() => {
    php?.exit();
    for (const server of servers) server.close();
    // PHP's proxy for outgoing connections listens for ever.
    setTimeout(() => process.exit(), 100).unref();
  });

  const run = async (code) => {
    try {
      const { text, exitCode } = await php.run({ code: `<?php ${code}` });
      return { text, exitCode };
    } catch (error) {
      if (!error.response) {
        php = await start(); // the next test needs one that works
        throw error;
      }
      return { text: error.response.text, exitCode: error.response.exitCode };
    }
  };

  it("computes and sleeps", async () => {
    assert.deepEqual(await run("echo 1+1;"), { text: "2", exitCode: 0 });
    const begun = performance.now();
    assert.deepEqual(await run("usleep(30000); sleep(1); echo 'slept';"), { text: "slept", exitCode: 0 });
    assert.ok(performance.now() - begun > 1000);
  });

  it("suspends thousands of times in one request", async () => {
    const code = "$n = 0; for ($i = 0; $i < 2000; $i++) { usleep(1); $n += $i; } echo $n;";
    assert.deepEqual(await run(code), { text: "1999000", exitCode: 0 });
  });

  for (const [way, define] of Object.entries(WAYS)) {
    describe(way, () => {
      for (const [context, [code, expected, exitCode = 0]] of Object.entries(contexts)) {
        it(context, async () => {
          const done = await run(`${define(ports)} ${code}`);
          assert.deepEqual(done, { text: expected, exitCode });
        });
      }
    });
  }
});
