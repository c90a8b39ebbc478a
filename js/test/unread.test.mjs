/**
 * What V8 shows of its stack is up to `Error`, of which a program may have made anything: where not all of it can be read, and
 * others' functions may be on it, a suspension is refused; where nobody else's can be, it goes on.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import "./support/guests.mjs";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

// As lockdown() of SES: what programs find as `Error` has no power any more, and what they find as RangeError's prototype.
const LOCKDOWN = `{
  const Real = Error, { captureStackTrace } = Error;
  const tame = (more) => {
    function Tame(...args) { return Reflect.construct(Real, args, new.target ?? Tame); }
    return Object.freeze(Object.defineProperties(Tame, { prototype: { value: Real.prototype }, ...more }));
  };
  const Shared = tame({
    stackTraceLimit: { get() {}, set() {} },
    prepareStackTrace: { get: () => () => "", set() {} },
    captureStackTrace: { value(holder) { Object.defineProperty(holder, "stack", { value: "" }); } },
  });
  Error.prototype.constructor = Shared;
  for (const one of [EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError]) {
    Object.setPrototypeOf(one, Shared);
    Object.freeze(one);
  }
  Error.prepareStackTrace = () => "";
  globalThis.Error = tame({});
}`;

const INTRINSICS = `for (const one of [Error, RangeError, Function, Object]) { Object.freeze(one); Object.freeze(one.prototype); }`;

/** What may be done to `Error` before the package is there. */
const SPOILED = {
  frozen: "Object.freeze(Error)",
  "frozen, as everything": INTRINSICS,
  "locked down": LOCKDOWN,
  "with a limit that cannot be changed": `Object.defineProperty(Error, "stackTraceLimit", { value: 4, writable: false, configurable: false })`,
  "without a limit, for good": `Object.defineProperty(Error, "stackTraceLimit", { value: undefined, writable: false, configurable: false })`,
  "with text that cannot be changed": `Object.defineProperty(Error, "prepareStackTrace", { value: () => "a wasm-function[3]\\nb", writable: false, configurable: false })`,
  "with text that throws": `Object.defineProperty(Error, "prepareStackTrace", { get() { throw new TypeError("mine"); }, set() {}, configurable: false })`,
  "without captureStackTrace": "delete Error.captureStackTrace",
  ...Object.fromEntries(
    ["{}", "{ throw new TypeError('mine'); }", "{ holder.stack = []; }", "{ holder.stack = [null, 1]; }", "{ holder.stack = [{}]; }", "{ holder.stack = { toString() { throw 1; } }; }", "{ holder.stack = 'wasm-function[3]'; }"].map(
      (body) => [`with captureStackTrace ${body}`, `Error.captureStackTrace = (holder) => ${body}`],
    ),
  ),
  "with a captureStackTrace that cannot be got": `Object.defineProperty(Error, "captureStackTrace", { get() { throw new TypeError("mine"); } })`,
};

/** What cannot be done as well once it is. */
const LATER = ["frozen", "frozen, as everything", "with a limit that cannot be changed", "without a limit, for good", "with text that cannot be changed", "with text that throws"];

const PROGRAM = `
  const ask = new Suspending((number) => new Promise((resolve) => setTimeout(resolve, 1, number)));
  const start = (name, imports, options) => {
    const file = new URL("../../build/js/" + name + ".wasm", here);
    return new Instance(new WebAssembly.Module(readFileSync(file)), { env: { ask }, ...imports }, { region: [1024, 65536], ...options }).exports;
  };
  const show = async (name, f) => console.log(name + ":", await promising(f)().then(String, (error) => error.name + " " + error.message.split("\\n")[0]));
  // A function of JavaScript, as glue makes one of WebAssembly of it: a module that imports and exports it.
  const asFunction = (f) => {
    const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 2, 7, 1, 1, 101, 1, 102, 0, 0, 7, 5, 1, 1, 102, 0, 0];
    return new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)), { e: { f } }).exports.f;
  };
  for (const build of ["plain", "thunks"]) {
    await show("own", start("own." + build).run);
    const guest = start("crossed." + build);
    let inner;
    await show("guest", guest.run);
    for (const name of ["cb", "shallow"]) {
      guest.table.set(0, asFunction(() => (inner = guest[name]())));
      await show("JavaScript", guest.run);
      console.log("got", inner);
    }
    const { run } = start("crossed." + build, {}, { checkStack: false });
    await show("alone", run);
  }
  const first = start("crossed.linked");
  const second = start("crossed_by.linked", { first });
  first.table.set(0, second.foreign);
  await show("linked", first.run);
  console.log("entered", second.entered.value);`;

/** Run the program, with what is done before the package is loaded, and behind. Returns what it says. */
function run(before, later = "", options = []) {
  const load = `
    const here = ${JSON.stringify(import.meta.url)};
    const { readFileSync } = await import("node:fs");
    ${before};
    const { Instance, promising, Suspending } = await import(new URL("../src/index.js", here));
    ${later};`;
  const parameters = [...options, "--input-type=module", "-e", load + PROGRAM];
  const { stdout, stderr } = spawnSync(process.execPath, parameters, { encoding: "utf8", cwd: path("."), env: { ...process.env, NODE_NO_WARNINGS: "1" } });
  assert.equal(stderr, "");
  return stdout;
}

const JAVASCRIPT = "SuspendError env.ask cannot suspend: across JavaScript: PLACE\ngot undefined\n".replace(/^/, "JavaScript: ");
const READ = `${["own: 117", "guest: 117"].join("\n")}\n${JAVASCRIPT.repeat(2)}alone: 117\n`.repeat(2) + "linked: 1117\nentered 1\n";
const withoutPlaces = (text) => text.replace(/(JavaScript): (?=\S+ \(|file|data|\[)[^\n]*$/gm, "$1: PLACE");

const WHY = "functions of others may be on the stack, which cannot be read, since `Error` was frozen or changed: import caesura and set Error.stackTraceLimit = Infinity before (checkStack: false says that there are none)";

/** Whether all is refused that may be others', or seen to be the guest's own, and nothing ran twice or got what is none. */
function assertSafe(text) {
  const lines = text.trim().split("\n");
  const refusal = `SuspendError env.ask cannot suspend: ${WHY}`;
  for (const [name, line] of lines.map((line) => [line.split(/:? /)[0], line])) {
    if (name == "own" || name == "alone") assert.equal(line, `${name}: 117`);
    else if (name == "guest") assert.equal(line, `guest: ${refusal}`);
    else if (name == "linked") assert.equal(line, `linked: ${refusal}`);
    else if (name == "JavaScript") assert.ok(line == `JavaScript: ${refusal}` || /across JavaScript/.test(line), line);
    else assert.ok(line == "got undefined" || line == "entered 1", line);
  }
  assert.equal(lines.length, 16);
}

const ALONE = "process.getBuiltinModule = undefined";

describe("stacks of which V8 does not show all", () => {
  it("are read whole by another realm, which Node can make", { skip: !process.getBuiltinModule && "this Node cannot" }, () => {
    assert.equal(withoutPlaces(run("")), READ);
    for (const [name, spoil] of Object.entries(SPOILED)) {
      assert.equal(withoutPlaces(run(spoil)), READ, name);
      if (LATER.includes(name)) assert.equal(withoutPlaces(run("", spoil)), READ, `${name}, later`);
    }
    assert.equal(withoutPlaces(run("", "", ["--frozen-intrinsics"])), READ);
  });

  it("are a reason to refuse where there is none, but where nobody else can be on them", () => {
    for (const [name, spoil] of Object.entries(SPOILED)) {
      try {
        assertSafe(run(`${ALONE}; ${spoil}`));
        if (LATER.includes(name)) assertSafe(run(ALONE, spoil));
      } catch (error) {
        error.message = `${name}: ${error.message}`;
        throw error;
      }
    }
    assertSafe(run(ALONE, "", ["--frozen-intrinsics"]));
  });

  it("are read if the program does what the error says", () => {
    // Node puts a function onto `Error`, which browsers do not.
    const freeze = "delete Error.prepareStackTrace; Error.stackTraceLimit = Infinity; Object.freeze(Error)";
    assert.equal(withoutPlaces(run(`${ALONE}; ${freeze}`)), READ);
    assert.equal(withoutPlaces(run(ALONE, freeze)), READ);
    assert.equal(withoutPlaces(run(ALONE, LOCKDOWN)), READ);
    assert.equal(withoutPlaces(run(ALONE, "Error.captureStackTrace = () => {}")), READ);
  });

  it("leave nothing behind where they are read", () => {
    const look = `
      console.log(JSON.stringify([Error.stackTraceLimit, Object.getOwnPropertyNames(Function.prototype).includes("prepareStackTrace"), typeof new Error("x").stack]));`;
    const [last] = run("Object.freeze(Error)", `process.on("exit", () => { ${look} })`).trim().split("\n").slice(-1);
    assert.equal(last, '[10,false,"string"]');
  });
});
