"""`aresume` and `athrow` go on with calls of every origin in a restored guest, whose calls somebody else has begun."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import pytest

import caesura
from tests.host.support import run

# `run` and `_start` ask, but if the first byte of memory says not to; compute, ask again, wait, and have a result.
GUEST: Final = b"""
(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "wait" (func $wait))
  (memory (export "memory") 1)
  (func $run (export "run") (result i32)
    (local $n i32) (local $sum i32)
    (local.set $sum
      (if (result i32) (i32.load8_u (i32.const 0))
        (then (i32.const 20)) (else (call $ask (i32.const 1)))))
    (local.set $n (i32.const 3000))
    (loop $again
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.set $sum (i32.add (local.get $sum) (call $ask (i32.const 2))))
    (call $wait)
    (local.get $sum))
  (func (export "_start") (drop (call $run))))"""

# The guest counts so much before it asks for the second time, and more.
LITTLE: Final = caesura.Budget(fuel=1000)
PLENTY: Final = caesura.Budget(fuel=1 << 40)


async def wait() -> None:
    await asyncio.sleep(0)


IMPORTS: Final = {"env": {"ask": caesura.EXTERNAL, "wait": wait}}


async def begin_awaited(guest: caesura.Guest, budget: caesura.Budget) -> None:
    await guest.call("run", budget=budget)


async def begin_in_steps(guest: caesura.Guest, budget: caesura.Budget) -> None:
    guest.start("run", budget=budget)


async def begin_generator(guest: caesura.Guest, budget: caesura.Budget) -> Any:
    generator = guest.generate("run", budget=budget)
    next(generator)
    return generator  # which would end the call if it were forgotten


async def begin_asynchronous_generator(guest: caesura.Guest, budget: caesura.Budget) -> AsyncGenerator[Any, Any]:
    generator = guest.agenerate("run", budget=budget)
    await anext(generator)
    return generator


async def begin_program(guest: caesura.Guest, budget: caesura.Budget) -> None:
    with pytest.raises(caesura.UsageError, match=r"the program waits in env\.ask"):
        await guest.run(budget=budget)


BEGINNINGS: Final[dict[str, Callable[[caesura.Guest, caesura.Budget], Any]]] = {
    "call": begin_awaited,
    "start": begin_in_steps,
    "generate": begin_generator,
    "agenerate": begin_asynchronous_generator,
    "run": begin_program,
}

each_origin = pytest.mark.parametrize("origin", BEGINNINGS)


async def saved(origin: str, *, paused: bool) -> bytes:
    """Return a state in which a call of this origin asks, or is paused in the middle of its code."""
    guest = await caesura.load(GUEST, IMPORTS, preempt="fuel")
    begun = None
    if paused:
        guest.memory.write(0, b"\1")
        with pytest.raises(caesura.BudgetExhausted):
            await BEGINNINGS[origin](guest, LITTLE)
    else:
        begun = await BEGINNINGS[origin](guest, PLENTY)
    state = bytes(guest.snapshot(embed=True))
    if isinstance(begun, AsyncGenerator):
        await begun.aclose()
    return state


async def restored(origin: str, *, paused: bool = False) -> tuple[caesura.Guest, caesura.PendingCall]:
    """Return a guest in which a call of this origin is suspended, and the call."""
    guest = await caesura.restore(await saved(origin, paused=paused), IMPORTS)
    (call,) = guest.pending
    return guest, call


@each_origin
def test_a_restored_call_that_asks_goes_on(origin: str) -> None:
    async def main() -> None:
        guest, call = await restored(origin)
        with pytest.raises(caesura.BudgetExhausted) as pause:
            await call.aresume(20, budget=LITTLE)
        step = await pause.value.call.aresume(budget=PLENTY)
        assert step.arguments == (2,)
        assert await step.aresume(22) == (None if origin == "run" else 42)  # it may wait meanwhile
        assert guest.pending == []

    run(main())


@each_origin
def test_forks_of_a_call_that_is_paused_go_on(origin: str) -> None:
    async def main() -> None:
        guest, call = await restored(origin, paused=True)
        assert call.function == "pause"
        for child in await guest.snapshot().fork(2, IMPORTS):
            step = await child.pending[0].aresume(budget=PLENTY)
            assert await step.aresume(22) == (None if origin == "run" else 42)
            assert child.pending == []

    run(main())


@each_origin
def test_an_event_loop_of_its_own_goes_on_with_a_restored_call(origin: str) -> None:
    guest, call = asyncio.run(restored(origin, paused=True))
    step = asyncio.run(call.aresume(budget=PLENTY))
    assert asyncio.run(step.aresume(22)) == (None if origin == "run" else 42)
    assert guest.pending == []


@each_origin
def test_an_error_is_thrown_into_a_restored_call(origin: str) -> None:
    async def main() -> None:
        guest, call = await restored(origin)
        with pytest.raises(ZeroDivisionError, match="of the tool"):
            await call.athrow(ZeroDivisionError("of the tool"))
        assert guest.pending == []

    run(main())


@each_origin
def test_nothing_runs_before_it_is_awaited_and_what_does_not_fit_changes_nothing(origin: str) -> None:
    async def main() -> None:
        guest, call = await restored(origin)
        unused = call.aresume(1)
        assert guest.pending[0].arguments == (1,) and guest.usage.fuel == 0
        unused.close()
        with pytest.raises(caesura.UsageError, match="expected"):
            await call.aresume("nothing")
        with pytest.raises(caesura.UsageError, match="expected an exception"):
            await call.athrow("nothing")  # type: ignore[arg-type]
        assert isinstance(await call.aresume(20), caesura.PendingCall)
        with pytest.raises(caesura.UsageError, match="has gone on since"):
            await call.aresume(20)
        guest, call = await restored(origin, paused=True)
        with pytest.raises(caesura.UsageError, match="is paused and has asked nothing"):
            await call.aresume(20)
        assert isinstance(await call.aresume(), caesura.PendingCall)

    run(main())


def test_steps_go_on_without_an_event_loop_in_a_restored_guest_too() -> None:
    _, call = asyncio.run(restored("start", paused=True))
    step = call.resume(budget=PLENTY)
    assert isinstance(step, caesura.PendingCall) and step.arguments == (2,)
