"""What crosses the border between Python and the guest: values, checked, and memory."""

from __future__ import annotations

import asyncio
import gc
import math
import struct
import weakref
from typing import Any

import pytest
import wasmtime
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
    functions["externref"] = now  # an import that returns a reference cannot suspend
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
        guest = await load_echo(False)
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
        ("f64", ("1",), "expected a number for f64"),
        ("f32", (1e300,), "out of range for f32"),
        ("f64", (10**400,), "out of range for f64"),
        ("v128", (b"short",), "expected 16 bytes for v128"),
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
        guest = await load_echo(False)
        with pytest.raises(caesura.UsageError, match=message):
            await guest.call(name, *arguments)

    run(main())


@settings(max_examples=200, deadline=None)
@given(value=st.integers() | st.floats(allow_nan=False) | st.binary() | st.text() | st.none())
def test_any_value_passes_or_is_refused(value: object) -> None:
    async def main() -> None:
        guest = await load_echo(True)
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
        guest = await load_echo(True)
        assert await guest.call("keep_nan") == 0x7FA12345 ^ 0x7FF4000012345678

    run(main())


def test_references_keep_objects_alive_and_let_them_go() -> None:
    class Thing:
        pass

    async def main() -> weakref.ref[Thing]:
        guest = await load_echo(False)
        thing = Thing()
        assert guest.call_nowait("externref", thing) is thing
        return weakref.ref(thing)

    reference = asyncio.run(main())
    gc.collect()
    assert reference() is None


def test_memory_reads_and_writes() -> None:
    async def main() -> None:
        guest = await load_echo(False)
        memory = guest.memory
        assert len(memory) == 65536
        memory.write(100, b"bytes")
        assert memory.read(100, 5) == b"bytes"
        assert memory.write_string(200, "größe", 16) == 7
        assert memory.read_string(200) == memory.read_string(200, 7) == "größe"
        memory.write_struct("<IQd", 300, 7, 2**40, 0.5)
        assert memory.read_struct("<IQd", 300) == (7, 2**40, 0.5)
        memory.write(65536 - 300, b"x" * 299 + b"\0")
        assert memory.read_string(65536 - 300) == "x" * 299

    run(main())


def test_views_survive_growth() -> None:
    async def main() -> None:
        guest = await load_echo(False)
        view = guest.memory.view(65530, 6)
        view[0:3] = b"abc"
        view[-1] = 255
        assert guest.call_nowait("grow") == 1
        assert len(guest.memory) == 131072
        assert bytes(view) == b"abc\0\0\xff" and view[0] == 97 and view[-1] == 255 and len(view) == 6
        assert view[::2] == b"ac\0"
        guest.memory.write(131071, b"!")
        with pytest.raises(IndexError):
            view[6]

    run(main())


@pytest.mark.parametrize(("address", "size"), [(65536, 1), (-1, 1), (65530, 7), (0, 65537), (2**32, 1), (5, -1)])
def test_memory_has_an_end(address: int, size: int) -> None:
    async def main() -> None:
        guest = await load_echo(False)
        with pytest.raises(caesura.UsageError, match="it has 65536 bytes"):
            guest.memory.read(address, size)
        with pytest.raises(caesura.UsageError, match="it has 65536 bytes"):
            guest.memory.view(address, size)

    run(main())


def test_strings_that_do_not_fit() -> None:
    async def main() -> None:
        guest = await load_echo(False)
        with pytest.raises(caesura.UsageError, match="do not fit into 3 bytes"):
            guest.memory.write_string(0, "abc", 3)
        guest.memory.write(65535, b"x")
        with pytest.raises(caesura.UsageError, match="no zero byte"):
            guest.memory.read_string(65535)

    run(main())


IMPORTS = """(module
  (import "env" "memory" (memory 1 2)) (import "env" "table" (table 3 funcref))
  (import "env" "number" (global $number i64)) (import "env" "half" (global $half f64))
  (import "env" "cell" (global $cell (mut i32))) (import "env" "wait" (func $wait (param i32) (result i32)))
  (export "memory" (memory 0))
  (func (export "sum") (result f64)
    (global.set $cell (call $wait (global.get $cell)))
    (f64.add (f64.add (global.get $half) (f64.convert_i64_s (global.get $number)))
             (f64.convert_i32_s (global.get $cell)))))"""


def test_memories_tables_and_globals_are_imported() -> None:
    async def wait(value: int) -> int:
        await asyncio.sleep(0)
        return value + 1

    def given(**other: object) -> dict[str, dict[str, object]]:
        memory = wasmtime.MemoryType(wasmtime.Limits(1, 2))
        table = wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(3, None))
        return {"env": {"memory": memory, "table": table, "number": 40, "half": 0.5, "cell": 1, "wait": wait} | other}

    async def main() -> None:
        guest = await caesura.load(IMPORTS.encode(), given())
        assert await guest.call("sum") == 42.5
        assert len(guest.memory) == 65536
        with pytest.raises(caesura.UsageError, match=r"global given for import env\.half is 'x': expected a number"):
            await caesura.load(IMPORTS.encode(), given(half="x"))
        with pytest.raises(caesura.UsageError, match="expected an integer"):
            await caesura.load(IMPORTS.encode(), given(number=0.5))
        with pytest.raises(caesura.UsageError, match=r"of which a new memory is made"):
            await caesura.load(IMPORTS.encode(), given(memory=None))

    run(main())


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("i32", 2**40, "the global given for import env.value is 1099511627776: out of range for i32"),
        ("i64", -(2**63) - 1, "out of range for i64"),
        ("f32", 1e300, "is 1e\\+300: out of range for f32"),
        ("f64", 10**400, "is an integer of 1329 bits: out of range for f64"),
        ("externref", 5, "is a externref, which cannot be given from Python"),
        ("v128", bytes(16), "is a v128, which cannot be given from Python"),
    ],
)
def test_globals_that_do_not_fit(kind: str, value: object, message: str) -> None:
    text = f'(module (import "env" "value" (global {kind})) (func (export "get") (result {kind}) global.get 0))'
    with pytest.raises(caesura.UsageError, match=message):
        asyncio.run(caesura.load(text.encode(), {"env": {"value": value}}))


def test_globals_may_be_unsigned() -> None:
    async def main() -> None:
        text = b'(module (import "env" "value" (global i32)) (func (export "get") (result i32) global.get 0))'
        guest = await caesura.load(text, {"env": {"value": 2**32 - 1}})
        assert guest.call_nowait("get") == -1

    run(main())


def test_memory_takes_bytes_only() -> None:
    async def main() -> None:
        memory = (await load_echo(False)).memory
        memory.write(0, b"kept")
        for content in (4, "text", None, [1]):
            with pytest.raises(TypeError):
                memory.write(0, content)  # type: ignore[arg-type]
        memory.write(4, bytearray(b"!"))
        memory.write(5, memoryview(b"?"))
        assert memory.read(0, 6) == b"kept!?"
        view = memory.view(0, 4)
        for place, wrong, error in [
            (0, b"x", TypeError),
            (slice(0, 2), 5, TypeError),
            (slice(0, 2), b"xyz", ValueError),
            (slice(0, 4, 2), b"xy", ValueError),
            (0, 256, ValueError),
            (-5, 1, IndexError),
        ]:
            with pytest.raises(error):
                view[place] = wrong  # type: ignore[call-overload]
        assert bytes(view) == b"kept"

    run(main())


def test_a_memory_that_is_not_exported_is_found() -> None:
    async def main() -> None:
        for text in (
            b'(module (memory 1) (func (export "get") (result i32) (i32.load8_u (i32.const 7))))',
            b'(module (import "env" "m" (memory 1)) (func (export "get") (result i32) (i32.load8_u (i32.const 7))))',
        ):
            guest = await caesura.load(text, {"env": {"m": wasmtime.MemoryType(wasmtime.Limits(1, None))}})
            guest.memory.write(7, b"*")
            assert guest.call_nowait("get") == ord("*")
            assert guest.exports == ("get",)
        guest = await caesura.load(b'(module (func (export "get")))')
        with pytest.raises(caesura.UsageError, match="has no memory"):
            guest.memory  # noqa: B018

    run(main())


# What wasmtime-py cannot describe, some of it at the price of the process.
UNDESCRIBABLE = {
    "an exported global of a concrete type": '(type $s (struct)) (global (export "g") (ref null $s) (ref.null $s))',
    "a mutable one": '(type $s (struct)) (global (export "g") (mut (ref null $s)) (ref.null $s))',
    "a global of a vector type": '(global (export "g") (mut v128) (v128.const i64x2 1 2))',
    "a global of type anyref": '(global (export "g") anyref (ref.null any))',
    "a table of a concrete type": '(type $s (func)) (table (export "t") 3 (ref null $s))',
    "a function of a concrete type": '(type $s (struct)) (func (export "h") (param (ref null $s)))',
    "a tag": '(tag (export "t") (param i32))',
}


@pytest.mark.parametrize("what", UNDESCRIBABLE)
def test_exports_that_wasmtime_cannot_describe_are_left_alone(what: str) -> None:
    async def main() -> None:
        text = f"""(module (import "env" "wait" (func $wait (param i32) (result i32))) {UNDESCRIBABLE[what]}
          (func (export "run") (result i32) (call $wait (i32.const 5))))"""

        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            return value

        guest = await caesura.load(text.encode(), {"env": {"wait": wait}})
        assert await guest.call("run") == 5
        if "h" in guest.exports:
            with pytest.raises(caesura.UsageError, match="which Python cannot pass"):
                guest.call_nowait("h", None)

    run(main())


def test_stack_switching_is_refused_where_it_would_abort() -> None:
    text = b"""(module (type $f (func)) (type $c (cont $f)) (elem declare func $x) (func $x)
      (func (export "run") (drop (cont.new $c (ref.func $x)))))"""
    with pytest.raises(caesura.ModuleError):
        asyncio.run(caesura.load(text))


def test_floats_survive_a_suspension_in_the_results() -> None:
    async def main() -> None:
        guest = await load_echo(True)
        value = struct.unpack("<f", struct.pack("<f", 0.1))[0]
        assert await guest.call("f32", 0.1) == value
        assert math.isnan(await guest.call("f64", math.nan))
        assert math.copysign(1, await guest.call("f32", -0.0)) == -1

    run(main())
