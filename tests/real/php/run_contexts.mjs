/**
 * Runs PHP 8.3 through every place at which it can wait, in each of the ways: `node run_contexts.mjs BUILD [WAY ...]`.
 *
 * The builds and ways are those of `running.mjs`. Prints what went wrong and how much went right; exits with 1 if anything
 * went wrong. This is what is recorded, and what lists are tried with.
 */

import { contexts } from "./contexts.mjs";
import { hurry, load, run, startServers, WAYS } from "./running.mjs";

const [build, ...chosen] = process.argv.slice(2);
const start = await load(build);
const { ports } = await startServers();
const unhurry = hurry();
let php = await start();
const counts = { right: 0, wrong: 0 };
for (const way of chosen.length ? chosen : Object.keys(WAYS)) {
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
}
unhurry();
console.log(`${counts.right} right, ${counts.wrong} wrong`);
// PHP's proxy for outgoing connections listens for ever.
process.exit(counts.wrong ? 1 : 0);
