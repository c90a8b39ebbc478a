/**
 * Time slices and budgets: guests that compute share the thread, and none can keep it.
 *
 *     import { BudgetExhausted, promising } from "caesura/slices";
 *     await promising(exports.run, { slice: 5 })(); // every 5 ms the event loop has its turn
 *
 * A file of its own, so that programs whose guests need none do not load it. docs/javascript.md says what holds.
 */

import { FACT_ADDED_MEMORY, FACT_STARTED_BY_ENGINE } from "./abi.js";
import { describe } from "./description.js";
import { engineInstantiate, SuspendError } from "./errors.js";
import { close, prepare, startOf } from "./instantiate.js";
import { known } from "./obstacles.js";
import { checkOptions, isSignal, OPTIONS } from "./options.js";
import { printable } from "./printable.js";
import { exported, promisingWith } from "./promising.js";
import { HELD, isPaused, makeSlicing, MOST_FUEL } from "./slicing.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./guest.js").Options} InstanceOptions */
/** @typedef {import("./instantiate.js").Imports} Imports */
/** @typedef {import("./policy.js").Policy} Policy */
/** @typedef {import("./policy.js").Share} Share */
/** @typedef {import("./slicing.js").Bounds} Bounds */
/** @typedef {import("./slicing.js").Sliced} Sliced */
/** @typedef {import("./slicing.js").Slicing} Slicing */

export { FairShares } from "./policy.js";
export { usePolicy } from "./turns.js";

/**
 * What a call may take: `slice` milliseconds at once, `fuel` units altogether.
 * @typedef {{ slice?: number, fuel?: number | bigint }} Limits
 */

/** @typedef {Limits & { weight?: number, priority?: number, signal?: AbortSignal }} SliceOptions */

/**
 * What a guest has taken: `time` is milliseconds, `fuel` units that it has counted, `slices` how often its time was over,
 * `suspensions` how often it was suspended at all, `memory` bytes of the memories that it exports.
 * @typedef {{ time: number, fuel: bigint | undefined, slices: number, suspensions: number, memory: number }} Usage
 */

/** @param {any} value @param {string} name */
const isPositive = (value, name) => {
  if (typeof value != "number") throw new TypeError(`option ${name}: not a number`);
  if (!(value > 0 && value < Infinity)) throw new RangeError(`option ${name}: ${value}: it must be more than 0, and finite`);
};
/** With others, virtual times would be too far apart for their differences. @param {any} value @param {string} name */
const isWeight = (value, name) => {
  isPositive(value, name);
  if (value < 0.001 || value > 1e6) throw new RangeError(`option ${name}: ${value}: it must be from 0.001 to 1000000`);
};
/** @param {any} value @param {string} name */
const isFuel = (value, name) => {
  if (typeof value != "bigint" && !Number.isSafeInteger(value)) throw new TypeError(`option ${name}: neither a BigInt nor a safe integer`);
  if (value <= 0 || value > MOST_FUEL) throw new RangeError(`option ${name}: ${value}: it must be from 1 to ${MOST_FUEL}`);
};
/** @param {any} value @param {string} name */
const isPriority = (value, name) => {
  if (!Number.isSafeInteger(value)) throw new TypeError(`option ${name}: not an integer`);
};
export const LIMITS = { slice: isPositive, fuel: isFuel };
const BOUNDS_AND_SIGNAL = { ...LIMITS, weight: isWeight, priority: isPriority, signal: isSignal };

/** @param {any} limits @returns {Bounds} */
const boundsOf = ({ fuel, ...others }) => ({ ...others, fuel: fuel === undefined ? undefined : BigInt(fuel) });

/** What a guest may take. Throws TypeError for one that cannot be bounded. @param {Guest | undefined} guest @returns {Slicing} */
export function slicingOf(guest) {
  if (!guest) throw new TypeError("slice and fuel: the function is not exported by an instance of caesura's: functions out of tables need an export, too");
  if (!(guest.instrumented && typeof guest.exports.asyncify_fuel?.value == "bigint")) {
    throw new TypeError("slice and fuel: the module does not count: instrument it with --preempt fuel");
  }
  if (guest.foreign) throw new TypeError("slice and fuel: the instance imports functions of other instances, which cannot be unwound: import functions of JavaScript that call them");
  return attach(guest);
}

/** @param {Guest} guest @returns {Slicing} */
export const attach = (guest) => (guest.slicing ??= makeSlicing(guest, (call) => new BudgetExhausted(call)));

/**
 * Return a function that calls an export and returns a promise of its results, as that of "caesura" does.
 * @template {any[]} [Parameters=any[]]
 * @template [Result=any]
 * @param {((...args: Parameters) => Result) | WebAssembly.ExportValue} f A function that an instance exports.
 * @param {SliceOptions} [options] `weight` and `priority` say how much of the time it gets of which others want some, too.
 * @returns {(...args: Parameters) => Promise<Result>}
 */
export function promising(f, options) {
  if (typeof options != "object" || !options) return promisingWith(f, options);
  checkOptions(options, BOUNDS_AND_SIGNAL);
  const { slice, fuel, weight, priority, ...others } = options;
  const limits = { slice, fuel, weight, priority };
  if (Object.values(limits).every((value) => value === undefined)) return promisingWith(f, others);
  const { guest } = exported.get(f) ?? {};
  slicingOf(guest);
  return promisingWith(f, others, boundsOf(limits));
}

/** @typedef {InstanceOptions & SliceOptions} SlicedInstanceOptions */

/**
 * @overload
 * @param {BufferSource} source
 * @param {Imports} [imports]
 * @param {SlicedInstanceOptions} [options]
 * @returns {Promise<WebAssembly.WebAssemblyInstantiatedSource>}
 */
/**
 * @overload
 * @param {WebAssembly.Module} source
 * @param {Imports} [imports]
 * @param {SlicedInstanceOptions} [options]
 * @returns {Promise<WebAssembly.Instance>}
 */
/**
 * As `instantiate` of "caesura"; a start function has slices and a budget, too. One that has used it up is given up with its
 * instance, which nobody has yet.
 * @param {WebAssembly.Module | BufferSource} source
 * @param {Imports} [imports]
 * @param {SlicedInstanceOptions} [options]
 * @returns {Promise<any>}
 */
export async function instantiate(source, imports, options = {}) {
  checkOptions(options, { ...OPTIONS, ...BOUNDS_AND_SIGNAL });
  const { slice, fuel, weight, priority, signal, ...others } = options;
  const isBounded = slice !== undefined || fuel !== undefined;
  // @ts-ignore: the second parameter is newer than TypeScript's libraries.
  const module = source instanceof WebAssembly.Module ? source : await WebAssembly.compile(source, others);
  if (isBounded && describe(module).facts & FACT_STARTED_BY_ENGINE) {
    throw new TypeError("slice and fuel: the engine calls the module's start function itself, where nothing can be suspended: instrument with --thunks, or --snapshots");
  }
  const [adapted, link] = prepare(module, imports, others);
  const instance = link(await engineInstantiate(module, adapted));
  const start = startOf(instance);
  if (start) {
    if (isBounded) makeRoom(instance, others);
    try {
      await promising(start, { slice, fuel, weight, priority, signal })();
    } catch (error) {
      if (fuel !== undefined && error instanceof BudgetExhausted) {
        close(instance);
        error.message = `the start function has used up its budget, ${fuel} units of fuel: the instance is closed`;
      }
      throw error;
    }
  }
  return source == module ? instance : { module, instance };
}

/** Take room for the frames of a start function. @param {WebAssembly.Instance} instance @param {InstanceOptions} options */
function makeRoom(instance, { region }) {
  const { guest, description } = /** @type {import("./obstacles.js").Known} */ (known.get(instance));
  slicingOf(guest);
  if (!guest.exports.asyncify_memory && !region && !(description.facts & FACT_ADDED_MEMORY)) {
    // The guest's malloc may rely on what the start function does.
    throw new TypeError("slice and fuel: the start function has no room for its frames yet: instrument with --in-secondary-memory, or give a region");
  }
  const why = guest.area.settle();
  if (why) throw new SuspendError(why);
}

/** What an instance has taken so far; all that it exports counts. @param {WebAssembly.Instance} instance @returns {Usage} */
export function usage(instance) {
  return slicingOf(exported.get(instance)?.guest).usage();
}

/** A call that has used up its budget, and is suspended where it stands. */
export class PausedCall {
  /** @type {Call} */
  #call;

  /** @param {Call} call */
  constructor(call) {
    this.#call = call;
    /** The export's name. */
    this.export = call.name;
    /** How many units it has counted. @type {bigint} */
    this.fuel = call.sliced?.allowance?.used ?? 0n;
  }

  /** Whether it is still there. */
  get isHeld() {
    const { guest, sliced, promise } = this.#call;
    return !!(promise && (promise == HELD || sliced?.allowance?.told) && guest?.calls.has(this.#call));
  }

  /** @returns {[Call, Slicing]} */
  #take() {
    const call = this.#call;
    if (!this.isHeld || !call.guest) throw new TypeError(`the call of ${this.export} is not yours to resume or drop: it goes on, or has ended`);
    return [call, slicingOf(call.guest)];
  }

  /**
   * Let the guest go on, with another budget, or with none. Returns a promise of the export's result.
   * @param {Limits} [limits] What is left out is as it was, but for a budget that is used up.
   * @returns {Promise<any>}
   */
  async resume(limits = {}) {
    checkOptions(limits, LIMITS);
    const ended = this.#call.sliced?.ended;
    if (ended) throw ended.reason;
    const [call] = this.#take();
    return goOn(call, limits);
  }

  /** Give the call up. One that was aborted in one's hands is gone already. */
  drop() {
    const { sliced, signal } = this.#call;
    if (sliced?.ended || signal?.aborted) return;
    const [call, slicing] = this.#take();
    const why = new SuspendError(`the call of ${this.export} was dropped`);
    for (const [one, { drop }] of [...blockedOf(call), /** @type {const} */ ([call, slicing])]) if (one.promise) drop(one, why);
  }
}

/** The calls that have used up a call's budget with it. @param {Call} call @returns {[Call, Slicing][]} */
const blockedOf = ({ sliced }) => [...(sliced?.allowance?.blocked.keys() ?? [])].map((call) => [call, slicingOf(call.guest)]);

/** Let a call go on that is in nobody's hands any more. @param {Call} call @param {Limits} limits @returns {Promise<any>} */
export function goOn(call, limits) {
  const slicing = Object.keys(limits).length ? slicingOf(call.guest) : /** @type {Slicing} */ (call.guest?.slicing);
  return new Promise((resolve, reject) => {
    Object.assign(call, { resolve, reject });
    const { fuel, ...others } = boundsOf(limits);
    call.bounds = { ...call.bounds, ...others };
    slicing.bound(call, fuel);
    const blocked = call.sliced?.allowance?.blocked;
    if (isPaused(call)) slicing.takeTurn(call);
    for (const [one, next] of blocked ?? []) if (one.promise == HELD) next();
    blocked?.clear();
  });
}

/** A call has used up its budget. It is suspended, not lost: `call` lets it go on, and meanwhile the guest can be saved. */
export class BudgetExhausted extends Error {
  /** @override */
  static name = "BudgetExhausted";
  /** @override */
  name = "BudgetExhausted";

  /** @param {Call} call */
  constructor(call) {
    const fuel = call.sliced?.allowance?.fuel;
    super(`the call of ${printable(call.name)} has used up its budget, ${fuel} units of fuel, and is suspended: let it go on with .call.resume({ fuel }), or give it up with .call.drop()`);
    this.call = new PausedCall(call);
  }
}
