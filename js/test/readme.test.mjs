/** The examples of README.md, run as they are printed. Pages fetch files by relative names; Node is shown here how to. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

import { bytes, repository } from "./support/guests.mjs";

const folder = fileURLToPath(new URL("build/js/readme", repository));
const examples = [...readFileSync(new URL("js/README.md", repository), "utf8").matchAll(/```js\n(.*?)```/gs)];

const FETCH_FILES = `
import { readFileSync } from "node:fs";
const { fetch } = globalThis;
const headers = { "content-type": "application/wasm" };
globalThis.fetch = async (name) => (/:/.test(name) ? fetch(name) : new Response(readFileSync(name), { headers }));`;

it("README.md's examples run", () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(`${folder}/node_modules`, { recursive: true });
  symlinkSync(fileURLToPath(new URL("js", repository)), `${folder}/node_modules/caesura`);
  writeFileSync(`${folder}/app.wasm`, bytes("example", "bare"));
  writeFileSync(`${folder}/app.instrumented.wasm`, bytes("example", "thunks"));
  writeFileSync(`${folder}/app.saved.wasm`, bytes("example", "saved_thunks"));
  writeFileSync(`${folder}/fetch.mjs`, FETCH_FILES);
  const printed = examples.map(([, code], number) => {
    writeFileSync(`${folder}/${number}.mjs`, code);
    return execFileSync(process.execPath, ["--import", "./fetch.mjs", `${number}.mjs`], { cwd: folder, encoding: "utf8" });
  });
  assert.deepEqual(printed, ["5\n", "", "5\n", "env.fetch_length [ 12 ] 5\n"]);
});
