"""A saved state as a module: it goes on in engines with nothing of caesura's, as the guest does that was saved."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.host.support import Gates, load_waiter, run
from tests.support.bare import TRAP, Ran, in_node, in_wasmtime

# Values of all kinds in locals and globals, a table, segments, a memory that has grown, and a start function.
KEEPER = """
(module
  (import "env" "ask" (func $ask (param i32 f64) (result i32)))
  (memory (export "memory") 2 1000)
  (table $table 2 20 funcref)
  (table $constant 2 funcref)
  (type $number (func (result i32)))
  (global $count (mut i32) (i32.const 5))
  (global $wide (mut i64) (i64.const -2))
  (global $nan (mut f64) (f64.const nan:0x4000000000123))
  (global $signal (mut f32) (f32.const nan:0x200001))
  (global $vector (mut v128) (v128.const i64x2 1 2))
  (global $function (mut funcref) (ref.null func))
  (data (i32.const 100000) "hello")
  (data $kept "kept")
  (data $gone "gone")
  (elem (table $table) (i32.const 0) func $one $two)
  (elem (table $constant) (i32.const 0) func $two $one)
  (elem $late func $three $four)
  (elem $dropped func $four)
  (func $one (type $number) (i32.const 1))
  (func $two (type $number) (i32.const 2))
  (func $three (type $number) (i32.const 3))
  (func $four (type $number) (i32.const 4))
  (func $start (global.set $count (i32.add (global.get $count) (i32.const 1000))))
  (start $start)
  (func $deep (param $n i32) (param $x f64) (result i32)
    (if (result i32) (i32.eqz (local.get $n))
      (then
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store (i32.const 8) (global.get $count))
        (call $ask (global.get $count) (local.get $x)))
      (else (i32.add (local.get $n) (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $x))))))
  (func (export "run") (param $n i32) (param $x f64) (result i32)
    (i32.store (i32.const 16) (local.get $n))
    (i32.add (call $deep (local.get $n) (local.get $x)) (i32.load (i32.const 16))))
  (func (export "change")
    (global.set $nan (f64.const nan:0x4000000000456))
    (global.set $vector (v128.const i64x2 3 -4))
    (global.set $function (ref.func $three))
    (drop (memory.grow (i32.const 3)))
    (i32.store8 (i32.const 327679) (i32.const 77))
    (memory.fill (i32.const 100000) (i32.const 0) (i32.const 5))
    (drop (table.grow $table (ref.null func) (i32.const 3)))
    (table.set $table (i32.const 4) (ref.func $three))
    (table.set $table (i32.const 0) (ref.null func))
    (data.drop $gone)
    (elem.drop $dropped))
  (func (export "numbers") (result i32 i64 i64 i32 i64 i64 i32)
    (global.get $count) (global.get $wide) (i64.reinterpret_f64 (global.get $nan))
    (i32.reinterpret_f32 (global.get $signal))
    (i64x2.extract_lane 0 (global.get $vector)) (i64x2.extract_lane 1 (global.get $vector))
    (ref.is_null (global.get $function)))
  (func (export "pick") (param i32) (result i32) (call_indirect $table (type $number) (local.get 0)))
  (func (export "constant") (param i32) (result i32) (call_indirect $constant (type $number) (local.get 0)))
  (func (export "sizes") (result i32 i32) (memory.size) (table.size $table))
  (func (export "kept") (result i32)
    (memory.init $kept (i32.const 40) (i32.const 0) (i32.const 4)) (i32.load (i32.const 40)))
  (func (export "gone") (memory.init $gone (i32.const 40) (i32.const 0) (i32.const 1)))
  (func (export "late") (table.init $table $late (i32.const 1) (i32.const 0) (i32.const 2)))
  (func (export "dropped") (table.init $table $dropped (i32.const 1) (i32.const 0) (i32.const 1))))
"""

STEPS: list[list[Any]] = [
    ["resume", 100],
    ["numbers"],
    ["sizes"],
    *[["pick", place] for place in range(5)],
    ["constant", 0],
    ["kept"],
    ["gone"],
    ["late"],
    ["pick", 2],
    ["dropped"],
    ["run", 1, 0.5],
    ["resume", 100],
]
RESULTS: list[Any] = [
    165,
    [1006, "18446744073709551614", str(0x7FF4000000000456), 0x7FA00001, "3", str(2**64 - 4), 0],
    [5, 5],
    *(TRAP, 2, TRAP, TRAP, 3),
    2,
    int.from_bytes(b"kept", "little"),
    TRAP,
    None,
    4,
    TRAP,
    9,
    TRAP,
]


async def saved_keeper(*, embed: bool = False) -> tuple[caesura.Guest, caesura.Snapshot]:
    """Return a guest that waits ten calls deep, and a snapshot of it."""
    guest = await caesura.load(KEEPER.encode(), {"env": {"ask": caesura.EXTERNAL}})
    guest.call_nowait("change")
    guest.start("run", 10, 2.5)
    return guest, guest.snapshot(embed=embed)


@pytest.mark.parametrize("embed", [False, True])
def test_everything_is_where_it_was(embed: bool, tmp_path: Path) -> None:
    async def main() -> None:
        guest, snapshot = await saved_keeper(embed=embed)
        module = (caesura.Snapshot.load(bytes(snapshot)) if embed else snapshot).to_wasm()
        assert guest.pending[0].resume(100) == 165
        for ran in (in_wasmtime(module, STEPS, [7]), in_node(module, STEPS, [7], folder=tmp_path)):
            assert ran.results == RESULTS
            assert ran.asked == [["env.ask", 1007, 0.5]]
        expected = hashlib.sha256(guest.memory.read(0, len(guest.memory))).hexdigest()
        assert in_wasmtime(module, STEPS[:1]).memory == expected
        assert in_node(module, STEPS[:1], folder=tmp_path).memory == expected
        assert snapshot.to_wasm() == module

    run(main())


def in_both(module: bytes, steps: list[list[Any]], answers: list[Any], folder: Path) -> Ran:
    """Do steps in Wasmtime and in Node, and return what both gave."""
    ran = in_wasmtime(module, steps, answers)
    assert in_node(module, steps, answers, folder=folder) == ran
    return ran


def test_nodes_without_several_memories(tmp_path: Path) -> None:
    """With the asyncify stack in the guest's own memory it goes on everywhere."""

    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, "thunks")
        tasks = [asyncio.create_task(guest.call(name, number)) for name, number in (("deep", 5), ("loop", 3))]
        await asyncio.sleep(0)
        module = guest.snapshot(embed=True).to_wasm()
        for task in tasks:
            task.cancel()
        program = shutil.which("node")
        assert program is not None, "the tests need Node"
        steps: list[list[Any]] = [["resume:1", 30], ["resume:0", 500], ["resume:0", 1], ["calls"], ["outer", 4]]
        ran = in_node(module, steps, [20, 10, 7], folder=tmp_path, node=Path(program))
        assert ran.results == [60, 515, TRAP, 4, 107]
        assert ran.asked == [["env.wait", 2], ["env.wait", 1], ["env.wait", 4]]
        assert in_wasmtime(module, steps, [20, 10, 7]) == ran

    run(main())
