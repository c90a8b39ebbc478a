/**
 * PHP 8.3 is saved in the middle of a request by one process and goes on in the next, by the example of it.
 *
 * The request waits below `array_map`, between lines that a generator reads from a file and others that it writes. Run by
 * `node --test`; CAESURA_PHP_BUILD chooses `plain`, `thunks` or `translated`.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, it } from "node:test";
import { fileURLToPath } from "node:url";

import { filesOf, openAgain } from "../../../examples/emscripten_files.mjs";
import { instrument, load, repository } from "./running.mjs";

const build = `saved_${process.env.CAESURA_PHP_BUILD ?? "thunks"}`;
const example = fileURLToPath(new URL("examples/php_saved.mjs", repository));
const run = (...words) => spawnSync(process.execPath, [example, ...words], { encoding: "utf8" });

it(`goes on with a request in another process, ${build}`, () => {
  instrument(build);
  const { stdout, stderr } = run(fileURLToPath(new URL(`build/php/php_8_3.${build}.wasm`, repository)));
  assert.equal(stderr, "");
  const lines = stdout.trimEnd().split("\n");
  // The first process may have gone on for a moment before it was killed.
  assert.deepEqual(lines.slice(0, 2), ["line 1: eno enil", "line 2: fo a wef"]);
  assert.ok(lines.indexOf("saved in env.emscripten_sleep") > 1, stdout);
  assert.deepEqual(lines.slice(lines.indexOf("the first process ends with SIGKILL")), [
    "the first process ends with SIGKILL",
    "line 3: taht tiaw",
    "line 4: rof srewsna",
    "9 words",
    "it takes further requests",
    "the second process ends with 0",
    "eno enil",
    "fo a wef",
    "taht tiaw",
    "rof srewsna",
  ]);
});

it("opens files again where they stood, and no pipes", async () => {
  instrument(build);
  const php = await (await load(build))();
  const { createNodeFsMountHandler } = await import("@php-wasm/node");
  const { __private__dont__use: runtime } = await import("@php-wasm/universal");
  const { FS } = php[runtime];
  const folder = mkdtempSync(join(tmpdir(), "php-files-"));
  after(() => {
    rmSync(folder, { recursive: true });
    setTimeout(() => process.exit(), 100).unref(); // PHP's proxy for outgoing connections listens for ever
  });
  writeFileSync(join(folder, "read"), "0123456789");
  php.mkdir("/app");
  await php.mount("/app", createNodeFsMountHandler(folder));
  FS.chdir("/app");
  const gap = FS.open("/app/read", "r");
  const one = FS.open("/app/read", "r");
  const other = FS.open("/app/read", "r");
  const written = FS.open("/app/written", "w");
  const added = FS.open("/app/added", "a");
  FS.write(written, new TextEncoder().encode("abc"), 0, 3);
  FS.write(added, new TextEncoder().encode("abc"), 0, 3);
  const twin = FS.dupStream(one);
  FS.llseek(one, 4, 0);
  FS.llseek(other, 7, 0);
  FS.close(gap);
  const numbers = [one, twin, other, written, added].map(({ fd }) => fd);
  const known = JSON.parse(JSON.stringify(filesOf(FS)));

  FS.chdir("/");
  FS.close(written);
  FS.llseek(other, 0, 0);
  openAgain(FS, known);
  const placesOf = ({ files }) => files.map(({ fd, path, like, position }) => [fd, path, like, position]);
  assert.deepEqual(placesOf(filesOf(FS)), placesOf(known));
  assert.equal(FS.cwd(), "/app");
  const next = (fd) => {
    const bytes = new Uint8Array(2);
    FS.read(FS.getStream(fd), bytes, 0, 2);
    return new TextDecoder().decode(bytes);
  };
  assert.deepEqual(numbers.slice(0, 3).map(next), ["45", "67", "78"]);
  for (const fd of numbers.slice(3)) FS.write(FS.getStream(fd), new TextEncoder().encode("de"), 0, 2);
  assert.deepEqual(["written", "added"].map((name) => readFileSync(join(folder, name), "utf8")), ["abcde", "abcde"]);

  let refusal;
  const look = setInterval(() => {
    try {
      filesOf(FS);
    } catch ({ message }) {
      refusal = message;
    }
  }, 10);
  await php.run({ code: "<?php $p = proc_open('cat', [['pipe', 'r'], ['pipe', 'w']], $pipes, '/'); usleep(200000); fclose($pipes[0]); proc_close($p);" });
  clearInterval(look);
  assert.match(refusal, /^file \d+, .*, is a pipe or a socket, which ends with this process$/);
  php.exit();
});

it("says how it is used", () => {
  const { status, stdout, stderr } = run();
  assert.deepEqual([status, stdout, stderr], [2, "", "usage: node examples/php_saved.mjs MODULE\n"]);
});
