/** Saved states as bytes: those that Python has written are read and written, and bytes of strangers are checked. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { it } from "node:test";
import { fileURLToPath } from "node:url";
import { deflateRawSync } from "node:zlib";

import { decode, encode, SnapshotError } from "../src/format.js";
import { unpackZstd } from "../src/zstd.js";
import { findPython, repository } from "./support/guests.mjs";

const path = (name) => fileURLToPath(new URL(name, repository));
const WHOLE = readFileSync(path("tests/snapshots/data/version2.caesura"));
const CHANGE = readFileSync(path("tests/snapshots/data/version2-change.caesura"));
const HEADER = 44;

/** A file with a right checksum. */
const sealed = (body) => Buffer.concat([WHOLE.subarray(0, 12), createHash("sha256").update(body).digest(), body]);

const leb128 = (number) => (number < 128 ? [number] : [(number & 127) | 128, ...leb128(number >>> 7)]);
const section = (kind, content, { codec = 0, size = content.length } = {}) =>
  Buffer.concat([Buffer.of(kind, codec, ...leb128(content.length), ...leb128(size)), Buffer.from(content)]);

const DIGEST = "0".repeat(64);
const MODULE = { contract: 1, imports: ["env.ask"], instrumented: DIGEST, options: {}, original: DIGEST };
const MINIMAL = { runs: {}, state: { globals: {}, memories: {}, module: MODULE } };
const CALL = { arguments: [["i32", 1]], export: "run", frames: 0, function: "env.ask", mode: "call" };

/** JSON with sorted keys. */
const written = (value) =>
  Array.isArray(value)
    ? `[${value.map(written)}]`
    : value && typeof value == "object"
      ? `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${written(value[key])}`)}}`
      : JSON.stringify(value);
const fileOf = (document, ...others) => sealed(Buffer.concat([section(2, typeof document == "string" ? document : written(document)), ...others]));
const withState = (fields) => fileOf({ ...MINIMAL, state: { ...MINIMAL.state, ...fields } });

it("what Python has written is read, and what is written here Python reads", async () => {
  const whole = await decode(WHOLE);
  const later = await decode(CHANGE, whole);
  mkdirSync(path("build/js"), { recursive: true });
  for (const [name, bytes] of Object.entries({ whole: await encode(whole), change: await encode(later, whole) })) {
    writeFileSync(path(`build/js/format-${name}.caesura`), bytes);
  }
  const program = `
from pathlib import Path
from caesura.snapshots.format import decode, encode
from tests.snapshots.states import sample_with_initial as sample, sample_with_initial_later as sample_later
folder = Path("build/js")
assert decode((folder / "format-whole.caesura").read_bytes()) == sample()
assert decode((folder / "format-change.caesura").read_bytes(), sample()) == sample_later()
folder.joinpath("format-zstd.caesura").write_bytes(encode(sample_later(), sample()))
print("read")`;
  assert.equal(execFileSync(findPython(), ["-c", program], { cwd: path(""), encoding: "utf8" }), "read\n");
  assert.deepEqual(await decode(readFileSync(path("build/js/format-zstd.caesura")), whole), later);
});

it("files of older versions are read, without what they do not have", async () => {
  const [first, later] = ["", "-change"].map((name) => readFileSync(path(`tests/snapshots/data/version1${name}.caesura`)));
  const whole = await decode(first);
  const { memories } = await decode(later, whole);
  assert.deepEqual([whole, { memories }].map((state) => state.memories[0].initial), [[], []]);
  assert.equal(memories[0].size, 262144);
  const older = Uint8Array.from(WHOLE);
  older[8] = 1;
  await assert.rejects(decode(older), /version 1 has no such field/);
});

it("the same state gives the same bytes", async () => {
  const bytes = await encode(await decode(WHOLE));
  assert.deepEqual(await encode(await decode(bytes)), bytes);
});

for (const [what, bytes, message, base] of [
  ["no bytes", Buffer.of(), /not a saved state of caesura/],
  ["another file", Buffer.from("GIF89a and more"), /not a saved state of caesura/],
  ["a file that is cut off", WHOLE.subarray(0, 20), /ends after 20 bytes, within its header/],
  ["another version", Buffer.concat([WHOLE.subarray(0, 8), Buffer.of(7, 0, 0, 0), WHOLE.subarray(12)]), /is of version 7 of the format; .* reads the versions 1 and 2/],
  ["a byte that changed", Buffer.concat([WHOLE.subarray(0, 100), Buffer.of(WHOLE[100] ^ 1), WHOLE.subarray(101)]), /its checksum differs/],
  ["an unknown section", sealed(section(9, "x")), /offset 44 .*: a section of kind 9/],
  ["an empty section", sealed(section(2, "")), /section document is empty/],
  ["an unknown compression", sealed(section(2, "x", { codec: 3 })), /unknown number 3/],
  ["a section that is longer than the file", sealed(section(2, "xyz").subarray(0, 5)), /document has 3 bytes, and 1 are left/],
  ["a section twice", sealed(Buffer.concat([section(2, "{}"), section(2, "{}")])), /document stands twice/],
  ["a number that is too long", sealed(Buffer.of(2, 0, 128, 128, 0)), /not in the shortest form/],
  ["no document", sealed(section(3, "x")), /has no section document/],
  ["a change without its base", CHANGE, /holds what changed since the state [0-9a-f]{64}: that is needed/],
  ["a change of another base", CHANGE, /not since [0-9a-f]{64}/, withState({})],
  ["a document of a gigabyte", sealed(section(2, "{}", { codec: 2, size: 2 ** 30 })), /has 1073741824 bytes, more than 16777216/],
  ["a terabyte of memory", sealed(Buffer.concat([section(2, "{}"), Buffer.of(4, 2, 1, ...[128, 128, 128, 128, 128, 64], 0)])), /more than the limit of 4294967296/],
  ["a bomb", sealed(Buffer.concat([section(2, deflateRawSync(Buffer.alloc(1 << 20)), { codec: 2, size: 100 })])), /does not end after the 100 bytes/],
  ["deflate with something behind", sealed(section(2, Buffer.concat([deflateRawSync(written(MINIMAL)), Buffer.of(0)]), { codec: 2, size: written(MINIMAL).length })), /section document: /],
  ["deflate that is cut off", sealed(section(2, deflateRawSync(written(MINIMAL)).subarray(0, -1), { codec: 2, size: written(MINIMAL).length })), /section document: /],
  ["deflate that is none", sealed(section(2, Buffer.of(255, 255, 255), { codec: 2, size: 100 })), /section document: /],
  ["zstd that is none", sealed(section(2, Buffer.of(255, 255, 255), { codec: 1, size: 100 })), /section document: it does not begin as a frame/],
  ["text that is not JSON", fileOf("{"), /it is not JSON/],
  ["JSON that is no object", fileOf("[]"), /it is not an object/],
  ["spaces", fileOf("{ }"), /not canonical JSON from its character 1/],
  ["a key twice", fileOf(`{"a":1,"a":1}`), /not canonical JSON/],
  ["keys in another order", fileOf(`{"b":1,"a":1}`), /not canonical JSON/],
  ["a fraction", fileOf(`{"runs":1.0}`), /not canonical JSON/],
  ["nothing in it", fileOf({}), /state: undefined is not an object/],
  ["a field too many", fileOf({ ...MINIMAL, more: 1 }), /more: there is no such field/],
  ["a field of the prototype", withState({ toString: 1 }), /state.toString: there is no such field/],
  ["a prototype", fileOf(`{"__proto__":{"x":1}}`), /__proto__: there is no such field/],
  ["a digest that is none", withState({ module: { ...MODULE, original: "A" } }), /state.module.original: "A" is not a digest/],
  ["a contract that is none", withState({ module: { ...MODULE, contract: 0 } }), /contract: 0 is not within 1 and 65535/],
  ["an option with a wrong name", withState({ module: { ...MODULE, options: { "A b": 1 } } }), /not the name of an option/],
  ["a default", withState({ module: { ...MODULE, path: "" } }), /path: this is the value of which nothing is written/],
  ["a page size", withState({ memories: { 0: { page_size: 3, size: 3 } } }), /page_size: 3 is not a power of two/],
  ["a size", withState({ memories: { 0: { page_size: 65536, size: 3 } } }), /size: 3 is not a multiple/],
  ["an index that is none", withState({ memories: { "01": { page_size: 65536, size: 65536 } } }), /"01": a number of 32 bits/],
  ["a type that is none", withState({ globals: { 0: { bits: 1, type: "i31" } } }), /type: "i31" is none of i32/],
  ["too many bits", withState({ globals: { 0: { bits: 4294967296, type: "i32" } } }), /bits: 4294967296 has more than the 32 bits/],
  ["a number that is not exact", fileOf(written(MINIMAL).replace(`"globals":{}`, `"globals":{"0":{"bits":9007199254740992,"type":"i64"}}`)), /must be text/],
  ["text for a small number", withState({ globals: { 0: { bits: "7", type: "i64" } } }), /7 is text, and must be a number/],
  ["an object that is not there", withState({ globals: { 0: { bits: 0, type: "externref" } } }), /globals.0: there is no object 0/],
  ["an exception that is not there", withState({ globals: { 0: { bits: 0, type: "exnref" } } }), /globals.0: there is no exception 0/],
  ["what cannot be saved", withState({ globals: { 0: { bits: 2 ** 31, type: "anyref" } } }), /globals.0: 2147483648 is neither null nor a number of 31 bits/],
  ["an argument that is an exception", withState({ calls: { 0: { ...CALL, arguments: [["exnref", 4294967295]] } } }), /arguments.0.0: "exnref" is none of/],
  ["a payload that is no number", withState({ exceptions: [{ tag: 0, values: [["funcref", 1]] }] }), /values.0.0: "funcref" is none of/],
  ["a payload with too many bits", withState({ exceptions: [{ tag: 0, values: [["i32", 4294967296]] }] }), /exceptions.0.values.0.bits: 4294967296 has more/],
  ["half an element", fileOf({ ...MINIMAL, state: { ...MINIMAL.state, tables: { 0: { elements: 3, type: "funcref" } } } }, section(3, "abc")), /3 bytes are not 4 for each/],
  ["bulk that is not there", withState({ calls: { 0: { ...CALL, frames: 8 } } }), /frames: 8 bytes of bulk are more than there are/],
  ["bulk that belongs to nothing", fileOf(MINIMAL, section(3, "abc")), /3 bytes of bulk belong to nothing/],
  ["calls with a gap", withState({ calls: { 1: CALL } }), /there are 1 items, but none with the number 0/],
  ["a mode that is none", withState({ calls: { 0: { ...CALL, mode: "x" } } }), /mode: "x" is none of call/],
  ["a neighbour that is none", withState({ calls: { 0: { ...CALL, kept: { high: 2, low: 1, neighbour: 0, stack: 0 } } } }), /no such other call as 0/],
  ["what is kept upside down", withState({ calls: { 0: { ...CALL, kept: { high: 1, low: 2, stack: 0 } } } }), /low: 2 lies above high/],
  ["a main call that is none", withState({ stacks: { main: 0 } }), /stacks.main: there is no call 0/],
  ["segments that do not ascend", withState({ dropped_data: [2, 1] }), /dropped_data: these are not ascending/],
  ["an area in no memory", withState({ area: [1, "18446744073709551615"] }), /area: 18446744073709551615 is no address/],
  ["an area upside down", withState({ area: [2, 1] }), /area: 2 lies above the end/],
  ["runs of no memory", fileOf({ ...MINIMAL, runs: { 0: [0, 1] } }), /runs."0": there is no such memory/],
  ["pages that nobody announced", fileOf(MINIMAL, section(4, "x")), /runs: these are 0 bytes, other than the section pages/],
  ["a module that nobody announced", fileOf(MINIMAL, section(5, "x")), /embedded: there is a section with a module/],
  ["another module", fileOf({ ...MINIMAL, embedded: DIGEST }, section(5, "x")), /embedded: this is not the digest/],
]) {
  it(`${what} is refused by name`, async () => {
    await assert.rejects(decode(bytes, base && (await decode(base))), (error) => {
      assert.ok(error instanceof SnapshotError, String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

it("the limit is the caller's to set", async () => {
  await assert.rejects(decode(WHOLE, undefined, 1000), /holds \d+ bytes, more than the limit of 1000/);
});

it("whatever is changed in a file, it is read or refused", async () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const whole = await decode(WHOLE);
  let [read, refused] = [0, 0];
  for (const [original, base] of [[WHOLE], [CHANGE, whole], [Buffer.from(await encode(whole))]]) {
    for (let number = 0; number < 1000; number++) {
      const body = Buffer.from(original.subarray(HEADER));
      for (let change = random(3); change >= 0; change--) body[random(body.length)] = random(256);
      const cut = random(8) ? body : body.subarray(0, random(body.length));
      try {
        await decode(sealed(cut), base, 1 << 24);
        read++;
      } catch (error) {
        assert.ok(error instanceof SnapshotError, error.stack);
        refused++;
      }
    }
  }
  assert.equal(read + refused, 3000);
  assert.ok(refused > 2000);
});

it("zstd of every level is unpacked, and what is damaged is refused", () => {
  const program = `
import pathlib, random, sys
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd
random.seed(3)
folder = pathlib.Path("build/js/zstd")
folder.mkdir(parents=True, exist_ok=True)
contents = {
    "text": pathlib.Path("docs/design.md").read_bytes(),
    "code": pathlib.Path(sys.argv[1]).read_bytes()[:300000],
    "random": random.randbytes(150000),
    "zeros": bytes(400000),
    "one": b"x",
    "mixed": b"".join(random.choice([bytes(90), random.randbytes(30), b"abcabc" * 5]) for _ in range(5000)),
    "skewed": bytes(random.choices(range(256), weights=[1 / (i + 1) ** 2 for i in range(256)], k=100000)),
}
P = zstd.CompressionParameter
for name, content in contents.items():
    (folder / f"{name}.raw").write_bytes(content)
    for level in (1, 3, 9, 19):
        for window in (10, 20):
            options = {P.compression_level: level, P.window_log: window, P.checksum_flag: level == 9}
            compressor = zstd.ZstdCompressor(options=options)
            if window == 20:
                compressor.set_pledged_input_size(len(content))
            packed = compressor.compress(content, mode=compressor.FLUSH_FRAME)
            (folder / f"{name}.{level}.{window}").write_bytes(packed)`;
  execFileSync(findPython(), ["-c", program, path("build/js/saved.thunks.wasm")], { cwd: path("") });
  let seed = 7;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (const name of ["text", "code", "random", "zeros", "one", "mixed", "skewed"]) {
    const content = readFileSync(path(`build/js/zstd/${name}.raw`));
    for (const level of [1, 3, 9, 19]) {
      for (const window of [10, 20]) {
        const packed = readFileSync(path(`build/js/zstd/${name}.${level}.${window}`));
        assert.equal(Buffer.compare(unpackZstd(packed, content.length), content), 0, `${name} ${level} ${window}`);
        for (const [bytes, size] of [[packed, content.length + 1], [packed.subarray(0, -1), content.length], [Buffer.concat([packed, Buffer.of(0)]), content.length]]) {
          assert.throws(() => unpackZstd(bytes, size), Error);
        }
        if (content.length > 1) assert.throws(() => unpackZstd(packed, content.length - 1), Error);
        for (let number = 0; number < 5; number++) {
          const damaged = Buffer.from(packed);
          damaged[random(packed.length)] ^= 1 << random(8);
          try {
            assert.equal(unpackZstd(damaged, content.length).length, content.length);
          } catch (error) {
            assert.ok(error.constructor == Error, error.stack);
          }
        }
      }
    }
  }
});
