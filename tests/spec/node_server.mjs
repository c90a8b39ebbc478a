// Keeps the instances of a script under Node: the first line of standard input makes those that all scripts have, each
// further line makes one or calls an export; each is answered with a line. See node_engine.py.

import { createInterface } from "node:readline";

const decode = (text) => new WebAssembly.Module(Buffer.from(text, "base64"));
const instances = [];
let size = 0;

function begin({ runtime, spectest, hosts, size: bytes }) {
  size = bytes;
  instances.push(new WebAssembly.Instance(decode(runtime), { host: { identify: ({ number }) => number } }).exports);
  for (let number = 0; number < hosts; number++) instances[0].hosts.set(number, { number });
  instances.push(new WebAssembly.Instance(decode(spectest)).exports);
  return {};
}

function instantiate({ binary, imports }) {
  const given = {};
  for (const [module, name, instance, item] of imports) (given[module] ??= {})[name] = instances[instance][item];
  try {
    instances.push(new WebAssembly.Instance(decode(binary), given).exports);
  } catch (error) {
    return { error: String(error?.message ?? error) };
  }
  return { instance: instances.length - 1 };
}

function call({ instance, export: name }) {
  let ending = "";
  try {
    instances[instance][name]();
  } catch (error) {
    ending = error instanceof WebAssembly.Exception ? "exception" : String(error?.message ?? error);
  }
  return { ending, record: Buffer.from(instances[0].record.buffer, 0, size).toString("base64") };
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  if (request.runtime) answer = begin(request);
  else if (request.binary) answer = instantiate(request);
  else if (request.export) answer = call(request);
  else answer = { suspensions: Number(instances[0].suspensions.value) };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
