/** The bits of numbers that JavaScript has: of globals, whose bits it cannot always see, and of arguments. */

import { STATE_GET, STATE_GET_HIGH, STATE_GLOBALS, STATE_SET } from "./abi.js";

/** @typedef {import("./schema.js").Type} Type */
/** @typedef {(type: Type, value: any) => number} Save */
/** @typedef {(type: Type, number: number) => any} Load */

const view = new DataView(new ArrayBuffer(8));

/** A value's bits. @param {Type} type @param {any} value @param {Save} save Returns those of references. @returns {bigint} */
export function bitsOf(type, value, save) {
  if (type == "i32") return BigInt(value >>> 0);
  if (type == "i64") return BigInt.asUintN(64, value);
  if (type == "f32") {
    view.setFloat32(0, value);
    return BigInt(view.getUint32(0));
  }
  if (type == "f64") {
    view.setFloat64(0, value);
    return view.getBigUint64(0);
  }
  return BigInt(save(type, value));
}

/** The value that bits are; JavaScript has none for a vector. @param {Type} type @param {bigint} bits @param {Load} load */
export function valueOf(type, bits, load) {
  if (type == "i32") return Number(BigInt.asIntN(32, bits));
  if (type == "i64") return BigInt.asIntN(64, bits);
  if (type == "v128") return undefined;
  view.setBigUint64(0, bits);
  if (type == "f32") return view.getFloat32(4);
  if (type == "f64") return view.getFloat64(0);
  return load(type, Number(bits));
}

/** The bits of a mutable global. @param {any} exports @param {number} index @param {Type} type @param {Save} save */
export function readGlobal(exports, index, type, save) {
  const get = exports[STATE_GET + index];
  if (type == "f32") return BigInt(get() >>> 0);
  if (type == "f64") return BigInt.asUintN(64, get());
  if (type == "v128") return (BigInt.asUintN(64, exports[STATE_GET_HIGH + index]()) << 64n) | BigInt.asUintN(64, get());
  return bitsOf(type, exports[STATE_GLOBALS + index].value, save);
}

/** @param {any} exports @param {number} index @param {Type} type @param {bigint} bits @param {Load} load */
export function writeGlobal(exports, index, type, bits, load) {
  const set = exports[STATE_SET + index];
  if (type == "f32") set(Number(bits) | 0);
  else if (type == "f64") set(BigInt.asIntN(64, bits));
  else if (type == "v128") set(BigInt.asIntN(64, bits), BigInt.asIntN(64, bits >> 64n));
  else exports[STATE_GLOBALS + index].value = valueOf(type, bits, load);
}
