/**
 * The package stays small: 11.95 KB (not KiB), minified and gzipped; time slices are 5.65 KB more, for who imports
 * them. Needs npm's terser.
 *
 * 1 KB of these keep overlapping calls apart that have arguments on the C stack; without, some were wrong without an error.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { gzipSync } from "node:zlib";

const terser = await import("terser").catch(() => undefined);

// The modules in the order of their imports. Their names are distinct, so that putting them together is bundling.
const MODULES = ["abi", "errors", "printable", "call", "trace", "options", "sections", "added", "description", "recording", "missing", "obstacles", "stacks", "room", "area", "guest", "promising", "instantiate", "install"];

const CORE = "close, install, Instance, instantiate, instantiateStreaming, promising, SuspendError, Suspending";

const SLICES = ["policy", "turns", "pace", "slicing", "slices"];

/** How many bytes modules have as one, with these exports. @param {string[]} modules @param {string} names */
async function sizeOf(modules, names) {
  const files = modules.map((name) => readFileSync(new URL(`../src/${name}.js`, import.meta.url), "utf8")).join("\n");
  const source = files
    .replace(/^import [^;]*;$/gm, "")
    .replace(/^export \{[^;]*;$/gm, "")
    .replace(/^export /gm, "");
  for (const [, from] of names == CORE ? files.matchAll(/^import [^;]*"\.\/(\w+)\.js";$/gm) : []) assert.ok(modules.includes(from), `${from}.js is imported`);
  const { code } = await terser.minify(`${source}\nexport { ${names} };`, { module: true });
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`# ${size} bytes minified and gzipped`);
  return size;
}

it("is at most 11.95 KB", { skip: !terser && "npm's terser is not installed" }, async () => {
  const size = await sizeOf(MODULES, CORE);
  assert.ok(size <= 11_950, `${size} bytes`);
});

it("has time slices in at most 5.65 KB more", { skip: !terser && "npm's terser is not installed" }, async () => {
  const size = await sizeOf(SLICES, "BudgetExhausted, FairShares, instantiate, promising, usage, usePolicy");
  assert.ok(size <= 5650, `${size} bytes`);
});
