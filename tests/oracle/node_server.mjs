// Runs the oracle's cases under Node: the first line of standard input holds the host modules, each further line a
// case; each is answered with a line. See node_engine.py.

import { createInterface } from "node:readline";

const decode = (text) => Buffer.from(text, "base64");
const LOG_POSITION = 8;

function run(hosts, guestModule, driverName, initialLedger, entries) {
  const instrumented = driverName != "original";
  const ground = new WebAssembly.Instance(hosts.ground, {}).exports;
  const env = new WebAssembly.Instance(hosts.world, { ground }).exports;
  const guest = new WebAssembly.Instance(guestModule, { ground, env }).exports;
  const abi = instrumented ? guest : new WebAssembly.Instance(hosts.stub, {}).exports;
  const driver = new WebAssembly.Instance(hosts[driverName], { ground, env, guest, abi }).exports;
  new Uint8Array(env.ledger.buffer).set(initialLedger);
  let trap = "";
  try {
    driver.run(entries);
  } catch (error) {
    trap = String(error.message ?? error);
  }
  driver.finish();
  const end = new DataView(env.ledger.buffer).getUint32(LOG_POSITION, true);
  return {
    trap,
    ledger: Buffer.from(env.ledger.buffer, 0, end).toString("base64"),
    memory: Buffer.from(ground.memory.buffer).toString("base64"),
  };
}

function answer(hosts, request) {
  try {
    const original = new WebAssembly.Module(decode(request.original));
    const instrumented = new WebAssembly.Module(decode(request.instrumented));
    return request.runs.map((r) =>
      run(hosts, r.instrumented ? instrumented : original, r.instrumented ? request.driver : "original", decode(r.ledger), request.entries),
    );
  } catch (error) {
    return { error: String(error.stack ?? error) };
  }
}

let hosts = null;
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (hosts === null) {
    hosts = Object.fromEntries(
      Object.entries(request).map(([name, binary]) => [name, new WebAssembly.Module(decode(binary))]),
    );
    process.stdout.write("{}\n");
  } else {
    process.stdout.write(`${JSON.stringify(answer(hosts, request))}\n`);
  }
}
