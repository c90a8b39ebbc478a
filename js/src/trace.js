/**
 * Which functions are on the engine's stack, innermost first.
 *
 * V8 hands out its frames as objects, which tell exactly which instance a function of WebAssembly belongs to, and does so
 * in a third of the time that the text takes. Other engines, and V8 where somebody has frozen `Error`, only have text, on
 * which they agree but for the indices of functions of WebAssembly.
 */

/** @typedef {any} Frame A frame of V8, or a line of text. */

const { captureStackTrace } = /** @type {any} */ (Error);

/** What is set while a stack is read. A program's own settings, which may be anything, come back behind it. */
const SETTINGS = {
  prepareStackTrace: { value: (/** @type {unknown} */ _, /** @type {Frame[]} */ frames) => frames, configurable: true },
  stackTraceLimit: { value: Infinity, configurable: true },
};

/**
 * @param {Function} [above] Leaves out this function and what it has called, where the engine can.
 * @returns {Frame[]}
 */
function readStack(above) {
  const restore = Object.entries(SETTINGS).map(([name, setting]) => {
    const before = Object.getOwnPropertyDescriptor(Error, name);
    Reflect.defineProperty(Error, name, setting);
    return () => (before ? Reflect.defineProperty(Error, name, before) : Reflect.deleteProperty(Error, name));
  });
  /** @type {{ stack?: any }} */
  let holder = {};
  if (captureStackTrace) captureStackTrace(holder, above);
  else holder = new Error();
  const { stack } = holder;
  for (const undo of restore) undo();
  return Array.isArray(stack) ? stack : typeof stack == "string" ? stack.split("\n") : [];
}

/** The index of a function of WebAssembly, undefined for one of JavaScript. @param {any} frame */
const indexOf = (frame) => {
  const index = frame.getFunction?.();
  return typeof index == "number" ? index : /wasm-function\[(\d+)/.exec(frame)?.[1];
};

/** What a frame says of its module: a hash or an address. @param {any} frame */
export const moduleOf = (frame) => /([^\s(@]*)wasm-function/.exec(frame)?.[1];

/**
 * Return the innermost functions of WebAssembly without a frame of JavaScript between them, and that frame as text, where
 * the engine tells it for certain.
 * @param {Function} [above] The function of JavaScript that was called by them.
 * @returns {{ frames: [index: number, frame: Frame][], below?: string }}
 */
export function guestFrames(above) {
  const stack = readStack(above);
  const exact = above && captureStackTrace && typeof stack[0] == "object";
  /** @type {[number, Frame][]} */
  const frames = [];
  for (const frame of stack) {
    const index = indexOf(frame);
    if (index !== undefined) frames.push([+index, frame]);
    else if (exact) return { frames, below: String(frame) };
    else if (frames.length) break;
  }
  return { frames };
}
