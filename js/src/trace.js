/**
 * Which functions are on the engine's stack, innermost first.
 *
 * V8 hands out its frames as objects, which tell exactly which instance a function of WebAssembly belongs to, and does so
 * in a third of the time that the text takes. Other engines, and V8 where somebody has frozen `Error`, only have text, on
 * which they agree but for the indices of functions of WebAssembly.
 */

/** @typedef {any} Frame A frame of V8, or a line of text. */

// A program may put another in its place, before or after this is loaded.
export const EngineError = /** @type {any} */ (Object.getPrototypeOf(RangeError));
const { captureStackTrace } = EngineError;

/** What is set while a stack is read. A program's own settings, which may be anything, come back behind it. */
const PREPARE = { value: (/** @type {unknown} */ _, /** @type {Frame[]} */ frames) => frames, configurable: true };
const LIMIT = { value: Infinity, configurable: true };

/**
 * Set a property of `Error`, whether it can be written or not. Returns what it was.
 * @param {string} name
 * @param {PropertyDescriptor | undefined} setting
 */
function exchange(name, setting) {
  const before = Object.getOwnPropertyDescriptor(EngineError, name);
  if (setting) Reflect.defineProperty(EngineError, name, setting);
  else Reflect.deleteProperty(EngineError, name);
  return before;
}

/**
 * Call a function while the engine keeps the whole stack of each error.
 * @template Result
 * @param {() => Result} f
 */
export function withWholeStacks(f) {
  const limit = exchange("stackTraceLimit", LIMIT);
  try {
    return f();
  } finally {
    exchange("stackTraceLimit", limit);
  }
}

/**
 * @param {Function} [above] Leaves out this function and what it has called, where the engine can.
 * @returns {Frame[]}
 */
export function readStack(above) {
  const prepare = exchange("prepareStackTrace", PREPARE);
  const stack = withWholeStacks(() => {
    /** @type {{ stack?: any }} */
    let holder = {};
    if (captureStackTrace) captureStackTrace(holder, above);
    else holder = new EngineError();
    return holder.stack;
  });
  exchange("prepareStackTrace", prepare);
  return Array.isArray(stack) ? stack : String(stack).split("\n");
}

/**
 * The name that a function of WebAssembly has in its module's name section, if it has one. In text, Firefox has something in its
 * place.
 * @param {any} frame
 * @returns {string | undefined}
 */
export const functionName = (frame) => (frame.getFunctionName ? frame.getFunctionName() : /^\s*(?:at )?(?!wasm-function)([^]*?)(?: \(|@)/.exec(frame)?.[1]);

/** The index of a function of WebAssembly in text; undefined for others. @param {any} frame */
export function indexOf(frame) {
  const found = /wasm-function\[(\d+)/.exec(frame);
  return found ? +found[1] : undefined;
}

/** What a frame says of its module: a hash or an address. @param {any} frame */
export const moduleOf = (frame) => /([^\s(@]*)wasm-function/.exec(frame)?.[1];

/**
 * Return the innermost functions of WebAssembly without a frame of JavaScript between them, and that frame, where the engine
 * tells it for certain; and whether these are all.
 * @param {Function} [above] The function of JavaScript that was called by them.
 * @returns {{ frames: [index: number, frame: Frame][], below?: Frame, whole?: boolean }}
 */
export function guestFrames(above) {
  const stack = readStack(above);
  const exact = above && captureStackTrace && typeof stack[0] == "object";
  /** @type {[number, Frame][]} */
  const frames = [];
  for (const frame of stack) {
    let index = frame.getFunction?.();
    if (typeof index != "number") {
      // A frame of V8 says by a number, or undefined, whether it is one of WebAssembly.
      index = indexOf(frame);
      if (exact || (index === undefined && frames.length)) return { frames, below: exact && frame, whole: true };
    }
    if (index !== undefined) frames.push([index, frame]);
  }
  return { frames };
}
