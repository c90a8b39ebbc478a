/**
 * Who goes on next, of the guests that have something to compute: the policy, which can be replaced, the same as that of the
 * host in Python (docs/slices.md).
 *
 * Each guest gets time in proportion to its weight: its virtual time runs slower the more weight it has, and the guest goes
 * on whose virtual time is least. One that has waited for something else does not save time up. Of several priorities the
 * highest goes first, but every eighth turn is that of the guest that has waited for longest: none starves.
 */

/**
 * A guest as a policy sees it.
 * @typedef {object} Share
 * @property {WebAssembly.Exports} exports Those of the guest.
 * @property {number} weight
 * @property {number} priority
 * @property {number} ran Milliseconds for which it has computed since it was added last.
 * @property {number} virtualTime For the policy.
 */

/**
 * No guest is added twice.
 * @typedef {object} Policy
 * @property {(share: Share) => void} add The guest waits for a turn.
 * @property {(share: Share) => void} remove It does not wait any more.
 * @property {() => Share | undefined} choose Returns who goes on, and waits no more; nothing if nobody waits.
 */

// One turn in so many is that of the guest that has waited for longest.
const LONGEST_WAITING = 8;

/** Time in proportion to weights; higher priorities first. @implements {Policy} */
export class FairShares {
  /** In the order in which they were added. @type {Set<Share>} */
  #waiting = new Set();
  #virtualTime = 0;
  #turns = 0;

  /** @param {Share} share */
  add(share) {
    share.virtualTime = Math.max(share.virtualTime + share.ran / share.weight, this.#virtualTime);
    this.#waiting.add(share);
  }

  /** @param {Share} share */
  remove(share) {
    this.#waiting.delete(share);
  }

  choose() {
    /** @type {Share | undefined} */
    let chosen;
    /** @type {Share | undefined} */
    let longest;
    let isMixed = false;
    for (const share of this.#waiting) {
      longest ??= share;
      isMixed ||= share.priority != longest.priority;
      const before = chosen && (chosen.priority - share.priority || share.virtualTime - chosen.virtualTime);
      if (before === undefined || before < 0) chosen = share;
    }
    if (isMixed && ++this.#turns % LONGEST_WAITING == 0) chosen = longest;
    if (!chosen) return;
    this.#waiting.delete(chosen);
    this.#virtualTime = Math.max(this.#virtualTime, chosen.virtualTime);
    return chosen;
  }
}
