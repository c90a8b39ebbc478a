// Runs programs of exceptions: each line of standard input is a module in base64 and the seeds to run it with; each is
// answered with a line that says, for each seed, how the run ended and the hash of what happened. See engines.py.

import { createInterface } from "node:readline";

function run(module, seed) {
  const { run, hash } = new WebAssembly.Instance(module, {}).exports;
  let end;
  try {
    end = String(run(seed));
  } catch (error) {
    end = error instanceof WebAssembly.Exception ? "exception" : "trap";
  }
  return [end, String(hash.value)];
}

for await (const line of createInterface({ input: process.stdin })) {
  const { binary, seeds } = JSON.parse(line);
  let answer;
  try {
    const module = new WebAssembly.Module(Buffer.from(binary, "base64"));
    answer = seeds.map((seed) => run(module, seed));
  } catch (error) {
    answer = { error: String(error.message) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
