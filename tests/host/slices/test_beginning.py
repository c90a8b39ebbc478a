"""What runs before anybody has a guest, its start function and `_initialize`, is bounded and takes turns."""

from __future__ import annotations

import asyncio
import time

import pytest

import caesura
from caesura.abi import START_FUNCTION
from tests.host.slices.guests import MUCH, SLICE
from tests.host.support import run

COUNT = """(func $count (param i64) (local i64)
    (loop (local.set 1 (i64.add (local.get 1) (i64.const 1))) (br_if 0 (i64.lt_u (local.get 1) (local.get 0)))))"""

# Both count so far, and the second one says so.
COUNTING = f"""(module (memory (export "memory") 1) {COUNT}
  (func $begin (call $count (i64.const {MUCH}))) (start $begin)
  (func (export "_initialize") (call $count (i64.const {MUCH})) (i32.store (i32.const 0) (i32.const 1)))
  (func (export "quick") (result i32) (i32.load (i32.const 0))))""".encode()

ENDLESS = {
    "its start function": b"(module (func $begin (loop (br 0))) (start $begin))",
    "_initialize": b'(module (memory (export "memory") 1) (func (export "_initialize") (loop (br 0))))',
}


@pytest.mark.parametrize("where", ENDLESS)
@pytest.mark.parametrize(
    ("budget", "given"),
    [
        (caesura.Budget(cpu=0.01), {"preempt": "flag"}),
        (caesura.Budget(cpu=0.01), {"time_slice": SLICE}),
        (caesura.Budget(fuel=100_000), {"preempt": "fuel", "time_slice": SLICE}),
    ],
)
def test_what_never_ends_is_no_guest(where: str, budget: caesura.Budget, given: dict[str, object]) -> None:
    async def main() -> None:
        said = rf"has used up its budget, .* before it was loaded \(in {where}\), and is closed"
        with pytest.raises(caesura.BudgetExhausted, match=said) as pause:
            await caesura.load(ENDLESS[where], budget=budget, **given)  # type: ignore[arg-type]
        with pytest.raises(caesura.UsageError, match="closed"):
            await pause.value.call.aresume()
        program = await caesura.compile(ENDLESS[where], preempt=str(given.get("preempt", "flag")))
        with pytest.raises(caesura.BudgetExhausted, match=said):
            await program.load(budget=budget)

    run(main())


def test_one_budget_is_for_both() -> None:
    async def main() -> None:
        guest = await caesura.load(COUNTING, preempt="fuel")
        used = guest.usage.fuel
        assert used is not None
        enough = await caesura.load(COUNTING, preempt="fuel", budget=caesura.Budget(fuel=used))
        assert enough.usage.fuel == used and await enough.call("quick", budget=caesura.Budget(fuel=100)) == 1
        for fuel, where in ((used * 3 // 4, "_initialize"), (used // 4, "its start function")):
            with pytest.raises(caesura.BudgetExhausted, match=rf"\(in {where}\)"):
                await caesura.load(COUNTING, preempt="fuel", budget=caesura.Budget(fuel=fuel))

    run(main())


def test_a_budget_that_cannot_be_kept_is_refused_before_anything_runs() -> None:
    async def main() -> None:
        calls: list[int] = []
        text = b'(module (import "env" "begin" (func $begin)) (start $begin))'
        imports = {"env": {"begin": lambda: calls.append(1)}}
        with pytest.raises(caesura.UsageError, match="no budget can end its calls: load it with time_slice"):
            await caesura.load(text, imports, budget=caesura.Budget(cpu=1))
        with pytest.raises(caesura.UsageError, match="counts no fuel"):
            await caesura.load(text, imports, preempt="flag", budget=caesura.Budget(fuel=1))
        with pytest.raises(caesura.UsageError, match="budget"):
            await caesura.load(text, imports, preempt="flag", budget=1.0)  # type: ignore[arg-type]
        with pytest.raises(caesura.UsageError, match=r"budget belongs to program\.load, not to compile"):
            await caesura.compile(text, imports, budget=caesura.Budget(cpu=1))  # type: ignore[arg-type]
        assert not calls
        await caesura.load(text, imports, preempt="fuel", budget=caesura.Budget(fuel=1))
        assert calls == [1]

    run(main())


def test_an_import_that_is_the_start_function_is_charged() -> None:
    """Nothing can end it; what comes behind it has less."""

    async def main() -> None:
        def begin() -> None:
            end = time.thread_time() + 0.02
            while time.thread_time() < end:
                pass

        text = f"""(module (import "env" "begin" (func $begin)) (memory (export "memory") 1) {COUNT} (start $begin)
          (func (export "_initialize") (call $count (i64.const 1000))))""".encode()
        imports = {"env": {"begin": begin}}
        with pytest.raises(caesura.BudgetExhausted, match=r"\(in _initialize\)"):
            await caesura.load(text, imports, preempt="flag", budget=caesura.Budget(cpu=0.015))
        guest = await caesura.load(text, imports, preempt="flag", budget=caesura.Budget(cpu=100))
        assert guest.usage.time > 0.015

    run(main())


@pytest.mark.parametrize(
    "start", ["(start $begin)", "(func $calls (call $begin)) (start $calls)", '(export "_initialize" (func $begin))']
)
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_guests_that_are_loaded_in_a_row_give_others_their_turn(start: str, preempt: str) -> None:
    async def main() -> None:
        def begin() -> None:
            end = time.monotonic() + 2 * SLICE
            while time.monotonic() < end:
                pass

        text = f'(module (import "env" "begin" (func $begin)) (memory (export "memory") 1) {start})'.encode()
        program = await caesura.compile(text, {"env": {"begin": begin}}, preempt=preempt)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(others())
        for _ in range(10):
            await program.load(time_slice=SLICE)
        assert turns >= 9
        other.cancel()

    run(main())


def test_a_load_that_waits_for_its_turn_is_cancelled() -> None:
    async def main() -> None:
        guest = await caesura.load(b'(module (func (export "spin") (loop (br 0))))', time_slice=SLICE)
        program = await caesura.compile(b'(module (func (export "quick")))', preempt="flag")
        spinning = asyncio.create_task(guest.call("spin"))
        while not guest.usage.slices:
            await asyncio.sleep(0)
        tasks = [asyncio.create_task(program.load(time_slice=SLICE)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(item, caesura.Guest) for item in done[1:])
        spinning.cancel()

    run(main())


def test_a_program_that_was_saved_while_it_began_goes_on_with_all_of_it() -> None:
    async def main() -> None:
        taken: list[caesura.Snapshot] = []
        said: list[int] = []

        async def wait(guest: caesura.Guest) -> None:
            await asyncio.sleep(0)
            taken.append(guest.snapshot())

        text = b"""(module (import "env" "wait" (func $wait)) (import "env" "say" (func $say (param i32)))
          (memory (export "memory") 1)
          (func $begin (call $wait) (call $say (i32.const 1))) (start $begin)
          (func (export "_initialize") (call $say (i32.const 2)))
          (func (export "_start") (call $say (i32.const 3)) (loop (br_if 0 (i32.eqz (i32.load (i32.const 0)))))))"""
        imports = {"env": {"wait": wait, "say": said.append}}
        await caesura.load(text, imports, preempt="fuel")
        assert said == [1, 2]
        guest = await caesura.restore(taken[0], imports, module=text)
        assert [call.export for call in guest.pending] == [START_FUNCTION]
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await guest.run(budget=caesura.Budget(fuel=1000))
        assert said == [1, 2, 1, 2, 3]
        guest.memory.write(0, b"\1")
        await pause.value.call.aresume()

    run(main())


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_what_was_saved_goes_on_within_a_budget_that_is_over_at_once(preempt: str) -> None:
    async def main() -> None:
        text = b'(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'
        guest = await caesura.load(text, preempt=preempt)
        with pytest.raises(caesura.BudgetExhausted):
            await guest.run(budget=caesura.Budget(cpu=0.001))
        state = guest.snapshot()
        for _ in range(2):
            guest = await caesura.restore(state, {}, module=text)
            with pytest.raises(caesura.BudgetExhausted, match="1e-09 s of processor time"):
                await guest.run(budget=caesura.Budget(cpu=1e-9))
            state = guest.snapshot()

    run(main())
