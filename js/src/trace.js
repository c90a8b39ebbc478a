/**
 * Which functions are on the engine's stack, innermost first.
 *
 * V8 hands out its frames as objects, which tell exactly which instance a function of WebAssembly belongs to, and does so
 * in a third of the time that the text takes. Other engines only have text, on which they agree but for the indices of
 * functions of WebAssembly.
 *
 * What V8 shows is up to properties of `Error`, which a program may have frozen or replaced. Then Node has another realm,
 * which nobody else has touched; that takes a millisecond, once. V8's text was rejected there: instances of one module look
 * alike in it, and what somebody has made of it may be anything.
 */

/** @typedef {any} Frame A frame of V8, or a line of text. */

/** Whether the engine is V8: others write `[native code]` in a line of its own. What may have been done to `Error` does not matter. */
const isV8 = !/\n/.test(/** @type {any} */ (Math.max));

/**
 * Return what a function does, nothing if it throws: what a program has put onto `Error` may do that.
 * @template Result
 * @param {() => Result} f
 */
function attempt(f) {
  try {
    return f();
  } catch {
    // It cannot be read.
  }
}

// A program may put another in its place, before or after this is loaded.
export const EngineError = /** @type {any} */ (Object.getPrototypeOf(RangeError));
const captureStackTrace = attempt(() => EngineError.captureStackTrace);

/** What is set while a stack is read. A program's own settings, which may be anything, come back behind it. */
const PREPARE = { value: (/** @type {unknown} */ _, /** @type {Frame[]} */ frames) => frames, configurable: true };
const LIMIT = { value: Infinity, configurable: true };

/**
 * Set a property, whether it can be written or not. Returns what it was.
 * @param {object} owner
 * @param {string} name
 * @param {PropertyDescriptor | undefined} setting
 */
function exchange(owner, name, setting) {
  const before = Object.getOwnPropertyDescriptor(owner, name);
  if (setting) Reflect.defineProperty(owner, name, setting);
  else Reflect.deleteProperty(owner, name);
  return before;
}

/**
 * Call a function while the engine keeps the whole stack of each error.
 * @template Result
 * @param {() => Result} f
 */
export function withWholeStacks(f) {
  const limit = exchange(EngineError, "stackTraceLimit", LIMIT);
  try {
    return f();
  } finally {
    exchange(EngineError, "stackTraceLimit", limit);
  }
}

/** Reads a stack by another realm's `Error`. @type {((above?: Function) => any) | undefined} */
let readElsewhere;

/** @returns {typeof readElsewhere} */
function makeReader() {
  const [Elsewhere, make] = /** @type {any} */ (globalThis).process.getBuiltinModule("node:vm").runInNewContext("[Error,()=>({})]");
  Object.defineProperties(Elsewhere, { stackTraceLimit: LIMIT, prepareStackTrace: PREPARE });
  return (above) => {
    const holder = make();
    Elsewhere.captureStackTrace(holder, above);
    return holder.stack;
  };
}

/** Whether a stack consists of V8's frames. @param {any} stack */
const isExact = (stack) => Array.isArray(stack) && stack[0]?.getFunction;

/**
 * @param {Function} [above] Leaves out this function and what it has called, where the engine can.
 * @returns {Frame[]}
 */
export function readStack(above) {
  // Where it takes no property more `Error` still inherits them.
  const owner = Object.isExtensible(EngineError) || Object.hasOwn(EngineError, "prepareStackTrace") ? EngineError : Function.prototype;
  let isLimited;
  /** @type {any} */
  let stack;
  attempt(() => {
    const prepare = exchange(owner, "prepareStackTrace", PREPARE);
    try {
      stack = withWholeStacks(() => {
        isLimited = EngineError.stackTraceLimit != Infinity;
        /** @type {{ stack?: any }} */
        const holder = isV8 || captureStackTrace ? {} : new EngineError();
        captureStackTrace?.(holder, above);
        return holder.stack;
      });
    } finally {
      exchange(owner, "prepareStackTrace", prepare);
    }
  });
  if (isV8 && (isLimited || !isExact(stack))) {
    readElsewhere ??= attempt(makeReader) ?? (() => {});
    stack = readElsewhere(above) ?? stack;
  }
  return isExact(stack) ? stack : (typeof stack == "string" ? stack : "").split("\n");
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
 * tells it for certain; and whether these are all. Other engines than V8 may cut stacks off: it is not said there.
 * @param {Function} [above] The function of JavaScript that was called by them.
 * @returns {{ frames: [index: number, frame: Frame][], below?: Frame, whole?: boolean, unread?: boolean }}
 */
export function guestFrames(above) {
  const stack = readStack(above);
  const exact = isV8 && above && stack[0].getFunction;
  /** @type {[number, Frame][]} */
  const frames = [];
  for (const frame of stack) {
    let index = frame.getFunction?.();
    if (typeof index != "number") {
      // A frame of V8 says by a number, or undefined, whether it is one of WebAssembly.
      index = indexOf(frame);
      if (exact || (index === undefined && frames.length)) return { frames, below: exact && frame, whole: exact || !isV8, unread: !exact && isV8 };
    }
    if (index !== undefined) frames.push([index, frame]);
  }
  return { frames, unread: isV8 };
}
