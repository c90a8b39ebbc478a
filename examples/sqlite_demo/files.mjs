// File systems in memory for SQLite: one that answers at once, and one whose every method takes its time.
//
// SQLite calls a file system from the middle of a query and expects the answer as the result of the call. The slow file
// system cannot give it: every method has to wait for a timer first. `handleAsync`, which the glue puts in its place
// when the file system is registered, suspends SQLite there and resumes it with the answer.

import * as VFS from "wa-sqlite/src/VFS.js";

const METHODS = [
  "xOpen",
  "xClose",
  "xRead",
  "xWrite",
  "xTruncate",
  "xSync",
  "xFileSize",
  "xLock",
  "xUnlock",
  "xCheckReservedLock",
  "xFileControl",
  "xSectorSize",
  "xDeviceCharacteristics",
  "xDelete",
  "xAccess",
];

/** Files in memory. `contents` maps their names to their bytes. */
export class MemoryFiles extends VFS.Base {
  name = "files";
  mxPathName = 64;
  contents = new Map();
  calls = 0;
  #open = new Map();
  #nameless = 0;

  xOpen(name, file, flags, flagsOut) {
    this.calls++;
    const path = name ?? `nameless-${this.#nameless++}`;
    if (!this.contents.has(path)) {
      if (!(flags & VFS.SQLITE_OPEN_CREATE)) return VFS.SQLITE_CANTOPEN;
      this.contents.set(path, new Uint8Array(0));
    }
    this.#open.set(file, { path, temporary: Boolean(flags & VFS.SQLITE_OPEN_DELETEONCLOSE) });
    flagsOut.setInt32(0, flags, true);
    return VFS.SQLITE_OK;
  }

  xClose(file) {
    this.calls++;
    const { path, temporary } = this.#open.get(file);
    this.#open.delete(file);
    if (temporary) this.contents.delete(path);
    return VFS.SQLITE_OK;
  }

  xRead(file, target, offset) {
    this.calls++;
    const part = this.#bytes(file).subarray(offset, offset + target.byteLength);
    target.set(part);
    if (part.byteLength === target.byteLength) return VFS.SQLITE_OK;
    target.fill(0, part.byteLength);
    return VFS.SQLITE_IOERR_SHORT_READ;
  }

  xWrite(file, source, offset) {
    this.calls++;
    this.#resize(file, Math.max(this.#bytes(file).byteLength, offset + source.byteLength));
    this.#bytes(file).set(source, offset);
    return VFS.SQLITE_OK;
  }

  xTruncate(file, size) {
    this.calls++;
    this.#resize(file, Math.min(this.#bytes(file).byteLength, size));
    return VFS.SQLITE_OK;
  }

  xSync() {
    this.calls++;
    return VFS.SQLITE_OK;
  }

  xFileSize(file, sizeOut) {
    this.calls++;
    sizeOut.setBigInt64(0, BigInt(this.#bytes(file).byteLength), true);
    return VFS.SQLITE_OK;
  }

  xLock() {
    this.calls++;
    return VFS.SQLITE_OK;
  }

  xUnlock() {
    this.calls++;
    return VFS.SQLITE_OK;
  }

  xCheckReservedLock(file, lockedOut) {
    this.calls++;
    lockedOut.setInt32(0, 0, true);
    return VFS.SQLITE_OK;
  }

  xFileControl() {
    this.calls++;
    return VFS.SQLITE_NOTFOUND;
  }

  xSectorSize() {
    this.calls++;
    return 512;
  }

  xDeviceCharacteristics() {
    this.calls++;
    return 0;
  }

  xDelete(name) {
    this.calls++;
    this.contents.delete(name);
    return VFS.SQLITE_OK;
  }

  xAccess(name, flags, resultOut) {
    this.calls++;
    resultOut.setInt32(0, this.contents.has(name) ? 1 : 0, true);
    return VFS.SQLITE_OK;
  }

  #bytes(file) {
    return this.contents.get(this.#open.get(file).path);
  }

  #resize(file, size) {
    const { path } = this.#open.get(file);
    const before = this.contents.get(path);
    if (before.byteLength === size) return;
    const after = new Uint8Array(size);
    after.set(before.subarray(0, size));
    this.contents.set(path, after);
  }
}

/**
 * The same files behind timers. `isSlow(number, method)` says which calls wait (all of them, unless given);
 * `byMethod` counts those that did.
 */
export class SlowFiles extends MemoryFiles {
  byMethod = {};
  #isSlow;
  #called = 0;
  #waiting = false;

  constructor(isSlow = () => true) {
    super();
    this.#isSlow = isSlow;
  }

  /** Answers a call of SQLite now or later. SQLite, resumed, makes the same call a second time to fetch the answer. */
  answer(method, compute) {
    if (this.#waiting) {
      this.#waiting = false;
      return this.handleAsync(compute);
    }
    const number = this.#called++;
    if (!this.#isSlow(number, method)) return compute();
    this.#waiting = true;
    this.byMethod[method] = (this.byMethod[method] ?? 0) + 1;
    return this.handleAsync(async () => {
      await (number % 64 === 0 ? new Promise((done) => setTimeout(done, 1)) : new Promise(setImmediate));
      return compute();
    });
  }
}

for (const method of METHODS) {
  const immediate = MemoryFiles.prototype[method];
  SlowFiles.prototype[method] = function (...parameters) {
    return this.answer(method, () => immediate.apply(this, parameters));
  };
}
