/** Custom sections, most of which consist of unsigned numbers in LEB128. */

/** The bytes of a module's first custom section of a name, if it has one. @param {WebAssembly.Module} module @param {string} name */
export const bytesOf = (module, name) => new Uint8Array(WebAssembly.Module.customSections(module, name)[0]);

/** Read them. @param {Iterable<number>} bytes */
export function readNumbers(bytes) {
  const numbers = [];
  let [number, scale] = [0, 1];
  for (const byte of bytes) {
    number += (byte & 127) * scale;
    scale *= 128;
    if (byte < 128) {
      numbers.push(number);
      [number, scale] = [0, 1];
    }
  }
  return numbers;
}
