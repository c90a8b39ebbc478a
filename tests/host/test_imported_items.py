"""Memories, tables, globals and tags: those that are imported, and those that Wasmtime's Python cannot describe."""

from __future__ import annotations

import asyncio

import pytest
import wasmtime

import caesura
from tests.host.support import run

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
