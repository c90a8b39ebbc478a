/** Put the standard's names onto `WebAssembly`, for programs that find them there. */

import { SuspendError } from "./errors.js";
import { defaults, Instance, instantiate, instantiateStreaming } from "./instantiate.js";
import { checkOptions } from "./options.js";
import { promising, Suspending } from "./promising.js";

/** @param {import("./guest.js").Options} [options] For programs that cannot give them to `instantiate` themselves. */
export function install(options) {
  Object.assign(defaults, checkOptions(options));
  Object.assign(WebAssembly, { Instance, SuspendError, Suspending, instantiate, instantiateStreaming, promising });
}
