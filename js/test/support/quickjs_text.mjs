// Text that the tests of npm's quickjs-wasi hand to the guest, and get from it.

/** Text in the guest's memory, for good. */
export function write({ exports }, text) {
  const content = new TextEncoder().encode(`${text}\0`);
  const place = exports.malloc(content.length);
  new Uint8Array(exports.memory.buffer).set(content, place);
  return [place, content.length - 1];
}

/** What a value of the guest's is as text. */
export function read({ exports }, value) {
  const place = exports.qjs_get_string(value);
  const memory = new Uint8Array(exports.memory.buffer);
  return new TextDecoder().decode(memory.subarray(place, memory.indexOf(0, place)));
}
