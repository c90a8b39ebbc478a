/**
 * Loads PHP 8.3 as npm ships it, in one of its builds, and gives it something to wait for.
 *
 * `native` is the build for engines with JSPI as it is, `thunks`, `plain` and `translated` are the same build as `build.py`
 * has instrumented it, driven by the ponyfill, and `packaged` is npm's own build with Asyncify. The glue is npm's in all cases.
 */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

import { install } from "../../../js/src/index.js";
import { startProcess } from "./processes.mjs";

export const repository = new URL("../../../", import.meta.url);

/** The ways in which `wait` suspends: each the definition of that function in PHP. */
export const WAYS = {
  usleep: () => "function wait($value) { usleep(20); return $value; }",
  sleep: () => "function wait($value) { sleep(1); return $value; }",
  file_get_contents: ({ http }) =>
    `function wait($value) { if (file_get_contents("http://127.0.0.1:${http}/") != "fetched") exit(99); return $value; }`,
  fsockopen: ({ socket }) =>
    `function wait($value) { $f = fsockopen("127.0.0.1", ${socket}); fwrite($f, "hi"); if (fread($f, 9) != "echo hi") exit(98); fclose($f); return $value; }`,
  popen: () =>
    'function wait($value) { $f = popen("echo waited", "r"); if (fread($f, 9) != "waited\n") exit(97); pclose($f); return $value; }',
  exec: () => 'function wait($value) { $lines = []; exec("echo waited", $lines); if ($lines != ["waited"]) exit(96); return $value; }',
};

/** Start the servers that the ways over the network talk to; returns their ports and a function that closes them. */
export async function startServers() {
  const http = createHttpServer((_, response) => setTimeout(() => response.end("fetched"), 1));
  const socket = createServer((connection) => {
    connection.on("error", () => {});
    connection.on("data", (data) => setTimeout(() => connection.end(`echo ${data}`), 1));
  });
  const ports = {};
  for (const [name, server] of Object.entries({ http, socket })) {
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    ports[name] = server.address().port;
  }
  const close = () => {
    http.close();
    socket.close();
  };
  return { ports, close };
}

/** Instrument a build, unless it is there. */
export function instrument(build) {
  const local = fileURLToPath(new URL(".venv/bin/python", repository));
  const python = process.env.CAESURA_PYTHON ?? (existsSync(local) ? local : "python3");
  execFileSync(python, ["-m", "tests.real.php.build", build], { cwd: repository, stdio: "inherit" });
}

/**
 * Return a function that starts a PHP of an instrumented, the native or the packaged build, with extensions of these names.
 * Extensions are side modules: the instrumented ones come from where `build.py` has put them.
 */
export async function load(build, names = []) {
  let wasmBinary;
  let extensions = names;
  if (build != "native" && build != "packaged") {
    wasmBinary = readFileSync(new URL(`build/php/php_8_3.${build}.wasm`, repository));
    install(); // before anything looks for JSPI
    extensions = names.map((name) => ({
      source: { format: "so", name, bytes: readFileSync(new URL(`build/php/${name}.${build}.so`, repository)) },
      loadWithIniDirective: name == "xdebug" ? "zend_extension" : "extension",
    }));
  }
  const { loadNodeRuntime } = await import("@php-wasm/node");
  const { PHP } = await import("@php-wasm/universal");
  return async () => {
    const php = new PHP(await loadNodeRuntime("8.3", { emscriptenOptions: { processId: 1, wasmBinary }, extensions }));
    await php.setSpawnHandler(startProcess);
    return php;
  };
}

/** Let PHP's seconds pass in a hundredth of the time: it waits for them with `setTimeout`. Returns what ends this. */
export function hurry() {
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (f, milliseconds = 0, ...rest) =>
    setTimeout(f, milliseconds >= 1000 && milliseconds < 10_000 ? milliseconds / 100 : milliseconds, ...rest);
  return () => {
    globalThis.setTimeout = setTimeout;
  };
}

/** Run a program; returns its output and exit code, also where PHP reports it by an exception. */
export async function run(php, code) {
  try {
    const { text, exitCode } = await php.run({ code: `<?php ${code}` });
    return { text, exitCode };
  } catch (error) {
    if (!error.response) throw error;
    return { text: error.response.text, exitCode: error.response.exitCode };
  }
}
