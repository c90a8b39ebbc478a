"""Guests that wait in the middle of calls, with all that a state can hold, in every form of the ABI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import caesura
from tests.host.support import ABIS, c_library, instrumented
from tests.support.paths import GUESTS

# Exceptions that are on their way, and typed references to functions.
IN_FLIGHT: Final = GUESTS / "wat" / "in_flight.wat"

# Everything that is state and can be saved. `$ask` is called from some frames below, with references in them.
TABLES: Final = """(module
  (import "env" "ask" (func $ask (param i32 f64 v128 externref) (result i32)))
  (type $one (func (param i32) (result i32)))
  (memory (export "memory") 2 200)
  (global $count (mut i32) (i32.const 5))
  (global $nan (mut f64) (f64.const nan:0x4000000000123))
  (global $vector (mut v128) (v128.const i64x2 1 2))
  (global $object (mut externref) (ref.null extern))
  (global $function (mut funcref) (ref.null func))
  (table $t (export "table") 6 100 funcref)
  (table $objects 2 50 externref)
  (data $passive "abcdef")
  (data (i32.const 100000) "hello")
  (elem $functions func $double $deep $triple)
  (elem (table $t) (i32.const 0) func $double $deep)
  (func $double (type $one) (i32.mul (local.get 0) (i32.const 2)))
  (func $triple (type $one) (i32.mul (local.get 0) (i32.const 3)))
  (func $deep (type $one) (local $kept externref) (local $ref funcref)
    (local.set $kept (table.get $objects (i32.const 0)))
    (local.set $ref (table.get $t (i32.const 1)))
    (if (result i32) (i32.le_s (local.get 0) (i32.const 0))
      (then
        (call $ask (global.get $count) (f64.const 1.5) (global.get $vector) (local.get $kept)))
      (else
        (i32.add (call_indirect $t (type $one) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1))
          (i32.add (ref.is_null (local.get $kept)) (ref.is_null (local.get $ref)))))))
  (func (export "prepare") (param externref)
    (table.set $objects (i32.const 0) (local.get 0))
    (global.set $object (local.get 0))
    (global.set $function (ref.func $triple))
    (drop (table.grow $t (ref.func $triple) (i32.const 3)))
    (table.fill $t (i32.const 3) (ref.func $double) (i32.const 2))
    (table.copy $t $t (i32.const 5) (i32.const 0) (i32.const 2))
    (table.init $t $functions (i32.const 2) (i32.const 2) (i32.const 1))
    (elem.drop $functions)
    (memory.init $passive (i32.const 64) (i32.const 0) (i32.const 6))
    (data.drop $passive)
    (drop (memory.grow (i32.const 1))))
  (func (export "prepare_again") (param externref i32)
    (table.set $objects (i32.const 1) (local.get 0))
    (drop (table.grow $objects (local.get 0) (i32.const 1)))
    (table.set $t (local.get 1) (ref.func $triple))
    (drop (memory.grow (i32.const 1))))
  (func (export "go") (type $one)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 8) (global.get $count))
    (i32.add (call $deep (local.get 0)) (i32.load (i32.const 8))))
  (func (export "through") (param i32 i32) (result i32)
    (call_indirect $t (type $one) (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i64) (i64.load (local.get 0)))
  (func (export "store") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
  (func (export "object") (result externref) (global.get $object))
  (func (export "held") (param i32) (result externref) (table.get $objects (local.get 0)))
  (func (export "function") (result funcref) (global.get $function))
  (func (export "count") (result i32) (global.get $count)))
"""


@dataclass(frozen=True)
class Savable:
    """A guest: its module, and what is begun in it."""

    module: bytes
    calls: tuple[tuple[str, tuple[float, ...]], ...]
    prepared: bool
    ask: Callable[..., Any]
    given: tuple[tuple[str, Any], ...] = ()

    @property
    def imports(self) -> dict[str, dict[str, Any]]:
        """Host functions that wait a little."""
        return {"env": {"ask": self.ask, "wait": _wait, "fill": _wait_for_two, "note": abs, "again": abs}}

    async def saved(self) -> caesura.Snapshot:
        """Return a snapshot of the guest while its calls wait."""
        guest = await caesura.load(self.module, self.imports, **dict(self.given))
        if self.prepared:
            guest.call_nowait("prepare", b"object")
        tasks = [asyncio.create_task(guest.call(name, *arguments)) for name, arguments in self.calls]
        await asyncio.sleep(0)
        snapshot = guest.snapshot(save_object=bytes)
        for task in tasks:
            with contextlib.suppress(Exception):
                await task
        guest.close()
        return snapshot


async def _ask(count: int, number: float, vector: bytes, value: object) -> int:
    await asyncio.sleep(0)
    return count


async def _wait(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def _wait_for_two(address: int, size: int) -> int:
    await asyncio.sleep(0)
    return 1


class _Kinds:
    """The kinds by name, each made when it is first asked for."""

    def __iter__(self) -> Any:
        yield from (f"{what} {abi}" for what in ("tables", "exceptions", "stacks") for abi in ABIS)

    def __getitem__(self, name: str) -> Savable:
        return _savable(name)


KINDS: Final = _Kinds()


@cache
def _savable(name: str) -> Savable:
    what, _, abi = name.partition(" ")
    placed = (("stack_space", (1024, 65536)),) if abi in ("thunks", "plain") else ()
    if what == "tables":
        calls: tuple[tuple[str, tuple[float, ...]], ...] = (("go", (3,)), ("go", (0,)))
        return Savable(instrumented(TABLES.encode(), abi), calls, prepared=True, ask=_ask, given=placed)
    if what == "exceptions":
        calls = (("run", (7, 2, 0.5)), ("run", (-3, 1, -0.0)), ("hold", (0,)))
        return Savable(instrumented(IN_FLIGHT.read_bytes(), abi), calls, prepared=False, ask=_wait, given=placed)
    calls = (*(("descend", (3 * number, number)) for number in range(4)), ("sum_filled", (10,)))
    module = instrumented(c_library("host_calls"), abi)
    return Savable(module, calls, prepared=False, ask=_ask, given=(("shadow_stack_size", 65536),))
