/** JSPI, the standard's stack switching, for modules that `caesura instrument` or `wasm-opt --asyncify` made pausable. */

/** @typedef {import("./guest.js").Options} Options */
/** @typedef {import("./instantiate.js").Imports} Imports */

export { SuspendError } from "./errors.js";
export { install } from "./install.js";
export { close, Instance, instantiate, instantiateStreaming } from "./instantiate.js";
export { promising, Suspending } from "./promising.js";
