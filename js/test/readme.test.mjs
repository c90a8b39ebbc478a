/** The examples of README.md, and those of docs/javascript.md, run as they are printed. Pages fetch files by relative names; Node is shown here how to. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

import { bytes, repository } from "./support/guests.mjs";

const folder = fileURLToPath(new URL("build/js/readme", repository));
const examplesOf = (page) => [...readFileSync(new URL(page, repository), "utf8").matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);

const FETCH_FILES = `
import { readFileSync } from "node:fs";
const { fetch } = globalThis;
const headers = { "content-type": "application/wasm" };
globalThis.fetch = async (name) => (/:/.test(name) ? fetch(name) : new Response(readFileSync(name), { headers }));`;

/** Run programs. Returns what they print. */
function run(examples) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(`${folder}/node_modules`, { recursive: true });
  symlinkSync(fileURLToPath(new URL("js", repository)), `${folder}/node_modules/caesura`);
  writeFileSync(`${folder}/app.wasm`, bytes("example", "bare"));
  writeFileSync(`${folder}/app.instrumented.wasm`, bytes("example", "thunks"));
  writeFileSync(`${folder}/app.saved.wasm`, bytes("example", "saved_thunks"));
  writeFileSync(`${folder}/app.sliced.wasm`, bytes("running", "fuel_thunks"));
  writeFileSync(`${folder}/app.waiting.wasm`, bytes("example", "fuel_thunks"));
  writeFileSync(`${folder}/app.listed.wasm`, bytes("listed", "thunks"));
  writeFileSync(`${folder}/app.scheduled.wasm`, bytes("scheduled", "plain"));
  writeFileSync(`${folder}/fetch.mjs`, FETCH_FILES);
  return examples.map((code, number) => {
    writeFileSync(`${folder}/${number}.mjs`, code);
    return execFileSync(process.execPath, ["--import", "./fetch.mjs", `${number}.mjs`], { cwd: folder, encoding: "utf8" });
  });
}

it("README.md's examples run", () => {
  assert.deepEqual(run(examplesOf("js/README.md")), ["5\n", "", "5\n", "env.fetch_length [ 12 ] 5\n"]);
});

it("the example of time slices runs", () => {
  const [printed] = run(examplesOf("docs/javascript.md").slice(0, 1));
  assert.match(
    printed,
    /^(the event loop has its turn\n)+the call of run has used up its budget, 1000000 units of fuel, and is suspended: .*\ntrue\n$/,
  );
});

it("the example of a guest that computes and waits runs", () => {
  const [example] = examplesOf("docs/javascript.md").filter((code) => code.includes("app.waiting.wasm"));
  assert.deepEqual(run([example]), ["5\n"]);
});

it("the examples of lists that miss a function print what stands there", () => {
  const page = "docs/javascript.md";
  const examples = ["app.listed.wasm", "app.scheduled.wasm"].map((name) => examplesOf(page).find((code) => code.includes(name)));
  const shown = [...readFileSync(new URL(page, repository), "utf8").matchAll(/```text\n(SuspendError: .*?)```/gs)];
  assert.deepEqual(run(examples), shown.map(([, text]) => text));
});
