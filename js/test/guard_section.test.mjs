/** The section of the guard is a claim like all others of a module: what cannot be is refused when the module is loaded. */

import assert from "node:assert/strict";
import { it } from "node:test";

import { Instance, instantiate, promising, Suspending } from "../src/index.js";
import { bytes, sleep } from "./support/guests.mjs";

const NAME = "asyncify.guard";

const encode = (number) => {
  const out = [];
  for (; number > 127; number = Math.floor(number / 128)) out.push((number % 128) | 128);
  return [...out, number];
};

/** A module with other bytes in its section of the guard. @param {(bytes: number[]) => number[]} change */
function withSection(code, change) {
  const parts = [code.subarray(0, 8)];
  for (let at = 8; at < code.length; ) {
    let [end, size, shift] = [at + 1, 0, 0];
    do size |= (code[end] & 127) << (7 * shift++);
    while (code[end++] > 127);
    const payload = code.subarray(end, end + size);
    if (code[at] == 0 && payload.subarray(1, 1 + payload[0]).toString() == NAME) {
      const changed = [...payload.subarray(0, 1 + payload[0]), ...change([...payload.subarray(1 + payload[0])])];
      parts.push(Buffer.from([0, ...encode(changed.length), ...changed]));
    } else parts.push(code.subarray(at, end + size));
    at = end + size;
  }
  return Buffer.concat(parts);
}

const LIES = {
  "a kind of list that there is not": ([, ...rest]) => [4, ...rest],
  "no kind of list": ([, ...rest]) => [0, ...rest],
  "a number without an end": (told) => [...told, 255],
  "a number beyond all indices": ([lists, , ...rest]) => [lists, ...encode(2 ** 32), ...rest],
  "a number beyond all numbers": ([lists, , ...rest]) => [lists, ...Array(200).fill(255), 1, ...rest],
  "more functions of the original than are listed": ([lists, removed]) => [lists, removed, ...encode(10_000)],
  "functions beyond all indices": (told) => [...told, ...encode(2 ** 32 - 1), ...encode(2 ** 32 - 1), ...encode(2 ** 32 - 1), ...encode(2 ** 32 - 1)].concat(...Array(16).fill(encode(2 ** 32 - 4))),
  "a copy of a function that was added": ([lists, removed, end, ...rest]) => [lists, removed, end, ...rest, 7, 100],
  "a copy of nothing": (told) => [...told, 7],
  "a second body of nothing": (told) => [...told, 6],
  "not even where its functions end": ([lists, removed]) => [lists, removed],
  "nothing but a kind of list": ([lists]) => [lists],
};

for (const build of ["plain", "thunks"]) {
  const code = bytes("guarded", build);
  const env = { ask: new Suspending((number) => sleep(0, number)), call: () => 0 };
  const refused = { name: "LinkError", message: /^the section asyncify\.guard tells what cannot be: the module is not instrumented as it says$/ };

  it(`is believed as it was written: ${build}`, async () => {
    const { exports } = new Instance(new WebAssembly.Module(withSection(code, (told) => told)), { env });
    await assert.rejects(promising(exports.run)(1), { name: "SuspendError", message: /Missing in the list: \["forgotten","also"\]/ });
  });

  for (const [lie, change] of Object.entries(LIES)) {
    it(`is refused if it tells of ${lie}: ${build}`, async () => {
      const module = new WebAssembly.Module(withSection(code, change));
      assert.throws(() => new Instance(module, { env }), refused);
      await assert.rejects(instantiate(module, { env }), refused);
    });
  }

  it(`cannot make an error of another kind, or names that are none: ${build}`, async () => {
    let seed = 1;
    const below = (end) => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0) % end;
    for (let round = 0; round < 400; round++) {
      const change = (told) => {
        if (below(3) == 0) return Array.from({ length: below(30) }, () => below(256));
        if (below(2) == 0) return told.slice(0, below(told.length + 1));
        for (let count = below(4); count >= 0; count--) told[below(told.length)] = below(2) ? 255 : below(256);
        return told;
      };
      const module = new WebAssembly.Module(withSection(code, change));
      let exports;
      try {
        ({ exports } = new Instance(module, { env }));
      } catch (error) {
        assert.match(`${error}`, /^LinkError: the section/);
        continue;
      }
      const { name, message } = await promising(exports.run)(1).catch((error) => error);
      assert.equal(name, "SuspendError");
      for (const [, index] of message.matchAll(/"#([^"]*)"/g)) assert.match(index, /^\d{1,10}$/);
      const good = await promising(exports.good)(1).catch((error) => error.name);
      assert.ok(good === 12 || good === "SuspendError", good);
    }
  });
}
