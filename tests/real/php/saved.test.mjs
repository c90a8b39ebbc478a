/**
 * PHP 8.3 is saved in the middle of a request by one process and goes on in the next, by the example of it.
 *
 * The request waits below `array_map`, between lines that a generator reads from a file and others that it writes. Run by
 * `node --test`; CAESURA_PHP_BUILD chooses `plain`, `thunks` or `translated`.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

import { instrument, repository } from "./running.mjs";

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

it("says how it is used", () => {
  const { status, stdout, stderr } = run();
  assert.deepEqual([status, stdout, stderr], [2, "", "usage: node examples/php_saved.mjs MODULE\n"]);
});
