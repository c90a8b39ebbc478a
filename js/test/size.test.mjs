/**
 * The package stays small: 9.25 KB (not KiB), minified and gzipped. Needs npm's terser.
 *
 * 1 KB of these keep overlapping calls apart that have arguments on the C stack; without, some were wrong without an error.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { gzipSync } from "node:zlib";

const terser = await import("terser").catch(() => undefined);

// The modules in the order of their imports. Their names are distinct, so that putting them together is bundling.
const MODULES = ["abi", "errors", "call", "trace", "options", "description", "obstacles", "stacks", "room", "area", "guest", "promising", "instantiate", "install"];

it("is at most 9.25 KB", { skip: !terser && "npm's terser is not installed" }, async () => {
  const source = MODULES.map((name) => readFileSync(new URL(`../src/${name}.js`, import.meta.url), "utf8"))
    .join("\n")
    .replace(/^import [^;]*;$/gm, "")
    .replace(/^export /gm, "");
  const names = "close, install, Instance, instantiate, instantiateStreaming, promising, SuspendError, Suspending";
  const { code } = await terser.minify(`${source}\nexport { ${names} };`, { module: true });
  const size = gzipSync(code, { level: 9 }).length;
  assert.ok(size <= 9250, `${size} bytes`);
  console.log(`# ${size} bytes minified and gzipped`);
});
