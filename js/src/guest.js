/**
 * An instance of an instrumented module: the steps of a call in both ABIs, over an area for its frames and its shadow
 * stacks.
 *
 * Modules that are linked dynamically share the two globals of the ABI, and are one guest: the state of one is the state
 * of all, so are the frames, and a suspension counts for the call that runs, whichever of them asked for it.
 *
 * Functions of other guests may stand between a guest's own. Each of these guests unwinds and rewinds its part of the call,
 * by its own state and in its own area; for that it is entered and left like the call itself.
 *
 * Plain ABI: five exported functions. Thunk ABI: a control block in memory; there, functions without an entry thunk (out
 * of a table) are driven with both. A factory and not a class: minifiers shorten variables, but not properties.
 */

import {
  FACT_BY_LISTS,
  FACT_CALLS_REFERENCES,
  FACT_FIXED_STACK,
  FACT_HIDDEN_STACK,
  FACT_LINKED,
  FACT_UNCLEAR_STACK,
  RESULTS_PREFIX,
  STATUS_RESUME_CALL,
  STATUS_RUN,
  STATUS_SUSPEND,
} from "./abi.js";
import { makeArea } from "./area.js";
import { checkResult, isObject, leaving, marks, METHODS, REWINDING, RUNNING, tellOthers, UNWINDING } from "./call.js";
import { isStranger } from "./description.js";
import { explain, findMissing, hidesMissing } from "./missing.js";
import { abandon, fail, isExported, SuspendError } from "./errors.js";
import { findObstacle, known, LEFT, lost } from "./obstacles.js";
import { printable } from "./printable.js";
import { noRoom, take } from "./room.js";
import { makeStacks } from "./stacks.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./call.js").Part} Part */
/** @typedef {import("./call.js").Site} Site */
/** @typedef {import("./description.js").Description} Description */
/** @typedef {ReturnType<typeof makeGuest>} Guest */
/** @typedef {import("./abi.js").Exports & { memory?: any, malloc?: any }} Exports */

/**
 * What the standard leaves to the embedder.
 * @typedef {object} Options
 * @property {number} [stackSize] Bytes for the asyncify stack, where it is allocated. Default: 512 KiB, or half of it if there is no more.
 * @property {number} [shadowStackSize] Bytes for each further C stack. Default: as many as the guest's own has.
 * @property {boolean} [singleStack] Whether to refuse calls while another has not ended: for guests that scan their C stack.
 * @property {(bytes: number) => number | bigint} [allocate] Allocates memory in the guest. Default: its `malloc`.
 * @property {[start: number | bigint, end: number | bigint]} [region] Where to put the asyncify stack instead.
 * @property {string} [memory] The export that is the memory with the asyncify stack.
 * @property {boolean} [suspendAlways] Whether results of suspending imports that are no promises suspend too.
 * @property {boolean} [checkStack] Whether to look for functions of others between the guest's where they can be. Default: true.
 * @property {string[]} [builtins] For the engine's compiler: sets of functions that it provides itself.
 * @property {string | null} [importedStringConstants] For the engine's compiler: the module of imported strings.
 */

/**
 * What a guest has once there is an instance, also for saved states; `pointer` is where the shadow stack pointer was when the innermost import was
 * called, or a call had begun there. `foreign` says that functions of others are among its imports, `slicing` is there once calls have slices.
 * @typedef {{ exports: any, area: import("./area.js").Area, stacks: import("./stacks.js").Stacks, pointer?: number, foreign?: boolean, slicing?: import("./slices.js").Slicing }} Later
 */

// As the module's own: in each suspension, a constant of another module is read anew. States of calls, and statuses:
const RUNS = RUNNING;
const UNWINDS = UNWINDING;
const REWINDS = REWINDING;
const TO_RUN = STATUS_RUN;
const TO_SUSPEND = STATUS_SUSPEND;
const TO_RESUME = STATUS_RESUME_CALL;

/** Why nothing runs in it any more. */
export const CLOSED = "the instance is closed";

const UNREAD =
  "functions of others may be on the stack, which cannot be read, since `Error` was frozen or changed: import caesura and " +
  "set Error.stackTraceLimit = Infinity before (checkStack: false says that there are none)";

/** Say why an import cannot suspend. @param {Site} site @param {string} why */
const refuse = ({ name }, why) => fail(`${printable(name)} cannot suspend: ${why}`);

/**
 * @param {Description} description Of the module, or of the first one that has these globals.
 * @param {Options} options
 */
export function makeGuest(description, options) {
  const { instrumented, thunks, facts, stackLow } = description;
  const { singleStack, suspendAlways, checkStack = true } = options;
  const alone = singleStack ?? facts & FACT_FIXED_STACK;
  const unclear = facts & FACT_UNCLEAR_STACK;
  const hidden = facts & FACT_HIDDEN_STACK;
  /** All calls that have not ended. @type {Set<Call>} */
  const calls = new Set();
  let closed = false;
  /** The parts that other guests have in a call. @param {Call} call */
  const partsOf = ({ parts }) => parts ?? [];
  /** Whether to look at the stack at every suspension. @type {unknown} */
  let wary = false;
  /**
   * What its instances set while they call from a handler that throws an exception of JavaScript on, one for each: several
   * share the globals where modules are linked dynamically.
   * @type {{ value: number }[]}
   */
  const handlers = [];
  /** Whether they do not tell of all functions of the guest. @type {unknown} */
  let shares = false;
  // What is made once there is an instance.
  /** @type {Exports} */
  let exports;
  /** @type {import("./area.js").Area} */
  let area;
  /** @type {import("./stacks.js").Stacks} */
  let stacks;

  /** Whether the guest calls an import through a thunk: its own it does, others it may have in a table. @param {Site} site */
  const byThunk = (site) => thunks && site.guest == guest;

  /**
   * Why the functions on the stack cannot be unwound; nothing if they can.
   * @param {Call} call
   * @param {Site} site
   * @param {Guest[]} runs Takes the guests on the stack, each as often as control came to it from another, if it is looked at.
   */
  const findRefusal = (call, site, runs) => {
    /** @type {import("./missing.js").Stack} */
    const stack = [];
    if (!call.entry) return "across JavaScript";
    if (!instrumented && !call.direct) return "the module is not instrumented; the engine has no JSPI";
    if (isStranger(site.module, site.index)) return "not on the import list (--imports)";
    if (wary || guest.guard.value || call.converts || !call.guest || site.guest != guest) {
      const obstacle = findObstacle(call, site, runs, stack);
      const twice = runs.find((one, at) => one.once && runs.indexOf(one) < at);
      if (obstacle) return obstacle;
      if (twice) return "an instance is on the stack twice: instrument it with --linked";
    }
    const guests = [guest, ...runs];
    const isMarked = guests.some(({ guard }) => guard.value);
    // Modules that share their state do not tell, nor does a guest that another one has called, which it has called, or
    // where the host has put an export of it into its table.
    if (isMarked || runs[1] || shares || (description.added.end && hidesMissing(stack))) {
      const message = findMissing(printable(site.name), stack, isMarked);
      if (message) fail(message);
    }
    if (stack.unread) return UNREAD;
    if (guests.some(({ handlers }) => handlers.some(({ value }) => value))) return "across a handler of an exception of JavaScript";
  };

  /** Why there is no place for what a call has on its stacks; nothing if there is. @param {Call} call */
  const findShortage = (call) => {
    if (closed) return CLOSED;
    if (calls.size > 1 && singleStack == undefined && (unclear || (hidden && !stacks.known))) {
      const way = unclear ? "export its pointer as" : "instrument with --thunks, or export";
      return `another call has not ended; nobody knows where the C stack is: ${way} __stack_pointer (singleStack: false allows it)`;
    }
    const bytes = stacks.lacking(call);
    return bytes ? noRoom(exports, options, "another C stack", bytes, "shadowStackSize", "") : area.settle();
  };

  /**
   * Make the instance usable after an exception or a trap. Returns the error to report.
   * @param {Call} call
   * @param {any} [error]
   */
  const recover = (call, error) => {
    for (const part of partsOf(call)) error = part.guest.recover(part, error);
    guest.guard.value = 0; // it is left set by a trap
    if (call.state && !call.direct) {
      if (call.state == UNWINDS) {
        // Whose function has trapped where there are several modules nobody knows.
        const isAlone = !handlers[1] && !call.whole && !partsOf(call)[0];
        error = area.overflow(call) ?? (isAlone ? explain(error, description, printable(call.site?.name ?? "the guest")) : error);
      }
      area.give(call, TO_RUN);
      try {
        exports.asyncify_stop_unwind();
      } catch {
        // It reports the overflow once more.
      }
      call.state = RUNS;
      if (call.promise) abandon(call.promise);
      call.promise = undefined;
    }
    return error;
  };

  /** @param {Call} call @param {boolean} [idle] Whether nothing of the guest runs. */
  const finish = (call, idle) => {
    for (const part of partsOf(call)) part.guest.finish(part, idle);
    if (calls.delete(call)) stacks.finish(call, idle);
    area?.forget(call);
  };

  /** All parts of a call, this guest's first. @param {Call} call */
  const allOf = (call) => [/** @type {Part} */ (call), ...partsOf(call)];

  /** Begin to unwind a call's frames of this guest. @param {Call} call @param {Site} site */
  const unwind = (call, site) => {
    call.state = UNWINDS;
    area.give(call, byThunk(site) ? TO_SUSPEND : TO_RUN);
    if (!byThunk(site)) area.tell(exports.asyncify_start_unwind);
  };

  /**
   * Take the parts that other guests have in a call. Those that had one and have it still keep it.
   * @param {Part} call
   * @param {Guest[]} others
   */
  const takeParts = (call, others) => {
    const before = partsOf(call);
    call.parts = others.map((other) => before.find((part) => part.guest == other) ?? other.join(call));
    for (const part of before) if (!others.includes(part.guest)) part.guest.finish(part);
  };

  const made = {
    instrumented,
    thunks,
    /** Whether its functions may be on the stack only once, with none of others between them. */
    once: thunks && !(facts & FACT_LINKED),
    suspendAlways,
    handlers,
    /**
     * Says whether something is on the stack that a list leaves out. There is none where several instances share the state.
     * @type {{ value?: any }}
     */
    guard: {},
    calls,
    recover,
    finish,
    unwind,
    findShortage,
    get closed() {
      return closed;
    },

    /**
     * Take one of its instances, and whether functions of others may be called by its own.
     * @param {WebAssembly.Instance} instance
     * @param {Description} description
     * @param {boolean} foreign
     * @param {import("./obstacles.js").Known["unlisted"]} unlisted
     */
    add(instance, description, foreign, unlisted) {
      guest.foreign ||= foreign;
      known.set(instance, { guest, description, unlisted });
      const { asyncify_foreign_handler: handler, asyncify_leaving_state: state, asyncify_unsuspendable: guard } = /** @type {Exports} */ (instance.exports);
      handlers.push(handler ?? {});
      if (state) leaving.add(new WeakRef(state));
      if (guard) {
        guest.guard = guard;
        marks.add(new WeakRef(guard));
      }
      shares ||= description.shares;
      wary ||= (shares && description.facts & FACT_BY_LISTS) || (checkStack && (foreign || description.facts & FACT_CALLS_REFERENCES));
    },

    /** Take the instance's exports, and the first memory that it imports. @param {WebAssembly.Exports} given @param {unknown} imported */
    link(given, imported) {
      guest.exports = exports = /** @type {any} */ (given);
      const stackMemory = exports.asyncify_memory;
      const memories = [exports.memory, ...Object.values(exports), imported].filter((value) => value instanceof WebAssembly.Memory);
      const memory = stackMemory ?? (options.memory ? given[options.memory] : memories[0]);
      guest.area = area = makeArea(exports, memory, description, options);
      const allocate = (/** @type {number} */ bytes) => !guest.slicing?.isBusy() && take(exports, options, bytes);
      guest.stacks = stacks = makeStacks(exports, allocate, options.shadowStackSize, stackLow, memories.find((one) => one != stackMemory));
    },

    /**
     * Prepare for a call's start or its rewinding. Returns the shadow stack pointer of whoever runs now.
     * @param {Call} call
     * @param {boolean} idle Whether nothing else of the guest runs.
     */
    enter(call, idle) {
      if (closed) fail(CLOSED);
      if (!call.state) {
        if (alone && calls.size) {
          const why = singleStack ? "singleStack" : "it compares its C stack pointer with constants; singleStack: false allows it";
          fail(`export ${printable(call.name)}: another call has not ended (${why})`);
        }
        calls.add(call);
      }
      if (idle) {
        stacks.wake(call);
        // It is left set by a trap.
        for (const handler of handlers) handler.value = 0;
      }
      if (!call.state && !call.direct) {
        stacks.start(call, idle, guest.pointer);
        if (!idle) guest.pointer = stacks.position();
      }
      guest.guard.value = 0; // a function out of a table does not begin anew
      if (call.direct) return;
      for (const part of partsOf(call)) {
        part.state = call.state;
        part.promise = undefined;
        part.outer = part.guest.enter(part, idle);
      }
      const outer = stacks.enter(call);
      if (call.state) {
        area.give(call, TO_RESUME, call.size);
        if (!call.thunk) area.rewind();
      }
      return outer;
    },

    /**
     * Begin to unwind a call. Returns what the import is to return meanwhile: it converts to whatever type it has.
     * @param {Call | undefined} call
     * @param {Site} site
     * @param {any} result What the import returned: what the call is to wait for.
     * @param {any[]} asked What the guest has called it with.
     */
    suspend(call, site, result, asked) {
      if (!call) return refuse(site, "outside of a promising call");
      /** @type {Guest[]} */
      const runs = [];
      const refusal = findRefusal(call, site, runs);
      if (refusal) refuse(site, refusal);
      if (!call.guest) {
        call.guest = guest;
        calls.add(call);
        if (!call.direct) stacks.adopt(call);
      }
      if (!call.direct) {
        call.runs = runs.length;
        takeParts(/** @type {Part} */ (call), [...new Set(runs)].filter((other) => other != guest));
        const all = allOf(call);
        const shortage = all.map((part) => part.guest.findShortage(part)).find(Boolean);
        if (shortage) refuse(site, shortage);
        for (const part of all) part.guest.stacks.check(part);
      }
      if (call.converts) {
        // That is done. When the call is resumed the engine converts its arguments again, to no effect.
        call.converts = false;
        call.args = call.args.map((value) => (isObject(value) && METHODS.some((method) => method in value) && !isExported(value) ? "0" : value));
      }
      call.site = site;
      call.asked = asked;
      call.promise = site.guest.suspendAlways ? Promise.resolve(result) : result;
      call.state = UNWINDS;
      if (!call.direct) {
        for (const part of allOf(call)) {
          part.promise = call.promise;
          part.guest.unwind(part, site);
        }
      }
      // Null is no reference that cannot be null: what stands for those the module makes.
      return (site.made ??= site.guest.exports[RESULTS_PREFIX + site.index] ?? (() => site.blank))();
    },

    /**
     * A call has reached an import while it unwinds or rewinds: the one that suspended it, or something was left out.
     * @param {Call} call
     * @param {Site} site
     */
    land(call, site) {
      if (call.state != REWINDS || call.site != site) throw lost(call);
      const all = allOf(call);
      if (all[1]) {
        /** @type {Guest[]} */
        const runs = [];
        findObstacle(call, site, runs, []);
        // Functions that were passed over have left frames, or others have taken these for their own.
        if (runs.length != call.runs || all.some((part) => part.guest.area.sizeNow())) fail(`export ${printable(call.name)}: lost ${LEFT}`);
      }
      tellOthers(RUNS);
      for (const part of all) part.guest.run(part, site);
      const value = checkResult(site, /** @type {Function} */ (call.answer)());
      const masked = isObject(value) ? guest.slicing?.mask() : undefined;
      if (!masked) return value;
      try {
        return masked.convert(value, site);
      } catch (error) {
        throw masked(site, error);
      } finally {
        masked();
      }
    },

    /** Take a part of a call that began in another guest: its functions are on the stack, too. */
    join(/** @type {Part} */ call) {
      const reject = (/** @type {any} */ reason) => {
        call.promise = undefined;
        call.reject(reason);
        call.guest.finish(call);
      };
      /** @type {Part} */
      const part = { guest, entry: call.entry, name: call.name, args: [], whole: call, state: RUNS, resolve() {}, reject };
      calls.add(part);
      stacks.adopt(part);
      return part;
    },

    /** A call has been rewound. @param {Call} call @param {Site} site */
    run(call, site) {
      call.state = RUNS;
      if (!call.direct && !byThunk(site)) {
        if (thunks) area.run();
        exports.asyncify_stop_rewind();
      }
    },

    /**
     * A call has suspended or ended.
     * @param {Call} call
     * @param {any} outer What `enter` returned.
     */
    leave(call, outer) {
      if (call.direct) return;
      // Entry thunks have put the pointer back, if they know it.
      stacks.leave(call, outer, call.state == UNWINDS ? area.stackPointer() : 0);
      for (const part of partsOf(call)) part.guest.leave(part, part.outer);
      const all = allOf(call.whole ?? call);
      if (call.state == UNWINDS) {
        const fits = area.keep(call);
        if (!call.thunk) {
          // Binaryen's modules write first, and trap here.
          if (!fits) throw all[0].guest.recover(all[0]);
          exports.asyncify_stop_unwind();
          area.keep(call); // what belongs to references in frames has been added
        }
      }
      if (!call.whole && (call.state == REWINDS || (call.state && !all.some(({ size }) => size)))) throw recover(call, lost(call));
    },

    /** Reject all calls. What was allocated goes with the instance. */
    close() {
      closed = true;
      for (const call of calls) {
        if (call.promise && call.size) area.drop(call);
        call.promise = undefined;
        call.reject(new SuspendError(CLOSED));
        call.ended?.();
        finish(call);
      }
    },
  };
  const guest = /** @type {typeof made & Later} */ (made);
  return guest;
}
