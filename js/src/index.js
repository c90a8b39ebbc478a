/** JSPI, the standard's stack switching, for modules that `caesura instrument` or `wasm-opt --asyncify` made pausable. */

export { SuspendError } from "./errors.js";
export { install } from "./install.js";
export { close, Instance, instantiate, instantiateStreaming } from "./instantiate.js";
export { promising, Suspending } from "./promising.js";
