"""Control that comes back from the host comes to a pause point: calls in a row, with no loop around, are no way out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

import caesura
from tests.host.slices.guests import SLICE
from tests.host.support import run

CALLS = 30

# By name: the fields of a module whose export `run` calls the import `$slow` so often, with no loop.
ROWS = {
    "calls": f'(func (export "run") {"(call $slow)" * CALLS})',
    "through a table": f"""(table 1 funcref) (elem (i32.const 0) $slow)
      (func (export "run") {"(call_indirect (type $f) (i32.const 0))" * CALLS})""",
    "by references": f"""(elem declare func $slow)
      (func (export "run") {"(call_ref $f (ref.func $slow))" * CALLS})""",
    "out of a global": f"""(global $g (ref $f) (ref.func $slow))
      (func (export "run") {"(call_ref $f (global.get $g))" * CALLS})""",
    "tail calls": f"""(func $leave (return_call $slow)) (func (export "run") {"(call $leave)" * CALLS})""",
    "tail calls through a table": f"""(table 2 funcref) (elem (i32.const 0) $slow $leave)
      (func $leave (return_call_indirect (type $f) (i32.const 0)))
      (func (export "run") {"(call_indirect (type $f) (i32.const 1))" * CALLS})""",
    "tail calls by references": f"""(elem declare func $slow) (func $leave (return_call_ref $f (ref.func $slow)))
      (func (export "run") {"(call $leave)" * CALLS})""",
    "tail calls of functions that call each other": f"""(func $one (param i32)
        (if (local.get 0) (then (return_call $other (i32.const 0)))) (return_call $slow))
      (func $other (param i32) (if (local.get 0) (then (call $one (i32.const 0)))) (return_call $one (i32.const 0)))
      (func (export "run") {"(call $one (i32.const 1))" * CALLS})""",
    "in arms": f"""(func (export "run")
      {"(if (i32.eqz (i32.load (i32.const 0))) (then (call $slow)) (else (unreachable)))" * CALLS})""",
    "first of all in a loop that looks further inside": f"""(func $steps (param i32)
        (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
      (func (export "run") (local i32) (local.set 0 (i32.const {CALLS}))
        (loop (call $slow) (call $steps (i32.const 2))
          (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))""",
    "last and first of all in a loop that looks further inside": f"""(func (export "run") (local i32 i32)
        (local.set 0 (i32.const {CALLS // 2}))
        (loop (call $slow) (local.set 1 (i32.const 2))
          (loop (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
          (call $slow)
          (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))""",
    "in loops that are left again at once": f"""(func (export "run")
      {"(loop (call $slow) (br_if 0 (i32.load (i32.const 0))))" * CALLS})""",
    "in an inner loop that is left for an outer one, where that begins": f"""(func (export "run") (local i32)
        (local.set 0 (i32.const {CALLS // 2}))
        (loop $outer (call $slow)
          (loop $inner (call $slow) (br_if $inner (i32.load (i32.const 0))))
          (br_if $outer (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (loop (br_if 0 (i32.load (i32.const 0)))))""",
    "in loops of functions": f"""(func $once (loop (call $slow) (br_if 0 (i32.load (i32.const 0)))))
      (func (export "run") {"(call $once)" * CALLS})""",
    "in loops that are left for the function's end": f"""(func $once
        (loop (call $slow) (br_if 1 (i32.eqz (i32.load (i32.const 0)))) (br 0)))
      (func (export "run") {"(call $once)" * CALLS})""",
    "exported again": f"""(export "slow" (func $slow)) (table 1 funcref) (elem (i32.const 0) $slow)
      (func (export "run") {"(call_indirect (type $f) (i32.const 0))" * CALLS})""",
    "a start function": f'(func $run {"(call $slow)" * CALLS}) (start $run) (func (export "run"))',
}


def module(fields: str, imported: str = "env") -> bytes:
    return f"""(module (type $f (func)) (import "{imported}" "slow" (func $slow (type $f))) (memory (export "memory") 1)
      {fields})""".encode()


async def not_waiting(work: Callable[[], None]) -> None:
    work()


async def waiting(work: Callable[[], None]) -> None:
    work()
    await asyncio.sleep(0)


def host_function(kind: str, work: Callable[[], None]) -> Any:
    """Return a host function of a kind that does some work."""
    if kind == "plain":
        return work

    async def coroutine() -> None:
        await (waiting if kind == "waiting" else not_waiting)(work)

    return coroutine


def burn(seconds: float) -> None:
    """Use so much of the processor."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("kind", ["plain", "not waiting", "waiting"])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("name", ROWS)
def test_others_have_their_turn_behind_each(name: str, preempt: str, kind: str) -> None:
    check_turns(name, preempt, kind, "env")


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("name", ROWS)
def test_so_they_have_behind_what_an_engine_might_provide(name: str, preempt: str) -> None:
    check_turns(name, preempt, "plain", "wasm:unknown")


def check_turns(name: str, preempt: str, kind: str, imported: str) -> None:
    async def main() -> None:
        events: list[str] = []

        def slow() -> None:
            events.append("slow")
            time.sleep(1.5 * SLICE)

        async def others() -> None:
            while True:
                events.append("others")
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        imports = {imported: {"slow": host_function(kind, slow)}}
        guest = await caesura.load(module(ROWS[name], imported), imports, time_slice=SLICE, preempt=preempt)
        await guest.call("run")
        task.cancel()
        assert events.count("slow") == CALLS
        assert ("slow", "slow") not in itertools.pairwise(events)
        if kind != "waiting":
            assert guest.usage.slices >= CALLS // 2

    run(main())


@pytest.mark.parametrize("kind", ["plain", "not waiting", "waiting"])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("name", [name for name in ROWS if name != "a start function"])
def test_a_budget_ends_behind_the_call_that_uses_it_up(name: str, preempt: str, kind: str) -> None:
    async def main() -> None:
        calls = 0

        def work() -> None:
            """Use up the budget in each third call, and next to nothing in others: what is around them counts, too."""
            nonlocal calls
            calls += 1
            burn(0.06 if calls % 3 == 0 and calls <= 6 else 0)

        imports = {"env": {"slow": host_function(kind, work)}}
        guest = await caesura.load(module(ROWS[name]), imports, time_slice=60.0, preempt=preempt)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", budget=caesura.Budget(cpu=0.05))
        assert calls == 3
        with pytest.raises(caesura.BudgetExhausted) as again:
            await pause.value.call.resume(budget=caesura.Budget(cpu=0.05))
        assert calls == 6
        await again.value.call.resume()
        assert calls == CALLS

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_what_cannot_be_suspended_is_stopped(preempt: str) -> None:
    """One host function may take as long as it likes, but not one after the other."""

    async def main() -> None:
        calls = 0

        def slow(work: float = 0.03) -> None:
            nonlocal calls
            calls += 1
            burn(work)

        guest = await caesura.load(module(ROWS["calls"]), {"env": {"slow": slow}}, time_slice=SLICE, preempt=preempt)
        with pytest.raises(caesura.GuestTrap, match="cannot be suspended"):
            guest.call_nowait("run")
        assert 2 <= calls <= 5
        once = module('(func (export "run") (call $slow))')
        guest = await caesura.load(once, {"env": {"slow": lambda: slow(0.2)}}, time_slice=SLICE, preempt=preempt)
        guest.call_nowait("run")

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_functions_of_wasi(preempt: str) -> None:
    fill = "(drop (call $random_get (i32.const 0) (i32.const 16777216)))"
    text = f"""(module (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
      (memory (export "memory") 256) (func (export "_start")) (func (export "run") {fill * 100}))""".encode()

    async def main() -> None:
        wasi = caesura.Wasi(stdin=b"", stdout=lambda _: None, stderr=lambda _: None)
        guest = await caesura.load(text, wasi=wasi, time_slice=SLICE, preempt=preempt)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", budget=caesura.Budget(cpu=0.001))
        with pytest.raises(caesura.BudgetExhausted) as again:
            await pause.value.call.resume(budget=caesura.Budget(cpu=0.001))
        again.value.call.drop()

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_waiting_for_many_things_again_and_again(preempt: str) -> None:
    """`poll_oneoff` with clocks that are over long ago never waits."""
    poll = "(drop (call $poll (i32.const 0) (i32.const 65536) (i32.const 1000) (i32.const 8)))"
    text = f"""(module (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 4) (func (export "_start")) (func (export "run") {poll * 2000}))""".encode()

    async def main() -> None:
        wasi = caesura.Wasi(stdin=b"", stdout=lambda _: None, stderr=lambda _: None)
        guest = await caesura.load(text, wasi=wasi, time_slice=SLICE, preempt=preempt)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", budget=caesura.Budget(cpu=0.02))
        pause.value.call.drop()

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_what_another_guest_exports(preempt: str) -> None:
    """A guest that calls another one's export again and again is one that calls host functions."""

    async def main() -> None:
        inner = await caesura.load(
            b"""(module (import "env" "work" (func $work)) (func (export "step") (call $work)))""",
            {"env": {"work": lambda: burn(0.004)}},
            time_slice=SLICE,
            preempt=preempt,
        )
        imports = {"env": {"slow": lambda: inner.call_nowait("step")}}
        guest = await caesura.load(module(ROWS["calls"]), imports, time_slice=60.0, preempt=preempt)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("run", budget=caesura.Budget(cpu=0.01))
        pause.value.call.drop()

    run(main())
