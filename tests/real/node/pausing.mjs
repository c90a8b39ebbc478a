// A host that pauses a module with pause points in the plain ABI at random counts, and resumes it: what it saved is
// overwritten, and put back.

const STACK_SIZE = 1 << 18;
const STRUCTURE_SIZE = 16;
const UNWINDING = 1;
const PLENTY = 1n << 60n;

/**
 * What is counted; `pausing`, which gives the exports of an instance, whose functions go on wherever they pause; and
 * `throughTables`, after which this holds for what JavaScript gets out of tables, too, and what it puts there is not wrapped.
 */
export function makePausing(largest, seed) {
  const counts = { pauses: 0, given: 0n, left: () => 0n, used: () => counts.given - counts.left() };
  let state = seed;
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const wrapped = new WeakMap();
  const originals = new WeakMap();
  let wrap = (f) => f;
  function throughTables() {
    const { get, set } = WebAssembly.Table.prototype;
    WebAssembly.Table.prototype.get = function (index) {
      const f = get.call(this, index);
      return typeof f == "function" ? wrap(f) : f;
    };
    WebAssembly.Table.prototype.set = function (index, ...value) {
      return set.call(this, index, ...value.map((f) => originals.get(f) ?? f));
    };
  }
  function pausing(exports) {
    const { asyncify_fuel: fuel, asyncify_pause_data: place, asyncify_memory: memory } = exports;
    const refill = () => {
      const portion = largest ? BigInt(random(largest)) : PLENTY;
      counts.given += portion - fuel.value;
      fuel.value = portion;
    };
    counts.left = () => (fuel ? fuel.value : 0n);
    counts.given = fuel ? fuel.value : 0n;
    if (fuel) refill();
    let depth = 0;
    wrap = (f) => {
      if (!wrapped.has(f)) wrapped.set(f, wrapping(f));
      originals.set(wrapped.get(f), f);
      return wrapped.get(f);
    };
    const wrapping = (f) => (...parameters) => {
      if (!memory) return f(...parameters);
      const before = place.value;
      const structure = 1024 + depth++ * STACK_SIZE;
      const start = structure + STRUCTURE_SIZE;
      new Uint32Array(memory.buffer).set([start, structure + STACK_SIZE], structure >> 2);
      place.value = structure;
      try {
        let result = f(...parameters);
        while (exports.asyncify_get_state() === UNWINDING) {
          counts.pauses++;
          exports.asyncify_stop_unwind();
          const end = new Uint32Array(memory.buffer)[structure >> 2];
          const saved = new Uint8Array(memory.buffer).slice(start, end);
          new Uint8Array(memory.buffer).fill(0xaa, start, end);
          refill();
          new Uint8Array(memory.buffer).set(saved, start);
          exports.asyncify_start_rewind(structure);
          result = f(...parameters.map((value) => (typeof value === "bigint" ? 0n : 0)));
        }
        return result;
      } finally {
        depth--;
        place.value = before;
      }
    };
    return Object.fromEntries(Object.entries(exports).map(([name, value]) => [name, typeof value === "function" ? wrap(value) : value]));
  }
  return { counts, pausing, throughTables };
}
