/**
 * PHP 8.3 by lists of functions: with the one that was recorded it can wait everywhere; with one that lacks functions it is
 * right, or says which are missing. That other list is the one that npm's own build with Asyncify was made by.
 *
 * `node run_contexts.mjs list_packaged` does that in all of the ways.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { contexts } from "./contexts.mjs";
import { instrument } from "./running.mjs";

const program = fileURLToPath(new URL("run_contexts.mjs", import.meta.url));
const total = Object.keys(contexts).length;

/** Run a build through all places in some ways; returns the lines that it prints. */
function run(build, ...ways) {
  instrument(build);
  const { stdout, stderr } = spawnSync(process.execPath, [program, build, ...ways], { encoding: "utf8" });
  return `${stdout}${stderr}`.split("\n");
}

const skip = "Suspending" in WebAssembly ? "the engine suspends by itself" : process.env.CAESURA_PHP_BUILD && "builds of its own";

describe("PHP 8.3 by lists", { skip }, () => {
  it("waits everywhere with the list that was recorded", () => {
    const lines = run("list_recorded").filter((line) => line);
    assert.equal(lines.length, 6, lines.join("\n"));
    for (const line of lines) assert.match(line, new RegExp(`^\\w+: ${total} right, 0 wrong$`));
  });

  it("is right, or names what is missing", () => {
    const lines = run("list_packaged", "fsockopen");
    const [, right, wrong] = lines.map((line) => /^fsockopen: (\d+) right, (\d+) wrong$/.exec(line)).find((found) => found);
    assert.equal(+right + +wrong, total);
    assert.ok(+right > 10 && +wrong > 10, `${right} right, ${wrong} wrong`);
    const failed = lines.filter((line) => line.startsWith("fsockopen, "));
    assert.equal(failed.length, +wrong);
    for (const line of failed) assert.match(line, /SuspendError: .*Missing in the list: \["\w+".*\]$/);
  });
});
