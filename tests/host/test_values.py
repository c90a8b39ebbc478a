"""What crosses the border between Python and the guest: values, checked, and memory."""

from __future__ import annotations

import asyncio
import gc
import math
import struct
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caesura
from tests.host.support import run

TYPES = ("i32", "i64", "f32", "f64", "v128", "externref")

ECHO = (
    "(module "
    + " ".join(f'(import "env" "{kind}" (func ${kind} (param {kind}) (result {kind})))' for kind in TYPES)
    + ' (memory (export "memory") 1 4)'
    + " ".join(f'(func (export "{kind}") (param {kind}) (result {kind}) local.get 0 call ${kind})' for kind in TYPES)
    + """
  (func (export "pair") (param i32 i64) (result i64 i32) local.get 1 local.get 0)
  (func (export "nothing"))
  (func (export "grow") (result i32) i32.const 1 memory.grow)
  (func (export "keep_nan") (result i64) (local f32 f64)
    (local.set 0 (f32.reinterpret_i32 (i32.const 0x7fa12345)))
    (local.set 1 (f64.reinterpret_i64 (i64.const 0x7ff4000012345678)))
    (drop (call $i32 (i32.const 1)))
    (i64.xor (i64.extend_i32_u (i32.reinterpret_f32 (local.get 0))) (i64.reinterpret_f64 (local.get 1)))))
"""
)


async def load_echo(waits: bool) -> caesura.Guest:
    async def later(value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    def now(value: Any) -> Any:
        return value

    functions = dict.fromkeys(TYPES, later if waits else now)
    functions["externref"] = now  # a reference cannot be held while suspended, as an argument neither
    return await caesura.load(ECHO.encode(), {"env": functions})


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("i32", -(2**31)),
        ("i32", 2**31 - 1),
        ("i32", True),
        ("i64", -(2**63)),
        ("i64", 2**63 - 1),
        ("f32", 1.5),
        ("f32", -math.inf),
        ("f32", 3),
        ("f64", 0.1),
        ("f64", 5e-324),
        ("v128", bytes(range(16))),
        ("externref", None),
        ("externref", {"any": ["object"]}),
    ],
)
def test_values_pass(kind: str, value: object, waits: bool) -> None:
    async def main() -> None:
        guest = await load_echo(waits)
        result = await guest.call(kind, value)
        assert result == value and (kind != "externref" or result is value)

    run(main())


def test_unsigned_numbers_are_accepted() -> None:
    async def main() -> None:
        guest = await load_echo(waits=False)
        assert guest.call_nowait("i32", 2**32 - 1) == -1
        assert guest.call_nowait("i64", 2**64 - 2) == -2
        assert guest.call_nowait("pair", 2**31, 2**63) == (-(2**63), -(2**31))

    run(main())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("i32", (2**32,), r"argument 1 of i32 is 4294967296: out of range for i32"),
        ("i32", (-(2**31) - 1,), "out of range for i32"),
        ("i64", (2**64,), "out of range for i64"),
        ("i32", (1.0,), "is 1.0: expected an integer for i32"),
        ("i32", ("1",), "expected an integer"),
        ("i32", (None,), "expected an integer"),
        ("i32", (int,), "is <class 'int'>: expected an integer"),
        ("f64", ("1",), "expected a number for f64"),
        ("f32", (float,), "is <class 'float'>: expected a number for f32"),
        ("f32", (1e300,), "out of range for f32"),
        ("f64", (10**400,), "out of range for f64"),
        ("v128", (b"short",), "expected 16 bytes for v128"),
        ("v128", (memoryview(bytes(64)).cast("I"),), "expected 16 bytes for v128"),
        ("i32", (), r"i32: expected 1 argument \(i32\), got 0"),
        ("pair", (1, 2, 3), r"pair: expected 2 arguments \(i32, i64\), got 3"),
        ("nothing", (1,), r"nothing: expected 0 arguments \(\), got 1"),
        ("i32", (10**5000,), "is an integer of 16610 bits: out of range for i32"),
        ("i32", ("x" * 100_000,), r"is 'x{1,20}\.\.\.x{1,20}': expected an integer for i32"),
        ("absent", (), "the guest exports no function 'absent'"),
    ],
)
def test_wrong_arguments_are_refused(name: str, arguments: tuple[object, ...], message: str) -> None:
    async def main() -> None:
        guest = await load_echo(waits=False)
        with pytest.raises(caesura.UsageError, match=message):
            await guest.call(name, *arguments)

    run(main())


@settings(max_examples=200)
@given(value=st.integers() | st.floats(allow_nan=False) | st.binary() | st.text() | st.none())
def test_any_value_passes_or_is_refused(value: object) -> None:
    async def main() -> None:
        guest = await load_echo(waits=True)
        for kind in ("i32", "i64", "f64", "v128"):
            try:
                result = await guest.call(kind, value)
            except caesura.UsageError:
                continue
            if isinstance(value, int) and kind != "f64":
                assert result == (value + 2**63) % 2**64 - 2**63 or result == (value + 2**31) % 2**32 - 2**31
            else:
                assert result == (float(value) if isinstance(value, int) else value)

    asyncio.run(main())


def test_saved_floats_keep_their_bits() -> None:
    async def main() -> None:
        guest = await load_echo(waits=True)
        assert await guest.call("keep_nan") == 0x7FA12345 ^ 0x7FF4000012345678

    run(main())


def test_references_keep_objects_alive_and_let_them_go() -> None:
    class Thing:
        pass

    async def main() -> weakref.ref[Thing]:
        guest = await load_echo(waits=False)
        thing = Thing()
        assert guest.call_nowait("externref", thing) is thing
        return weakref.ref(thing)

    reference = asyncio.run(main())
    gc.collect()
    assert reference() is None


def test_floats_survive_a_suspension_in_the_results() -> None:
    async def main() -> None:
        guest = await load_echo(waits=True)
        value = struct.unpack("<f", struct.pack("<f", 0.1))[0]
        assert await guest.call("f32", 0.1) == value
        assert math.isnan(await guest.call("f64", math.nan))
        assert math.copysign(1, await guest.call("f32", -0.0)) == -1

    run(main())
