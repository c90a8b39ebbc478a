/**
 * How fast a guest counts fuel, so how much of it is good for some time, and what it takes to suspend it.
 *
 * A portion of fuel ends with a suspension and begins with a resumption, which take time for each frame on the stack: in a
 * deep recursion more than a portion is for. Taken for the guest's slowness that would make portions ever smaller, until the
 * guest did nothing but be suspended. So behind one that was much slower than any before comes one that ends at the next pause
 * point, which takes hardly any time but that; the others last as long as that at least. Should the machine be busy just then,
 * or the guest have done something that takes long, it counts for no more than so many frames may take. The host in Python does
 * the same (`pace.py`).
 */

/** The least fuel in a portion, but for one that is to end at once. */
export const LEAST_PORTION = 1000;

// What one look counts at most, where instructions have nothing large to fill: that of a loop which looks once in many iterations.
const MOST_IN_A_LOOK = 16_384;

// Units of fuel a millisecond that a portion is for at most: what a guest counts may be far more than what it runs, or less, up
// to a sixteenth, and it may change that on purpose when it has got its portion.
const FASTEST = 1_000_000;

// Units of fuel a millisecond, until the guest's own speed is known: where the clock is looked at again, and where it cannot be.
// What took less than so many milliseconds tells nothing but that it was not slow.
const SLOW = 50_000;
const FAST = 500_000;
const MEASURABLE = 0.05;

// What of a portion's time is the guest's, at least: it may have become slower just then. After so many portions it is measured
// again what suspending takes, where it matters: the stack may not be as deep any more.
const OWN = 0.25;
const AGE = 8;

// Milliseconds that suspending a guest takes at most: a part of that for each byte of its frames.
const MOST_COST = 0.05;
const MOST_COST_OF_A_BYTE = 0.000_1;

export function makePace() {
  let speed = SLOW;
  /** Milliseconds that suspending and resuming the guest took last, and for how many portions that is known. */
  let [cost, age] = [0, AGE];
  /** The most that the speed has been since it was known for the guest's. */
  let known = SLOW;
  /** Units and milliseconds of a portion of which it is not clear what they were for, until that is measured. @type {[number, number] | undefined} */
  let unclear;
  /** Whether the portion that was given last is the one that tells. */
  let measures = false;

  return {
    cost: () => cost,

    /** Units a millisecond where only the count tells of time: a portion that is used up ends what runs. */
    maskedSpeed: () => Math.max(speed, FAST),

    /** Units for some milliseconds. @param {number} milliseconds */
    portion(milliseconds) {
      measures = !!unclear;
      return measures ? 1 : Math.max(Math.max(milliseconds, cost) * speed, LEAST_PORTION);
    },

    /**
     * Note what a guest has counted.
     * @param {number} units
     * @param {number} elapsed In so many milliseconds.
     * @param {number} most Those that a portion is for.
     * @param {boolean} isUsedUp Whether the portion is.
     * @param {() => number} frames How many bytes of frames it has written, where it was paused before.
     */
    learn(units, elapsed, most, isUsedUp, frames) {
      if (unclear) {
        if (!measures || !isUsedUp) return;
        const [before, took] = unclear;
        unclear = undefined;
        cost = units <= MOST_IN_A_LOOK ? Math.min(elapsed, MOST_COST + MOST_COST_OF_A_BYTE * frames()) : 0;
        age = 0;
        speed = known = Math.min(speed, before / Math.max(took - cost, OWN * took));
        return;
      }
      if (elapsed < MEASURABLE && !isUsedUp) return;
      const found = Math.min(units / Math.max(elapsed - cost, OWN * elapsed), 2 * speed, FASTEST);
      if (elapsed < MEASURABLE && found <= speed) return;
      const isLeast = units < 2 * MOST_IN_A_LOOK && elapsed > most;
      const matters = isLeast || Math.max(cost, elapsed - most) > OWN * most;
      age++;
      if (isUsedUp && (found < known / 2 || (matters && age > AGE))) unclear = [units, elapsed];
      else {
        speed = found;
        known = Math.max(known, speed);
      }
    },
  };
}
