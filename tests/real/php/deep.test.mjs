/**
 * PHP 8.3 waits deep in recursion through C code: three quarters as deep as with the engine's own JSPI.
 *
 * How deep depends on which functions V8 has optimized by then, since their frames are larger: it does that in a thread of
 * its own, whenever this gets to run. So it is told here not to, which is why this is a file of its own. Run by
 * `node --test`; CAESURA_PHP_BUILD chooses `plain`, `thunks` or `native`.
 */

import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";

import { instrument, load, run } from "./running.mjs";

const build = process.env.CAESURA_PHP_BUILD ?? ("Suspending" in WebAssembly ? "native" : "thunks");

describe(`PHP 8.3 in recursion, ${build}`, () => {
  let php;

  before(async () => {
    if (build != "native") instrument(build);
    setFlagsFromString("--liftoff-only"); // before PHP is compiled
    php = await (await load(build))();
  });

  it("waits deep in recursion through C code", async () => {
    // Of 2,350 levels on the default stack, which is a megabyte in all versions of Node.
    const code = "function f($n) { return $n ? array_map('f', [$n - 1])[0] + 1 : (usleep(10) ?? 0); } echo f(1780);";
    assert.deepEqual(await run(php, code), { text: "1780", exitCode: 0 });
    php.exit();
  });
});
