"""Guests that compute are paused at the end of their time slices, and others run."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

import caesura
from tests.host.slices.guests import AGES, COMPUTING, MUCH, SLICE, load, paused
from tests.host.support import run


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_others_run_while_a_guest_computes(preempt: str) -> None:
    async def main() -> None:
        guest = await load(preempt=preempt, time_slice=SLICE)
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        while not guest.usage.slices:
            assert await guest.call("depth", 10, MUCH) == MUCH + 10
        ticking.cancel()
        assert ticks and guest.suspended == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await guest.call("spin")
        assert guest.suspended == 0 and guest.call_nowait("turns") > 0
        assert await guest.call("count", 5) == 5

    run(main())


def test_all_guests_that_compute_go_on() -> None:
    async def main() -> None:
        guests = [await load() for _ in range(10)]
        spinning = [asyncio.create_task(guest.call("spin")) for guest in guests]
        while min(guest.usage.slices for guest in guests) < 3:
            await asyncio.sleep(SLICE)
        assert not any(task.done() for task in spinning)
        for guest in guests:
            await guest.aclose()
        assert all(task.cancelled() for task in spinning)

    run(main())


def test_a_guest_waits_for_its_turn_before_it_begins() -> None:
    async def main() -> None:
        others = [asyncio.create_task((await load()).call("spin")) for _ in range(20)]
        iterations = asyncio.create_task(_iterations(10))
        await asyncio.wait([iterations])  # a slice in each at most, so no task has begun that would have to wait
        for task in others:
            task.cancel()
        await asyncio.wait(others)

    async def _iterations(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    run(main())


def test_cancelling_and_closing_what_is_paused() -> None:
    async def main() -> None:
        guest = await load()
        task = asyncio.create_task(guest.call("spin"))
        while not guest.usage.slices:
            await asyncio.sleep(SLICE)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert guest.suspended == 0 and guest.call_nowait("quick", 4) == 8
        task = asyncio.create_task(guest.call("spin"))
        waiting = asyncio.create_task(guest.call("quick", 1))  # until the other has ended
        slices = guest.usage.slices
        while guest.usage.slices < slices + 2:
            await asyncio.sleep(SLICE)
        assert not waiting.done()
        guest.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(caesura.UsageError, match="closed"):
            await waiting

    run(main())


def test_a_call_that_is_forgotten() -> None:
    async def main() -> None:
        guest = await load()
        coroutine = guest.call("spin")
        coroutine.send(None)
        assert guest.suspended == 1
        coroutine.close()
        assert guest.suspended == 0 and guest.call_nowait("quick", 4) == 8

    run(main())


def test_nothing_else_of_a_guest_runs_while_it_is_paused() -> None:
    """Else a call would see it in the middle of its code, as another thread would."""

    async def main() -> None:
        gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        order: list[str] = []

        async def later(value: int) -> int:
            result = await gate
            order.append("the host function goes on")
            return result + int(guest.call_nowait("quick", value))

        guest = await load(later=later)
        waiting = asyncio.create_task(guest.call("call_later", 3))
        await asyncio.sleep(0)

        async def count() -> None:
            await guest.call("until", 0, AGES)
            order.append("it has counted")

        counting = asyncio.create_task(count())
        while ("until", "pause") not in [(call.export, call.function) for call in guest.pending]:
            await asyncio.sleep(0)  # on a busy machine the other call may be paused first
        gate.set_result(10)
        with pytest.raises(caesura.UsageError, match=r"until is paused in the middle .* `await guest.call` waits"):
            guest.call_nowait("quick", 1)
        with pytest.raises(caesura.UsageError, match="is paused"):
            guest.start("quick", 1)
        guest.memory.write(0, b"\1")
        assert await guest.call("quick", 2) == 4
        order.append("another call")
        assert await waiting == 17 and order[0] == "it has counted" and len(order) == 3
        await counting

    run(main())


def test_what_waits_can_be_cancelled_while_another_call_is_paused() -> None:
    async def main() -> None:
        gate = asyncio.get_running_loop().create_future()

        async def later(value: int) -> int:
            await (asyncio.sleep(1000) if value else gate)
            return value

        guest = await load(later=later)
        waiting = [asyncio.create_task(guest.call("call_later", value)) for value in (0, 1)]
        await asyncio.sleep(0)
        spinning = asyncio.create_task(guest.call("spin"))
        slices = guest.usage.slices
        while guest.usage.slices < slices + 3:
            await asyncio.sleep(SLICE)
        gate.set_result(None)
        beginning = asyncio.create_task(guest.call("quick", 1))
        await asyncio.sleep(0)
        others = [*waiting, beginning]
        assert not any(task.done() for task in others)
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        assert all(task.cancelled() for task in others) and guest.suspended == 1
        spinning.cancel()
        await asyncio.wait([spinning])
        assert guest.suspended == 0 and await guest.call("quick", 1) == 2

    run(main())


def test_host_functions_wait_for_a_call_that_is_paused_and_not_for_one_that_is_handed_out() -> None:
    async def main() -> None:
        steps: list[str] = []
        gate = asyncio.get_running_loop().create_future()

        async def later(value: int) -> int:
            await gate
            steps.append("host function")
            return value

        guest = await load(later=later)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("count", 100 * MUCH, budget=caesura.Budget(cpu=0.005))
        with pytest.raises(caesura.UsageError, match="paused"):
            await guest.call("call_later", 1)
        pause.value.call.drop()
        waiting = asyncio.create_task(guest.call("call_later", 1))
        await asyncio.sleep(0)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.call("spin", budget=caesura.Budget(cpu=0.005))
        gate.set_result(None)
        while not steps:
            await asyncio.sleep(0)
        await asyncio.sleep(SLICE)
        assert not waiting.done()  # its host function is done: what is left is the guest's
        pause.value.call.drop()
        assert await waiting == 2

    run(main())


def test_calls_from_host_functions_are_paused_by_themselves() -> None:
    async def main() -> None:
        async def later(value: int) -> int:
            return int(await guest.call("count", value))

        guest = await load(later=later)
        slices = 0
        while slices == 0:
            assert await guest.call("call_later", MUCH) == MUCH + 1
            slices = guest.usage.slices
        other = await load(later=lambda value: 1)

        async def through(value: int) -> int:
            return int(await other.call("count", value))

        guest = await load(later=through)
        while other.usage.slices == 0:
            assert await guest.call("call_later", MUCH) == MUCH + 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await (await load(later=lambda value: 0, again=lambda value: 0)).call("spin")

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_what_cannot_be_suspended_is_stopped(preempt: str) -> None:
    async def main() -> None:
        def again(value: int) -> int:
            return int(guest.call_nowait("spin" if value else "quick", *([] if value else [21])) or 0)

        guest = await load(again=again, preempt=preempt, time_slice=SLICE)
        assert await guest.call("call_again", 0) == 43
        with pytest.raises(caesura.GuestTrap, match="cannot be suspended") as trap:
            await guest.call("call_again", 1)
        assert trap.value.backtrace[0] == "spin"
        with pytest.raises(caesura.GuestTrap, match="cannot be suspended"):
            guest.call_nowait("spin")
        assert await guest.call("depth", 10, MUCH) == MUCH + 10  # as if nothing had been

    run(main())


@pytest.mark.skipif(not hasattr(time, "pthread_getcpuclockid"), reason="no thread sees another's clock here")
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_what_cannot_be_suspended_is_not_stopped_because_the_process_was(preempt: str) -> None:
    """A frozen container, a laptop that slept, a machine that is busy: the guest has used no processor time."""
    code = f"""
import asyncio, os, subprocess, time
from tests.host.slices.guests import SLICE, load
async def main():
    host = {{}}
    def again(value):
        count = int(host["guest"].call_nowait("count", 500_000))
        assert int(host["guest"].call_nowait("call_later", value)) == 1
        return count
    host["guest"] = guest = await load(again=again, later=lambda value: 0, preempt={preempt!r}, time_slice=SLICE)
    assert guest.call_nowait("call_again", 1) == 500_001
    stopping = subprocess.Popen(
        ["sh", "-c", f"while kill -STOP {{os.getpid()}}; do sleep 0.1; kill -CONT {{os.getpid()}}; sleep 0.03; done"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stalls = 0
    try:
        while stalls < 10:
            before = time.monotonic()
            assert await guest.call("call_again", 1) == 500_001
            assert guest.call_nowait("call_again", 1) == 500_001
            stalls += time.monotonic() - before > 0.08
    finally:
        stopping.kill()
    print("never stopped")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "never stopped\n", done.stderr


def test_what_is_nested_has_no_time_of_its_own() -> None:
    """A guest that has itself called again and again from inside keeps its thread no longer than one that does once."""

    async def main() -> None:
        turns: list[int] = []

        def again(value: int) -> int:
            if value:
                with pytest.raises(caesura.GuestTrap, match="cannot be suspended"):  # when the 20 are over
                    guest.call_nowait("call_again", 0)
                return 0
            for _ in range(20):
                with contextlib.suppress(caesura.GuestTrap):
                    guest.call_nowait("spin")
                turns.append(guest.call_nowait("turns"))
            with pytest.raises(caesura.GuestTrap, match="cannot be suspended"):
                guest.call_nowait("call_again", 1)
            return 0

        guest = await load(again=again)
        assert await guest.call("call_again", 1) == 1
        assert len(turns) == 20
        assert turns[-1] - turns[0] < 50  # each is stopped at once

    run(main())


@pytest.mark.parametrize("is_coroutine", [False, True])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_slow_host_functions_are_part_of_a_slice(preempt: str, is_coroutine: bool) -> None:
    """What a host function takes is no fuel of the guest's, and ends its slice all the same."""

    async def main() -> None:
        async def slow_coroutine() -> None:
            time.sleep(2 * SLICE)

        program = await caesura.compile(
            b"""(module (import "env" "slow" (func $slow)) (func (export "run") (param i32)
              (loop (call $slow) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))""",
            {"env": {"slow": slow_coroutine if is_coroutine else lambda: time.sleep(2 * SLICE)}},
            preempt=preempt,
        )
        guest = await program.load(time_slice=SLICE)
        await guest.call("run", 50)
        assert guest.usage.slices >= 25

    run(main())


def test_fuel_for_a_slice_is_small_until_the_guests_speed_is_known() -> None:
    """A unit stands for what takes some guests a thousand times as long as others."""

    async def main() -> None:
        guest = await caesura.load(b'(module (func (export "run") (loop (br 0))))', time_slice=SLICE, preempt="fuel")
        call = guest.start("run")
        assert isinstance(call, caesura.PendingCall)
        assert guest.usage.fuel is not None and guest.usage.fuel < 10_000
        call.drop()

    run(main())


def test_the_time_of_host_functions_is_not_the_guests() -> None:
    """A plain host function that is slow, called from where the guest cannot be suspended, may call it afterwards."""

    async def main() -> None:
        calls = 0

        def again(value: int) -> int:
            nonlocal calls
            calls += 1
            time.sleep(0.1)  # longer than any slice, and what is allowed beyond
            result = int(guest.call_nowait("quick", value)) + int(guest.call_nowait("count", 100))
            return result if calls % 3 == 0 else int(guest.call_nowait("call_again", value))

        for preempt in ("flag", "fuel"):
            guest = await load(again=again, preempt=preempt, time_slice=SLICE)
            assert guest.call_nowait("call_again", 5) == 113
            assert await guest.call("call_again", 5) == 113
            assert await guest.call("depth", 5, MUCH) == MUCH + 5
            assert guest.usage.slices < 1000

    run(main())


def test_a_start_function_that_computes() -> None:
    source = b"""(module (import "env" "enough" (func $enough (result i32))) (memory 1) (start $begin)
      (func $begin (loop (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
        (br_if 0 (i32.eqz (call $enough)))))
      (func (export "found") (result i32) (i32.load (i32.const 0))))"""

    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        began: list[int] = []

        def enough() -> int:
            began.append(ticks)
            return int(ticks > began[0] + 3)

        program = await caesura.compile(source, {"env": {"enough": enough}}, preempt="flag")
        ticking = asyncio.create_task(tick())
        guest = await program.load(time_slice=SLICE)
        assert guest.usage.slices and ticks >= guest.usage.slices
        assert guest.call_nowait("found") > 3
        ticking.cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await caesura.load(source, {"env": {"enough": lambda: 0}}, time_slice=SLICE)

    run(main())


def test_interruptions_and_slices() -> None:
    async def main() -> None:
        guest = await load(interruptible=True)
        timer = threading.Timer(0.05, guest.interrupt)
        timer.start()
        with pytest.raises(caesura.GuestTrap, match="interrupted"):
            await guest.call("spin")

    run(main())


def test_pauses_between_instructions() -> None:
    """Long code without loops and recursion is suspended inside, with values on the stack, and where it may throw."""

    async def main() -> None:
        fills = "(memory.fill (i32.const 0) (i32.const 7) (i32.const 131072))" * 1000
        module = f"""(module (memory (export "memory") 4) (tag $e (param i32))
          (func (export "run") (param i32) (result i32)
            (i32.add
              (i32.mul (local.get 0) (block (result i32) {fills} (i32.load8_u (i32.const 77))))
              (block $caught (result i32)
                (try_table (catch $e $caught) {fills} (throw $e (i32.load8_u (i32.const 77)))) (unreachable)))))"""
        guest = await caesura.load(module.encode(), preempt="fuel")
        pauses = 0
        budget = caesura.Budget(fuel=50_000)
        try:
            result = await guest.call("run", 100, budget=budget)
        except caesura.BudgetExhausted as pause:
            call = pause.call
            while True:
                pauses += 1
                try:
                    result = await call.resume(budget=budget)
                    break
                except caesura.BudgetExhausted as again:
                    call = again.call
        assert result == 707
        assert pauses >= 2
        assert guest.usage.fuel is not None and guest.usage.fuel > 2000 * 131072 / 32

    run(main())


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ("i32", "(memory.fill (i32.const 0) (i32.const 1) (local.get 0))"),
        ("i32", "(memory.copy $m $long (i32.const 0) (i64.const 0) (local.get 0))"),
        ("i64", "(memory.fill $long (i64.const 0) (i32.const 1) (local.get 0))"),
        ("i64", "(memory.copy $long $long (i64.const 0) (i64.const 0) (local.get 0))"),
        ("i32", "(memory.init $m $data (i32.const 0) (i32.const 0) (i32.shr_u (local.get 0) (i32.const 20)))"),
        ("i32", "(table.fill $t (i32.const 0) (ref.null func) (local.get 0))"),
        ("i32", "(table.copy $t $t (i32.const 0) (i32.const 0) (local.get 0))"),
        ("i32", "(drop (table.grow $t (ref.null func) (local.get 0)))"),
        ("i32", "(drop (array.new $a (i32.const 0) (local.get 0)))"),
        ("i32", "(drop (array.new_default $a (local.get 0)))"),
    ],
)
def test_what_an_instruction_fills_counts(size: str, code: str) -> None:
    async def main() -> None:
        guest = await caesura.load(
            f"""(module (memory $m 4) (memory $long i64 4) (table $t 100000 funcref) (data $data "abc")
              (type $a (array (mut i8)))
              (func (export "run") (param {size}) {code} (loop)))""".encode(),
            preempt="fuel",
        )
        await guest.call("run", 0)
        least = guest.usage.fuel
        await guest.call("run", 64_000)
        assert least is not None and guest.usage.fuel is not None
        unit = 32 if "memory" in code else 1
        expected = 0 if "init" in code else 64_000 // unit
        assert guest.usage.fuel - 2 * least == expected

    run(main())


def test_schedulers_of_ones_own() -> None:
    """With generators, and with `guest.start`, the end of a slice is handed to the caller as any other pause is."""
    guest = asyncio.run(load())
    steps = 0
    while not steps:  # on a busy machine a slice can end so late that nothing is left to do
        step = guest.start("count", MUCH)
        while isinstance(step, caesura.PendingCall):
            assert (step.function, step.arguments, step.export) == ("pause", (), "count")
            step = step.resume()
            steps += 1
        assert step == MUCH
    step = guest.start("spin")
    with pytest.raises(caesura.UsageError, match=r"it takes no answer, and was given 7: .* `resume\(budget=...\)`"):
        step.resume(7)
    step.drop()
    generator = guest.generate("until", 4, AGES)
    assert next(generator).function == "pause"
    with pytest.raises(caesura.UsageError, match="not yours to resume"):
        guest.pending[0].resume()
    guest.memory.write(0, b"\1")
    with pytest.raises(StopIteration) as end:
        _exhaust(generator)
    assert end.value.value == 4
    step = guest.start("spin")
    step.drop()
    step = guest.start("spin")
    with pytest.raises(ValueError, match="no more"):
        step.throw(ValueError("no more"))
    assert guest.suspended == 0 and guest.call_nowait("quick", 1) == 2


def _exhaust(generator: Generator[Any, Any, Any]) -> None:
    while True:
        next(generator)


def test_asynchronous_generators_take_turns() -> None:
    async def main() -> None:
        guest = await load(again=caesura.yielding(lambda value: value))
        found: list[Any] = []
        steps = guest.agenerate("call_again", 5)
        found.append(await anext(steps))
        with pytest.raises(StopAsyncIteration):
            await steps.asend(6)
        assert found == [5]
        while not guest.usage.slices:
            async for _ in guest.agenerate("count", MUCH):
                raise AssertionError("it yields nothing")

    run(main())


def test_a_paused_guest_is_saved_and_goes_on() -> None:
    async def main() -> None:
        guest = await load()
        task = await paused(guest, "depth", 10, MUCH)
        saved = bytes(guest.snapshot())
        assert await task == MUCH + 10
        imports: dict[str, dict[str, Any]] = {"env": {"again": caesura.EXTERNAL, "later": lambda value: 0}}
        with pytest.raises(caesura.UsageError, match="may suspend now"):
            await caesura.restore(saved, imports, module=COMPUTING)
        imports["env"]["again"] = lambda value: 0
        for time_slice in (None, SLICE):
            again = await caesura.restore(saved, imports, module=COMPUTING, time_slice=time_slice)
            (call,) = again.pending
            assert call.function == "pause" and call.is_held
            assert {frame.function for frame in call.backtrace()} <= {"count", "depth"}
            with pytest.raises(caesura.UsageError, match="paused"):
                again.call_nowait("quick", 1)
            assert await call == MUCH + 10
            assert again.call_nowait("quick", 1) == 2

    run(main())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"time_slice": 0}, "time_slice is 0: expected seconds, 0.0005 to 3600.0, or None"),
        ({"time_slice": float("nan")}, "time_slice is nan"),
        ({"time_slice": float("inf")}, "time_slice is inf"),
        ({"time_slice": "5ms"}, "time_slice is '5ms': expected a number"),
        ({"time_slice": True}, "time_slice is True"),
        ({"weight": 0}, "weight is 0: expected a number from 0.001 to"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"priority": 1.5}, "priority is 1.5: expected an integer"),
        ({"suspended_calls": -1}, "suspended_calls is -1"),
        ({"preempt": "both"}, "preempt is 'both': expected one of none, flag, fuel"),
        ({"preempt": "none"}, "the module has no pause points"),
        ({"options": caesura.Options(preempt="fuel")}, "leave it out of the options"),
        ({"options": caesura.Options(only_list=["count"])}, "only_list excludes preempt"),
        ({"options": caesura.Options(remove_list=["count"])}, "remove_list excludes preempt"),
        ({"options": caesura.Options(ignore_indirect=True)}, "ignore_indirect excludes preempt"),
    ],
)
def test_what_no_guest_can_have(given: dict[str, Any], message: str) -> None:
    with pytest.raises(caesura.UsageError, match=message):
        asyncio.run(load(**{"time_slice": SLICE, **given}))


def test_modules_without_pause_points() -> None:
    async def main() -> None:
        plain = caesura.instrument(_binary(), caesura.Options(thunks=True)).module
        with pytest.raises(caesura.UsageError, match=r"no pause points.*give the original"):
            await caesura.load(plain, {"env": {"wait": _wait}}, time_slice=SLICE, stack_space=(1024, 65536))
        program = await caesura.compile(_binary(), {"env": {"wait": _wait}})
        with pytest.raises(caesura.UsageError, match="no pause points"):
            await program.load(time_slice=SLICE)
        with pytest.raises(caesura.UsageError, match=r"time_slice belongs to program\.load"):
            await caesura.compile(_binary(), {"env": {"wait": _wait}}, time_slice=SLICE)  # type: ignore[arg-type]
        guest = await program.load()
        with pytest.raises(caesura.UsageError, match="pause points"):
            _ = guest.usage
        with pytest.raises(caesura.UsageError, match="no budget can end its calls"):
            await guest.call("run", budget=caesura.Budget(cpu=1))

    run(main())


def test_modules_that_have_pause_points_already() -> None:
    async def main() -> None:
        options = caesura.Options(thunks=True, in_secondary_memory=True, preempt="flag")
        instrumented = caesura.instrument(_binary(), options).module
        guest = await caesura.load(instrumented, {"env": {"wait": _wait}}, time_slice=SLICE)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await guest.call("run")
        assert guest.usage.slices

    run(main())


async def _wait() -> None:
    await asyncio.sleep(0)


def _binary() -> bytes:
    from tests.support.engine import assemble

    return assemble("""(module (import "env" "wait" (func $wait)) (memory (export "memory") 1)
      (func (export "run") (call $wait) (loop (br 0))))""")


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_a_paused_guest_goes_on_as_a_module_of_its_own(preempt: str) -> None:
    async def main() -> None:
        guest = await load(preempt=preempt, time_slice=SLICE)
        task = await paused(guest, "depth", 10, MUCH)
        snapshot = guest.snapshot(embed=True)
        assert await task == MUCH + 10
        alone = await caesura.load(snapshot.to_wasm(), {"env": {"again": lambda value: 0, "later": lambda value: 0}})
        assert alone.call_nowait("resume") == MUCH + 10

    run(main())


PROGRAM = b"""(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "env" "enough" (func $enough (result i32)))
  (memory (export "memory") 1)
  (global $count (mut i32) (i32.const 0))
  (func $count (loop (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (br_if 0 (i32.eqz (call $enough)))))
  (func (export "%s") (call $count) %s)
  (func (export "counted") (result i32) (global.get $count)))"""


def test_programs_and_their_beginning() -> None:
    """A WASI command is sliced, and has a budget; so is what a reactor does before it is anybody's."""

    async def main() -> None:
        enough = 0
        imports = {"env": {"enough": lambda: enough}}
        command = PROGRAM % (b"_start", b"(call $exit (i32.const 7))")
        guest = await caesura.load(command, imports, wasi=caesura.Wasi(), time_slice=SLICE)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.run(budget=caesura.Budget(cpu=0.001))
        saved = bytes(guest.snapshot())
        enough = 1
        with pytest.raises(caesura.GuestExit) as end:
            await pause.value.call.resume()
        assert end.value.code == 7 and guest.usage.slices
        enough = 0
        again = await caesura.restore(saved, imports, wasi=caesura.Wasi(), module=command, time_slice=SLICE)
        with pytest.raises(caesura.BudgetExhausted):
            await again.run(budget=caesura.Budget(cpu=0.001))
        enough = 1
        assert await again.run() == 7

        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        ticking = asyncio.create_task(tick())
        began: list[int] = []

        def has_ticked() -> int:
            began.append(ticks)
            return int(ticks > began[0] + 3)

        imports = {"env": {"enough": has_ticked}}
        reactor = await caesura.load(PROGRAM % (b"_initialize", b""), imports, wasi=caesura.Wasi(), time_slice=SLICE)
        assert reactor.usage.slices and reactor.call_nowait("counted") > 3
        ticking.cancel()

    run(main())
