/**
 * The engine's own JSPI where it has it, else the ponyfill: one program for two builds of a module.
 *
 *     import { choose, instantiateStreaming, promising, Suspending } from "caesura/auto";
 *     const response = fetch(choose("app.wasm", "app.instrumented.wasm"));
 *     const { instance } = await instantiateStreaming(response, { env: { ask: new Suspending(ask) } });
 */

import { EngineInstance, engineInstantiate, engineInstantiateStreaming, enginePromising, EngineSuspending } from "./errors.js";
import * as ponyfill from "./index.js";
import { promisingByEngine } from "./promising.js";

/** @typedef {ponyfill.Options} Options */
/** @typedef {ponyfill.Imports} Imports */

/** Whether the engine has JSPI itself, whatever was installed. */
export const native = !!(EngineSuspending && enginePromising);

/** @type {any} */
const engine = {
  Instance: EngineInstance,
  instantiate: engineInstantiate,
  instantiateStreaming: engineInstantiateStreaming,
  promising: promisingByEngine,
  Suspending: EngineSuspending,
};

/** @type {Pick<typeof ponyfill, "Instance" | "instantiate" | "instantiateStreaming" | "promising" | "Suspending">} */
const api = native ? engine : ponyfill;

export const { Instance, instantiate, instantiateStreaming, promising, Suspending } = api;
export { close } from "./index.js";
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
