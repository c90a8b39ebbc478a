/**
 * PHP 8.3 is recorded over all places at which it can wait, and the recording has the functions of `recorded.txt`: an only-list with which it runs in all of them.
 *
 * In a Node with JSPI the build that npm ships is recorded as it is: the engine's stacks tell. Else it is instrumented so that
 * it notes what is on its stack. Both find the same. CAESURA_PHP_BUILD chooses `plain` or `thunks`.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

import { instrument, repository } from "./running.mjs";

const hook = new URL("src/caesura/recording/record.mjs", repository);
const contexts = fileURLToPath(new URL("run_contexts.mjs", import.meta.url));
const list = readFileSync(new URL("recorded.txt", import.meta.url), "utf8").trimEnd().split("\n");

/** Run a build through all contexts; returns the functions that were recorded. */
function record(build) {
  const folder = mkdtempSync(join(tmpdir(), "recorded-"));
  try {
    const file = join(folder, "recording");
    const env = { ...process.env, CAESURA_RECORD: file, NODE_OPTIONS: `--import ${hook}` };
    execFileSync(process.execPath, [contexts, build], { env, stdio: "pipe" });
    const lines = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
    return [...new Set(lines.flatMap(({ functions }) => Object.keys(functions)))].sort();
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const build = "Suspending" in WebAssembly ? "native" : `record_${process.env.CAESURA_PHP_BUILD ?? "thunks"}`;

it(`has the functions of the list, ${build}`, () => {
  if (build != "native") instrument(build);
  assert.deepEqual(record(build), list);
});
