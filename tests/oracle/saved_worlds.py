"""The surroundings, as WebAssembly text, of a generated guest that goes on as a module: its imports and who calls it.

The world's functions note their arguments, bit for bit, in records of one size, and return values that follow from how
many calls there were before. So a guest that was saved at a call gets what it would have got, and its records are the
end of those of a run that was never saved. Values of all types pass between modules, which engines' interfaces for
hosts could not do.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from tests.oracle.host_modules import signature_text, to_ledger
from tests.oracle.world import ENTRY_TYPES, F32, F64, I32, I64, IMPORTS, TYPE_NAMES, V128

# Bytes of what is noted of a call: the import's number, and its arguments.
RECORD: Final = 16 * 6

_MULTIPLIER: Final = 0x9E3779B97F4A7C15
_LEDGER_PAGES: Final = 8


def world_text() -> str:
    """Return the module of the imports; `count` says how many calls there were, `noted` where the records end."""
    functions = "".join(_import(number) for number in range(len(IMPORTS)))
    return f"""
(module
  (memory (export "ledger") {_LEDGER_PAGES})
  (global $count (export "count") (mut i32) (i32.const 0))
  (global $noted (export "noted") (mut i32) (i32.const 0))
  {functions})
"""


def _import(number: int) -> str:
    function = IMPORTS[number]
    notes = " ".join(
        to_ledger(kind, f"(local.get {place})", "(global.get $noted)", 16 * (place + 1))
        for place, kind in enumerate(function.params)
    )
    values = " ".join(_value(kind, "(global.get $count)") for kind in function.results)
    return f"""
  (func (export "{function.name}") {signature_text(function.params, function.results)}
    (i32.store (global.get $noted) (i32.const {number + 1}))
    {notes}
    (global.set $noted (i32.add (global.get $noted) (i32.const {RECORD})))
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    {values})"""


def driver_text(export: str, params: tuple[int, ...], count: int) -> str:
    """Return the module that calls an export with values that follow from a number, and notes the results."""
    arguments = " ".join(_value(kind, f"(i32.const {count})") for kind in params)
    results = tuple(reversed(ENTRY_TYPES))
    locals_ = " ".join(f"(local {TYPE_NAMES[kind]})" for kind in results)
    takes = " ".join(f"(local.set {place})" for place in range(len(results)))
    notes = " ".join(
        to_ledger(kind, f"(local.get {place})", "(i32.const 0)", 16 * place) for place, kind in enumerate(results)
    )
    return f"""
(module
  (import "guest" "{export}" (func $called {signature_text(params, ENTRY_TYPES)}))
  (memory (export "results") 1)
  (func (export "go") {locals_} (call $called {arguments}) {takes} {notes}))
"""


def _value(kind: int, count: str) -> str:
    wide = f"(i64.mul (i64.extend_i32_u {count}) (i64.const {_MULTIPLIER:#x}))"
    return {
        I32: f"(i32.wrap_i64 (i64.shr_u {wide} (i64.const 60)))",
        I64: wide,
        F32: f"(f32.mul (f32.convert_i32_u {count}) (f32.const 0.5))",
        F64: f"(f64.mul (f64.convert_i32_u {count}) (f64.const -0.25))",
        V128: f"(i64x2.splat {wide})",
    }[kind]


def values_of(kinds: tuple[int, ...], count: int) -> tuple[Any, ...]:
    """Return the same values in Python."""
    wide = count * _MULTIPLIER & 0xFFFF_FFFF_FFFF_FFFF
    signed = wide - (1 << 64) if wide >> 63 else wide
    values = {
        I32: wide >> 60,
        I64: signed,
        F32: count * 0.5,
        F64: count * -0.25,
        V128: struct.pack("<QQ", wide, wide),
    }
    return tuple(values[kind] for kind in kinds)
