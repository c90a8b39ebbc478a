/** Start functions that wait: the package calls them, as engines cannot, before anybody has the instance. */

import assert from "node:assert/strict";
import { it } from "node:test";

import { Instance, instantiate, promising, Suspending, SuspendError } from "../src/index.js";
import { bytes, sleep } from "./support/guests.mjs";

const module = new WebAssembly.Module(bytes("start", "thunks"));
const OPTIONS = { stackSize: 65536 };
const START = "asyncify_start_function";
const ask = (answer) => ({ env: { ask: new Suspending(answer) } });

it("a start function has ended before anybody has the instance", async () => {
  const { get, again } = (await instantiate(module, ask((number) => sleep(1, 2 * number)), OPTIONS)).exports;
  assert.equal(get(), 17);
  assert.equal(await promising(again)(4), 25);
});

it("what fails in it is what instantiate rejects with", async () => {
  const error = new Error("no");
  await assert.rejects(instantiate(module, ask(() => Promise.reject(error)), OPTIONS), (reason) => reason === error);
});

it("it may not wait where nobody can wait for the instance", () => {
  assert.equal(new Instance(module, ask((number) => 3 * number), OPTIONS).exports.get(), 22);
  assert.throws(() => new Instance(module, ask((number) => sleep(1, number)), OPTIONS), SuspendError);
});

it("instances start at the same time", async () => {
  const instances = await Promise.all([1, 2, 3].map((factor) => instantiate(module, ask((number) => sleep(4 - factor, factor * number)), OPTIONS)));
  assert.deepEqual(instances.map(({ exports }) => exports.get()), [12, 17, 22]);
});

for (const build of ["saved", "saved_thunks"]) {
  it(`a start function that cannot wait is called once by the package, not by the engine: ${build}`, async () => {
    const begins = new WebAssembly.Module(bytes("begins", build));
    const { begun, again } = (await instantiate(begins, ask((number) => sleep(1, 2 * number)), OPTIONS)).exports;
    assert.deepEqual([begun(), await promising(again)(4)], [1, 50]);
    assert.equal(new Instance(begins, ask((number) => number), OPTIONS).exports.begun(), 1);
    const bare = new WebAssembly.Instance(begins, { env: { ask: (number) => number } }).exports;
    assert.equal(bare.begun(), 0);
    bare[START]();
    assert.equal(bare.begun(), 1);
  });
}

it("a start function that waits does so where the state can be saved, too", async () => {
  const saved = new WebAssembly.Module(bytes("start", "saved_thunks"));
  const { get } = (await instantiate(saved, ask((number) => sleep(1, 2 * number)), OPTIONS)).exports;
  assert.equal(get(), 17);
});
