"""What is not touched stays as it is: sections in their places, byte for byte, whatever they hold."""

from __future__ import annotations

import caesura
from tests.instrument.building import (
    HEADER,
    assert_valid,
    bodies,
    custom,
    leb,
    name,
    part,
    parts,
    section,
    vector,
)
from tests.support.engine import assemble
from tests.support.plain_abi import PlainGuest, always

WIDE = 5

# (func $run (result i32) call $f i32.const 1 i32.add), and functions that cannot suspend, with padded numbers.
RUN = b"\0\x10\0\x41\x01\x6a\x0b"
PURE = b"\x80\x80\0\x41\x87\x80\0\x1a\x02\x7f\x41\x05\x0b\x0f\x01\x0b"
SIDE = b"\0\x10" + leb(2, WIDE) + b"\x0b"


def odd_module() -> bytes:
    """Return a valid module with custom sections everywhere and every number that may be padded padded."""
    f = name("env") + name("f") + b"\0" + leb(0, WIDE)
    return (
        HEADER
        + custom("dylink.0", b"\x01\x04\0\0\0\0", width=3)
        + custom("first", b"\xff\xfe")
        + section(1, leb(1, WIDE) + b"\x60\0\x01\x7f", WIDE)
        + custom("same", b"one")
        + section(2, vector([f]), WIDE)
        + section(3, vector([leb(0, WIDE)] * 3), 2)
        + custom("same", b"two")
        + section(4, b"\x01\x70\0\x02", 3)
        + section(5, b"\x01\0\x01", 4)
        + section(6, b"\x01\x7f\0\x41\x87\x80\0\x0b", WIDE)
        + custom("", b"no name")
        + section(7, vector([name("run") + b"\0\x01", name("memory") + b"\x02" + leb(0, 3)]), WIDE)
        + section(9, b"\x01\0\x41\0\x0b\x01" + leb(2, WIDE), 3)
        + section(12, leb(1, 2), 2)
        + custom("between", bytes(200))
        + section(10, leb(3, 4) + leb(len(RUN), 3) + RUN + leb(len(PURE), WIDE) + PURE + leb(len(SIDE), 2) + SIDE)
        + section(11, b"\x01\x01\x03abc", 2)
        + custom("last", b"")
        + custom("last", b"again")
    )


def test_sections_stay_in_place() -> None:
    binary = odd_module()
    assert_valid(binary)
    output = caesura.instrument(binary).module
    assert_valid(output)
    before, after = parts(binary), parts(output)
    assert [(item.number, item.title) for item in after] == [(item.number, item.title) for item in before]
    assert after[0].title == "dylink.0"
    extended = {1, 3, 6, 7, 10}  # types, functions, globals, exports and code get new entries
    for old, new in zip(before, after, strict=True):
        if old.number in extended:
            assert new.raw != old.raw
        else:
            assert new.raw == old.raw


def test_bodies_that_stay_keep_every_byte() -> None:
    """A function that cannot suspend is copied with its size field, its padded numbers and dead oddities, if asked."""
    binary = odd_module()
    result = caesura.instrument(binary, caesura.Options(keep_padding=True))
    assert [function.instrumented for function in result.functions] == [True, False, False]
    assert bodies(result.module)[1:3] == bodies(binary)[1:3]
    assert bodies(binary)[1].startswith(leb(len(PURE), WIDE))


def test_the_entries_of_extended_sections_keep_their_bytes() -> None:
    binary = odd_module()
    output = caesura.instrument(binary).module
    assert leb(0, WIDE) * 3 in part(output, 3).payload
    assert b"\x7f\0\x41\x87\x80\0\x0b" in part(output, 6).payload
    assert name("memory") + b"\x02" + leb(0, 3) in part(output, 7).payload


def test_the_odd_module_works() -> None:
    guest = PlainGuest(caesura.instrument(odd_module()).module, {("env", "f"): lambda: 41}, suspend_at=always)
    assert guest.call("run") == 42
    assert guest.suspensions == 1


def test_missing_sections_are_put_where_the_specification_wants_them() -> None:
    """Custom sections keep their neighbours in front; nothing comes before `dylink.0`."""
    binary = HEADER + custom("dylink.0", b"") + custom("producers", b"\0") + section(1, b"\x01\x60\0\0")
    output = caesura.instrument(binary).module
    assert_valid(output)
    titles = ["dylink.0", "producers", 1, 3, 5, 6, 7, 10]
    assert [item.number or item.title for item in parts(output)] == titles


def test_the_empty_module() -> None:
    result = caesura.instrument(HEADER)
    assert_valid(result.module)
    assert (result.functions, result.sites, result.code_before) == ((), 0, 0)
    assert PlainGuest(result.module).state() == 0


def test_a_module_in_which_nothing_suspends_only_gets_the_runtime() -> None:
    binary = assemble('(module (memory 1) (func (export "f") (param i32) (result i32) local.get 0))')
    output = caesura.instrument(binary).module
    assert bodies(output)[0] == bodies(binary)[0]
    assert part(output, 5) == part(binary, 5)
    assert part(output, 3).payload[1:2] == part(binary, 3).payload[1:]


def test_tags_element_and_data_segments_are_copied() -> None:
    binary = assemble(r"""
      (module
        (import "env" "f" (func $f))
        (memory 1) (table 9 funcref)
        (tag $t (param i32 i64))
        (func $run (export "run") call $f)
        (elem (i32.const 1) $run $f) (elem func $run) (elem declare func $f)
        (elem (table 0) (i32.const 3) funcref (ref.null func) (ref.func $run))
        (data (i32.const 4) "\00\ff") (data "passive"))
    """)
    output = caesura.instrument(binary).module
    assert_valid(output)
    for number in (4, 5, 9, 11, 13):
        assert part(output, number).raw == part(binary, number).raw
