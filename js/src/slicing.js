/**
 * What one guest with pause points is told when it is entered: until when it may run, and where it may pause.
 *
 * No other thread can tell a guest of JavaScript to stop. So it counts (docs/abi.md, `preempt="fuel"`), and gets its count in
 * portions, as `pace` says: each is an eighth of its slice at most, so that a guest that suddenly gets slower does not keep
 * the thread for long. Where one is used up the call pauses, and goes on at once if there is time left. Whatever the
 * portions, the guest counts the same, so that a budget ends at the same place everywhere.
 *
 * Below a function of JavaScript nothing can be suspended. While an import runs the guest is masked: what is called in it
 * goes on until what was left of its slice and TOLERANCE are over, and traps then. Only the count tells of time there: what
 * imports take is not the guest's, nor is what passes while the process is stopped. What is inside, in this guest or others,
 * runs no longer than what is outside may.
 *
 * A guest does not notice slices. While a call of it is paused, in the middle of its code, no other code of it runs: its
 * calls begin, and go on, when the paused one has ended or waits; and exports that somebody calls himself trap at their first
 * pause point, since it would be as if another thread came in between, say in the middle of `malloc`.
 */

import { BUILTIN_RESULTS, PAUSE_NOT_NOW, PAUSE_REFUSED, STATUS_RESUME } from "./abi.js";
import { current, interrupt, isObject, REWINDING, RUNNING, settle, UNWINDING } from "./call.js";
import { fail, raise, SuspendError } from "./errors.js";
import { CLOSED } from "./guest.js";
import { LEAST_PORTION, makePace } from "./pace.js";
import { printable } from "./printable.js";
import { listen, obey } from "./promising.js";
import { forget, isFull, spend, wait } from "./turns.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./call.js").Site} Site */
/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./policy.js").Share} Share */
/** @typedef {import("./turns.js").GoOn} GoOn */
/** @typedef {ReturnType<typeof makeSlicing>} Slicing */

/**
 * What a call may take.
 * @typedef {object} Bounds
 * @property {number} [slice] Milliseconds at once.
 * @property {bigint} [fuel] Units, altogether.
 * @property {number} [weight]
 * @property {number} [priority]
 */

/**
 * A budget: what is left of it, of how much, and what it has counted; those around it are charged, too. `blocked` are calls that
 * have used it up, and go on when there is more.
 * @typedef {object} Allowance
 * @property {Call} call
 * @property {bigint} fuel
 * @property {bigint} left
 * @property {bigint} used
 * @property {Allowance} [outer] That of the call whose import has made the call.
 * @property {Map<Call, () => void>} blocked
 * @property {boolean} told Whether who waits for the call knows that it is used up.
 */

/**
 * What is left to a call.
 * @typedef {object} Sliced
 * @property {Allowance} [allowance]
 * @property {number} [deadline] Of a slice that it goes on with at once.
 * @property {(failure?: Error) => void} [goOn] What is called when it is its turn, or when none comes.
 * @property {{ reason: any }} [ended] What has ended it while it was paused: an abort, `close`, or a policy that has failed.
 */

/**
 * An entry of guest code that is on the engine's stack.
 * @typedef {object} Entry
 * @property {Slicing} slicing
 * @property {Call} call
 * @property {Entry} [outer] The one around it, of whichever guest.
 * @property {Entry} [below] The next one of the same guest.
 * @property {number} began
 * @property {number} since From when on its time has not been counted yet.
 * @property {number} resumed When the guest was told last what holds.
 * @property {number} deadline
 * @property {number} most How many milliseconds a portion is for.
 * @property {number} masks How many imports of it are on the stack.
 * @property {number} left Milliseconds that what these call has left, as far as the count tells.
 * @property {number} tolerance Those of TOLERANCE that nothing has used yet.
 */

/** What a paused call waits in. @type {any} */
export const PAUSE = { name: "pause" };

/** What a call waits for that somebody has in his hands: it comes never. @type {any} */
export const HELD = { held: true, then() {} };

/** Milliseconds, and units of fuel, for which a guest may go on, beyond its slice or its budget, where it cannot be suspended. */
const TOLERANCE = 50;
const FUEL_TOLERANCE = 10_000_000n;

/** The most fuel that a budget can have. */
export const MOST_FUEL = 1n << 62n;

/** What a guest's counter begins with. */
export const UNBOUNDED = 2n * MOST_FUEL - 1n;

// How many portions a slice has.
const PORTIONS = 8;

const clock = () => performance.now();

/** The entry of guest code that runs, of any guest. @type {Entry | undefined} */
let innermost;

/** The budget that is used up, of those that a call has. @param {Allowance | undefined} allowance @returns {Allowance | undefined} */
const exhausted = (allowance) => allowance && (allowance.left < 0n ? allowance : exhausted(allowance.outer));

/** Milliseconds that the imports leave to it on which an entry stands. @param {Entry} entry @returns {number} */
const leftBelow = ({ outer }) => (outer ? Math.min(outer.masks ? outer.left : Infinity, leftBelow(outer)) : Infinity);

/** Units that a call may still use. @param {Allowance | undefined} allowance @returns {bigint} */
const leastOf = (allowance) => {
  let least = MOST_FUEL;
  for (; allowance; allowance = allowance.outer) if (allowance.left < least) least = allowance.left;
  return least;
};

/** What of it is not undefined. @param {Bounds | undefined} bounds */
const defined = (bounds) => Object.fromEntries(Object.entries(bounds ?? {}).filter(([, value]) => value !== undefined));

/** Whether a call is paused in the middle of its code. @param {Call} call */
export const isPaused = ({ site, promise }) => site == PAUSE && !!promise;

/**
 * @param {Guest} guest
 * @param {(call: Call) => Error} exhaustedError What a call that has used its budget up rejects with.
 */
export function makeSlicing(guest, exhaustedError) {
  const { exports, area, calls } = guest;
  /** @type {{ value: bigint } | undefined} */
  const counter = exports.asyncify_fuel;
  /** What the counter was set to last; what was counted before anybody did counts, too. */
  let granted = counter && counter.value > MOST_FUEL ? UNBOUNDED : (counter?.value ?? 0n);
  let used = 0n;
  const pace = makePace();
  const { maskedSpeed } = pace;
  /** Its entry that runs, or whose import does. @type {Entry | undefined} */
  let top;
  /** What goes on when nothing is paused any more. @type {(() => void)[]} */
  let gate = [];
  /** What begins calls that have to wait for that. @type {Set<GoOn>} */
  const begins = new Set();
  let [time, slices, suspensions] = [0, 0, 0];
  /** @type {Share} */
  const share = { exports, weight: 1, priority: 0, ran: 0, virtualTime: 0 };

  /** @param {bigint} count */
  const grant = (count) => {
    if (counter) counter.value = granted = count;
  };

  /** The calls that were paused. */
  const held = new Set([...calls].filter(isPaused));
  /** Those that are: others were ended by somebody else. */
  const paused = () => {
    for (const call of held) if (!isPaused(call)) held.delete(call);
    return [...held];
  };

  /** Charge what the guest has used. @param {number} now */
  const charge = (now) => {
    if (!counter) return;
    const count = granted - counter.value;
    granted = counter.value;
    used += count;
    if (!top) return;
    /** @type {Entry | undefined} */
    let entry = top;
    for (const took = Number(count) / maskedSpeed(); entry; entry = entry.outer) if (entry.masks) entry.left -= took;
    for (let allowance = top.call.sliced?.allowance; allowance; allowance = allowance.outer) {
      allowance.left -= count;
      allowance.used += count;
    }
    if (!top.masks && count) pace.learn(Number(count), now - top.resumed, top.most, granted < 0n, area.sizeNow);
  };

  /** Tell the guest what holds for the entry whose code is about to run. @param {Entry} entry @param {number} now @param {number} least */
  const tell = (entry, now, least) => {
    const { call, deadline, most, masks } = entry;
    entry.resumed = now;
    const left = leastOf(call.sliced?.allowance);
    const isTimed = deadline < Infinity;
    if (!counter || (!isTimed && left == MOST_FUEL)) {
      area.pause(PAUSE_NOT_NOW);
      return grant(MOST_FUEL);
    }
    const milliseconds = deadline - now;
    const portion = masks
      ? entry.left * maskedSpeed()
      : milliseconds > 0
        ? pace.portion(Math.min(milliseconds, most))
        : least;
    const allowed = masks ? left + FUEL_TOLERANCE : left;
    area.pause(masks ? PAUSE_REFUSED : call);
    grant(isTimed && portion < allowed ? BigInt(Math.floor(portion)) : allowed);
  };

  /** Tell the guest what holds where nothing of this kind is about to run. @param {number} now */
  const rest = (now) => {
    if (top) {
      if (!top.call.state) tell(top, now, -1);
    } else if (isBusy()) {
      area.pause(PAUSE_REFUSED);
      grant(-1n);
    } else {
      area.pause(PAUSE_NOT_NOW);
      grant(MOST_FUEL);
    }
  };

  /** Whether a call is paused, so that nothing else of the guest may run. */
  const isBusy = () => held.size > 0 && paused().length > 0;

  /** Let those go on who have waited for a paused call. */
  const release = () => {
    if (gate[0]) {
      queueMicrotask(() => {
        const all = gate;
        gate = [];
        for (const goOn of all) goOn();
      });
    }
  };

  /** Wait for a turn. @param {Call} call @param {GoOn} goOn */
  const queue = ({ bounds }, goOn) => {
    const { weight = 1, priority = 0 } = bounds ?? {};
    Object.assign(share, { weight, priority });
    wait(share, goOn);
  };

  /** Drop a call that was aborted, and say so to who has it. @param {Call} call @param {any} reason */
  const end = (call, reason) => {
    made.drop(call, reason);
    (call.sliced ??= {}).ended = { reason };
    return true;
  };

  /** Reject a call that has not begun, and waits. @param {GoOn} goOn @param {Error} [failure] */
  const rejectNow = (goOn, failure) => {
    forget(share, goOn);
    goOn(failure);
  };

  /** Let a paused call go on when it is its turn. @param {Call} call */
  const takeTurn = (call) => {
    const turn = (call.promise = { then() {} });
    const sliced = (call.sliced ??= {});
    sliced.goOn = (failure) => {
      sliced.goOn = undefined;
      settle(call, turn, () => failure && raise(failure));
      release(); // it may be gone
    };
    queue(call, sliced.goOn);
  };

  /** Say that a call has used its budget up, unless who waits for it knows. @param {Allowance} allowance */
  const tellExhausted = (allowance) => {
    if (allowance.told) return;
    allowance.told = true;
    allowance.call.reject(exhaustedError(allowance.call));
  };

  /**
   * The budget that a call has used up is that of the call whose import has made it: who waits for that one is told. If it has
   * ended, or not waited for this one, it is this one's business.
   * @param {Call} call @param {Allowance} budget
   */
  const tellOuter = (call, budget) => {
    if (budget.left >= 0n || call.promise != HELD) return;
    if (budget.call.promise) return tellExhausted(budget);
    call.reject(exhaustedError(call));
    /** @type {Sliced} */ (call.sliced).allowance = undefined;
  };

  /** See what comes of a call that has paused. @param {Call} call @param {Entry} entry @param {number} now */
  const pause = (call, entry, now) => {
    call.state = UNWINDING;
    call.site = PAUSE;
    call.asked = [];
    held.add(call);
    const sliced = (call.sliced ??= {});
    const budget = exhausted(sliced.allowance);
    if (budget) {
      call.promise = HELD;
      if (budget.call == call) tellExhausted(budget);
      else {
        budget.blocked.set(call, () => takeTurn(call));
        // Where its import is still on the stack it is told when that has returned.
        queueMicrotask(() => tellOuter(call, budget));
      }
    } else if (entry.deadline - now > Math.max(entry.most / 2, pace.cost())) {
      sliced.deadline = entry.deadline;
      call.promise = Promise.resolve();
    } else {
      slices++;
      takeTurn(call);
    }
  };

  const made = {
    share,
    takeTurn,
    isBusy,
    release,

    /** The paused call that nothing but who has it can let go on. One that is aborted ends by itself, in a moment. */
    inHand: () => paused().find(({ promise, aborted }) => promise == HELD && !aborted),

    /** Count the time of an entry until now, when it ends or another one begins inside of it. @param {Entry} entry @param {number} now */
    count(entry, now) {
      time += now - entry.since;
      share.ran += now - entry.since;
    },

    /** What the guest has taken so far. */
    usage() {
      charge(clock());
      const memories = Object.values(exports).filter((value) => value instanceof WebAssembly.Memory);
      const memory = [...new Set(memories)].reduce((bytes, { buffer }) => bytes + buffer.byteLength, 0);
      return { time, fuel: counter && used, slices, suspensions, memory };
    },

    /**
     * Whether a call is not to begin, or to go on, now. It is called again then, or it has been rejected.
     * @param {Call} call
     * @param {(failure?: Error) => any} again
     * @param {() => any} [answer] What it has waited for.
     */
    defers(call, again, answer) {
      if (isPaused(call)) {
        try {
          answer?.();
          return false;
        } catch (reason) {
          return end(call, reason);
        }
      }
      if (guest.closed) return false;
      if (!call.state && !call.sliced) {
        const outer = innermost?.call;
        call.sliced = { allowance: innermost?.slicing == made ? outer?.sliced?.allowance : undefined };
        if (outer?.bounds) {
          // What an import calls has no more time than what has called the import, and ends with it: that waits for it.
          const { fuel: _, ...others } = outer.bounds;
          call.bounds = { ...others, ...defined(call.bounds) };
          const { signal } = outer;
          if (signal && !call.signal) {
            obey(call, signal);
            if (signal.aborted) interrupt(call, signal); // by the import
          }
        }
        made.bound(call, call.bounds?.fuel);
      }
      /** @type {(() => void) | undefined} */
      let ended;
      const goOn = (/** @type {Error | undefined} */ failure = undefined) => {
        ended?.();
        if (!call.state && !begins.delete(goOn)) return; // it was rejected meanwhile
        if (call.state || !(failure || call.aborted)) return again(failure);
        call.reject(failure ?? call.aborted?.reason);
        call.ended?.();
      };
      const [first] = paused();
      // Who waits for nothing just before each slice ends would have more than its share.
      const isOver = isFull || share.ran >= (call.bounds?.slice ?? Infinity);
      const isAborted = call.state && call.aborted;
      if (!first && (!isOver || current || isAborted)) return false;
      if (isAborted) return end(call, isAborted.reason); // the guest cannot be entered, and would not catch it
      if (!first) queue(call, goOn);
      else if (call.state || !made.inHand()) gate.push(goOn);
      else {
        call.reject(
          new SuspendError(`export ${printable(call.name)}: a call of ${printable(first.name)} is paused in the middle of the guest's code: resume or drop it`),
        );
        call.ended?.();
        return true;
      }
      if (!call.state) {
        begins.add(goOn);
        ended = call.signal && listen(call.signal, () => rejectNow(goOn));
      }
      return true;
    },

    /** Bound what a call may use from now on. @param {Call} call @param {bigint} [fuel] */
    bound(call, fuel) {
      const sliced = (call.sliced ??= {});
      const own = sliced.allowance?.call == call ? sliced.allowance : undefined;
      if (own) Object.assign(own, { told: false, ...(fuel ? { fuel, left: fuel } : own.left < 0n && { left: MOST_FUEL }) });
      else if (fuel) sliced.allowance = { call, fuel, left: fuel, used: 0n, outer: sliced.allowance, blocked: new Map(), told: false };
    },

    /** Guest code is entered. @param {Call} call */
    begin(call) {
      if (call.direct) return;
      const now = clock();
      const outer = innermost;
      charge(now);
      outer?.slicing.count(outer, now);
      const sliced = (call.sliced ??= {});
      const span = call.bounds?.slice ?? Infinity;
      const deadline = Math.min(sliced.deadline ?? now + span, outer?.deadline ?? Infinity);
      sliced.deadline = undefined;
      const resumes = call.site == PAUSE && call.state;
      /** @type {Entry} */
      const entry = { slicing: made, call, outer, below: top, began: now, since: now, resumed: now, deadline, most: Math.min(span, deadline - now) / PORTIONS, masks: 0, left: 0, tolerance: TOLERANCE };
      innermost = top = entry;
      // Who cannot be suspended is refused before anything runs.
      const why = !resumes && (deadline < Infinity || sliced.allowance) && guest.findShortage(call);
      if (why) fail(`export ${printable(call.name)} cannot be paused: ${why}`);
      tell(entry, now, LEAST_PORTION);
      if (!resumes) return;
      if (call.thunk) area.give(call, STATUS_RESUME, call.size);
      call.state = RUNNING;
    },

    /** Guest code has thrown: where it was unwinding or rewinding by itself, this has to be ended. @param {Call} call */
    fail(call) {
      const state = innermost?.call == call && !call.state && exports.asyncify_get_state();
      if (state) call.state = state == REWINDING ? REWINDING : UNWINDING;
    },

    /** Guest code has returned, in whatever way. @param {Call} call */
    end(call) {
      const entry = innermost;
      if (!entry || entry.call != call) return;
      const now = clock();
      charge(now);
      made.count(entry, now);
      const { outer } = entry;
      innermost = outer;
      top = entry.below;
      if (outer) outer.since = now;
      if (!call.state && area.paused()) pause(call, entry, now);
      if (call.state && !call.sliced?.deadline) suspensions++;
      if (!outer) spend(now - entry.began, call.bounds?.slice ?? Infinity);
      rest(now);
      release();
    },

    /**
     * An import is called. Returns what is to be called when it returns, or with what it has thrown, which gives what is to be
     * thrown instead, and which converts what it has returned before that; nothing if nothing is bounded.
     */
    mask() {
      const entry = top;
      if (!entry || innermost != entry || !counter) return;
      if (entry.deadline == Infinity && !entry.call.sliced?.allowance) return;
      const masked = clock();
      charge(masked);
      const rest = Math.max(entry.deadline - masked, 0);
      if (!entry.masks++) entry.left = Math.min(rest + entry.tolerance, leftBelow(entry));
      const { left } = entry;
      tell(entry, masked, 0);
      const ended = (/** @type {Site | undefined} */ site = undefined, /** @type {any} */ error = undefined) => {
        if (site) return counter.value < 0n && error instanceof WebAssembly.RuntimeError ? tooLong(site, entry, error) : error;
        const now = clock();
        charge(now);
        // The count may tell of more time than has passed.
        if (!--entry.masks && left < Infinity) entry.tolerance -= Math.max(Math.min(left - entry.left, now - masked) - rest, 0);
        if (entry.masks || !entry.call.state) tell(entry, now, -1);
      };
      return Object.assign(ended, { convert });
    },

    /** Give up a paused call. @param {Call} call @param {any} reason */
    drop(call, reason) {
      area.drop(call);
      call.promise = undefined;
      call.reject(reason);
      call.ended?.();
      guest.finish(call, !current);
      rest(clock());
      release();
      forget(share, call.sliced?.goOn);
    },
  };

  charge(0);
  rest(0);
  const { close } = guest;
  guest.close = () => {
    const ended = { reason: new SuspendError(CLOSED) };
    for (const { sliced } of calls) if (sliced) sliced.ended = ended;
    for (const goOn of begins) rejectNow(goOn, ended.reason);
    close();
    rest(0);
    release();
  };
  return made;
}

/**
 * Convert an import's result as the engine would, as far as methods of objects are called: these may call the guest, and
 * nothing below them can be suspended. What kinds of results imports have modules tell that count.
 * @param {any} result @param {Site} site
 */
function convert(result, { module, index }) {
  const [count, ...kinds] = module.results[index] ?? [0];
  if (count % BUILTIN_RESULTS > 1) return Array.from(result, (value, at) => (kinds[at] === 0 ? primitive(value) : value));
  return kinds[0] === 0 ? primitive(result) : result;
}

/** As ECMAScript's ToPrimitive does for numbers. @param {any} value */
function primitive(value) {
  if (!isObject(value)) return value;
  const exotic = value[Symbol.toPrimitive] ?? undefined;
  const methods = exotic === undefined ? [value.valueOf, value.toString] : [exotic];
  for (const method of methods) {
    if (exotic === undefined && typeof method != "function") continue;
    const found = method.call(value, "number");
    if (!isObject(found)) return found;
  }
  throw new TypeError("Cannot convert object to primitive value");
}

/** The error for a call that was stopped below an import. @param {Site} site @param {Entry} entry @param {Error} cause */
function tooLong(site, entry, cause) {
  const { call } = entry;
  const bound = call.bounds?.slice ? `its slice of ${call.bounds.slice} ms` : "its budget";
  const message = `export ${printable(call.name)}: what ${printable(site.name)} has called in the guest went on beyond ${bound}, and cannot be suspended below a function of JavaScript: call it by promising`;
  // @ts-ignore: the second parameter is newer than TypeScript's libraries.
  return new WebAssembly.RuntimeError(message, { cause });
}

