/** Where there are pause points the control block is larger: frames begin behind it, and a place must have room for it. */

import assert from "node:assert/strict";
import { it } from "node:test";

import { instantiate, Suspending } from "../src/index.js";
import { BudgetExhausted, promising } from "../src/slices.js";
import { bytes } from "./support/guests.mjs";

const START = 4096; // behind what the guest writes
const BLOCK = 304;
const imports = { env: { again: (value) => value, later: new Suspending((value) => value) } };

for (const build of ["fuel_plain", "fuel_thunks"]) {
  const make = (size) => instantiate(new WebAssembly.Module(bytes("computing", build)), imports, { region: [START, START + size] });
  const run = async (size) => {
    const instance = await make(size);
    const pause = await promising(instance.exports.depth, { fuel: 1000 })(5, 10_000n).then(assert.fail, (error) => error);
    return { instance, pause };
  };

  it(`frames begin behind the block: ${build}`, async () => {
    const { instance, pause } = await run(30_000);
    assert.ok(pause instanceof BudgetExhausted, pause.stack);
    const words = new Uint32Array(instance.exports.memory.buffer);
    const [current, end] = words.subarray(START >> 2);
    assert.equal(end, START + 30_000);
    assert.ok(current > START + BLOCK);
    assert.ok(words.subarray((START + BLOCK) >> 2, current >> 2).some((word) => word));
    words.fill(0xaaaaaaaa, (START + BLOCK - 8) >> 2, (START + BLOCK) >> 2); // nothing that counts lies there
    assert.equal(await pause.call.resume({ fuel: 10n ** 9n }), 10_005n);
  });

  it(`a place without room for the block, or for frames behind it, is refused: ${build}`, async () => {
    for (const size of [280, 288, 296, 303]) assert.ok((await run(size)).pause instanceof RangeError);
    const { pause } = await run(BLOCK + 16);
    assert.ok(pause instanceof RangeError, pause.stack);
  });
}
