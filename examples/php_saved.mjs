/**
 * PHP, saved in the middle of a request that waits: its process is killed, and the next one goes on with the request.
 *
 *     npm install caesura @php-wasm/node @php-wasm/node-8-3
 *     caesura instrument php_8_3.wasm -o php.saved.wasm --imports @imports.txt --thunks --snapshots
 *     node examples/php_saved.mjs php.saved.wasm
 *
 * docs/php.md has the list of imports. PHP's glue stays as it is. A snapshot has everything that PHP itself knows: variables,
 * generators, buffers, where each function stands. What the glue keeps in JavaScript is not PHP's, and has to be there in
 * the next process, too: mounted folders, and open files (`emscripten_files.mjs`).
 */

import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { install, instantiate } from "../js/src/index.js";
import { pending, restore, snapshot } from "../js/src/snapshot.js";
import { filesOf, openAgain } from "./emscripten_files.mjs";

const SCRIPT = fileURLToPath(new URL("guests/orders.php", import.meta.url));
const ORDERS = "one line\nof a few\nthat wait\nfor answers\n";

/** Load PHP in an instance that `make` makes of its imports, with a folder of the disk. `prepare` is called before it starts. */
async function load(module, folder, make, prepare) {
  install(); // before anything looks for JSPI
  const { createNodeFsMountHandler, loadNodeRuntime } = await import("@php-wasm/node");
  const { PHP } = await import("@php-wasm/universal");
  let runtime;
  const emscriptenOptions = {
    processId: 1,
    instantiateWasm: async (imports, receive) => {
      const { exports } = await make(imports);
      // The glue puts every function that is exported into PHP's table: of these, what belongs to saving is not PHP's.
      const own = Object.entries(exports).filter(([name]) => !name.startsWith("asyncify_"));
      receive({ exports: Object.fromEntries(own) }, module);
    },
    preRun: [(loaded) => prepare((runtime = loaded))],
    onHeaders() {},
  };
  const php = new PHP(await loadNodeRuntime("8.3", { emscriptenOptions }));
  php.mkdir("/app");
  await php.mount("/app", createNodeFsMountHandler(folder));
  return { php, FS: runtime.FS };
}

/** The first process: begin a request, and save it once the second line is written. */
async function begin(module, folder) {
  let instance;
  const make = async (imports) => (instance = await instantiate(module, imports));
  const { php, FS } = await load(module, folder, make, () => {});
  php.chdir("/app");
  const response = await php.runStream({ scriptPath: "/app/orders.php" });
  let text = "";
  for await (const chunk of response.stdout) {
    process.stdout.write(chunk);
    text += new TextDecoder().decode(chunk);
    if (!/line 2.*\n/.test(text) || !pending(instance).length) continue;
    // Both at one time: no code of PHP runs until the file names are taken.
    const saving = snapshot(instance);
    const files = JSON.stringify(filesOf(FS));
    writeFileSync(join(folder, "state.caesura"), await saving);
    writeFileSync(join(folder, "state.json"), files);
    console.log(`saved in ${pending(instance)[0].function}`);
    text = "";
  }
}

/** The next process: go on with the request. */
async function goOn(module, folder) {
  let calls;
  const make = async (imports) => {
    const { instance, pending } = await restore(readFileSync(join(folder, "state.caesura")), module, imports);
    calls = pending;
    return instance;
  };
  const { php, FS } = await load(module, folder, make, (runtime) => {
    // What these make is in memory already.
    runtime.wasmExports.__wasm_call_ctors = () => {};
    runtime._php_wasm_init = async () => 0;
  });
  openAgain(FS, JSON.parse(readFileSync(join(folder, "state.json"))));
  process.exitCode = await calls[0].run();
  console.log((await php.run({ code: "<?php usleep(1); echo 'it takes further requests';" })).text);
}

/** Run one of the processes; it is killed once it has written `until`. */
async function runProcess(step, module, folder, until) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), module, step, folder], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.on("exit", (code, signal) => resolve(signal ?? code)));
  for await (const line of createInterface(child.stdout)) {
    console.log(line);
    if (until && line.startsWith(until)) child.kill("SIGKILL");
  }
  return ended;
}

async function main(module) {
  const folder = mkdtempSync(join(tmpdir(), "php-saved-"));
  try {
    writeFileSync(join(folder, "orders.txt"), ORDERS);
    copyFileSync(SCRIPT, join(folder, "orders.php"));
    console.log(`the first process ends with ${await runProcess("begin", module, folder, "saved")}`);
    const code = await runProcess("go-on", module, folder);
    console.log(`the second process ends with ${code}`);
    if (code === 0) process.stdout.write(readFileSync(join(folder, "answers.txt")));
    process.exitCode = code;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const STEPS = { begin, "go-on": goOn };
const [path, step, folder] = process.argv.slice(2);
if (!path) {
  console.error("usage: node examples/php_saved.mjs MODULE");
  process.exit(2);
}
if (!step) await main(path);
else {
  await STEPS[step](await WebAssembly.compile(readFileSync(path)), folder);
  process.exit(); // PHP's proxy for outgoing connections listens for ever
}
