/**
 * Runs PHP 8.3 through every place at which it can wait, in each of the ways: `node run_contexts.mjs BUILD [WAY ...]`.
 *
 * The builds and ways are those of `running.mjs`; several ways run side by side, in processes of their own, since most of
 * the time is waiting. Prints what went wrong and how much went right; exits with 1 if anything went wrong. This is what is
 * recorded, and what lists are tried with.
 */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { contexts } from "./contexts.mjs";
import { hurry, load, run, startServers, WAYS } from "./running.mjs";

/** Run all places in one way; returns how many went right and wrong. */
async function runWay(build, way) {
  const start = await load(build);
  const { ports } = await startServers();
  const unhurry = hurry();
  let php = await start();
  const counts = { right: 0, wrong: 0 };
  for (const [context, [code, text, exitCode = 0]] of Object.entries(contexts)) {
    let done;
    try {
      done = await run(php, `${WAYS[way](ports)} ${code}`);
    } catch (error) {
      done = { text: String(error) };
      php = await start(); // the next needs one that works
    }
    const isRight = done.text === text && done.exitCode === exitCode;
    counts[isRight ? "right" : "wrong"]++;
    if (!isRight) console.error(`${way}, ${context}: exit code ${done.exitCode}, ${done.text}`);
  }
  unhurry();
  return counts;
}

/** Run all places in several ways at once; returns whether all went right. */
async function runWays(build, ways) {
  const program = fileURLToPath(import.meta.url);
  const codes = ways.map((way) => {
    const child = spawn(process.execPath, [program, build, way], { stdio: "inherit" });
    return new Promise((resolve) => child.on("close", resolve));
  });
  return (await Promise.all(codes)).every((code) => code === 0);
}

const [build, ...chosen] = process.argv.slice(2);
const ways = chosen.length ? chosen : Object.keys(WAYS);
const unknown = ways.find((way) => !WAYS[way]);
if (!build || unknown) {
  console.error(unknown ? `unknown way '${unknown}': expected some of ${Object.keys(WAYS).join(", ")}` : "name a build");
  process.exit(2);
}
if (ways.length > 1) {
  process.exit((await runWays(build, ways)) ? 0 : 1);
}
const { right, wrong } = await runWay(build, ways[0]);
console.log(`${ways[0]}: ${right} right, ${wrong} wrong`);
// PHP's proxy for outgoing connections listens for ever.
process.exit(wrong ? 1 : 0);
