/** A thread of the tests: an instance of its own, on a memory that it shares. */

import { parentPort, workerData } from "node:worker_threads";

import * as ponyfill from "../../src/index.js";

const { module, memory, native, times } = workerData;
const { Suspending, promising, Instance } = native ? WebAssembly : ponyfill;
const ask = new Suspending((number) => new Promise((resolve) => setTimeout(resolve, 0, number + 1)));
const { exports } = new Instance(module, { env: { memory, ask } });
parentPort.postMessage(await promising(exports.run)(times));
