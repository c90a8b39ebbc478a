/** The other ways to an instance, and what `install` and `caesura/auto` do. Runs alone, since it changes `WebAssembly`. */

import assert from "node:assert/strict";
import { it } from "node:test";

import * as ponyfill from "../src/index.js";
import { bytes, hasNative, sleep } from "./support/guests.mjs";

const engine = { ...Object.getOwnPropertyDescriptors(WebAssembly) };
const env = (api) => ({ env: { wait: new api.Suspending((number) => sleep(1, number)) } });
const response = (code) => new Response(code, { headers: { "content-type": "application/wasm" } });

it("instantiates bytes, modules and responses", async () => {
  const code = bytes("deep", "thunks");
  const api = ponyfill;
  const fromBytes = await api.instantiate(code, env(api));
  assert.ok(fromBytes.module instanceof WebAssembly.Module);
  const fromModule = await api.instantiate(fromBytes.module, env(api));
  const fromResponse = await api.instantiateStreaming(response(code), env(api));
  const fromPromise = await api.instantiateStreaming(Promise.resolve(response(code)), env(api));
  for (const { exports } of [fromBytes.instance, fromModule, fromResponse.instance, fromPromise.instance]) {
    assert.equal(await api.promising(exports.down)(3, 2), 5);
  }
});

it("rejects what the engine rejects", async () => {
  await assert.rejects(ponyfill.instantiate(new Uint8Array(8), {}), WebAssembly.CompileError);
  await assert.rejects(ponyfill.instantiate(bytes("deep", "plain")), TypeError);
  await assert.rejects(ponyfill.instantiate(bytes("deep", "plain"), { env: {} }), WebAssembly.LinkError);
  await assert.rejects(ponyfill.instantiate(1, {}), TypeError);
  await assert.rejects(ponyfill.instantiateStreaming(new Response("no"), {}), TypeError);
});

it("picks the file that suits the engine", async () => {
  const auto = await import("../src/auto.js");
  assert.equal(auto.choose("app.wasm", "app.paused.wasm"), hasNative ? "app.wasm" : "app.paused.wasm");
  const code = bytes("deep", auto.choose("bare", "thunks"));
  const { instance } = await auto.instantiateStreaming(response(code), env(auto));
  assert.equal(await auto.promising(instance.exports.down)(3, 2), 5);
  assert.equal(auto.Suspending === WebAssembly.Suspending, hasNative);
});

it("puts the standard's names onto WebAssembly", async () => {
  ponyfill.install();
  const { native } = await import("../src/auto.js?after"); // what is installed is not the engine's
  assert.equal(native, hasNative);
  for (const name of ["Suspending", "promising", "SuspendError", "instantiate", "instantiateStreaming", "Instance"]) {
    assert.equal(WebAssembly[name], ponyfill[name]);
  }
  for (const build of hasNative ? ["plain", "thunks", "bare"] : ["plain", "thunks"]) {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes("deep", build)), env(WebAssembly));
    assert.ok(instance instanceof WebAssembly.Instance);
    assert.equal(await WebAssembly.promising(instance.exports.down)(3, 2), 5);
    const { instance: other } = await WebAssembly.instantiate(bytes("deep", build), env(WebAssembly));
    assert.ok(other instanceof WebAssembly.Instance);
    assert.equal(await WebAssembly.promising(other.exports.down)(3, 2), 5);
  }
  const asked = [];
  ponyfill.install({ allocate: (bytes) => (asked.push(bytes), 65536), stackSize: 8192 });
  const { instance } = await WebAssembly.instantiate(bytes("deep", "plain"), env(WebAssembly));
  assert.equal(await WebAssembly.promising(instance.exports.down)(3, 2), 5);
  assert.deepEqual(asked, [8192]);
  Object.defineProperties(WebAssembly, engine);
});
