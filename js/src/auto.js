/**
 * The engine's own JSPI where it has it, else the ponyfill: one program for two builds of a module.
 *
 *     import { choose, instantiateStreaming, promising, Suspending } from "caesura/auto";
 *     const response = fetch(choose("app.wasm", "app.instrumented.wasm"));
 *     const { instance } = await instantiateStreaming(response, { env: { ask: new Suspending(ask) } });
 */

import * as ponyfill from "./index.js";

/** @typedef {ponyfill.Options} Options */
/** @typedef {ponyfill.Imports} Imports */

/** @type {any} */
const engine = WebAssembly;

/** Whether the engine has JSPI. */
export const native = "Suspending" in WebAssembly && "promising" in WebAssembly;

/** @type {Pick<typeof ponyfill, "Instance" | "instantiate" | "instantiateStreaming" | "promising" | "Suspending">} */
const api = native ? engine : ponyfill;

export const { Instance, instantiate, instantiateStreaming, promising, Suspending } = api;
export { SuspendError } from "./errors.js";

/**
 * Return the one of two builds (their addresses, or whatever stands for them) that this engine needs.
 * @template T
 * @param {T} original For engines with JSPI.
 * @param {T} instrumented For all others.
 */
export function choose(original, instrumented) {
  return native ? original : instrumented;
}
