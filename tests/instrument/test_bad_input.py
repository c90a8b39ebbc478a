"""Bad modules: refused with a worded error and an offset, or instrumented, but nothing else ever happens.

Every test ends in `look`, which lets only the errors pass that a user can act on and that say where. Where the bytes
happen to be a valid module, what comes out must be one too. Cases with a lie in them (counts, sizes, indices) have
names; the rest is damage done to whole modules: cut off, one byte changed, code pieces put in where they do not belong.
"""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import caesura
from tests.instrument.building import (
    HEADER,
    NOTHING,
    TO_I32,
    assert_valid,
    bodies,
    is_valid,
    leb,
    module,
    name,
    part,
    section,
    vector,
)
from tests.instrument.test_renumbering import RENUMBERED
from tests.support.counting import executed_lines, interpreted_only
from tests.support.engine import assemble

MIXED = """
  (module
    (type $t (func (param i32) (result i32)))
    (import "env" "f" (func $f (param i32) (result i32)))
    (import "env" "g" (global $g (mut i32)))
    (memory (export "memory") 1) (table 4 funcref) (tag $e (param i32))
    (global $h (mut i64) (i64.const 5))
    (elem (i32.const 0) func $run $b) (data (i32.const 8) "hello")
    (func $b (param i32) (result i32) (local i64 f32 f64 v128)
      (local.set 1 (i64.const 7))
      (local.set 4 (v128.const i64x2 1 2))
      (block $out (result i32)
        (loop $l
          (br_if $out (call $f (local.get 0)) (i32.eqz (local.get 0)))
          drop
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (if (i32.and (local.get 0) (i32.const 1))
            (then (drop (call $run (i32.const 3))))
            (else (global.set $g (call $f (i32.const 9)))))
          (block (block (block (br_table 0 1 2 (call $f (local.get 0)))) (br $l)) nop))
        (i32.add (i32.load offset=4 (i32.const 0))
          (call_indirect (type $t) (call $f (i32.const 1)) (i32.const 1)))
        (drop (i8x16.extract_lane_s 3 (local.get 4)))
        (i32.add (i32.wrap_i64 (i64.add (local.get 1) (global.get $h))))))
    (func $run (export "run") (param i32) (result i32) (local i32)
      (block $c (result i32)
        (try_table (result i32) (catch $e $c)
          (call $b (local.get 0))
          (local.tee 1)
          (select (i32.const 5) (call $f (local.get 1))))))
    (func $pure (param i32 i32) (result i32) (return_call $pure (local.get 1) (i32.const 3)))
    (func $many (result i32 i64 f32) (i32.const 1) (i64.const 2) (f32.const 3) (drop (call $f (i32.const 3))))
    (func (export "many") (drop (drop (drop (call $many)))))
    (func $dead (param i32) (result i32)
      local.get 0 call $f block (result i32) i32.const 1 unreachable call $f end i32.add drop
      block i32.const 1 call $f br_if 0 br 0 i32.const 3 call $f drop end
      i32.const 2 call $f return loop i32.const 4 call $f drop br 0 end))
"""
GC = """
  (module
    (type $s (struct (field (mut i32)) (field i64)))
    (import "env" "f" (func $f (param i64) (result i64)))
    (memory i64 1) (memory 1) (export "memory" (memory 1))
    (func $gc (result (ref null $s)) (struct.new $s (i32.const 1) (i64.const 2)))
    (func $w (export "w") (param (ref null $s)) (result i64)
      (i64.add (call $f (i64.const 1)) (i64.add (call $f (i64.load (i64.const 0))) (i64.load 1 (i32.const 3)))))
    (func $r (param f64 f32) (result f64) (local f64)
      (local.set 2 (f64.sqrt (local.get 0)))
      (drop (call $f (i64.trunc_sat_f64_s (local.get 2))))
      (f64.add (local.get 2) (f64.promote_f32 (local.get 1)))))
"""
VICTIMS = [
    (assemble(MIXED), caesura.Options()),
    (assemble(MIXED), caesura.Options(asserts=True, imports=("env.f",), remove_list=("b",), import_globals=True)),
    (assemble(RENUMBERED), caesura.Options()),
    (assemble(GC), caesura.Options(in_secondary_memory=True, thunks=True)),
]
NUMBERS = range(len(VICTIMS))


def look(binary: bytes, options: caesura.Options | None = None) -> str:
    """Instrument a module, or fail to in one of the ways that are allowed."""
    try:
        output = caesura.instrument(binary, options or caesura.Options()).module
    except caesura.MalformedModule as error:
        return str(error) if 0 <= error.offset <= len(binary) else pytest.fail(f"no place in the file: {error}")
    except (caesura.UnsupportedModule, caesura.UsageError) as error:
        return str(error)
    if is_valid(binary):
        assert_valid(output)
    return ""


def test_the_victims_are_fine() -> None:
    for binary, options in VICTIMS:
        assert_valid(binary)
        assert look(binary, options) == ""


@pytest.mark.parametrize("victim", NUMBERS)
def test_cut_off_anywhere(victim: int) -> None:
    binary, options = VICTIMS[victim]
    for size in range(len(binary)):
        look(binary[:size], options)


@pytest.mark.parametrize("victim", NUMBERS)
def test_every_byte_changed(victim: int) -> None:
    binary, options = VICTIMS[victim]
    chance = random.Random(victim)
    for place in range(8, len(binary)):
        for value in (0xFF, chance.randrange(256)):
            look(binary[:place] + bytes([value]) + binary[place + 1 :], options)


@given(st.sampled_from(NUMBERS), st.integers(8, 2000), st.binary(max_size=6), st.integers(0, 6))
@settings(max_examples=400)
def test_bytes_replaced(victim: int, place: int, inserted: bytes, removed: int) -> None:
    binary, options = VICTIMS[victim]
    place = 8 + place % (len(binary) - 8)
    look(binary[:place] + inserted + binary[place + removed :], options)


_PIECES = """
    0b 05 00 01 0f 1a 1b 6a 45 19 0a 0240 0340 0440 0640 027f 037f 047f 1f40010200 1f7f00 0c00 0d00 0d01
    0e010000 1000 1001 1005 110000 1200 130000 1400 0700 0800 0900 1800 2000 2100 2200 207f 217f 2300
    2400 237f 41 4101 4200 d070 d1 d4 d500 1c0170 fb00 fc08 fd0c ff f7 20ffffffff0f 10ffffffff0f
    02ffffffff0f 63 64
"""
PIECES = [bytes.fromhex(piece) for piece in _PIECES.split()]


@given(
    st.sampled_from(NUMBERS),
    st.integers(0, 9),
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from(PIECES), st.integers(0, 3)), min_size=1, max_size=4),
)
@settings(max_examples=600)
@example(0, 0, [(40, bytes.fromhex("0540"), 0), (41, b"\x05", 0)])
def test_code_where_it_does_not_belong(victim: int, function: int, changes: list[tuple[int, bytes, int]]) -> None:
    """One body is changed and the sizes around it are right, so that what looks at code is reached."""
    binary, options = VICTIMS[victim]
    found = bodies(binary)
    function %= len(found)
    body = _unsized(found[function])
    for place, piece, removed in changes:
        place = 1 + place % len(body)
        body = body[:place] + piece + body[place + removed :]
    found[function] = leb(len(body)) + body
    look(binary.replace(part(binary, 10).raw, section(10, vector(found))), options)


def _unsized(body: bytes) -> bytes:
    return next(body[size:] for size in range(1, 6) if body[:size] == leb(len(body) - size, size))


HUGE = b"\xff\xff\xff\xff\x0f"
CALL = b"\x10\0"

# Code of one function that follows `call $f`, without its locals and its last `end`.
BAD_CODE = {
    "unknown opcode": b"\x27",
    "opcode 0xff": b"\xff",
    "unknown prefixed opcode": b"\xfc\x7f",
    "prefixed opcode that is too long": b"\xfd" + HUGE,
    "branch out of range": b"\x0c\x01",
    "branch far out of range": b"\x0c" + HUGE,
    "br_if out of range": b"\x41\0\x0d\x05",
    "br_table out of range": b"\x41\0\x0e\x01\0\x05",
    "br_table with 4 billion targets": b"\x41\0\x0e" + HUGE + b"\0",
    "br_table that is cut off": b"\x41\0\x0e\x7f\0",
    "call out of range": b"\x10\x07",
    "call far out of range": b"\x10" + HUGE,
    "type of call_indirect out of range": b"\x41\0\x11\x07\0",
    "table of call_indirect out of range": b"\x41\0\x11\0\x07",
    "type of call_ref out of range": b"\xd0\x70\x14\x07",
    "local out of range": b"\x20\x09\x1a",
    "local far out of range": b"\x20" + HUGE + b"\x1a",
    "local that is set out of range": b"\x41\0\x21" + HUGE,
    "local that is teed out of range": b"\x41\0\x22" + HUGE + CALL + b"\x1a",
    "global out of range": b"\x23\x07\x1a",
    "global that is set out of range": b"\x41\0\x24\x07",
    "memory out of range": b"\x41\0\x28\x42\x07\0\x1a",
    "size of a memory out of range": b"\x3f\x07" + CALL + b"\x1a",
    "tag out of range": b"\x08\x07",
    "function reference out of range": b"\xd2\x07\x1a",
    "block type out of range": b"\x02\x07" + CALL + b"\x0b",
    "block type far out of range": b"\x02" + HUGE + CALL + b"\x0b",
    "unknown block type": b"\x02\x50" + CALL + b"\x0b",
    "catch label out of range": b"\x1f\x40\x01\x02\x07" + CALL + b"\x0b",
    "catch tag out of range": b"\x1f\x40\x01\0\x07\0" + CALL + b"\x0b",
    "catch clause of unknown kind": b"\x1f\x40\x01\x07\0" + CALL + b"\x0b",
    "4 billion catch clauses": b"\x1f\x40" + HUGE + b"\0" + CALL + b"\x0b",
    "4 billion select types": b"\x1c" + HUGE + b"\x7f",
    "else without if": b"\x05",
    "else of a block": b"\x02\x40\x05" + CALL + b"\x0b",
    "two elses": b"\x41\0\x04\x40" + CALL + b"\x05" + CALL + b"\x05" + CALL + b"\x0b",
    "catch without try": b"\x07\0",
    "catch of a block": b"\x02\x40" + CALL + b"\x19\x0b",
    "catch behind catch_all": b"\x06\x40" + CALL + b"\x19\x07\0\x0b",
    "else of a try": b"\x06\x40" + CALL + b"\x05\x0b",
    "delegate without try": b"\x18\0",
    "delegate of a block": b"\x02\x40" + CALL + b"\x18\0",
    "delegate of a loop": b"\x03\x40" + CALL + b"\x18\0",
    "delegate of an if": b"\x41\0\x04\x40" + CALL + b"\x05" + CALL + b"\x18\0",
    "delegate behind catch": b"\x06\x40" + CALL + b"\x19\x18\0" + CALL,
    "delegate out of range": b"\x06\x40" + CALL + b"\x18\x05",
    "rethrow out of range": b"\x09\x05",
    "missing end": b"\x02\x40" + CALL,
    "end too many": b"\x0b" + CALL,
    "drop of nothing": b"\x1a",
    "add of nothing": b"\x6a\x1a",
    "add of one": b"\x41\0\x6a\x1a",
    "store of nothing": b"\x36\0\0",
    "set of nothing": b"\x21\0",
    "tee of nothing": b"\x22\0",
    "select of nothing": b"\x1b\x1a",
    "if without a condition": b"\x04\x40" + CALL + b"\x0b",
    "br_table without an operand": b"\x0e\0\0",
    "arguments that are missing": b"\x41\0\x11\x02\0",
    "indirect call without an index": b"\x11\0\0",
    "parameters of a block that are missing": b"\x02\x02" + CALL + b"\x1a\x0b",
    "parameters of a loop that are missing": b"\x03\x02" + CALL + b"\x1a\x0b",
    "values left behind": b"\x41\0\x41\0" + CALL,
    "a block that takes from outside": b"\x41\0\x02\x40\x1a" + CALL + b"\x0b",
    "a loop that takes from outside": b"\x41\0\x03\x40" + CALL + b"\x1a" + CALL + b"\x0b",
    "a value that a block does not give": b"\x02\x7f" + CALL + b"\x0b\x1a",
    "padding beyond five bytes": b"\x41\x80\x80\x80\x80\x80\0\x1a",
    "a number of 33 bits": b"\x23\xff\xff\xff\xff\x1f\x1a",
    "alignment of 2 to the 4 billion": b"\x41\0\x28" + HUGE + b"\0\x1a",
    "cut off in a constant": b"\x44\0\0\0",
    "cut off in a vector": b"\xfd\x0c\0\0",
    "cut off in a memory argument": b"\x41\0\x28",
    "cut off in a number": b"\x41\x80",
    "packed type": b"\x02\x78" + CALL + b"\x0b\x1a",
}
TYPES = (NOTHING, TO_I32, b"\x60\x01\x7f\0")


@pytest.mark.parametrize("case", BAD_CODE)
@pytest.mark.parametrize("suspends", [True, False])
def test_bad_code(case: str, suspends: bool) -> None:
    """In a function that is instrumented, and in one that is not."""
    binary = module(b"\0" + CALL + BAD_CODE[case] + b"\x0b", b"\0" + CALL + b"\x0b", types=TYPES)
    assert not is_valid(binary)
    message = look(binary, caesura.Options(ignore_imports=not suspends, ignore_indirect=not suspends))
    assert len(message) < 300


@pytest.mark.parametrize(
    "case",
    [
        "unknown opcode",
        "branch far out of range",
        "call far out of range",
        "local out of range",
        "local far out of range",
        "local that is set out of range",
        "two elses",
        "else without if",
        "missing end",
        "end too many",
    ],
)
def test_bad_code_is_not_accepted(case: str) -> None:
    """What the analysis stands on is checked, and the offset lies in the function."""
    binary = module(b"\0" + CALL + BAD_CODE[case] + b"\x0b", b"\0\x0b", types=TYPES)
    with pytest.raises(caesura.MalformedModule) as error:
        caesura.instrument(binary)
    assert error.value.function.startswith("function 1")
    assert binary.index(b"\0" + CALL + BAD_CODE[case]) <= error.value.offset <= len(binary)


BAD_BODIES = {
    "4 billion locals": b"\x01" + HUGE + b"\x7f" + CALL + b"\x0b",
    "4 billion times 2 locals": b"\x02" + HUGE + b"\x7f" + HUGE + b"\x7f" + CALL + b"\x0b",
    "50,001 locals in one declaration": b"\x01" + leb(50_001) + b"\x7f" + CALL + b"\x0b",
    "4 billion declarations": HUGE + b"\x01\x7f" + CALL + b"\x0b",
    "as many declarations as bytes": b"\x05\x01\x7f" + CALL + b"\x0b",
    "a local of unknown type": b"\x01\x01\x01" + CALL + b"\x0b",
    "a local of a type out of range": b"\x01\x01\x63\x07" + CALL + b"\x0b",
    "no code": b"\0",
    "declarations to the end": b"\x01\x01\x7f",
    "no end": b"\0" + CALL,
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_bodies(case: str) -> None:
    for more in ((), (b"\0\x0b",)):
        binary = module(BAD_BODIES[case], *more)
        for ignore in (False, True):
            look(binary, caesura.Options(ignore_imports=ignore))
        assert not is_valid(binary)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 6, 7, 100, 2**32 - 1])
def test_a_body_that_lies_about_its_size(size: int) -> None:
    code = b"\0" + CALL + b"\x0b"
    binary = module(code, b"\0\x0b")
    payload = leb(2) + leb(size) + code + leb(2) + b"\0\x0b"
    with pytest.raises(caesura.MalformedModule):
        caesura.instrument(binary.replace(part(binary, 10).raw, section(10, payload)))


@pytest.mark.parametrize("number", [*range(1, 14), 14, 0x7F, 0xFF])
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\x01", b"\x80", HUGE, b"\x80" * 12, HUGE + bytes(30), b"\x01\xff" * 9]
)
def test_sections_of_garbage(number: int, content: bytes) -> None:
    look(HEADER + section(number, content))
    look(HEADER + section(1, vector([NOTHING])) + section(number, content))
    look(HEADER + bytes([number]) + leb(len(content) + 1) + content)
    for at in range(1, 14):
        look(HEADER + section(number, content) + section(at, b"\0"))


BAD_SECTIONS = {
    "4 billion types": section(1, HUGE + NOTHING),
    "4 billion types in a group": section(1, b"\x01\x4e" + HUGE + NOTHING),
    "4 billion parameters": section(1, b"\x01\x60" + HUGE + b"\x7f\0"),
    "4 billion supertypes": section(1, b"\x01\x50" + HUGE + NOTHING),
    "4 billion fields": section(1, b"\x01\x5f" + HUGE + b"\x7f\0"),
    "unknown type form": section(1, b"\x01\x42\0\0"),
    "unknown parameter type": section(1, b"\x01\x60\x01\x42\0"),
    "4 billion imports of a type": section(1, vector([NOTHING])) + section(2, b"\x01\x01a\0\x7e\0\0" + HUGE + b"\x01b"),
    "import of a type out of range": section(2, vector([name("a") + name("b") + b"\0\x07"])),
    "import of unknown kind": section(2, vector([name("a") + name("b") + b"\x09\0"])),
    "name of 4 billion bytes": section(2, b"\x01" + HUGE + b"a"),
    "name that is not UTF-8": section(2, vector([b"\x02\xff\xfe" + name("b") + b"\x02\0\x01"])),
    "function of a type out of range": section(3, b"\x01\x07"),
    "functions without code": section(1, vector([NOTHING])) + section(3, b"\x02\0\0"),
    "code without functions": section(10, b"\x01\x02\0\x0b"),
    "table of numbers": section(4, b"\x01\x7f\0\x01"),
    "unknown limits": section(5, b"\x01\x7f\x01"),
    "limits of 11 bytes": section(5, b"\x01\0" + b"\xff" * 10 + b"\x01"),
    "global without an initializer": section(6, b"\x01\x7f\0"),
    "global whose initializer has no end": section(6, b"\x01\x7f\0\x41\0"),
    "global with an unknown instruction": section(6, b"\x01\x7f\0\x27\x0b"),
    "export out of range": section(7, vector([name("a") + b"\0\x07"])),
    "export of unknown kind": section(7, vector([name("a") + b"\x09\0"])),
    "start out of range": section(8, b"\x07"),
    "start that is too long": section(8, b"\0\0"),
    "more bytes than entries": section(1, vector([NOTHING]) + b"\0"),
    "sections out of order": section(3, b"\0") + section(1, b"\0"),
    "a section twice": section(1, b"\0") + section(1, b"\0"),
    "unknown section": section(14, b"\0"),
    "custom section without a name": section(0, b""),
    "custom section with a long name": section(0, b"\x7fa"),
    "section beyond the end": b"\x01\x7f\0",
    "section of 4 billion bytes": b"\x01" + HUGE,
    "tag of a type out of range": section(13, b"\x01\0\x07"),
}


@pytest.mark.parametrize("case", BAD_SECTIONS)
def test_bad_sections(case: str) -> None:
    with pytest.raises(caesura.MalformedModule) as error:
        caesura.instrument(HEADER + BAD_SECTIONS[case])
    assert error.value.offset >= 0


ASYNCIFY = section(2, vector([name("asyncify") + name("stop_unwind") + b"\0\0"]))
# What is only read where indices change.
BAD_SEGMENTS = {
    "unknown element segment": section(9, b"\x01\x08"),
    "4 billion element segments": section(9, HUGE),
    "4 billion elements": section(9, b"\x01\x01\0" + HUGE),
    "elements out of range": section(9, b"\x01\x01\0\x01\x07"),
    "element expression without end": section(9, b"\x01\x05\x70\x01\x41\0"),
    "element expression out of range": section(9, b"\x01\x05\x70\x01\xd2\x07\x0b"),
    "offset of a global out of range": section(9, b"\x01\0\x23\x07\x0b\0"),
    "4 billion data segments": section(11, HUGE),
    "unknown data segment": section(11, b"\x01\x07"),
    "data of 4 billion bytes": section(11, b"\x01\x01" + HUGE),
    "data offset out of range": section(11, b"\x01\0\x23\x07\x0b\0"),
    "global initialized out of range": section(6, b"\x01\x70\0\xd2\x07\x0b"),
    "table initialized out of range": section(4, b"\x01\x40\0\x70\0\x01\xd2\x07\x0b"),
}


@pytest.mark.parametrize("case", BAD_SEGMENTS)
def test_bad_segments(case: str) -> None:
    look(HEADER + BAD_SEGMENTS[case])
    with pytest.raises(caesura.MalformedModule) as error:
        caesura.instrument(HEADER + section(1, vector([NOTHING])) + ASYNCIFY + BAD_SEGMENTS[case])
    assert error.value.offset > 0


@pytest.mark.parametrize("head", [b"", HEADER, HEADER + b"\0\x80\x80\x04", HEADER + b"\x0a\xff\xff\x7f"])
def test_ten_million_zeros(head: bytes) -> None:
    with pytest.raises(caesura.MalformedModule):
        caesura.instrument(head + bytes(10_000_000))


def test_headers() -> None:
    for binary in (b"", b"\0asm", b"\0asm\x02\0\0\0", b"(module)", b"\x7fELF" + bytes(99)):
        with pytest.raises(caesura.MalformedModule):
            caesura.instrument(binary)


@interpreted_only
def test_lies_do_not_take_long() -> None:
    """Every body claims that its locals reach to the end of the module: reading on each time would be quadratic."""

    def refuse(count: int) -> None:
        lie = leb(3 * count // 2) + b"\x01\x7f\x0b"
        with pytest.raises(caesura.MalformedModule):
            caesura.instrument(module(*[lie] * count))

    assert executed_lines(lambda: refuse(2_000)) < 5 * executed_lines(lambda: refuse(500))


def test_a_lie_costs_no_memory() -> None:
    """A local index is a few bytes; the sets of liveness must not grow with it."""
    binary = module(b"\0" + CALL + b"\x20" + HUGE + b"\x1a\x0b")
    tracemalloc.start()
    try:
        with pytest.raises(caesura.MalformedModule, match="local"):
            caesura.instrument(binary)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
