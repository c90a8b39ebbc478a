/**
 * The package as npm packs it, in the hands of a user: its files, its types, and the two ways to import it. A program in
 * TypeScript is compiled against the generated declarations and run. Needs npm's typescript.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { hasNative, repository } from "./support/guests.mjs";

const path = (name) => fileURLToPath(new URL(name, repository));
const compilers = ["typescript", "typescript-old", "typescript-new"].map((name) => path(`node_modules/${name}/bin/tsc`));
const missing = compilers.some((compiler) => !existsSync(compiler)) && "npm's typescript is not installed";

// Whoever packs or uses it may have an older or a newer compiler.
for (const packer of compilers.filter((compiler) => !compiler.includes("old"))) {
  const version = missing ? "" : execFileSync(process.execPath, [packer, "--version"], { encoding: "utf8" }).trim();
  describe(`the package, its types made by TypeScript ${version.replace("Version ", "")}`, { skip: missing }, () => {
    const folder = path("build/js/user");
    const run = (command, ...parameters) => execFileSync(command, parameters, { cwd: folder, encoding: "utf8", stdio: "pipe" });
    let packed;

    before(() => {
      // What it is made from, so that nothing is written beside the sources; and a project that has it installed.
      rmSync(folder, { recursive: true, force: true });
      for (const name of ["src", "package.json", "tsconfig.json", "README.md", "LICENSE"]) {
        cpSync(path(`js/${name}`), `${folder}/package/${name}`, { recursive: true });
      }
      mkdirSync(`${folder}/package/node_modules/.bin`, { recursive: true });
      symlinkSync(packer, `${folder}/package/node_modules/.bin/tsc`);
      [packed] = JSON.parse(run("npm", "pack", "./package", "--json", "--ignore-scripts=false"));
      mkdirSync(`${folder}/node_modules/caesura`, { recursive: true });
      run("tar", "-xzf", packed.filename, "--strip-components=1", "-C", "node_modules/caesura");
      cpSync(path("js/test/user/program.ts"), `${folder}/program.ts`);
      writeFileSync(`${folder}/package.json`, JSON.stringify({ private: true, type: "module" }));
    });

    it("has its modules, their types, the licence, and nothing else", () => {
      const files = packed.files.map((file) => file.path);
      for (const name of ["index", "auto", "record", "refusals", "slices", "snapshot"]) assert.ok(files.includes(`src/${name}.js`) && files.includes(`types/${name}.d.ts`));
      const others = files.filter((name) => !/^(src\/\w+\.js|types\/\w+\.d\.ts)$/.test(name));
      assert.deepEqual(others.sort(), ["LICENSE", "README.md", "package.json"]);
    });

    it("has types for a user's program, whichever compiler reads them", () => {
      const common = "--strict --target es2022 --lib es2022,dom --types node program.ts";
      const check = (compiler, options) => run(process.execPath, compiler, ...`${common} ${options}`.split(" "));
      const [usual, old, latest] = compilers;
      check(old, "--moduleResolution nodenext --module nodenext");
      if (packer == usual) check(latest, "--moduleResolution nodenext --module nodenext");
      else check(usual, "--moduleResolution bundler --module esnext --skipLibCheck --noEmit");
    });

    it("runs as the types say", () => {
      assert.deepEqual(JSON.parse(run(process.execPath, "program.js", path("build/js/deep.thunks.wasm"))), {
        sums: hasNative ? [5, 5, 5, 5] : [5, 5, 5, 5, 4],
        closed: "the instance is closed",
        build: hasNative ? "bare" : "instrumented",
        others: 6,
        unsaved: true,
        waiting: [],
      });
    });
  });
}
