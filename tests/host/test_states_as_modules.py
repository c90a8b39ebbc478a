"""A saved state as a module: it goes on in engines with nothing of caesura's, as the guest does that was saved."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import wasmtime

import caesura
from tests.host.support import Gates, instrumented, load_calls, load_waiter, run, settle
from tests.host.test_snapshots import descended
from tests.support.bare import TRAP, Ran, in_node, in_wasmtime
from tests.support.engine import assemble, engine

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


ANSWERED = """
(module
  (import "env" "ask" (func $ask (param i64) (result {types})))
  (global $n (mut i64) (i64.const 1))
  (func $next (result i64)
    (global.set $n (i64.add (global.get $n) (i64.const 1))) (i64.shl (global.get $n) (i64.const 40)))
  (func (export "run") (param f64) (result {types} f64)
    (call $ask (call $next)) (f64.mul (local.get 0) (f64.const 0.5))))
"""


@pytest.mark.parametrize(
    ("types", "answer"),
    [
        ("i32", [-5]),
        ("i64", [str(2**64 - 3)]),
        ("f32", [0.25]),
        ("f64", [1e300]),
        ("i32 i64 f32 f64", [7, str(2**63), -0.5, 1e-300]),
        ("f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64", [place / 8 for place in range(16)]),
    ],
)
def test_answers_of_all_types(types: str, answer: list[Any], tmp_path: Path) -> None:
    async def main() -> None:
        text = ANSWERED.replace("{types}", types)
        guest = await caesura.load(text.encode(), external=["env.ask"])
        guest.start("run", 3.0)
        module = guest.snapshot().to_wasm()
        ran = in_both(module, [["resume", *answer], ["resume:0", *answer]], [], tmp_path)
        assert ran == Ran([[*answer, 1.5], TRAP], [], ran.memory)

    run(main())


def test_an_answer_that_is_a_vector() -> None:
    """Engines' interfaces cannot pass them, but modules can."""

    async def main() -> None:
        guest = await caesura.load(ANSWERED.replace("{types}", "v128").encode(), external=["env.ask"])
        guest.start("run", 3.0)
        store = wasmtime.Store(engine())
        linker = wasmtime.Linker(engine())
        compiled = wasmtime.Module(engine(), guest.snapshot().to_wasm())
        kinds = compiled.imports[0].type
        assert isinstance(kinds, wasmtime.FuncType)
        linker.define(store, "env", "ask", wasmtime.Func(store, kinds, lambda *_: pytest.fail("it was called")))
        linker.define_instance(store, "guest", linker.instantiate(store, compiled))
        caller = """
            (module (import "guest" "resume" (func $resume (param v128) (result v128 f64)))
              (func (export "high") (result i64 f64) (local f64)
                (call $resume (v128.const i64x2 -1 0x7ff4000000000001)) (local.set 0)
                (i64x2.extract_lane 1) (local.get 0)))"""
        exported = linker.instantiate(store, wasmtime.Module(engine(), caller)).exports(store)["high"]
        assert isinstance(exported, wasmtime.Func)
        assert exported(store) == [0x7FF4000000000001, 1.5]

    run(main())


def test_an_answer_that_cannot_lie_in_memory(tmp_path: Path) -> None:
    """The import is called again, with the arguments that it had."""
    text = """
    (module
      (import "env" "ask" (func $ask (param i32) (result externref)))
      (func (export "run") (param i32) (result i32)
        (i32.add (ref.is_null (call $ask (i32.mul (local.get 0) (i32.const 3)))) (local.get 0))))
    """

    async def main() -> None:
        guest = await caesura.load(text.encode(), external=["env.ask"])
        guest.start("run", 5)
        module = guest.snapshot().to_wasm()
        for name in ("resume", "resume:0", "resume_call"):
            assert in_node(module, [[name]], [8], folder=tmp_path)[:2] == ([5], [["env.ask", 15]])

    run(main())


IMPORTING = """
(module
  (import "env" "memory" (memory 1 3))
  (import "env" "base" (global $base i32))
  (import "env" "cell" (global $cell (mut i64)))
  (import "env" "table" (table $table 3 funcref))
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (elem (i32.const 1) func $seven)
  (data (i32.const 8) "data")
  (func $seven (result i32) (i32.const 7))
  (func (export "run") (result i32)
    (global.set $cell (i64.add (global.get $cell) (i64.const 1)))
    (i32.store (i32.const 0) (call $ask (global.get $base)))
    (i32.add (i32.load (i32.const 0)) (call_indirect $table (result i32) (i32.const 1))))
  (func (export "cell64") (result i64) (global.get $cell))
  (func (export "peek") (param i32) (result i32) (i32.load (local.get 0))))
"""


def imported_items() -> dict[str, dict[str, Any]]:
    """Return what IMPORTING imports."""
    memory = wasmtime.MemoryType(wasmtime.Limits(1, 3))
    table = wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(3, None))
    given = {"memory": memory, "table": table, "base": 40, "cell": 2**40, "ask": caesura.EXTERNAL}
    return {"env": given}


def test_what_was_imported_is_its_own() -> None:
    """Memory, table and mutable global; constants and functions are imported still."""

    async def main() -> None:
        guest = await caesura.load(IMPORTING.encode(), imported_items())
        guest.start("run")
        guest.memory.write(100, b"\1\2\3\4")
        store = wasmtime.Store(engine())
        compiled = wasmtime.Module(engine(), guest.snapshot().to_wasm())
        assert [(item.module, item.name) for item in compiled.imports] == [("env", "base"), ("env", "ask")]
        base, ask = [item.type for item in compiled.imports]
        assert isinstance(base, wasmtime.GlobalType) and isinstance(ask, wasmtime.FuncType)
        items: list[Any] = [wasmtime.Global(store, base, 40), wasmtime.Func(store, ask, lambda value: value)]
        exports = wasmtime.Instance(store, compiled, items).exports(store)

        def call(name: str, *values: int) -> Any:
            function = exports[name]
            assert isinstance(function, wasmtime.Func)
            return function(store, *values)

        assert call("resume", 30) == 37
        assert (call("cell64"), call("peek", 100), call("run"), call("cell64")) == (2**40 + 1, 0x4030201, 47, 2**40 + 2)
        memory, table = exports["memory"], exports["table"]
        assert isinstance(memory, wasmtime.Memory) and isinstance(table, wasmtime.Table)
        assert memory.read(store, 8, 12) == b"data"
        assert table.size(store) == 3

    run(main())


def test_an_import_that_cannot_become_its_own_is_refused() -> None:
    async def main() -> None:
        lines = IMPORTING.splitlines()
        lines[3], lines[4] = lines[4], lines[3]
        guest = await caesura.load("\n".join(lines).encode(), imported_items())
        with pytest.raises(caesura.SnapshotError, match=r"the mutable global env\.cell before env\.base, which stays"):
            guest.snapshot().to_wasm()

    run(main())


@pytest.mark.parametrize("abi", ["load", "thunks", "plain", "plain in its own memory"])
def test_calls_on_c_stacks_of_their_own(abi: str, tmp_path: Path) -> None:
    """Each finds its arrays, in whatever order they go on, and new ones leave those of the others alone."""

    async def main() -> None:
        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait)
        tasks = [asyncio.create_task(guest.call("descend", 5 * number, number)) for number in range(1, 5)]
        await settle()
        module = guest.snapshot(embed=True).to_wasm()
        for task in tasks:
            task.cancel()
        for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
            steps: list[list[Any]] = []
            results: list[Any] = []
            for place in order:
                steps += [["descend", 20, 9], [f"resume:{place}", 1000], ["add", 3, 4]]
                results += [descended(20, 9) + 5, descended(5 * place + 5, place + 1) + 1000, 7]
            assert in_both(module, steps, [5] * 4, tmp_path).results == results

    run(main())


def test_a_guest_without_suspended_calls_is_initialized(tmp_path: Path) -> None:
    async def main() -> None:
        guest = await caesura.load(KEEPER.encode(), {"env": {"ask": lambda count, number: 1}})
        guest.call_nowait("change")
        module = guest.snapshot().to_wasm()
        steps: list[list[Any]] = [["numbers"], ["sizes"], ["run", 1, 0.5]]
        ran = in_both(module, steps, [3], tmp_path)
        assert ran.results == [[1005, *RESULTS[1][1:]], [5, 5], 5]

    run(main())


def test_it_is_not_initialized_a_second_time(tmp_path: Path) -> None:
    """Hosts of WASI call `_initialize` by themselves, Wasmtime's linker among them."""
    text = """
    (module
      (import "env" "ask" (func $ask (result i32)))
      (global $count (mut i32) (i32.const 0))
      (func (export "_initialize") (global.set $count (i32.const 100)))
      (func (export "increment") (global.set $count (i32.add (global.get $count) (i32.const 1))))
      (func (export "run") (result i32) (i32.add (call $ask) (global.get $count))))
    """

    async def main() -> None:
        guest = await caesura.load(text.encode(), external=["env.ask"])
        guest.call_nowait("increment")
        guest.start("run")
        module = guest.snapshot().to_wasm()
        store = wasmtime.Store(engine())
        linker = wasmtime.Linker(engine())
        linker.define_func("env", "ask", wasmtime.FuncType([], [wasmtime.ValType.i32()]), lambda: 0)
        linker.define_module(store, "continued", wasmtime.Module(engine(), module))
        resume = linker.get(store, "continued", "resume")
        assert isinstance(resume, wasmtime.Func)
        assert resume(store, 1000) == 1101
        again = await caesura.load(module, external=["env.ask"])
        assert await again.call("resume", 1000) == 1101

    run(main())


@pytest.mark.parametrize("own_memory", [False, True])
def test_what_is_left_of_a_budget_does_not_end_it(own_memory: bool, tmp_path: Path) -> None:
    """Nobody is there to whom it could be handed when it is used up."""
    text = """
    (module
      (import "env" "ask" (func $ask (result i32)))
      (memory (export "memory") 2)
      (func (export "run") (param $n i32) (result i32)
        (drop (call $ask))
        (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.const 7)))
    """

    async def main() -> None:
        options = caesura.Options(imports=("env.ask",), thunks=True, preempt="fuel", in_secondary_memory=not own_memory)
        module = caesura.instrument(assemble(text), options).module
        guest = await caesura.load(module, external=["env.ask"], stack_space=(1024, 65536) if own_memory else None)
        guest.start("run", 10_000, budget=caesura.Budget(fuel=1000))
        assert in_both(guest.snapshot().to_wasm(), [["resume", 1]], [], tmp_path).results == [7]

    run(main())


def test_a_name_that_is_taken() -> None:
    """`resume` of the guest's own stays; with a number it is refused."""

    async def main() -> None:
        for name, refused in (("resume", False), ("resume:0", True)):
            text = ANSWERED.replace("{types}", "i32").replace(
                "(global $n", f'(func (export "{name}") (result i32) (i32.const 9)) (global $n'
            )
            guest = await caesura.load(text.encode(), external=["env.ask"])
            guest.start("run", 3.0)
            if refused:
                with pytest.raises(caesura.SnapshotError, match="exports resume:0 already"):
                    guest.snapshot().to_wasm()
            else:
                ran = in_wasmtime(guest.snapshot().to_wasm(), [["resume"], ["resume:0", 4]])
                assert ran.results == [9, [4, 1.5]]

    run(main())


def test_the_import_is_called_again(tmp_path: Path) -> None:
    """With the arguments that it had; each call goes on once, in whichever way."""

    async def main() -> None:
        _, snapshot = await saved_keeper()
        steps: list[list[Any]] = [["resume_call"], ["resume", 1], ["resume_call:0"], ["run", 1, 0.5]]
        ran = in_both(snapshot.to_wasm(), steps, [100, 7], tmp_path)
        assert ran.results == [165, TRAP, TRAP, 9]
        assert ran.asked == [["env.ask", 1006, 2.5], ["env.ask", 1007, 0.5]]

    run(main())


@pytest.mark.parametrize("own_memory", [False, True])
def test_64_bit_addresses(own_memory: bool, tmp_path: Path) -> None:
    """Of the guest's memory, in which the asyncify stack may lie, and of a table."""
    text = """
    (module
      (import "env" "ask" (func $ask (param i64) (result i64)))
      (memory (export "memory") i64 2 4)
      (table $table (export "table") i64 3 10 funcref)
      (elem declare func $two)
      (func $two (result i32) (i32.const 2))
      (func (export "run") (param i64) (result i64 i32)
        (table.set $table (i64.const 2) (ref.func $two))
        (i64.store (i64.const 100000) (local.get 0))
        (i64.add (call $ask (i64.const 5)) (i64.load (i64.const 100000)))
        (call_indirect $table (result i32) (i64.const 2))))
    """

    async def main() -> None:
        module = assemble(text)
        if own_memory:
            module = caesura.instrument(module, caesura.Options(thunks=True)).module
        place = (1024, 65536) if own_memory else None
        guest = await caesura.load(module, external=["env.ask"], stack_space=place)
        guest.start("run", 1000)
        made = guest.snapshot().to_wasm()
        assert in_both(made, [["resume", "7"], ["resume", "7"]], [], tmp_path).results == [["1007", 2], TRAP]

    run(main())


def test_a_start_function_that_waits_goes_on_and_is_not_run_again(tmp_path: Path) -> None:
    text = """
    (module
      (import "env" "ask" (func $ask (param i32) (result i32)))
      (global $sum (mut i32) (i32.const 0))
      (func $start
        (global.set $sum (i32.add (global.get $sum) (call $ask (i32.const 1))))
        (global.set $sum (i32.add (global.get $sum) (call $ask (global.get $sum)))))
      (start $start)
      (func (export "sum") (result i32) (global.get $sum)))
    """

    async def main() -> None:
        snapshots: list[caesura.Snapshot] = []

        async def ask(guest: caesura.Guest, value: int) -> int:
            await asyncio.sleep(0)
            snapshots.append(guest.snapshot())
            return value * 10

        guest = await caesura.load(text.encode(), {"env": {"ask": ask}})
        snapshots.append(guest.snapshot())
        first, second, ended = [snapshot.to_wasm(module=text.encode()) for snapshot in snapshots]
        assert in_both(first, [["sum"], ["resume", 10], ["sum"]], [100], tmp_path).results == [0, None, 110]
        assert in_both(second, [["sum"], ["resume", 100], ["sum"]], [], tmp_path).results == [10, None, 110]
        assert in_both(ended, [["sum"]], [], tmp_path).results == [110]

    run(main())


@pytest.mark.parametrize("abi", ["load", "plain in its own memory"])
def test_an_import_that_is_there_twice_and_in_a_table(abi: str, tmp_path: Path) -> None:
    """Whichever it is that waits, the other is called by the host as ever."""
    text = """
    (module
      (import "env" "wait" (func $one (param i32) (result i32)))
      (import "env" "wait" (func $two (param i32) (result i32)))
      (type $wait (func (param i32) (result i32)))
      (table funcref (elem $one $two))
      (func (export "run") (param i32) (result i32)
        (call $one (i32.const 1)) (call $two (i32.const 2)) i32.add
        (call_indirect (type $wait) (i32.const 3) (i32.const 1)) i32.add
        (call $one (i32.const 4)) i32.add (local.get 0) i32.add))
    """

    async def main() -> None:
        guest = await caesura.load(instrumented(text.encode(), abi), external=["env.wait"])
        step = guest.start("run", 1000)
        for done in range(4):
            made = guest.snapshot(embed=True).to_wasm()
            left = [10 ** (3 - place) for place in range(done, 4)]
            given = sum(10 ** (3 - place) for place in range(done))
            ran = in_both(made, [["resume", left[0]]], left[1:], tmp_path)
            assert ran.results == [1000 + given + sum(left)]
            assert ran.asked == [["env.wait", place + 1] for place in range(done + 1, 4)]
            step = step.resume(10 ** (3 - done))
        assert step == 2111

    run(main())


def test_a_module_that_exports_nothing_of_its_state_comes_along(tmp_path: Path) -> None:
    """What the host exports for itself is not of the module, whose digest the state has."""
    text = """
    (module
      (import "env" "ask" (func $ask (param i32) (result i32)))
      (memory 1)
      (global $stack (mut i32) (i32.const 65536))
      (func (export "run") (param i32) (result i32) (local $frame i32)
        (global.set $stack (local.tee $frame (i32.sub (global.get $stack) (i32.const 16))))
        (i32.store (local.get $frame) (call $ask (local.get 0)))
        (i32.load (local.get $frame))
        (global.set $stack (i32.add (local.get $frame) (i32.const 16)))))
    """

    async def main() -> None:
        guest = await caesura.load(text.encode(), external=["env.ask"])
        guest.start("run", 1)
        snapshot = caesura.Snapshot.load(bytes(guest.snapshot(embed=True)))
        again = await caesura.restore(snapshot, external=["env.ask"])
        assert again.pending[0].resume(5) == 5
        assert in_both(snapshot.to_wasm(), [["resume", 6], ["run", 1]], [7], tmp_path).results == [6, 7]

    run(main())
