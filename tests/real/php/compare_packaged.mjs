/**
 * Counts the places in PHP programs at which PHP can wait: npm's own build with Asyncify, which has lists of the functions
 * that take part, against npm's build for JSPI, instrumented by caesura, over the ponyfill.
 *
 *     node tests/real/php/compare_packaged.mjs [way ...]
 *
 * The ways are those of `running.mjs`; by default all, which takes some ten minutes. Each program runs in a process of its
 * own, because one that fails leaves PHP unusable, or ends the process. Right is what prints and exits as PHP does
 * anywhere; a program that has not ended after half a minute hangs. Prints a table and, for each program that a build gets
 * wrong, what came instead; writes the same to `build/php/packaged.json`.
 */

import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { contexts } from "./contexts.mjs";
import { hurry, instrument, load, run, startServers, WAYS } from "./running.mjs";

const BUILDS = { packaged: "npm's Asyncify build", thunks: "npm's JSPI build, instrumented" };
const SECONDS = 30;
const AT_ONCE = 2;
const RESULT = "result: ";

/** The part of the child process: run one program and print what became of it. */
async function child(build, way, context, ports) {
  const php = await (await load(build))();
  if (way == "sleep") hurry();
  const done = await run(php, `${WAYS[way](JSON.parse(ports))} ${contexts[context][0]}`).catch((error) => ({ error: String(error) }));
  process.stdout.write(`\n${RESULT}${JSON.stringify(done)}\n`, () => process.exit());
}

/** Run one program in a child process; returns undefined if it is right, else what came instead. */
async function attempt(build, way, context, ports) {
  const words = [fileURLToPath(import.meta.url), "--child", build, way, context, JSON.stringify(ports)];
  const running = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  running.stdout.on("data", (data) => (output += data));
  running.stderr.on("data", (data) => (errors += data));
  let hangs = false;
  const timer = setTimeout(() => {
    hangs = true;
    running.kill("SIGKILL");
  }, SECONDS * 1000);
  const code = await new Promise((resolve) => running.on("close", resolve));
  clearTimeout(timer);
  if (hangs) return "hangs";
  const line = output.split("\n").find((text) => text.startsWith(RESULT));
  if (!line) return `the process ended with ${code}: ${/^\w*Error.*$/m.exec(errors)?.[0] ?? "no message"}`;
  const done = JSON.parse(line.slice(RESULT.length));
  const [, text, exitCode = 0] = contexts[context];
  if (done.text === text && done.exitCode === exitCode) return undefined;
  return done.error ?? `exit code ${done.exitCode}, ${JSON.stringify(done.text.slice(0, 80))}`;
}

async function compare(ways) {
  instrument("thunks");
  const { ports, close } = await startServers();
  const tasks = ways.flatMap((way) =>
    Object.keys(BUILDS).flatMap((build) => Object.keys(contexts).map((context) => ({ way, build, context }))),
  );
  const outcomes = [];
  const work = async () => {
    for (let task = tasks.shift(); task; task = tasks.shift()) {
      outcomes.push({ ...task, wrong: await attempt(task.build, task.way, task.context, ports) });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  close();

  const total = Object.keys(contexts).length;
  const right = (build, way) => outcomes.filter((one) => one.build == build && one.way == way && !one.wrong).length;
  console.log(`Node ${process.version}; right, of ${total} places\n`);
  console.log(`| waits with | ${Object.values(BUILDS).join(" | ")} |\n| --- |${" ---: |".repeat(Object.keys(BUILDS).length)}`);
  for (const way of ways) {
    console.log(`| \`${way}\` | ${Object.keys(BUILDS).map((build) => right(build, way)).join(" | ")} |`);
  }
  console.log();
  for (const { build, way, context, wrong } of outcomes) {
    if (wrong) console.log(`${build}, ${way}, ${context}: ${wrong}`);
  }
  const folder = new URL("../../../build/php/", import.meta.url);
  mkdirSync(folder, { recursive: true });
  writeFileSync(new URL("packaged.json", folder), JSON.stringify({ node: process.version, total, outcomes }, undefined, 1));
  if (outcomes.some(({ build, wrong }) => build != "packaged" && wrong)) process.exitCode = 1;
}

const [first, ...rest] = process.argv.slice(2);
if (first == "--child") {
  await child(...rest);
} else {
  const ways = first ? [first, ...rest] : Object.keys(WAYS);
  const unknown = ways.find((way) => !WAYS[way]);
  if (unknown) {
    console.error(`unknown way '${unknown}': expected some of ${Object.keys(WAYS).join(", ")}`);
    process.exit(2);
  }
  await compare(ways);
}
