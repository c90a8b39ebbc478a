/**
 * What a suspension and resumption costs in JavaScript, promise included: the ponyfill over each kind of build, and the
 * engine's own JSPI where it has one.
 *
 *     node benchmarks/javascript.mjs
 *
 * A guest recurses to a depth and waits there for a promise that is resolved already, again and again. The best of many
 * short rounds counts: the rest is compiling, and what else the machine does.
 */

import { waysToRun } from "../js/test/support/guests.mjs";

const ROUNDS = 200;
const names = { plain: "caesura, plain ABI", thunks: "caesura, thunks", secondary: "caesura, thunks, memory of its own" };
const ready = Promise.resolve(1);

async function measure({ module, api }, depth, times) {
  const { exports } = new api.Instance(module, { env: { wait: new api.Suspending(() => ready) } });
  const down = api.promising(exports.down);
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now();
    await down(depth, times);
    best = Math.min(best, performance.now() - begun);
  }
  return (best / times) * 1000;
}

async function measureCall({ module, api }) {
  const { exports } = new api.Instance(module, { env: { wait: new api.Suspending(() => ready) } });
  const down = api.promising(exports.down);
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now();
    for (let call = 0; call < 500; call++) await down(10, 1);
    best = Math.min(best, performance.now() - begun);
  }
  return best * 2;
}

console.log(`Node ${process.version}, microseconds for one suspension and resumption\n`);
console.log("| build | depth 1 | depth 10 | depth 100 | depth 1000 | a whole call, depth 10 |");
console.log("| --- | --- | --- | --- | --- | --- |");
for (const way of waysToRun("deep").filter((way) => way.way != "native behind the ponyfill")) {
  const cells = [];
  for (const [depth, times] of [[1, 2000], [10, 2000], [100, 400], [1000, 50]]) {
    cells.push((await measure(way, depth, times)).toFixed(2));
  }
  cells.push((await measureCall(way)).toFixed(2));
  const name = { ...names, binaryen: "Binaryen, plain ABI", native: "the engine's JSPI" }[way.way];
  console.log(`| ${name} | ${cells.join(" | ")} |`);
}
