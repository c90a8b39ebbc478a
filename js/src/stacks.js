/**
 * The shadow stacks of a guest: the part of C's stack that lies in memory, below an address that a global holds.
 *
 * They cannot be moved, because the guest holds addresses of what lies there. So the first call runs on the guest's own and
 * leaves the pointer below its frames while it is suspended, and calls that start meanwhile get stacks from the allocator, as
 * large as the guest's own.
 *
 * While several calls wait, and nothing runs, the pointer rests on a stack that none of them has. What is allocated there is
 * an argument of the call that begins next, which then gets that stack and runs below, or belongs to a call that waits, and
 * stays until all that waited then have ended: nobody knows, and to refuse instead was rejected, since it would end calls that
 * have allocated nothing. So each stack has at most one caller who will put the pointer back to a place on it (Emscripten's
 * `ccall` does, when its call has ended), and whatever others have by then is elsewhere. Until those who wait for the
 * call's promise have run, nobody else gets its stack.
 *
 * While the first call waits alone the pointer stays below its frames, since a guest may scan its stack. What is allocated
 * there then may be an argument of the call that begins next, as may be what an import allocates that begins a call while its
 * own runs. These bytes are put back whenever the call on that stack has run on and does not use their place. And what may be
 * overwritten where the pointer is put back at the end of a call, before the host gets to see it, is put back too; frames
 * that this concerns only because their call began above, with nothing allocated, may be an import's to write to, so their
 * call is refused instead if they have changed and the pointer may have been above them.
 *
 * Who puts it back later may do so unseen, if others do it next. So it is remembered where it was before each call for which
 * something was allocated, until it is found there; nobody else gets that stack. If it is ever found where it was not left, and
 * nobody has done so directly at the end of a call, then all are refused whose arguments or frames are below any such place. From
 * then on, where it is found below where it was left, as an import leaves it that allocates, those are refused whose bytes have
 * changed and are below where it may have been put back unseen. To refuse them all was rejected, since most have only allocated. To
 * put bytes back there was rejected, since they may be an import's, which may write to the arguments and frames of its own call;
 * and to replace the exports that move the pointer, since glue has them under any name, or uses the global.
 *
 * A guest that compares the pointer with the limits of its stack finds those of the stack that it runs on, if it keeps them
 * where they can be set. Nothing keeps a guest from running over a stack's end, but when it suspends, and before it is
 * resumed, it is noticed.
 */

import { STACK_HIGH, STACK_LOW } from "./abi.js";
import { UNWINDING } from "./call.js";
import { printable } from "./printable.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {"emscripten_stack_get_current" | "stackSave" | "_emscripten_stack_restore" | "stackRestore"} Accessors */
/** @typedef {"emscripten_stack_get_end" | "emscripten_stack_get_base" | "emscripten_stack_set_limits" | "__set_stack_limits"} Limits */
/** @typedef {"__stack_pointer" | "__stack_low" | "__stack_high" | "stackAlloc" | "_emscripten_stack_alloc"} Symbols */
/** @typedef {import("./guest.js").Exports & Partial<Record<Accessors | Limits | Symbols, any>>} Exports */
/** @typedef {ReturnType<typeof makeStacks>} Stacks */

/**
 * A stack, from its lowest address to its highest.
 * @typedef {object} Place
 * @property {number} low
 * @property {number} high
 * @property {number} floor Below all that has to stay there.
 * @property {number} risk Up to where the pointer may be put back by who waited for calls without arguments there.
 * @property {Call} [user] The call that runs on it, or has just ended.
 */

/** @typedef {Pick<Call, "place" | "pointer" | "limits">} Host Where the pointer is while several calls wait. */
/** @typedef {{ low: number, high: number }} Limited */

/**
 * Bytes in the guest's memory that stay.
 * @typedef {object} Kept
 * @property {Place} place The stack that they are on.
 * @property {number} low
 * @property {number} high
 * @property {Call} [on] The call on whose stack they are.
 * @property {ArrayLike<number>} [bytes] What was there before that call ran on.
 * @property {boolean} [lost] Whether that call has overwritten it, and still uses the place.
 * @property {boolean} [bare] Whether nothing was allocated for a call there, so that it may be an import's to write to.
 */

/**
 * Where somebody will put the pointer back to.
 * @typedef {object} Back
 * @property {Place} place
 * @property {number} at
 * @property {boolean} soon Whether the call has only just ended.
 * @property {boolean} sure Whether something was allocated for the call.
 */

// The size of further stacks where nobody knows that of the guest's own.
const DEFAULT_SIZE = 1 << 16;

/** Give a number the type of a pointer. @param {any} pointer @param {number} number @returns {any} */
export const like = (pointer, number) => (typeof pointer == "bigint" ? BigInt(number) : number);

/** The number that a pointer is: one of 32 bits comes with a sign. @param {any} pointer */
export const unsigned = (pointer) => (typeof pointer == "bigint" ? Number(pointer) : pointer >>> 0);

/** The global or the functions that hold the pointer. @param {Exports} exports @returns {{ value?: any }} */
export function findRegister(exports) {
  const get = exports.emscripten_stack_get_current ?? exports.stackSave;
  const set = exports._emscripten_stack_restore ?? exports.stackRestore;
  return exports.asyncify_stack_pointer ?? exports.__stack_pointer ?? (get && set ? Object.defineProperty({}, "value", { get, set }) : {});
}

/**
 * @param {Exports} exports
 * @param {(bytes: number) => any} take Allocates in the guest.
 * @param {number} [wanted] The size of further stacks, in bytes.
 * @param {any} [told] The lowest address of the guest's own stack, as the module tells it.
 * @param {any} [memory] The memory that they lie in.
 */
export function makeStacks(exports, take, wanted, told, memory) {
  const register = findRegister(exports);
  /** The pointer's type: where it is at first; undefined where there is none. */
  const first = register.value;
  const now = () => unsigned(register.value);
  /** @param {number} at */
  const put = (at) => (register.value = like(first, at));
  /** The pointer where nothing runs; 0 where there is none. */
  const top = now();

  /** The globals in which the guest keeps the limits of its stack, if it does. @type {{ value: any }[][]} */
  const [lows, highs] = [STACK_LOW, STACK_HIGH].map((prefix) =>
    Object.entries(exports).flatMap(([name, value]) => (name.startsWith(prefix) ? value : [])),
  );
  const readLow = exports.emscripten_stack_get_end ?? (() => (lows[0] ?? exports.__stack_low)?.value);
  const readHigh = exports.emscripten_stack_get_base ?? (() => (highs[0] ?? exports.__stack_high)?.value);
  /** Set the limits, and return what they were. @param {Limited} to @returns {Limited} */
  const limit = (to) => {
    const low = like(first, to.low);
    const high = like(first, to.high);
    const before = { low: unsigned(readLow() ?? 0), high: unsigned(readHigh() ?? 0) };
    for (const global of lows) global.value = low;
    for (const global of highs) global.value = high;
    if (!lows[0] && before.high) {
      exports.emscripten_stack_set_limits?.(high, low);
      exports.__set_stack_limits?.(high, low);
    }
    return before;
  };

  /** The lowest address of the guest's own stack; undefined as long as nobody knows. @type {number | undefined} */
  let lowest = told;
  const findLowest = () => (lowest ??= top && unsigned(readHigh() ?? 0) >= top ? unsigned(readLow()) : undefined);

  /** @type {Place} */
  const own = { low: 0, high: Infinity, floor: Infinity, risk: 0 };
  /** Further stacks, and the size of each. @type {Place[]} */
  const places = [];
  let size = 0;
  /** The calls that have not ended. @type {Set<Call>} */
  const live = new Set();
  /** Whether somebody is about to put the pointer back, on a certain stack. @param {Place} [place] */
  const closing = (place) => late.some((back) => back.soon && back.place == (place ?? back.place));
  /** Where the pointer was before any call began. */
  let home = top;
  /** Where the pointer was left when nothing ran, and where it was before what has been allocated since. */
  let left = top;
  let origin = top;
  /** Where the pointer may be put back to, by who waits for calls that have ended. @type {Back[]} */
  let late = [];
  /** The same for the call that has begun last, until the caller has run on. @type {Back | undefined} */
  let begun;
  /** Whether somebody has ever put it back late. @type {boolean | undefined} */
  let sloppy;
  /** Whether the pointer has gone where nobody is known to put it. @type {boolean | undefined} */
  let strange;
  /** @type {Host} */
  let host = {};

  /** The call that uses a stack and has not ended. @param {Place} place */
  const inUse = ({ user }) => (user && live.has(user) ? user : undefined);

  /** What was allocated on stacks for calls that run on others. @type {Kept[]} */
  let keeps = [];
  /** What those may overwrite who put the pointer back now. @type {Kept[]} */
  let guards = [];
  /** What those may have overwritten, unseen, who put the pointer back later. @type {Kept[]} */
  let exposed = [];
  /** The bytes, as they are. @param {Kept} kept */
  const bytesOf = ({ low, high }) => new Uint8Array(memory.buffer, low, high - low);
  /** Whether they are other than they were. @param {Kept} kept */
  const differs = (kept) => !memory || (kept.bytes && bytesOf(kept).some((byte, at) => byte != kept.bytes?.[at]));
  /** @param {Kept} kept */
  const note = (kept) => memory && (kept.bytes = bytesOf(kept).slice());
  /** @param {Kept} kept */
  const restore = (kept) => kept.bytes && bytesOf(kept).set(kept.bytes);
  /** @param {Kept} kept */
  const putBack = (kept) => {
    restore(kept);
    kept.bytes = kept.lost = undefined;
  };

  /** The stack that an address is on. @param {number} at */
  const find = (at) => places.find(({ low, high }) => at > low && at <= high) ?? own;
  /** What lies there from an address on may be of any call. @param {Place} place @param {number} at */
  const hold = (place, at) => (place.floor = Math.min(place.floor, at));
  /** @param {Call} call @param {Place} place @param {number} at Where it begins. */
  const occupy = (call, place, at) => {
    call.place = place;
    call.pointer = hold(place, at);
    place.user = call;
  };

  /**
   * Those are lost on whose arguments or frames others may have written, since the pointer was above them, or may have been.
   * @param {Place} here @param {number} at
   */
  const lose = (here, at) => {
    /** @param {any} [one] A call, or what was allocated for it. */
    const harmed = ({ place, low, pointer = low } = {}) =>
      place && (pointer < place.risk || (place == here && pointer < at) || late.some((back) => back.place == place && pointer < back.at));
    for (const call of live) call.lost ||= [call, call.kept].some(harmed);
  };

  /** A call is lost if its bytes have changed. @param {Kept} kept */
  const blame = (kept) => {
    if (kept.on && differs(kept)) kept.on.lost = true;
  };

  /** Whether somebody will put the pointer back there, late. @param {Place} place */
  const dirty = (place) =>
    late.some((back) => back.place == place && back.sure && !back.soon) ||
    keeps.some((kept) => kept.place == place && kept.low < place.risk);

  /** That is done. @param {Back} back */
  const done = (back) => (back.sure = !!(back.at = 0));

  /** Who waits for a call puts the pointer back to where it was before. @param {Call} call @param {number} at */
  const expect = (call, at) => (call.back = { place: find(now()), at, soon: true, sure: now() < at });

  /** See whether somebody has put the pointer back, or allocated, since it was left. Returns where it is. */
  const look = () => {
    const at = now();
    const place = find(at);
    origin = left;
    for (const kept of guards) if (kept.bare && (at != left || (place == kept.place && at > kept.low))) blame(kept);
    if (at == left) return at;
    const backs = late.filter((back) => back.place == place && back.at >= at);
    const soon = backs.find((back) => back.soon && back.at == at);
    if (!backs[0] && begun?.place == place && begun.at == at) {
      // Or another has, late.
      exposed.forEach(blame);
      done(begun);
      if (place == own) home = Math.max(home, at);
      put(left);
      return left;
    }
    const back = soon ?? backs[0];
    const below = place == find(left) && at < left;
    const risk = sloppy ? place.risk : 0;
    if (!below || back || risk > at) {
      origin = Math.max(below ? left : at, risk, ...backs.map(({ at }) => at));
      // Others may have done so before, unseen.
      sloppy ||= !backs.some(({ soon }) => soon);
      if (below && !back) exposed.forEach(blame);
      else if (sloppy && !soon) lose(place, at);
      if (!below && back && (soon || (!backs[1] && at > place.risk))) done(back);
      if ((strange = !back && !below)) origin = place == own ? top : place.high;
    }
    return (left = at);
  };

  /** Find a stack that nobody uses. Returns nothing if there is none to be had. @param {Place} [but] Neither this nor the guest's own. */
  const provide = (but) => {
    if (!but && !own.user && own.floor == Infinity && !dirty(own)) return own;
    let place = places.find((one) => one != but && !one.user && !dirty(one) && one.floor - one.low > size / 2);
    if (!place) {
      size ||= wanted ?? top - (findLowest() ?? top - DEFAULT_SIZE);
      const stack = take(size);
      if (!stack) return;
      const low = unsigned(stack);
      const high = low + size - ((low + size) % 16);
      places.push((place = { low, high, floor: high, risk: 0 }));
    }
    return place;
  };

  /** The error for a call that has something where others have. @param {Call} call */
  const clash = ({ name }) => new RangeError(`export ${printable(name)}: others use its C stack: take arguments from malloc`);

  /**
   * See that a call has not run over the end of its stack. (Above it, it may: guests switch stacks themselves, too.)
   * @param {Call} call
   */
  const check = ({ name, place }, at = now()) => {
    const isOwn = place == own;
    const end = (isOwn ? findLowest() : place?.low) ?? 0;
    const option = isOwn ? "" : " (option shadowStackSize)";
    if (at < end) throw new RangeError(`export ${name}: the C stack of ${isOwn ? top - end : size} bytes has overflowed${option}`);
  };

  /** Be on a stack. @param {typeof host} call */
  const arrive = (call) => {
    const { place, pointer } = call;
    if (place && place != own) call.limits = limit(place);
    if (pointer) put(pointer);
  };
  /** Be where one was before, but for the pointer. @param {typeof host} call */
  const depart = (call) => {
    if (call.limits) limit(call.limits);
    call.limits = undefined;
  };

  /** Put back what was overwritten. Returns whether something was allocated in its place. */
  const heal = () => {
    if (!guards[0] && !keeps[0]) return;
    const at = now();
    const here = find(at);
    // The pointer may have been put back more than once since anybody looked at it.
    const harmed = [...guards, ...keeps.filter(({ on }) => !on)].filter((kept) => !kept.bare && (kept.place == here || closing(kept.place)) && differs(kept));
    const inTheWay = harmed.some(({ place, high }) => place == here && at < high);
    harmed.forEach(restore);
    return inTheWay;
  };
  /** @param {Call} call @param {Place} place @param {number} low @param {number} high @param {Call} [on] */
  const keep = (call, place, low, high, on) => memory && keeps.push((call.kept = { place, low, high, on }));
  /** Note what may be overwritten before the host gets to see it. */
  const guard = () => {
    guards = keeps.map((kept) => ({ ...kept, low: Math.min(kept.low, kept.on?.pointer ?? kept.low) }));
    // Nothing was allocated for these, so the frames may be an import's to write to.
    for (const { place, at: high, soon } of late) {
      const on = inUse(place);
      const low = on?.pointer ?? high;
      if (soon && low < high && !keeps.some((kept) => kept.place == place && kept.high == high)) guards.push({ place, low, high, on, bare: true });
    }
    guards.forEach(note);
  };
  /** Note the arguments and frames below where the pointer may be put back to unseen. */
  const expose = () => {
    exposed = [];
    for (const on of sloppy ? live : []) {
      for (const { place, low, pointer = low } of /** @type {any[]} */ ([on, on.kept ?? {}])) {
        if (pointer < place?.risk) exposed.push({ place, low: pointer, high: place.risk, on });
      }
    }
    exposed.forEach(note);
  };

  /** Let the pointer rest where nobody knows for which call is allocated, or leave it where it is. */
  const settle = () => {
    if (top && live.size && (dirty(host.place ?? own) || !(host.place || (live.size < 2 && inUse(own))))) {
      depart(host);
      const place = provide();
      // Below its highest address, since that may be the next stack's lowest.
      if (place) arrive((host = { place, pointer: place == own ? home : place.floor - 16 }));
    }
    left = now();
    strange = undefined;
    expose();
  };

  return {
    check,
    known: !!top,

    /**
     * For saved states: tell what there is, and take what is to be there instead.
     * @param {(home: number, keeps: Kept[], host: Host, own: Place, places: Place[], limit: (to: Limited) => Limited) => [number, Kept[], Host]} f
     */
    all: (f) => ([home, keeps, host] = f(home, keeps, host, own, places, limit)),

    /** The pointer, where somebody can allocate below. */
    position: exports.stackAlloc ?? exports._emscripten_stack_alloc ?? exports.__stack_pointer ? now : () => 0,

    /**
     * Find a stack for a call that starts. Where no other can be had, it runs below what is on the guest's own.
     * @param {Call} call
     * @param {boolean} idle Whether nothing else of the guest runs.
     * @param {number} [entry] The pointer when the import was called that starts it.
     */
    start(call, idle, entry) {
      if (!top) return;
      const at = now();
      const place = find(at);
      const user = inUse(place);
      if (!idle) expect(call, entry || at);
      if (!live.size && idle && place == own) home = at;
      live.add(call);
      if (idle && !user) {
        // Who waits for the one that has just ended puts the pointer back to above.
        const high = place.user?.pointer ?? 0;
        if (at < high) keep(call, place, at, high, call);
        return occupy(call, place, at);
      }
      // Its arguments are where another call runs or waits.
      const end = (idle ? user?.pointer : entry) || at;
      if (idle && at >= end && call.back?.sure) throw clash(call);
      if (at < end) {
        if (keeps.some((kept) => kept.low < end && at < kept.high && differs(kept))) throw clash(call);
        keep(call, place, at, end, user);
        hold(place, at);
      }
      const other = provide(place);
      if (other) occupy(call, other, other.floor);
      else if (!own.user) occupy(call, own, at);
    },

    /** Leave the guest's own stack to a call of which nobody knew whose it is, if it is free. @param {Call} call */
    adopt(call) {
      live.add(call);
      if (own.user) return;
      own.user = call;
      call.place = own;
    },

    /** The size of the stack that a call would need to suspend, and has not; 0 if it has what it needs. @param {Call} call */
    lacking: (call) => (!top || (call.place && (live.size < 2 || provide())) ? 0 : size),

    /** Let the pointer rest on a stack that nobody has, if nobody knows for which call is allocated. Nothing of the guest runs. @param {boolean} [ran] Whether it did just now. */
    rest(ran) {
      if (!ran) look();
      heal();
      for (const kept of keeps) if (!kept.on) putBack(kept);
      if (!guards[0] && closing()) guard();
      settle();
    },

    /** The pointer is where it is found. What was allocated for a call that goes on stays. @param {Call} call */
    wake(call) {
      depart(host);
      const at = look();
      const place = find(at);
      const { place: before, pointer: resting = 0 } = host;
      const user = inUse(place);
      host = { pointer: before && resting };
      if (!call.state) begun = expect(call, origin);
      const inTheWay = heal();
      guards = [];
      if (inTheWay && !call.state) throw clash(call);
      if (!before) return;
      if (place == before && at >= resting) return;
      // So much was allocated at once.
      if (strange && place != before && at < resting && (place != own || at > top)) {
        put(resting);
        check({ ...call, place: before }, 0);
      }
      if (call.state && !user) hold(place, at);
    },

    /** Let a call run on its stack. Returns what is to be restored. @param {Call} call */
    enter(call) {
      if (!top) return;
      const outer = now();
      const { place, kept } = call;
      if (call.state && place) {
        // What was allocated on the guest's own stack while the call waited stays: the import may return its address.
        const found = place == own && find(outer) == own ? outer : place.floor;
        call.pointer = Math.min(/** @type {number} */ (call.pointer), place.floor, found);
        check(call, call.pointer);
        if (call.lost || kept?.lost) throw clash(call);
      }
      for (const kept of keeps) if (kept.on == call && !kept.lost) note(kept);
      arrive(call);
      return outer;
    },

    /**
     * A call has suspended or ended.
     * @param {Call} call
     * @param {number | undefined} outer What `enter` returned; undefined for a call that has been adopted.
     * @param {number} thunk Where a thunk has left the pointer of a call that is suspended; 0: it is still set.
     */
    leave(call, outer, thunk) {
      if (!top) return;
      const { kept } = call;
      const suspended = call.state == UNWINDING;
      if (suspended) {
        // Its caller may put the pointer back right away.
        if (begun) {
          queueMicrotask(() => {
            look();
            begun = undefined;
          });
        }
        call.pointer = thunk || now();
        if (call.place == own) outer = call.pointer;
        // Whoever runs on now may need the place.
        if (kept && !kept.lost) note(kept);
      } else if (live.size > 1 || late.some(({ sure }) => sure)) queueMicrotask(() => this.rest()); // before who waits for the call puts it back
      for (const kept of keeps) {
        if (kept.on != call || kept == call.kept) continue;
        if (!suspended || /** @type {number} */ (call.pointer) >= kept.high) putBack(kept);
        else kept.lost ||= differs(kept);
        if (!suspended) kept.on = undefined;
      }
      if (outer) put(outer);
      depart(call);
    },

    /**
     * Take back the stack of a call that has ended.
     * @param {Call} call
     * @param {boolean} [idle] Whether nothing of the guest runs.
     */
    finish(call, idle) {
      if (!top) return;
      const { kept, back = expect(call, 0) } = call;
      live.delete(call);
      late.push(back);
      if (begun == back) begun = undefined;
      if (kept) kept.bytes = undefined;
      if (idle && !live.size) put(home);
      const close = () => {
        look();
        back.soon = false;
        if (!back.sure) back.place.risk = Math.max(back.place.risk, back.at);
        late = late.filter(({ soon, sure, at }) => soon || (sure && at));
        if (call.place?.user == call) call.place.user = undefined;
        if (!live.size) for (const place of [own, ...places]) place.floor = place.high;
        keeps = keeps.filter((one) => one != kept);
        heal();
        if (!closing()) guards = [];
        const at = now();
        const place = find(at);
        if (place == own && at <= top) home = Math.max(home, at);
        const rest = (host.place && host.pointer) || Math.min(inUse(own)?.pointer ?? home, own.floor);
        if (place != (host.place ?? own) || (live.size ? at > rest : at == kept?.high)) put(rest);
        settle();
      };
      // Behind whoever puts the pointer back when the call has ended, which they could not wait for if it was never suspended.
      queueMicrotask(call.site ? close : () => queueMicrotask(close));
    },
  };
}
