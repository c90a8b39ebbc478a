/** Put the standard's names onto `WebAssembly`, for programs that find them there. */

import { SuspendError } from "./errors.js";
import { Instance, instantiate, instantiateStreaming } from "./instantiate.js";
import { promising, Suspending } from "./promising.js";

export function install() {
  Object.assign(WebAssembly, { Instance, SuspendError, Suspending, instantiate, instantiateStreaming, promising });
}
