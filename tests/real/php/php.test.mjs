/**
 * PHP 8.3 as npm ships it for engines with JSPI, with its own glue untouched.
 *
 * Where the engine has JSPI it runs as it is; else `build.py` has instrumented it, and the ponyfill drives it. Run by
 * `node --test`; CAESURA_PHP_BUILD chooses `plain`, `thunks`, `native` or `translated` (new-form exceptions).
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";

import { contexts } from "./contexts.mjs";
import { hurry, instrument, load, run, startServers, WAYS } from "./running.mjs";

const build = process.env.CAESURA_PHP_BUILD ?? ("Suspending" in WebAssembly ? "native" : "thunks");

describe(`PHP 8.3, ${build}`, () => {
  let php;
  let start;
  let servers;

  before(async () => {
    if (build != "native") instrument(build);
    start = await load(build);
    php = await start();
    servers = await startServers();
  });

  after(() => {
    php?.exit();
    servers?.close();
    // PHP's proxy for outgoing connections listens for ever.
    setTimeout(() => process.exit(), 100).unref();
  });

  const runs = async (code) => {
    try {
      return await run(php, code);
    } catch (error) {
      php = await start(); // the next test needs one that works
      throw error;
    }
  };

  it("computes and sleeps", async () => {
    assert.deepEqual(await runs("echo 1+1;"), { text: "2", exitCode: 0 });
    const begun = performance.now();
    assert.deepEqual(await runs("usleep(30000); sleep(1); echo 'slept';"), { text: "slept", exitCode: 0 });
    assert.ok(performance.now() - begun > 1000);
  });

  it("suspends thousands of times in one request", async () => {
    const code = "$n = 0; for ($i = 0; $i < 2000; $i++) { usleep(1); $n += $i; } echo $n;";
    assert.deepEqual(await runs(code), { text: "1999000", exitCode: 0 });
  });

  it("reads what arrives when a process has ended", async () => {
    const code = `$late = '(sleep 0.1; echo late) & exit 3';
      $p = proc_open($late, [1 => ['pipe', 'w']], $pipes, '/');
      echo stream_get_contents($pipes[1]), proc_close($p), exec($late);`;
    assert.deepEqual(await runs(code), { text: "late\n3late", exitCode: 0 });
  });

  it("opens a file under the number of an ended process's pipe", async () => {
    // The glue must not go on to read it as the input of the process.
    const code = `for ($i = 0; $i < 10; $i++) {
        $p = proc_open('true', [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes, '/');
        while (proc_get_status($p)['running']) usleep(100);
        $files = [fopen('/dev/urandom', 'r'), fopen('/dev/urandom', 'r'), fopen('/dev/urandom', 'r')];
        usleep(30000);
        foreach ([...$files, ...$pipes] as $file) fclose($file);
        proc_close($p);
        echo $i;
      }`;
    assert.deepEqual(await runs(code), { text: "0123456789", exitCode: 0 });
  });

  // What a share of second bodies that is too small for it would leave out, without a word; its own loop has none.
  it("has second bodies for its interpreters", { skip: build == "native" && "nothing is instrumented" }, () => {
    const module = readFileSync(new URL(`../../../build/php/php_8_3.${build}.wasm`, import.meta.url));
    for (const name of ["sqlite3VdbeExec", "match_at", "zendparse"]) assert.ok(module.includes(`asyncify_resume:${name}`), name);
  });

  for (const [way, define] of Object.entries(WAYS)) {
    describe(way, () => {
      let unhurry;
      if (way == "sleep") {
        before(() => (unhurry = hurry())); // a second in each of these places would add up to minutes
        after(() => unhurry());
      }

      for (const [context, [code, expected, exitCode = 0]] of Object.entries(contexts)) {
        it(context, async () => {
          const done = await runs(`${define(servers.ports)} ${code}`);
          assert.deepEqual(done, { text: expected, exitCode });
        });
      }
    });
  }
});
