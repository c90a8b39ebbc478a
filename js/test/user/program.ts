// What a user writes in TypeScript: package.test.mjs compiles and runs it against the package as npm packs it.

import { readFileSync } from "node:fs";

import {
  close,
  type Imports,
  Instance,
  instantiate,
  instantiateStreaming,
  type Options,
  promising,
  SuspendError,
  Suspending,
} from "caesura";
import * as auto from "caesura/auto";
import { BudgetExhausted, FairShares, type PausedCall, type Policy, promising as sliced, type Usage, usage, usePolicy } from "caesura/slices";
import { explaining } from "caesura/refusals";
import { type PendingCall, pending, restore, snapshot, SnapshotError } from "caesura/snapshot";

const code = readFileSync(process.argv[2]);
const imports: Imports = { env: { wait: new Suspending(async (number: number) => number) } };
const env: Imports["env"] = { wait: new Suspending(async (number: number) => number) };
const options: Options = { stackSize: 4096, allocate: (_bytes: number) => 1024 };

// The standard's ways to an instance, with options that it does not have.
const { module, instance } = await instantiate(code, imports, options);
const explained: (depth: number, value: number) => Promise<number> = explaining(promising<[number, number], number>(instance.exports.down), module);
const second: WebAssembly.Instance = await instantiate(module, imports);
const third = new Instance(module, { env }, { region: [1024, 8192] });
const response = new Response(code, { headers: { "content-type": "application/wasm" } });
const { instance: fourth } = await instantiateStreaming(response, imports);

// An export of unknown type gives any; a typed one keeps its parameters and its result.
const controller = new AbortController();
const sums = [await promising(instance.exports.down, { signal: controller.signal })(3, 2)];
const down = promising(second.exports.down as (depth: number, times: number) => number);
const typed: Promise<number> = down(3, 2);
sums.push(await typed, await promising(third.exports.down)(3, 2), await promising(fourth.exports.down)(3, 2));

// @ts-expect-error: the export takes numbers
const wrongArgument = () => down("3", 2);
// @ts-expect-error: text cannot be imported
const wrongImport: Imports = { env: { wait: "text" } };
// @ts-expect-error: a number is no signal
const wrongSignal = () => auto.promising(down, { signal: 5 });
// @ts-expect-error: there is no such option
const wrongOption: Options = { stack: 1 };

const build: "bare" | "instrumented" = auto.choose("bare", "instrumented");
const again: auto.Imports = { env: { wait: new auto.Suspending(() => 1) } };
const fifth = auto.native ? undefined : await auto.instantiate(module, again);
if (fifth) sums.push(await auto.promising(fifth.exports.down)(3, 2));

// It has no pause points either.
const policy: Policy = new FairShares();
usePolicy(policy);
const unsliced = () => sliced(down, { slice: 5, fuel: 1_000_000n, weight: 2, signal: controller.signal });
const bill = async (run: () => Promise<number>): Promise<number> => {
  try {
    return await run();
  } catch (reason) {
    if (!(reason instanceof BudgetExhausted)) throw reason;
    const call: PausedCall = reason.call;
    const taken: Usage = usage(second);
    return taken.slices > 5 ? (call.drop(), Number(call.fuel)) : call.resume({ fuel: 1000 });
  }
};
// @ts-expect-error: a text is no number of milliseconds
const wrongSlice = () => sliced(down, { slice: "5" });

// This module was instrumented without --snapshots.
const unsaved = await snapshot(second, { saveObject: (_value) => new Uint8Array() }).catch((reason) => reason instanceof SnapshotError);
const waiting: PendingCall[] = pending(second);
const goOn = async (bytes: Uint8Array): Promise<number> => {
  const restored = await restore(bytes, module, imports, { limit: 1 << 20, stackSize: 4096 });
  const [call] = restored.pending;
  return call.function == "env.wait" ? call.resume(1) : call.run();
};
// @ts-expect-error: a path is no bytes
const wrongState = () => restore("state.caesura", module, imports);

if (!auto.native && fifth) auto.close(fifth);
close(instance);
const closed = await promising(instance.exports.down)(1, 1).then(String, (reason: SuspendError) => {
  return reason instanceof SuspendError ? reason.message : "another error";
});
console.log(JSON.stringify({ sums, closed, build, others: [wrongArgument, wrongImport, wrongSignal, wrongOption, goOn, wrongState].length, unsaved, waiting }));
