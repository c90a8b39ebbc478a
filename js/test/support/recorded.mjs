/**
 * A program that is recorded: `node recorded.mjs MODULE WAY`. It waits in the guest and writes a line to standard output
 * for each thing that it has done; the ways are how else a program may behave.
 */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createContext, runInContext, runInNewContext, Script } from "node:vm";
import { isMainThread, Worker } from "node:worker_threads";

const [, self, file, way] = process.argv;

const module = new WebAssembly.Module(readFileSync(file));
const later = (value) => new Promise((resolve) => setTimeout(resolve, 1, value));

function start(env = {}) {
  const { promising, Suspending } = WebAssembly;
  const imports = { env: { ask: new Suspending(later), other: new Suspending((x) => x + 1), ...env } };
  const { exports } = new WebAssembly.Instance(module, imports);
  return Object.fromEntries(["run", "recurse", "other", "both"].map((name) => [name, promising(exports[name])]));
}

/** Instrumented builds under glue that knows nothing of the package, as Emscripten's does: by Asyncify's own functions. */
function startForeign(others) {
  const DATA = 16;
  const STATES = { unwinding: 1, rewinding: 2 };
  let waiting;
  const wait = (f) => (value) => {
    if (exports.asyncify_get_state() == STATES.rewinding) {
      exports.asyncify_stop_rewind();
      return waiting;
    }
    const result = f(value);
    if (!(result instanceof Promise)) return result;
    waiting = result;
    new Int32Array(exports.memory.buffer).set([DATA + 8, 65536], DATA / 4);
    exports.asyncify_start_unwind(DATA);
  };
  const { exports } = new WebAssembly.Instance(module, { env: { ask: wait(later), other: wait((x) => x + 1), ...others } });
  const call = (name) => async (value) => {
    for (;;) {
      const result = exports[name](value);
      if (exports.asyncify_get_state() != STATES.unwinding) return result;
      exports.asyncify_stop_unwind();
      waiting = await waiting;
      exports.asyncify_start_rewind(DATA);
    }
  };
  return { exports, call, ...Object.fromEntries(["run", "recurse", "other", "both"].map((name) => [name, call(name)])) };
}

async function startByPackage() {
  const { Instance, promising, Suspending } = await import("caesura");
  const { exports } = new Instance(module, { env: { ask: new Suspending(later), other: new Suspending((x) => x + 1) } }, { region: [16, 65536] });
  return Object.fromEntries(["run", "recurse", "other", "both"].map((name) => [name, promising(exports[name])]));
}

async function use(guest) {
  console.log(await guest.run(1), await guest.recurse(2), await guest.recurse(3), await guest.other(4));
}

/** A program in text. */
const WAITS = `
  const { promising, Suspending, Instance, Module } = WebAssembly;
  const ask = new Suspending((value) => new Promise((resolve) => setTimeout(resolve, 1, value)));
  const { exports } = new Instance(new Module(bytes), { env: { ask, other() {} } });
  console.log(await promising(exports.run)(1), await promising(exports.recurse)(2), await promising(exports.recurse)(3));
`;

const WAYS = {
  foreign: () => use(startForeign()),
  async package() {
    await use(await startByPackage());
  },
  async package_is_killed() {
    const guest = await startByPackage();
    await guest.run(1);
    await new Promise(setImmediate); // what builds with thunks note is seen in the event loop
    process.kill(process.pid, "SIGKILL");
  },
  async foreign_is_killed() {
    await startForeign().run(1);
    process.kill(process.pid, "SIGKILL");
  },
  async lies() {
    const { exports } = new WebAssembly.Instance(module);
    exports.asyncify_stop_unwind();
    console.log(exports.run());
  },
  /** Under foreign glue; what is refused can go on, and what is not works. */
  async is_refused() {
    const invoke = (index, value) => (index < 0 ? guest.exports.dynCall_ii(1, value) : guest.exports.table.get(index)(value));
    const guest = startForeign({ invoke, enter: (value) => guest.exports.direct(value) });
    for (const name of ["direct", "direct", "invoked", "nested", "alone", "handing", "fine"]) console.log(name, await guest.call(name)(1).catch(String));
  },
  async is_refused_when_resumed() {
    const { exports, call } = startForeign();
    for (const name of ["outer", "turn", "run"]) if (exports[name]) console.log(name, await call(name)(1).catch(String));
  },
  async runs_a_copy() {
    const exports = new WebAssembly.Instance(module, { env: { ask: new WebAssembly.Suspending(later) } }).exports;
    console.log(await WebAssembly.promising(exports.run)(2));
  },
  async suspends_nothing() {
    await startForeign().other(1);
  },
  async waits() {
    await use(start());
  },
  async waits_otherwise() {
    const guest = start({ other: new WebAssembly.Suspending(() => ({ then: (resolve) => resolve(7) })) });
    console.log(await guest.other(4));
  },
  async waits_in_both() {
    const guest = start({ other: new WebAssembly.Suspending(later) });
    console.log(await guest.both(4), await guest.both(5));
  },
  async keeps_identities() {
    const { Suspending, Instance, instantiate, promising } = WebAssembly;
    const mark = new Suspending(later);
    console.log(mark instanceof Suspending, mark.constructor == Suspending, Suspending.name, Suspending.length);
    class Own extends Suspending {}
    console.log(new Own(later) instanceof Own, Object.getOwnPropertyDescriptor(WebAssembly, "Suspending").enumerable);
    const frozen = Object.freeze({ env: Object.freeze({ ask: mark, other: mark }) });
    const made = [new Instance(module, frozen), await instantiate(module, frozen), (await instantiate(readFileSync(file), frozen)).instance];
    const found = made.map((instance) => [instance instanceof Instance, instance.constructor == Instance, instance.exports == instance.exports]);
    console.log(found.flat().every((value) => value), instantiate.name, instantiate.length, Instance.name, Instance.length);
    for (const { exports } of made) console.log(await promising(exports.run)(1));
    console.log(await instantiate(module, {}).catch(String), await instantiate(Uint8Array.of(1), {}).catch(String));
    for (const f of [() => new Instance(module), () => new Instance(module, { env: 1 }), () => new Suspending(1), () => Suspending(later)]) {
      try {
        f();
      } catch (error) {
        console.log(String(error));
      }
    }
  },
  async waits_without_a_stack(names = ["leaves", "handed"]) {
    const { exports } = new WebAssembly.Instance(module, { env: { ask: new WebAssembly.Suspending(later), other() {} } });
    for (const name of names) console.log(await WebAssembly.promising(exports[name])(1));
  },
  async leaves_and_stays() {
    await WAYS.waits_without_a_stack(["leaves", "both"]);
  },
  async limits_stacks() {
    process.getBuiltinModule = undefined; // with another realm they can be read
    Object.freeze(Error);
    await WAYS.waits();
  },
  async calls_what_was_inlined() {
    const { exports } = new WebAssembly.Instance(module, { env: { ask: new WebAssembly.Suspending(later) } });
    for (let round = 0; round < 30; round++) {
      exports.warm(100_000);
      await WebAssembly.promising(exports.run)(round);
    }
  },
  async collects_instances() {
    for (let count = 0; count < 50; count++) {
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), { env: { ask: () => 0 } });
      exports.warm(10);
      gc();
    }
    await WAYS.calls_what_was_inlined();
  },
  async runs_in_other_realms() {
    const code = "(async () => { " + WAITS + "})()";
    const given = () => ({ bytes: readFileSync(file), setTimeout, console });
    await runInContext(code, createContext(given()));
    await runInNewContext(code, given());
    await new Script(code).runInNewContext(given());
  },
  async exits() {
    await start().run(1);
    process.exit(3);
  },
  async throws() {
    await start().run(1);
    throw new Error("nobody catches this");
  },
  async is_killed() {
    await start().run(1);
    process.kill(process.pid, "SIGKILL");
  },
  async moves() {
    if (isMainThread) {
      process.chdir("/");
      await WAYS.has_workers_and_children();
    }
    await WAYS.waits();
  },
  async has_workers_and_children() {
    const what = "Suspending" in WebAssembly ? "waits" : "foreign";
    if (!isMainThread) return WAYS[what]();
    await Promise.all([1, 2].map(() => new Promise((resolve) => new Worker(new URL(import.meta.url), { argv: [file, way] }).on("exit", resolve))));
    const { stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), file, what], { encoding: "utf8" });
    console.log(stdout, stderr);
  },
  async freezes_everything() {
    Object.freeze(Error);
    for (const value of Object.values(Object.getOwnPropertyDescriptors(WebAssembly))) Object.freeze(value.value);
    Object.freeze(WebAssembly);
    await WAYS.waits();
  },
  // As in a browser, which has none.
  async freezes_everything_alone() {
    process.getBuiltinModule = undefined;
    await WAYS.freezes_everything();
  },
  async replaces_everything() {
    const { Suspending, Instance } = WebAssembly;
    Error.prepareStackTrace = () => "nothing to see";
    Error.stackTraceLimit = 0;
    globalThis.Error = class extends Error {};
    WebAssembly.Suspending = function (f) {
      return new Suspending((...args) => f(...args));
    };
    WebAssembly.Instance = function (...args) {
      return new Instance(...args);
    };
    await WAYS.waits();
  },
  // As many as Node allows, which has one itself.
  async has_many_exit_listeners() {
    process.on("warning", (warning) => console.log(String(warning)));
    for (let count = 0; count < 9; count++) process.on("exit", () => {});
    await later();
  },
};

if (file && self) await WAYS[way]();
