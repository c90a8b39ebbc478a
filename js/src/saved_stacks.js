/**
 * The C stacks of a saved guest: what `stacks` knows of them, in the words of docs/snapshots.md, and back.
 *
 * Both hosts let the first call run on the guest's own stack, and others on stacks from its malloc. They differ in where the
 * pointer is while nothing runs. In a saved state it is on the guest's own stack, below all that has to stay there; what the
 * ponyfill rests on meanwhile is a stack that no call uses. Who would have put the pointer back, once a call had ended, is
 * not there any more when a guest is restored, so nothing is saved of that.
 */

import { refuse } from "./format.js";
import { NO_STACKS } from "./schema.js";
import { findRegister, like, unsigned } from "./stacks.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./stacks.js").Place} Place */
/** @typedef {import("./stacks.js").Kept} Kept */
/** @typedef {import("./schema.js").StacksState} StacksState */
/** @typedef {import("./schema.js").CallRecord} CallRecord */

/** What stands at the low end of a further stack, where the host in Python looks whether it has overflowed. */
const CANARY = new TextEncoder().encode("!arusea" + "c");

/** @param {Guest} guest @returns {Uint8Array} */
const bytesOf = ({ exports }) => new Uint8Array((exports.memory ?? exports["asyncify_state:memory:0"]).buffer);

/**
 * Do something while the pointer and the limits are as a saved guest has them.
 * @template T
 * @param {Guest} guest @param {Call[]} calls Those that are suspended.
 * @param {(stacks: StacksState, where: Partial<CallRecord>[]) => T} act Takes where each call is, too.
 * @returns {T}
 */
export function withSavedStacks(guest, calls, act) {
  /** @type {T} */
  let result;
  if (!guest.stacks.known) return act(NO_STACKS, calls.map(() => ({})));
  const register = findRegister(guest.exports);
  guest.stacks.all((home, keeps, host, own, places, limit) => {
    const found = register.value;
    const main = calls.findIndex(({ place }) => place == own);
    const other = host.limits && limit(host.limits);
    const pointer = calls.length ? Math.min(calls[main]?.pointer ?? home, own.floor) : unsigned(found);
    register.value = like(found, pointer);
    try {
      result = act(stacksOf(calls, places, main, home, bytesOf(guest)), calls.map((call) => whereOf(call, calls, own, calls[main] == call ? home : pointer)));
    } finally {
      register.value = found;
      if (other) limit(other);
    }
    return [home, keeps, host];
  });
  // @ts-ignore: it is called at once.
  return result;
}

/**
 * @param {Call[]} calls @param {Place[]} places @param {number} main @param {number} home @param {Uint8Array} memory
 * @returns {StacksState}
 */
function stacksOf(calls, places, main, home, memory) {
  /** @param {Place} place */
  const isKept = (place) => calls.some(({ kept }) => kept?.place == place);
  const unused = places.filter((place) => !calls.some((call) => call.place == place));
  // These bytes are the host's, which has asked malloc for them.
  for (const { low } of places) memory.set(CANARY, low);
  /** @param {Place[]} some */
  const lows = (some) => some.map(({ low }) => low);
  const all = {
    ...NO_STACKS,
    size: Math.max(0, ...places.map(({ low, high }) => high - low)),
    stacks: lows(places),
    spare: lows(unused.filter((place) => !isKept(place))),
    held: lows(unused.filter(isKept)).sort((one, other) => one - other),
  };
  return { ...all, ...(main >= 0 && { main }), ...(calls.length && { home }) };
}

/** @param {Call} call @param {Call[]} calls @param {Place} own @param {number} resting @returns {Partial<CallRecord>} */
function whereOf({ place, pointer = 0, kept, lost, name }, calls, own, resting) {
  if (lost) refuse(`the call of ${name} cannot be saved: others may have overwritten what it has on the C stack`);
  if (!place) return {};
  /** @param {Place} one */
  const addressOf = (one) => (one == own ? 0 : one.low);
  /** @type {Partial<CallRecord>} */
  const where = { stack: addressOf(place), stack_pointer: Math.min(pointer, place.floor), bottom: pointer, resting_pointer: resting };
  if (!kept) return where;
  const neighbour = calls.indexOf(/** @type {Call} */ (kept.on));
  const { low, high } = kept;
  const noted = kept.lost && kept.bytes ? Uint8Array.from(kept.bytes) : undefined;
  return { ...where, kept: { low, high, stack: addressOf(kept.place), ...(neighbour >= 0 && { neighbour }), ...(noted && { noted }) } };
}

/**
 * Put what was known of the C stacks into a new guest, whose memory and globals are there again.
 * @param {Guest} guest @param {StacksState} state @param {Call[]} calls @param {CallRecord[]} records
 */
export function putStacksBack(guest, state, calls, records) {
  const { stacks, spare, surplus, size } = state;
  const used = records.map(({ stack }) => stack).filter(Boolean);
  const wrong = (/** @type {string} */ why) => refuse(`the snapshot's C stacks are not those of the guest: ${why}`);
  if (new Set(used).size < used.length || !used.every((stack) => stacks.includes(stack) && !spare.includes(stack) && !surplus.includes(stack))) {
    wrong("two calls on one stack, or one on none");
  }
  if (!guest.stacks.known) {
    if (stacks.length) refuse("the snapshot has calls on C stacks of their own, and JavaScript does not reach this guest's stack pointer: instrument it with --thunks, or export __stack_pointer");
    calls.forEach(guest.stacks.adopt);
    return;
  }
  const end = bytesOf(guest).length;
  /** @param {number} low @param {number} high */
  const check = (low, high) => {
    if (typeof low != "number" || typeof high != "number" || low > high || high > end) wrong(`${low} to ${high} is not in its memory`);
  };
  for (const low of [...stacks, ...surplus]) check(low, low + size);
  for (const { stack_pointer, kept } of records) {
    check(stack_pointer, stack_pointer);
    if (kept) check(kept.low, kept.high);
  }
  if (state.home !== undefined) check(state.home, state.home);
  guest.stacks.all((_, __, host, own, places) => {
    // What is no longer used may be used again here.
    for (const low of [...stacks, ...surplus]) {
      const high = low + size - ((low + size) % 16);
      places.push({ low, high, floor: high, risk: 0 });
    }
    /** @param {number} address */
    const placeOf = (address) => (address ? places.find(({ low }) => low == address) ?? wrong(`${address} is no stack`) : own);
    /** @type {Kept[]} */
    const keeps = [];
    calls.forEach((call, number) => {
      const { stack, stack_pointer, kept } = records[number];
      guest.stacks.adopt(call);
      const place = (call.place = placeOf(stack));
      if (place == own && state.main !== number) wrong("two calls on the guest's own stack");
      place.user = call;
      call.pointer = stack_pointer;
      place.floor = Math.min(place.floor, stack_pointer);
      if (!kept) return;
      const { low, high, noted } = kept;
      const now = bytesOf(guest).subarray(low, high);
      if (noted && noted.length != now.length) wrong("bytes that do not fit");
      const bytes = noted?.some((byte, at) => byte != now[at]) ? noted : undefined;
      keeps.push((call.kept = { place: placeOf(kept.stack), low, high, on: kept.neighbour === undefined ? undefined : calls[kept.neighbour], bytes, lost: !!bytes }));
      call.kept.place.floor = Math.min(call.kept.place.floor, low);
    });
    if (state.main === undefined) own.user = undefined;
    else if (calls[state.main].place != own) wrong("the call on the guest's own stack has another");
    return [state.home ?? unsigned(findRegister(guest.exports).value), keeps, host];
  });
  guest.stacks.rest(true);
}
