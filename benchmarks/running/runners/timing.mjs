/**
 * Timing that other work on the machine disturbs little: the processor time of the main thread, after V8's compilers on
 * other threads have come to rest. (Wall-clock time counts what other processes take; the processor time of the whole
 * process counts the compilers.) What shares the processor's caches disturbs all the same, for some milliseconds or
 * some seconds: so the variants take turns many times, and of each variant's turns the median counts.
 */

import { readFileSync } from "node:fs";

const SCHEDULE = "/proc/thread-self/schedstat";
const IDLE_MILLISECONDS = 10;
const IDLE_TIMES = 3;
const BUSY_SHARE = 0.3;
// How long each program runs before it is measured, in parts of the time for which it is measured.
const WARMING_SHARES = [0.1, 0.4];
const TURNS = 9;

/** What the milliseconds of this process are, for the report. */
export const clock = usesThreadTime() ? "processor time of the main thread" : "processor time of the process";

/** Milliseconds of processor time that the main thread has used. */
export function milliseconds() {
  // Linux brings the file up to date at each tick of its clock only, every 4 milliseconds, and when a thread asks how much
  // time it has used, as this call does.
  const { user, system } = process.cpuUsage();
  if (!clock.endsWith("thread")) return (user + system) / 1000;
  return Number(readFileSync(SCHEDULE, "latin1").split(" ", 1)[0]) / 1e6;
}

function usesThreadTime() {
  try {
    return Number(readFileSync(SCHEDULE, "latin1").split(" ", 1)[0]) > 0;
  } catch {
    return false; // not Linux
  }
}

/** Waits until no other thread of this process works any more: until V8 has compiled what it found worth it. */
export async function settle() {
  for (let idle = 0; idle < IDLE_TIMES; ) {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, IDLE_MILLISECONDS));
    const { user, system } = process.cpuUsage(before);
    idle = (user + system) / 1000 < BUSY_SHARE * IDLE_MILLISECONDS ? idle + 1 : 0;
  }
}

/**
 * Measures the same programs in several variants of a module. `variants` maps their names to objects that have, for each
 * program, a function that does its work once and gives a string that says what came out, the same each time. All are
 * warmed up before the first is measured; then the variants of one program take turns, each in turn first, and each as
 * often as is needed to fill its part of a time. Gives the milliseconds of one repetition.
 */
export async function measure(variants, leastMilliseconds) {
  const names = Object.keys(variants);
  const programs = Object.keys(variants[names[0]]);
  for (const share of leastMilliseconds > 0 ? WARMING_SHARES : []) {
    for (const program of programs) {
      for (const name of names) await repeat(variants[name][program], share * leastMilliseconds);
    }
    await settle();
  }
  const results = Object.fromEntries(names.map((name) => [name, {}]));
  for (const [place, program] of programs.entries()) {
    const taken = Object.fromEntries(names.map((name) => [name, []]));
    for (let turn = 0; turn < (leastMilliseconds > 0 ? TURNS : 1); turn++) {
      for (const position of names.keys()) {
        const name = names[(place + turn + position) % names.length];
        taken[name].push(await repeat(variants[name][program], leastMilliseconds / TURNS));
      }
    }
    for (const name of names) results[name][program] = middle(taken[name]);
  }
  return results;
}

async function repeat(run, leastMilliseconds) {
  const begun = milliseconds();
  let outcome;
  let passed = 0;
  let times = 0;
  do {
    const next = await run();
    passed = milliseconds() - begun;
    if (times++ > 0) outcome = agreed(outcome, next);
    else outcome = next;
  } while (passed < leastMilliseconds);
  return { milliseconds: passed / times, outcome };
}

/** The turn that took the median of times; all must have had the same outcome. */
function middle(turns) {
  for (const { outcome } of turns) agreed(turns[0].outcome, outcome);
  return turns.sort((one, other) => one.milliseconds - other.milliseconds)[turns.length >> 1];
}

function agreed(outcome, next) {
  if (next !== outcome) throw new Error(`the outcome was first ${outcome}, then ${next}`);
  return outcome;
}

/** What a runner was called with: an object in JSON. */
export function request() {
  return JSON.parse(process.argv[2]);
}

/** Calls a function for each value of an object, one after the other; gives the object of the results. */
export async function mapValues(object, compute) {
  const results = {};
  for (const [key, value] of Object.entries(object)) results[key] = await compute(value, key);
  return results;
}

/** The parts of a collection that have one of these names; all, if no names are given. */
export function someOf(collection, names) {
  return Object.fromEntries(Object.entries(collection).filter(([name]) => !names?.length || names.includes(name)));
}

/** Hands the results to the process that started this one. */
export function report(results) {
  process.stdout.write(JSON.stringify(results) + "\n");
}
