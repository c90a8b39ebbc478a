/**
 * The package as npm packs it, in the hands of a user: its files, its types, and the two ways to import it. A program in
 * TypeScript is compiled against the generated declarations and run. Needs npm's typescript.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { hasNative, repository } from "./support/guests.mjs";

const path = (name) => fileURLToPath(new URL(name, repository));
const compiler = path("node_modules/typescript/bin/tsc");
const folder = path("build/js/user");
const run = (command, ...parameters) => execFileSync(command, parameters, { cwd: folder, encoding: "utf8", stdio: "pipe" });

describe("the package", { skip: !existsSync(compiler) && "npm's typescript is not installed" }, () => {
  let packed;

  before(() => {
    // What it is made from, so that nothing is written beside the sources; and a project that has it installed.
    rmSync(folder, { recursive: true, force: true });
    for (const name of ["src", "package.json", "tsconfig.json", "README.md", "LICENSE"]) {
      cpSync(path(`js/${name}`), `${folder}/package/${name}`, { recursive: true });
    }
    [packed] = JSON.parse(run("npm", "pack", "./package", "--json", "--ignore-scripts=false"));
    mkdirSync(`${folder}/node_modules/caesura`, { recursive: true });
    run("tar", "-xzf", packed.filename, "--strip-components=1", "-C", "node_modules/caesura");
    cpSync(path("js/test/user/program.ts"), `${folder}/program.ts`);
    writeFileSync(`${folder}/package.json`, JSON.stringify({ private: true, type: "module" }));
  });

  it("has its modules, their types, the licence, and nothing else", () => {
    const files = packed.files.map((file) => file.path);
    for (const name of ["index", "auto"]) assert.ok(files.includes(`src/${name}.js`) && files.includes(`types/${name}.d.ts`));
    const others = files.filter((name) => !/^(src\/\w+\.js|types\/\w+\.d\.ts)$/.test(name));
    assert.deepEqual(others.sort(), ["LICENSE", "README.md", "package.json"]);
  });

  for (const [resolution, rest] of [
    ["nodenext", "--module nodenext"],
    ["bundler", "--module esnext --skipLibCheck --noEmit"],
  ]) {
    it(`has types for a user's program: ${resolution}`, () => {
      const settings = `--strict --target es2022 --lib es2022,dom --types node --moduleResolution ${resolution} ${rest}`;
      run(process.execPath, compiler, ...settings.split(" "), "program.ts");
    });
  }

  it("runs as the types say", () => {
    assert.deepEqual(JSON.parse(run(process.execPath, "program.js", path("build/js/deep.thunks.wasm"))), {
      sums: hasNative ? [5, 5, 5, 5] : [5, 5, 5, 5, 4],
      closed: "the instance is closed",
      build: hasNative ? "bare" : "instrumented",
      others: 3,
    });
  });
});
