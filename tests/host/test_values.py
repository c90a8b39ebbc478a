"""What crosses the border between Python and the guest: values, checked, and memory."""

from __future__ import annotations

import asyncio
import gc
import math
import struct
import threading
import weakref
from typing import Any

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

import caesura
from tests.host.support import load_waiter, run

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


def test_another_thread_is_refused() -> None:
    async def main() -> None:
        guest = await load_waiter(lambda value: value)
        errors: list[Exception] = []

        def use() -> None:
            for attempt in (
                lambda: guest.call_nowait("outer", 1),
                lambda: guest.memory.read(0, 1),
                lambda: asyncio.run(guest.call("outer", 1)),
                guest.close,
            ):
                try:
                    attempt()
                except caesura.UsageError as error:
                    errors.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert len(errors) == 4 and all("another thread" in str(error) for error in errors)
        assert guest.call_nowait("outer", 1) == 101

    run(main())


def test_guests_in_several_threads_do_not_meet() -> None:
    results: list[int] = []

    def use(number: int) -> None:
        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            return value * number

        async def main() -> None:
            guest = await load_waiter(wait)
            results.append(await guest.call("loop", 200))

        asyncio.run(main())

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [20100 * number for number in range(4)]


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


def test_floats_survive_a_suspension_in_the_results() -> None:
    async def main() -> None:
        guest = await load_echo(True)
        value = struct.unpack("<f", struct.pack("<f", 0.1))[0]
        assert await guest.call("f32", 0.1) == value
        assert math.isnan(await guest.call("f64", math.nan))
        assert math.copysign(1, await guest.call("f32", -0.0)) == -1

    run(main())
