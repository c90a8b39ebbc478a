"""Functions on strings that engines provide: what they may take is counted, as nothing else may tell of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

import caesura
from caesura.inspection.layouts import layouts_of
from caesura.instrument.counted_builtins import UNKNOWN_UNITS
from caesura.wasm import opcodes as op
from caesura.wasm.module import Module
from tests.host.support import run
from tests.support.engine import assemble

LENGTH: Final = '(import "wasm:js-string" "length" (func $length (param externref) (result i32)))'

# By name: parameters and results of an import, and how many units a call counts for a character of each of two strings.
TAKING_LONG: Final = {
    "equals": ("(param externref externref) (result i32)", 1, 1),
    "compare": ("(param externref externref) (result i32)", 1, 1),
    "concat": ("(param externref externref) (result externref)", 1 / 16, 1 / 16),
    "substring": ("(param externref i32 i32) (result externref)", 1, 0),
}

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "length": len,
    "equals": lambda one, other: int(one == other),
    "compare": lambda one, other: (one > other) - (one < other),
    "concat": lambda one, other: one + other,
    "substring": lambda string, start, end: string[start:end],
    "charCodeAt": lambda string, at: ord(string[at]),
    "reverse": lambda string, _: string[::-1],
}


def module(name: str, function: str, others: str = "") -> bytes:
    """Return a module whose export `run` calls an import with the first string, and the second or numbers."""
    second = "(i32.const 1) (i32.const 3)" if name == "substring" else "(local.get 1)"
    result = function[function.index("(result") :]
    used = f'(import "wasm:js-string" "{name}" (func $used {function}))'
    text = f"""(module {others} {used} (table 1 funcref) (elem (i32.const 0) $used)
      (type $used (func {function}))
      (func $leave (param externref externref) {result} (return_call $used (local.get 0) {second}))
      (func (export "run") (param externref externref) {result} (call $used (local.get 0) {second}))
      (func (export "tail_call") (param externref externref) {result} (call $leave (local.get 0) (local.get 1)))
      (func (export "by_table") (param externref externref) {result}
        (call_indirect (type $used) (local.get 0) {second} (i32.const 0)))
      (func (export "by_reference") (param externref externref) {result}
        (call_ref $used (local.get 0) {second} (ref.func $used))))"""
    return text.encode()


async def counts(guest: caesura.Guest, export: str, *strings: str | None) -> int:
    """Return how much a call counts."""
    before = guest.usage.fuel or 0
    await guest.call(export, *strings)
    return (guest.usage.fuel or 0) - before


@pytest.mark.parametrize("export", ["run", "tail_call", "by_table", "by_reference"])
@pytest.mark.parametrize("name", TAKING_LONG)
def test_what_takes_as_long_as_its_strings_counts_for_them(name: str, export: str) -> None:
    async def main() -> None:
        function, first, second = TAKING_LONG[name]
        functions = {one: FUNCTIONS[one] for one in ("length", name)}
        guest = await caesura.load(
            module(name, function, LENGTH), {"wasm:js-string": functions}, preempt="fuel", time_slice=1
        )
        least = await counts(guest, export, "", "")
        assert await counts(guest, export, "a" * 1600, "") == least + 1600 * first
        assert await counts(guest, export, "", "b" * 3200) == least + 3200 * second
        others = (1, 3) if name == "substring" else ("abcd",)
        assert await guest.call(export, "abcd", "abcd") == FUNCTIONS[name]("abcd", *others)

    run(main())


def test_null_is_no_string_and_takes_no_time() -> None:
    async def main() -> None:
        functions = {one: FUNCTIONS[one] for one in ("length", "equals")}
        wasm = module("equals", TAKING_LONG["equals"][0], LENGTH)
        guest = await caesura.load(wasm, {"wasm:js-string": functions}, preempt="fuel", time_slice=1)
        assert await guest.call("run", None, None) == 1
        assert await counts(guest, "run", None, None) == await counts(guest, "run", "", "")
        assert await counts(guest, "run", None, "b" * 100) == await counts(guest, "run", "", "") + 100

    run(main())


@pytest.mark.parametrize(("name", "others"), [("equals", ""), ("reverse", LENGTH), ("substring", "")])
def test_what_nobody_can_tell_counts_for_much(name: str, others: str) -> None:
    async def main() -> None:
        function = "(param externref externref) (result externref)" if name == "reverse" else TAKING_LONG[name][0]
        functions = {one: FUNCTIONS[one] for one in (name, *(["length"] if others else []))}
        wasm = module(name, function, others)
        guest = await caesura.load(wasm, {"wasm:js-string": functions}, preempt="fuel", time_slice=1)
        for export in ("run", "tail_call", "by_table", "by_reference"):
            count = await counts(guest, export, "ab", "")
            assert UNKNOWN_UNITS < count < UNKNOWN_UNITS + 200
            assert await counts(guest, export, "ab" * 1000, "") == count

    run(main())


def test_behind_what_takes_no_time_nothing_is_looked_at() -> None:
    def sites(calls: int) -> list[int]:
        text = f"""(module {LENGTH}
          (import "wasm:js-string" "charCodeAt" (func $code (param externref i32) (result i32)))
          (func (export "run") (param externref)
            {"(drop (i32.add (call $length (local.get 0)) (call $code (local.get 0) (i32.const 0))))" * calls}))"""
        result = caesura.instrument(assemble(text), caesura.Options(preempt="fuel"))
        return [function.sites for function in result.functions]

    assert sites(20) == sites(1)


def test_calls_lie_where_they_lay() -> None:
    """What tells of places in the code tells those of the module that was given."""
    text = f"""(module {LENGTH} (import "wasm:js-string" "equals" (func $equals {TAKING_LONG["equals"][0]}))
      (func (export "run") (param externref externref) (result i32) (local i32)
        (loop
          (local.set 2 (i32.add (local.get 2) (call $equals (local.get 0) (local.get 1))))
          (br_if 0 (i32.lt_u (local.get 2) (i32.const 1000))))
        (i32.add (call $equals (local.get 0) (local.get 1)) (call $equals (local.get 1) (local.get 0)))))"""
    data = assemble(text)
    options = caesura.Options(preempt="fuel", thunks=True, frame_layouts=True)
    found = layouts_of(Module(caesura.instrument(data, options).module))
    assert found is not None
    called = [data[site.offset : site.offset + 2] for site in found.functions[2].sites if site.target == 3]
    assert called == [bytes([op.CALL, 1])] * 3
