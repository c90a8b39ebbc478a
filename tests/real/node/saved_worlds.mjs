// Does runs of guests that go on as modules, among the modules of their surroundings, and prints how each ended.
// Usage: saved_worlds.mjs FILE, JSON with the files of the modules (see tests/oracle/test_states_as_modules.py).
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const { world, runs } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const read = (file) => new WebAssembly.Module(readFileSync(file));
const digest = (memory, end = memory.buffer.byteLength) =>
  createHash("sha256").update(new Uint8Array(memory.buffer, 0, end)).digest("hex");
const surroundings = read(world);
const ended = runs.map(({ guest, driver, before }) => {
  const env = new WebAssembly.Instance(surroundings).exports;
  env.count.value = before;
  const saved = new WebAssembly.Instance(read(guest), { env }).exports;
  const calls = new WebAssembly.Instance(read(driver), { guest: saved }).exports;
  let trapped = false;
  try {
    calls.go();
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError || error instanceof RangeError)) throw error;
    trapped = true;
  }
  saved.dump();
  const noted = env.noted.value;
  return { trapped, results: digest(calls.results), noted, ledger: digest(env.ledger, noted), memory: digest(saved.memory) };
});
console.log(JSON.stringify(ended));
