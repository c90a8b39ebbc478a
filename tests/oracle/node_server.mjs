// Runs the oracle's cases under Node: the first line of standard input holds the host modules, each further line a
// case; each is answered with a line. See node_engine.py.

import { createInterface } from "node:readline";

const decode = (text) => Buffer.from(text, "base64");
const LOG_POSITION = 8;

Error.stackTraceLimit = Infinity;

// Makes a function that calls one of the guest's, as its name says (see hops.py).
function makeInvoke(name, guest) {
  const [, way, catches, number] = /^invoke_(dynCall|table)(_catching)?_(\d+)$/.exec(name);
  return () => {
    try {
      if (way == "dynCall") guest()[`dynCall_${number}`]();
      else guest().hops.get(Number(number))();
    } catch (error) {
      if (!catches || !(error instanceof WebAssembly.Exception)) throw error;
    }
  };
}

// Runs a module; where that traps, the answer has the stack, and what comes of another run of the same instance if there
// is a ledger for one.
function run(hosts, guestModule, driverName, initialLedger, entries, ledgerAfterTrap) {
  const instrumented = driverName != "original";
  const ground = new WebAssembly.Instance(hosts.ground, {}).exports;
  const env = new WebAssembly.Instance(hosts.world, { ground }).exports;
  const invokes = {};
  for (const { name } of WebAssembly.Module.imports(guestModule)) {
    if (name.startsWith("invoke_")) invokes[name] = makeInvoke(name, () => guest);
  }
  const guest = new WebAssembly.Instance(guestModule, { ground, env: { ...env, ...invokes } }).exports;
  const abi = instrumented ? guest : new WebAssembly.Instance(hosts.stub, {}).exports;
  const driver = new WebAssembly.Instance(hosts[driverName], { ground, env, guest, abi }).exports;
  const once = (ledger) => {
    new Uint8Array(env.ledger.buffer).set(ledger);
    let trap = "";
    let stack = "";
    try {
      driver.run(entries);
    } catch (error) {
      trap = String(error.message ?? error);
      stack = String(error.stack);
    }
    const flag = guest.asyncify_unsuspendable?.value ?? 0;
    driver.finish();
    const end = new DataView(env.ledger.buffer).getUint32(LOG_POSITION, true);
    return {
      trap,
      stack,
      flag,
      ledger: Buffer.from(env.ledger.buffer, 0, end).toString("base64"),
      memory: Buffer.from(ground.memory.buffer).toString("base64"),
    };
  };
  const first = once(initialLedger);
  return first.trap && ledgerAfterTrap ? { ...first, after: once(ledgerAfterTrap) } : first;
}

function answer(hosts, request) {
  try {
    const original = new WebAssembly.Module(decode(request.original));
    const instrumented = new WebAssembly.Module(decode(request.instrumented));
    return request.runs.map((r) =>
      run(
        hosts,
        r.instrumented ? instrumented : original,
        r.instrumented ? request.driver : "original",
        decode(r.ledger),
        request.entries,
        r.after && decode(r.after),
      ),
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
