/**
 * What a module's memories hold in a new instance, from its data segments: states leave out what is still so.
 *
 * An engine makes them, so one is asked, once for each module; nothing of the guest runs there, whose start function is the
 * host's to call. Memories, tables and globals that are imported are somebody else's, who would see the instance.
 */

import { STATE_MEMORIES } from "./abi.js";
import { readMemory } from "./capture.js";
import { engineInstantiate } from "./errors.js";
import { chunksOf, gathered } from "./format.js";

/** @typedef {import("./schema.js").State} State */
/** @typedef {import("./schema.js").MemoryState} MemoryState */
/** @typedef {Map<number, Uint8Array>} Chunks By number. */

/** By module: of each memory, by its index. @type {WeakMap<WebAssembly.Module, Promise<Map<number, Chunks>>>} */
const known = new WeakMap();

/** @param {WebAssembly.Module} module @param {MemoryState[]} memories */
async function read(module, memories) {
  const found = new Map();
  const items = WebAssembly.Module.imports(module);
  if (items.some(({ kind }) => kind != "function")) return found;
  /** @type {any} */
  const imports = Object.create(null);
  for (const item of items) (imports[item.module] ??= Object.create(null))[item.name] = () => {};
  const { exports } = await engineInstantiate(module, imports);
  for (const { index, page_size } of memories) {
    const memory = /** @type {WebAssembly.Memory} */ (exports[STATE_MEMORIES + index]);
    found.set(index, chunksOf(readMemory(memory, index, page_size)));
  }
  return found;
}

/**
 * Leave out of a state what is as its module makes it.
 * @param {State} state @param {WebAssembly.Module} module
 */
export async function leaveOutInitial(state, module) {
  // Where there is no room for another instance, nothing is left out.
  if (!known.has(module)) known.set(module, read(module, state.memories).catch(() => new Map()));
  const initial = await known.get(module);
  for (const memory of state.memories) {
    const first = initial?.get(memory.index);
    if (first) leaveOut(memory, first);
  }
}

/** @param {MemoryState} memory @param {Chunks} initial */
function leaveOut(memory, initial) {
  const chunks = chunksOf(memory);
  /** @type {[number, number][]} */
  const parts = [];
  for (const [number, chunk] of initial) {
    const now = chunks.get(number);
    if (!now || !chunk.every((byte, place) => byte == now[place])) continue;
    chunks.delete(number);
    const last = parts[parts.length - 1];
    if (last && last[0] + last[1] == number) last[1]++;
    else parts.push([number, 1]);
  }
  memory.initial = parts;
  if (parts.length) memory.runs = gathered(memory.size, (number) => chunks.get(number));
}
