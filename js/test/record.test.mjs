/** `caesura/record`: what was on the stack at suspensions is noted, by any number of processes, and nobody else sees it. */

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { hasNative, repository } from "./support/guests.mjs";

const path = (name) => fileURLToPath(new URL(name, repository));
const BARE = path("build/js/recorded.bare.wasm");
const PROGRAM = path("js/test/support/recorded.mjs");
// The package's own file, and the one that the Python package has.
const HOOKS = { "js/src": "js/src/record.js", Python: "src/caesura/recording/record.mjs" };

const ODD = 'odd: "name", (x)@y é😀';
const RUN = "#5";

const folder = mkdtempSync(join(tmpdir(), "record-"));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

/** Run the program in one of its ways; with a hook it is recorded. Returns what it did, and the recording's lines. */
function run(way, { hook, records = !!hook, wasm = BARE, directory, environment = {}, options = [], reads = true } = {}) {
  const file = environment.CAESURA_RECORD ?? join(folder, `${++files}`);
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const env = { ...inherited, ...environment };
  if (records) env.CAESURA_RECORD = file;
  if (hook) env.NODE_OPTIONS = `--no-deprecation --import ${new URL(HOOKS[hook], repository)}`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...options, PROGRAM, wasm, way], { env, cwd: directory, encoding: "utf8" });
  const text = reads && existsSync(file) ? readFileSync(file, "utf8") : "";
  return { status, signal, stdout, stderr, lines: text.split("\n").slice(0, -1).map((line) => JSON.parse(line)) };
}

/** What lines come to: how often each function was seen, its import, and its last example. */
function merge(lines) {
  const merged = Object.create(null);
  for (const { functions = {} } of lines) {
    for (const [entry, { count, import: site, stack }] of Object.entries(functions)) {
      const [before, , example] = merged[entry] ?? [0];
      merged[entry] = [before + count, site, stack ?? example];
    }
  }
  return Object.fromEntries(Object.entries(merged));
}

// What `waits` does: a guest that is run once, and recursion twice, 2 and 3 deep.
const BELOW = ["env.ask", ODD, "leaf", "through"];
const WAITED = {
  [ODD]: [3, "env.ask", BELOW.slice(0, 2)],
  leaf: [3, "env.ask", BELOW.slice(0, 3)],
  through: [3, "env.ask", BELOW],
  [RUN]: [1, "env.ask", [...BELOW, RUN]],
  recurse: [7, "env.ask", [...BELOW, "recurse"]],
};
const times = (count) => Object.fromEntries(Object.entries(WAITED).map(([name, [each, ...rest]]) => [name, [each * count, ...rest]]));

describe("recordings by the engine's own JSPI", { skip: !hasNative && "the engine has no JSPI" }, () => {
  const plain = (way) => {
    const { lines, ...done } = run(way);
    assert.deepEqual(lines, []);
    return done;
  };

  for (const hook of Object.keys(HOOKS)) {
    it(`have every function, by the name or the index that it has, where a promise was waited for: ${hook}`, () => {
      const { lines, ...done } = run("waits", { hook });
      assert.deepEqual(done, { status: 0, signal: null, stdout: "3 8 9 6\n", stderr: "" });
      assert.deepEqual(merge(lines), WAITED);
      assert.ok(lines.every((line) => line.caesura_record === 1 && line.module === lines[0].module));
      // One line for what was new with each stack, and one at the end.
      assert.equal(lines.length, 3);
    });
  }

  it("have what waits for something that is like a promise", () => {
    const { lines } = run("waits_otherwise", { hook: "Python" });
    assert.deepEqual(merge(lines), JSON.parse('{ "__proto__": [1, "env.other", ["env.other", "__proto__"]] }'));
  });

  it("have every import in which a function has waited", () => {
    const { lines } = run("waits_in_both", { hook: "Python" });
    const found = lines.map(({ functions }) => Object.entries(functions));
    const both = (site, count, more) => [["both", { count, import: site, ...more }]];
    // When the function is new, with the example that is the first by its text, and at the end.
    assert.deepEqual(found, [both("env.ask", 1, { stack: ["env.ask", "both"] }), both("env.ask", 1), both("env.other", 2)]);
  });

  it("leave all that a program can compare as it is", () => {
    const { lines, ...done } = run("keeps_identities", { hook: "Python" });
    assert.deepEqual(done, plain("keeps_identities"));
    assert.match(done.stdout, /^true true Suspending 1\nfalse false\ntrue instantiate 1 Instance 1\n3\n3\n3\n/);
    assert.equal(merge(lines)[RUN][0], 3);
  });

  for (const [way, status, signal] of [["exits", 3, null], ["throws", 1, null], ["is_killed", null, "SIGKILL"]]) {
    it(`are whole where a program ${way.replaceAll("_", " ")}`, () => {
      const done = run(way, { hook: "Python" });
      assert.deepEqual([done.status, done.signal], [status, signal]);
      assert.deepEqual(Object.keys(merge(done.lines)).sort(), [ODD, "leaf", "through", RUN].sort());
    });
  }

  it("are those of workers and child processes too", () => {
    const { lines, stderr } = run("has_workers_and_children", { hook: "Python" });
    assert.equal(stderr, "");
    assert.deepEqual(merge(lines), times(3));
  });

  it("are those of other realms too, as test runners make them", () => {
    const { lines, stdout, stderr } = run("runs_in_other_realms", { hook: "Python" });
    assert.deepEqual([stdout, stderr], ["3 8 9\n".repeat(3), ""]);
    assert.deepEqual(merge(lines), times(3));
  });

  it("go to the same file wherever a program goes", () => {
    const name = `${++files}`;
    run("moves", { hook: "Python", directory: folder, environment: { CAESURA_RECORD: name } });
    const lines = readFileSync(join(folder, name), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(merge(lines), times(4));
  });

  it("are written as the documents say, wherever a program starts its workers and children", () => {
    for (const [document, start, count] of [["docs/lists.md", 'node "$@"', 4], ["docs/javascript.md", "", 3]]) {
      const place = join(folder, `a program ${++files}`);
      mkdirSync(join(place, "node_modules"), { recursive: true });
      cpSync(path("js/src"), join(place, "node_modules/caesura/src"), { recursive: true });
      cpSync(path("js/package.json"), join(place, "node_modules/caesura/package.json"));
      const lines = readFileSync(path(document), "utf8").split("\n");
      const at = lines.findIndex((line) => line.startsWith("$ recorder="));
      const commands = [...lines.slice(at, at + 2).map((line) => line.slice(2).replace("app.js", '"$@"')), start];
      const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
      env.PATH = `${dirname(process.execPath)}${delimiter}${env.PATH}`;
      const { status, stderr } = spawnSync("sh", ["-c", commands.join("\n"), "sh", PROGRAM, BARE, "moves"], { cwd: place, env, encoding: "utf8" });
      assert.deepEqual([status, stderr], [0, ""]);
      const recording = readFileSync(join(place, "recording"), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
      // Options of the command line are those of workers, but of no child processes.
      assert.deepEqual(merge(recording), times(count));
    }
  });

  it("have no function that the engine has inlined where another one is called", () => {
    const { lines, stderr } = run("calls_what_was_inlined", { hook: "Python", wasm: path("build/js/speculated.bare.wasm") });
    assert.equal(stderr, "");
    assert.deepEqual(Object.entries(merge(lines)).map(([name, [count]]) => [name, count]), [["asks", 30], ["through", 30], ["#5", 30]]);
  });

  const NO_STACK = /^no function was on the stack when env.ask suspended a call: what called it had left by a tail call, .* or was JavaScript$/;

  it("say so where no function is on the stack, as the only one has left by a tail call, or there was none", () => {
    const { lines, stderr, stdout } = run("waits_without_a_stack", { hook: "Python" });
    assert.equal(stdout, "1\n1\n");
    assert.equal(lines.length, 1);
    assert.match(lines[0].unrecorded, NO_STACK);
    assert.equal(stderr, `caesura: recording: ${lines[0].unrecorded}\n`);
    const others = run("leaves_and_stays", { hook: "Python" });
    assert.deepEqual([Object.keys(merge(others.lines)), others.stderr], [["both"], stderr]);
    assert.ok(others.lines.every(({ unrecorded }) => unrecorded === undefined));
  });

  it("say so where no stack can be read", () => {
    const { lines, stderr, stdout } = run("limits_stacks", { hook: "Python", options: ["--stack-trace-limit=0"] });
    assert.equal(stdout, "3 8 9 6\n");
    assert.deepEqual(lines.map(({ unrecorded }) => `caesura: recording: ${unrecorded}\n`), [stderr]);
    assert.match(stderr, /no stack can be read here: .* `Error.stackTraceLimit` is 0 and cannot be set\n$/);
  });

  it("leave programs alone that call through references, and make instances that are collected", () => {
    const { status, signal, lines } = run("collects_instances", { hook: "Python", wasm: path("build/js/speculated.bare.wasm"), options: ["--expose-gc"] });
    assert.deepEqual([status, signal], [0, null]);
    assert.deepEqual(Object.entries(merge(lines)).map(([name, [count]]) => [name, count]), [["asks", 30], ["through", 30], ["#5", 30]]);
  });

  it("are left out with one warning where the file cannot be written", () => {
    const file = join(folder, "missing", "recording");
    const { stderr, stdout, status } = run("waits", { hook: "Python", environment: { CAESURA_RECORD: file } });
    assert.deepEqual([status, stdout], [0, "3 8 9 6\n"]);
    assert.match(stderr, /^caesura: recording: cannot append to '.*missing.recording': ENOENT.*\n$/);
  });

  it("are left out with one warning where the file is a pipe that nobody reads", { skip: process.platform == "win32" && "it has other pipes" }, () => {
    const file = join(folder, "pipe");
    execFileSync("mkfifo", [file]);
    const { stderr, stdout, status } = run("waits", { hook: "Python", environment: { CAESURA_RECORD: file }, reads: false });
    assert.deepEqual([status, stdout], [0, "3 8 9 6\n"]);
    assert.match(stderr, /^caesura: recording: cannot append to '.*pipe': ENXIO.*\n$/);
  });

  it("are the same where a program replaces what it finds", () => {
    const { lines, stderr } = run("replaces_everything", { hook: "Python" });
    assert.equal(stderr, "");
    assert.deepEqual(merge(lines), WAITED);
  });

  it("are the same where a program has frozen what it finds", () => {
    const { lines, stderr, stdout } = run("freezes_everything", { hook: "Python", options: ["--stack-trace-limit=3"] });
    assert.equal(stdout, "3 8 9 6\n");
    assert.equal(stderr, "");
    assert.deepEqual(merge(lines), WAITED);
  });

  it("are made from the text of stacks where there is no other realm then", () => {
    const { lines, stderr, stdout } = run("freezes_everything_alone", { hook: "Python" });
    assert.equal(stdout, "3 8 9 6\n");
    assert.equal(stderr, "");
    assert.deepEqual(merge(lines), WAITED);
  });

  it("say so where these are cut off", () => {
    const { lines, stderr } = run("freezes_everything_alone", { hook: "Python", options: ["--stack-trace-limit=3"] });
    assert.match(stderr, /^caesura: recording: stacks are cut off, .*\n$/);
    assert.deepEqual(Object.keys(merge(lines)).sort(), [ODD, "leaf", "through"].sort());
  });
});

const BUILDS = ["plain", "thunks"].map((abi) => [abi, path(`build/js/recorded.record_${abi}.wasm`)]);
const HASHED = /^#5@[0-9a-f]{16}$/;

/** The same where functions are known by hashes of their bodies. */
const hashless = (merged) =>
  Object.fromEntries(Object.entries(merged).map(([name, [count, site, stack]]) => [name.replace(HASHED, RUN), [count, site, stack.map((step) => step.replace(HASHED, RUN))]]));

describe("recordings by builds that note what is on their stack", () => {
  const plain = BUILDS[0][1];

  it("have the same functions, under glue of others", () => {
    const { lines, ...done } = run("foreign", { hook: "Python", wasm: plain });
    assert.deepEqual(done, { status: 0, signal: null, stdout: "3 8 9 6\n", stderr: "" });
    assert.deepEqual(hashless(merge(lines)), WAITED);
    assert.equal(lines.length, 3);
  });

  for (const [abi, wasm] of BUILDS) {
    it(`have the same functions, under the package, which is loaded behind the recorder: ${abi}`, () => {
      const { lines, ...done } = run("package", { hook: "js/src", wasm });
      assert.deepEqual(done, { status: 0, signal: null, stdout: "3 8 9 6\n", stderr: "" });
      assert.deepEqual(hashless(merge(lines)), WAITED);
    });

    it(`have the same functions, under the package, which loads the recorder: ${abi}`, () => {
      const { lines, status, stdout } = run("package", { wasm, records: true });
      assert.deepEqual([status, stdout], [0, "3 8 9 6\n"]);
      assert.deepEqual(hashless(merge(lines)), WAITED);
    });

    it(`lose counts only where a program is killed: ${abi}`, () => {
      const { lines, signal } = run("package_is_killed", { hook: "Python", wasm });
      assert.equal(signal, "SIGKILL");
      assert.deepEqual(Object.keys(hashless(merge(lines))).sort(), [ODD, "leaf", "through", RUN].sort());
    });
  }

  it("are those of workers and child processes too", { skip: hasNative && "this engine records these by its JSPI" }, () => {
    const { lines, stderr } = run("has_workers_and_children", { hook: "Python", wasm: plain });
    assert.equal(stderr, "");
    assert.deepEqual(hashless(merge(lines)), times(3));
  });

  it("lose counts only where a program is killed, under glue of others", () => {
    const { lines, signal } = run("foreign_is_killed", { hook: "Python", wasm: plain });
    assert.equal(signal, "SIGKILL");
    assert.deepEqual(Object.keys(hashless(merge(lines))).sort(), [ODD, "leaf", "through", RUN].sort());
  });

  it("say that nothing was suspended", () => {
    const { lines } = run("suspends_nothing", { hook: "Python", wasm: plain });
    assert.deepEqual(lines, [{ caesura_record: 1 }]);
  });

  it("say why nothing is known", () => {
    const { lines } = run("foreign", { hook: "Python", wasm: path("build/js/recorded.plain.wasm") });
    assert.match(lines[0].unrecorded, /^[0-9a-f]{8} was instrumented, but not to be recorded$/);
    assert.equal(lines.length, 1);
  });
});

for (const [guest, problem] of [["lies", "RuntimeError: unreachable"], ["lies_too", "TypeError: asyncify.record is no list of names and imports"]]) {
  it(`a module that tells something else than it should is said, and runs: ${guest}`, () => {
    const { stdout, stderr, status, lines } = run("lies", { hook: "Python", wasm: path(`build/js/${guest}.bare.wasm`) });
    assert.deepEqual([status, stdout], [0, "7\n"]);
    assert.match(stderr, new RegExp(`^caesura: recording: [0-9a-f]{8} cannot be read: ${problem}\n$`));
    assert.deepEqual(lines.map(({ unrecorded }) => `caesura: recording: ${unrecorded}\n`), [stderr]);
  });
}

it("lines of processes that write at once are whole", async () => {
  const build = hasNative ? { wasm: BARE, way: "waits" } : { wasm: BUILDS[0][1], way: "foreign" };
  const file = join(folder, "together");
  const env = { ...process.env, CAESURA_RECORD: file, NODE_OPTIONS: `--import ${new URL(HOOKS.Python, repository)}` };
  const end = () => new Promise((resolve) => spawn(process.execPath, [PROGRAM, build.wasm, build.way], { env, stdio: "ignore" }).on("exit", resolve));
  assert.deepEqual(await Promise.all([end(), end(), end(), end()]), [0, 0, 0, 0]);
  const lines = readFileSync(file, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(hashless(merge(lines)), times(4));
});

it("what a list lacks is noted where glue of others is refused, with all functions at once, and each once", () => {
  const { lines, stdout, stderr } = run("is_refused", { hook: "Python", wasm: path("build/js/refused.plain.wasm") });
  const trap = "RuntimeError: unreachable";
  assert.deepEqual([stdout, stderr], [`direct ${trap}\ndirect ${trap}\ninvoked ${trap}\nnested ${trap}\nalone ${trap}\nhanding ${trap}\nfine 3\n`, ""]);
  assert.deepEqual(lines.map(({ missing }) => missing), [['left "out"', RUN], ["alone"], ["handed"]]);
  assert.ok(lines.every(({ module }) => /^[0-9a-f]{8}$/.test(module)));
});

it("so it is where a tool has taken away the export that says that the guest cannot be suspended", () => {
  const name = "asyncify_unsuspendable";
  const build = readFileSync(path("build/js/refused.plain.wasm"));
  build.write(name.replaceAll("e", "3"), build.lastIndexOf(name, build.lastIndexOf("asyncify_start_unwind")));
  const wasm = path("build/js/refused.renamed.wasm");
  writeFileSync(wasm, build);
  assert.ok(!WebAssembly.Module.exports(new WebAssembly.Module(build)).some((one) => one.name == name));
  const { lines, stdout } = run("is_refused", { hook: "Python", wasm });
  assert.match(stdout, /^direct RuntimeError: unreachable\n.*\nfine 3\n$/s);
  assert.deepEqual(lines.map(({ missing }) => missing), [['left "out"', RUN], ["alone"], ["handed"]]);
});

it("a function in its second body is not noted for one that a list lacks", () => {
  const noted = ["resumed", "turned"].map((name) => run("is_refused_when_resumed", { hook: "Python", wasm: path(`build/js/${name}.plain.wasm`) }));
  assert.deepEqual(noted.map(({ stdout }) => stdout), ["outer RuntimeError: unreachable\n", "turn RuntimeError: unreachable\n"]);
  assert.deepEqual(noted.map(({ lines }) => lines.flatMap(({ missing }) => missing ?? [])), [["left"], ["turn"]]);
});

it("what is noted of a module without names are indices of the original, of the same functions", () => {
  const noted = ["resumed", "turned", "copied"].map((name) => run("is_refused_when_resumed", { hook: "Python", wasm: path(`build/js/${name}.nameless_plain.wasm`) }));
  assert.deepEqual(noted.map(({ lines }) => lines.flatMap(({ missing }) => missing ?? [])), [["#2"], ["#3"], ["#4"]]);
});

it("copies and what else was added to a module are noted as what they are of, by the engine's own JSPI", { skip: !hasNative && "no JSPI" }, () => {
  const { lines } = run("runs_a_copy", { hook: "Python", wasm: path("build/js/copied.plain.wasm") });
  assert.deepEqual(lines.flatMap(({ functions }) => Object.keys(functions ?? {})).sort(), ["down", "inner", "left", "run"]);
  const [{ functions }] = lines.filter(({ functions }) => functions?.run);
  assert.deepEqual(functions.run.stack, ["env.ask", "inner", "down", "left", "run"]);
});

it("a program is warned of its own exit listeners only", () => {
  const done = run("has_many_exit_listeners", { hook: "Python" });
  assert.deepEqual([done.stdout, done.stderr], ["", ""]);
});
