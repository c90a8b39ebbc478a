/**
 * Save states: a suspended guest is written down as bytes, and goes on from them, here, in another process, or in Python.
 *
 *     const bytes = await snapshot(instance); // the guest waits
 *     const { instance, pending } = await restore(bytes, module, imports); // another process, another day
 *     const result = await pending[0].resume(42);
 *
 * A file of its own, so that programs that save nothing do not load it. docs/snapshots.md says what is saved, and how.
 */

import { settle } from "./call.js";
import { capture, find, recorded, suspended } from "./capture.js";
import { engineInstantiate, raise, SuspendError } from "./errors.js";
import { decode, encode, hex, LIMIT, refuse, sha256 } from "./format.js";
import { checkReferences } from "./held_references.js";
import { leaveOutInitial } from "./initial.js";
import { prepare } from "./instantiate.js";
import { checkOptions, OPTIONS } from "./options.js";
import { printable } from "./printable.js";
import { putBack } from "./restoring.js";
import { goOn as goOnPaused, LIMITS } from "./slices.js";
import { HELD, isPaused } from "./slicing.js";
import { readStateSection } from "./state_section.js";

/** @typedef {import("./call.js").Call} Call */
/** @typedef {import("./guest.js").Guest} Guest */
/** @typedef {import("./guest.js").Options} InstanceOptions */
/** @typedef {import("./instantiate.js").Imports} Imports */
/** @typedef {import("./schema.js").State} State */
/** @typedef {import("./schema.js").WasiState} WasiState */

export { SnapshotError } from "./format.js";

/** @typedef {{ base?: Uint8Array }} Base An earlier snapshot. */

/**
 * `base`: only what has changed since then is written down, and it has to be at hand when that is read.
 * @typedef {Base & SavingOptions} SnapshotOptions
 */

/**
 * @typedef {object} SavingOptions
 * @property {BufferSource} [embed] The instrumented module, which the snapshot then brings along.
 * @property {(value: any) => Uint8Array} [saveObject] Writes values of JavaScript that the guest refers to.
 * @property {WasiState} [wasi] What the guest sees of the world, for hosts that open it again.
 */

/**
 * @typedef {object} SavedOptions
 * @property {number} [limit] In bytes: how much the snapshot may hold, unpacked. Default: 4 GiB.
 * @property {(bytes: Uint8Array) => any} [loadObject] Makes the values of JavaScript that the guest refers to: for snapshots that you trust.
 */

/**
 * What `instantiate` takes, too; `base` is what the snapshot has the changes of.
 * @typedef {InstanceOptions & Base & SavedOptions} RestoreOptions
 */

/** The bytes of something that is bytes. @param {any} source @param {string} [name] @returns {Uint8Array} */
function bytesOf(source, name = "the snapshot") {
  if (ArrayBuffer.isView(source)) return new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  throw new TypeError(`${name}: neither an ArrayBuffer nor a view of one`);
}

/** @param {any} value @param {string} name */
const isBytes = (value, name) => bytesOf(value, `option ${name}`);
/** @param {any} value @param {string} name */
const isFunction = (value, name) => {
  if (typeof value != "function") throw new TypeError(`option ${name}: not a function`);
};
/** @param {any} value @param {string} name */
const isLimit = (value, name) => {
  if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`option ${name}: not a number of bytes`);
};
const SAVING = { base: isBytes, embed: isBytes, saveObject: isFunction, wasi() {} };
const RESTORING = { base: isBytes, limit: isLimit, loadObject: isFunction };

/**
 * Save an instance that `instantiate` or `Instance` of "caesura" has made, while none of its code runs. What it is at the time
 * of this call is saved, and nothing of it changes.
 * @param {WebAssembly.Instance} instance
 * @param {SnapshotOptions} [options]
 * @returns {Promise<Uint8Array>}
 */
export async function snapshot(instance, options = {}) {
  checkOptions(options, SAVING);
  const state = capture(instance, options);
  await leaveOutInitial(state, find(instance).module);
  if (options.embed) state.embedded = bytesOf(options.embed).slice();
  if (state.embedded && (await digestOfModule(state.embedded)) != state.module.instrumented) refuse("what is to be embedded is not the instance's module");
  return encode(state, options.base && (await decode(bytesOf(options.base))));
}

/** The digest of a module without its custom sections. @param {Uint8Array} module */
async function digestOfModule(module) {
  const parts = [module.subarray(0, 8)];
  for (let place = 8; place < module.length; ) {
    let [size, start] = [0, place + 1];
    for (let scale = 1; ; scale *= 128) {
      size += (module[start] & 127) * scale;
      if (!(module[start++] > 127)) break;
    }
    if (module[place]) parts.push(module.subarray(place, start + size));
    place = start + size;
  }
  return hex(await sha256(new Uint8Array(await new Blob(/** @type {BlobPart[]} */ (parts)).arrayBuffer())));
}

/**
 * Make an instance of a snapshot, whoever has written it.
 * @param {Uint8Array | ArrayBuffer} bytes
 * @param {WebAssembly.Module | BufferSource | null | undefined} module The instrumented module; none: the one in the snapshot.
 * @param {Imports} [imports] What the guest had, with other functions if you like.
 * @param {RestoreOptions} [options]
 * @returns {Promise<{ instance: WebAssembly.Instance, pending: PendingCall[], wasi?: WasiState }>}
 */
export async function restore(bytes, module, imports, { base, limit = LIMIT, loadObject, ...options } = {}) {
  checkOptions({ ...options, base, limit, loadObject }, { ...OPTIONS, ...RESTORING });
  const earlier = base && (await decode(bytesOf(base), undefined, limit));
  const state = await decode(bytesOf(bytes), earlier, limit);
  const source = module ?? state.embedded ?? earlier?.embedded ?? refuse("the snapshot has no module in it: give the instrumented one");
  // @ts-ignore: the second parameter is newer than TypeScript's libraries.
  const compiled = source instanceof WebAssembly.Module ? source : await WebAssembly.compile(/** @type {BufferSource} */ (source), options);
  const section = readStateSection(compiled);
  if (state.module.instrumented != section.instrumented) {
    refuse(
      "the snapshot is of another module, or of one that was instrumented otherwise: with other options, other imports that " +
        "may suspend, or by another version of caesura; what was taken with the module embedded brings it along",
    );
  }
  checkReferences(state, section);
  const [adapted, link] = prepare(compiled, imports, state.area ? { ...options, region: regionOf(section, state.area) } : options);
  const instance = link(await engineInstantiate(compiled, adapted));
  putBack(instance, section, state, loadObject);
  given.set(instance, imports);
  return { instance, pending: pending(instance), ...(state.wasi && { wasi: state.wasi }) };
}

/** Where the asyncify stack is, as the guest's addresses are. @param {import("./state_section.js").StateSection} section @param {[number, number]} area @returns {any} */
const regionOf = ({ memories }, area) => (memories[0]?.wide ? area.map(BigInt) : area);

/** The imports of restored instances, for calls that are made anew. @type {WeakMap<WebAssembly.Instance, any>} */
const given = new WeakMap();

/**
 * The suspended calls of an instance. Those of a restored one can be resumed; those that somebody here waits for can be looked at.
 * @param {WebAssembly.Instance} instance
 * @returns {PendingCall[]}
 */
export function pending(instance) {
  const { guest, module } = find(instance);
  return suspended(guest).map((call) => new PendingCall(call, guest, module, given.get(instance)));
}

/** A call of an export that is suspended in an import, or was paused in the middle of its code. */
export class PendingCall {
  /** @type {Call} */
  #call;
  /** @type {Guest} */
  #guest;
  /** @type {() => any} */
  #findImport;

  /** @param {Call} call @param {Guest} guest @param {WebAssembly.Module} compiled @param {any} imports */
  constructor(call, guest, compiled, imports) {
    this.#call = call;
    this.#guest = guest;
    this.#findImport = () => {
      const wanted = WebAssembly.Module.imports(compiled).find(({ module, name }) => `${module}.${name}` == this.function);
      const value = wanted && imports?.[wanted.module]?.[wanted.name];
      return value?.f ?? value;
    };
    /** The export's name. */
    this.export = call.name;
    /** The import's, as "module.name". */
    this.function = recorded.get(call)?.function ?? call.site?.name ?? "";
    /** What the guest has called that with. @type {any[]} */
    this.arguments = call.asked ?? [];
  }

  /** Whether nobody else drives the call, so that it can be resumed. */
  get isHeld() {
    return this.#call.promise == HELD && this.#guest.calls.has(this.#call) && !taken.has(this.#call);
  }

  /** Take the call into one's hands. Returns a promise of its result. @param {(settle: (answer: () => any) => void) => void} act */
  #take(act) {
    this.#check("resume");
    const call = this.#call;
    taken.add(call);
    return new Promise((resolve, reject) => {
      Object.assign(call, { resolve, reject });
      const goOn = () =>
        // Not above whatever of a guest is running now.
        act((answer) =>
          queueMicrotask(() => {
            recorded.delete(call);
            settle(call, HELD, answer);
          }),
        );
      const inHand = () => this.#guest.slicing?.inHand();
      if (!inHand()) return goOn();
      // Both may be told to go on in the same breath.
      queueMicrotask(() => {
        const first = inHand();
        if (call.promise != HELD) return; // closed
        if (!first) return goOn();
        taken.delete(call);
        const place = suspended(this.#guest).indexOf(first);
        reject(
          new SuspendError(
            `the call of ${printable(this.export)} waits in ${printable(this.function)}, and another one is paused in the middle of the guest's code: ` +
              `let that go on first, or drop it: pending[${place}], a call of ${printable(first.name)}`,
          ),
        );
      });
    });
  }

  /**
   * Let the guest go on, with what its import returns. Returns a promise of the export's result.
   * @param {any} [value] Of no meaning to a call that was paused in the middle of its code, whose `function` is "pause".
   * @param {import("./slices.js").Limits} [limits] What a call that was paused may take from now on.
   * @returns {Promise<any>}
   */
  async resume(value, limits = {}) {
    checkOptions(limits, LIMITS);
    if (isPaused(this.#call)) return this.#goOn(limits);
    if (Object.keys(limits).length) throw new TypeError("the call waits in an import: limits are for calls that were paused");
    return this.#take((settle) => settle(() => value));
  }

  /** Let a paused call go on. @param {import("./slices.js").Limits} limits */
  #goOn(limits) {
    this.#check("resume");
    return goOnPaused(this.#call, limits);
  }

  /** @param {string} act */
  #check(act) {
    if (!this.isHeld) throw new TypeError(`the call of ${this.export} is not yours to ${act}: it has ended, or who has made it waits for it`);
  }

  /** Let the guest go on, as if its import had thrown. @param {any} error @returns {Promise<any>} */
  async throw(error) {
    return this.#take((settle) => settle(() => raise(error)));
  }

  /** Call the import anew, with the same arguments, and let the guest go on with what becomes of that. @returns {Promise<any>} */
  async run() {
    if (isPaused(this.#call)) return this.#goOn({});
    const f = this.#findImport();
    if (typeof f != "function") throw new TypeError(`${this.function} is no function of JavaScript among the imports`);
    return this.#take((settle) => {
      (async () => f(...this.arguments))().then(
        (result) => settle(() => result),
        (reason) => settle(() => raise(reason)),
      );
    });
  }

  /** Give the call up: it will not be resumed. */
  drop() {
    this.#check("drop");
    if (isPaused(this.#call)) return this.#guest.slicing?.drop(this.#call, undefined);
    taken.add(this.#call);
    this.#guest.area.drop(this.#call);
    this.#call.promise = undefined;
    this.#guest.finish(this.#call, true);
  }
}

/** Calls of restored guests that somebody drives. @type {WeakSet<Call>} */
const taken = new WeakSet();
