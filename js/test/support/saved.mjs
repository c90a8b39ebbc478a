/** Saved states in tests: a process of Python that restores guests and saves them, and the same here. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { Instance, promising, Suspending } from "../../src/index.js";
import { pending, restore, snapshot } from "../../src/snapshot.js";
import { findPython, repository } from "./guests.mjs";

/** What the host function returns never comes: what the guest gets is in the requests. */
export const imports = { env: { ask: new Suspending(() => new Promise(() => {})) } };

/** Let all that can run do so. */
export const rest = () => new Promise((resolve) => setTimeout(resolve));

export const shown = (instance) => ({
  values: instance.exports.values().map(String),
  calls: pending(instance).map((call) => [call.export, call.function, call.arguments.map(String)]),
});

/** Begin calls of a guest that is not saved: `step` gives each suspended call an answer, and returns the results of those that have ended. */
export function live(module, begin) {
  const waiting = [];
  const ended = [];
  const ask = () => new Promise((resolve) => waiting.push(resolve));
  const instance = new Instance(module, { env: { ask: new Suspending(ask) } });
  for (const call of begin) promising(instance.exports.run)(...call).then((result) => ended.push(result));
  const step = async (answers) => {
    for (const [number, resolve] of waiting.splice(0).entries()) {
      resolve(answers[number]);
      await rest();
    }
    return ended.splice(0);
  };
  return { instance, step };
}

/** Do what a request asks for, as `saver.py` does. */
export async function serve({ state, begin, answers }, module, options) {
  const results = [];
  const restored = state && (await restore(Buffer.from(state, "base64"), module, imports, options));
  const instance = restored?.instance ?? new Instance(module, imports, options);
  for (const call of begin ?? []) promising(instance.exports.run)(...call).then((result) => results.push(result));
  await rest();
  const before = shown(instance);
  for (const [number, answer] of answers.entries()) {
    restored.pending[number].resume(answer).then((result) => results.push(result));
    await rest();
  }
  const saved = await snapshot(instance);
  return { state: Buffer.from(saved).toString("base64"), before, after: shown(instance), results };
}

/** Start the process. Returns a function that has it serve a request, and one that ends it. */
export function startPython(build, guest = "saved") {
  const script = fileURLToPath(new URL("saver.py", import.meta.url));
  const module = fileURLToPath(new URL(`build/js/${guest}.${build}.wasm`, repository));
  const process = spawn(findPython(), [script, module], { stdio: ["pipe", "pipe", "inherit"] });
  const waiting = [];
  let text = "";
  process.stdout.on("data", (data) => {
    const lines = (text + data).split("\n");
    text = lines.pop();
    for (const line of lines) waiting.shift().resolve(JSON.parse(line));
  });
  process.once("exit", (code) => waiting.forEach(({ reject }) => reject(new Error(`the process ended with ${code}`))));
  const ask = (request) =>
    new Promise((resolve, reject) => {
      waiting.push({ resolve, reject });
      process.stdin.write(`${JSON.stringify(request)}\n`);
    });
  return { ask, end: () => process.stdin.end() };
}
