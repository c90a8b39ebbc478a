"""Modules that say that they have pause points: what they claim is checked, and so is every number that they give."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

import caesura
from caesura.abi import CONTROL_BLOCK, PREEMPT_FRAMES_OFFSET, STATUS_OFFSET, Status
from tests.host.slices.guests import SLICE
from tests.host.support import run
from tests.support.engine import assemble

ABI: Final = """(func (export "asyncify_start_unwind") (param i32)) (func (export "asyncify_stop_unwind"))
  (func (export "asyncify_start_rewind") (param i32)) (func (export "asyncify_stop_rewind"))
  (func (export "asyncify_get_state") (result i32) (i32.const 0))
  (func (export "asyncify_set_data_pointer") (param i32))"""
MEMORY: Final = '(memory (export "memory") 1)'
STACK: Final = '(memory $stack (export "asyncify_memory") 1 10)'

# Version 3, and the flag of a request, or of fuel.
REQUEST: Final = '(@custom "asyncify.contract" "\\03\\80\\01")'
FUEL: Final = '(@custom "asyncify.contract" "\\03\\80\\02")'
WAITING: Final = "(func (drop (memory.atomic.wait32 $shared (i32.const 0) (i32.const 0) (i64.const -1))))"
CATCHING: Final = f"(tag $t) (func (block $h (try_table {'(catch $t $h)' * 129} (throw $t))))"
FUEL_GLOBAL: Final = '(global (export "asyncify_fuel") (mut i64) (i64.const 0))'


def function(body: str) -> str:
    """Return an export with an entry thunk."""
    return f'(func $f (export "f") (export "asyncify_entry:f") {body})'


async def load(*parts: str, time_slice: float | None = SLICE) -> caesura.Guest:
    return await caesura.load(f"(module {' '.join(parts)})".encode(), cache=False, time_slice=time_slice)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((FUEL, MEMORY, STACK), "exports no mutable i64 asyncify_fuel"),
        ((FUEL, MEMORY, STACK, '(global (export "asyncify_fuel") i64 (i64.const 0))'), "no mutable i64"),
        ((FUEL, MEMORY, STACK, '(global (export "asyncify_fuel") (mut i32) (i32.const 0))'), "no mutable i64"),
        ((REQUEST, MEMORY), "exports no asyncify_memory of its own"),
        ((REQUEST, MEMORY, '(memory (export "asyncify_memory") 1 10 shared)'), "exports no asyncify_memory"),
        ((REQUEST, MEMORY, '(memory (export "asyncify_memory") 1)'), "may grow beyond"),
        ((REQUEST, MEMORY, '(memory (export "asyncify_memory") 0 10)'), "its control block would end at"),
        (('(@custom "asyncify.contract" "\\02\\80\\01")', MEMORY, STACK), "tells more than version 2 has"),
        ((REQUEST, "(memory $shared 1 1 shared)", MEMORY, STACK, WAITING), "memory.atomic.wait32 stops the thread"),
        ((REQUEST, MEMORY, STACK, CATCHING), "129 catch clauses stand around one instruction"),
    ],
)
def test_what_is_missing_is_said(parts: tuple[str, ...], message: str) -> None:
    with pytest.raises((caesura.UnsupportedModule, caesura.UsageError), match=message):
        asyncio.run(load(ABI, *parts, function("")))


def test_a_pause_that_nobody_asked_for() -> None:
    """A guest that says that it has paused is suspended so, with the frames that it says: they are its own to read."""
    status, current = CONTROL_BLOCK + STATUS_OFFSET, CONTROL_BLOCK
    base = CONTROL_BLOCK + PREEMPT_FRAMES_OFFSET

    def says(frames: int) -> str:
        return f"""(i32.store $stack (i32.const {status}) (i32.const {int(Status.PAUSED)}))
          (i32.store $stack (i32.const {current}) (i32.const {frames}))"""

    async def main() -> None:
        guest = await load(ABI, REQUEST, MEMORY, STACK, function(says(base + 8)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await guest.call("f")  # again and again: it takes turns, as a loop does
        step = guest.start("f")
        assert step.function == "pause"
        step.drop()
        with pytest.raises(caesura.UsageError, match="not all functions on its stack took part"):
            guest.call_nowait("f")  # which cannot be suspended
        for frames in (0, base, base - 8, 1 << 30, 0xFFFF_FFF0):
            guest = await load(ABI, REQUEST, MEMORY, STACK, function(says(frames)))
            with pytest.raises((caesura.UsageError, caesura.GuestTrap), match=r"took part|asyncify stack corrupted"):
                await guest.call("f")
            assert guest.suspended == 0

    run(main())


def test_fuel_that_the_guest_changes() -> None:
    """It counts wrong for itself, and is refused nothing: what it can do, it can do by computing less."""

    async def main() -> None:
        for value in ("0x7fffffffffffffff", "-0x8000000000000000", "5"):
            body = f"(global.set 0 (i64.const {value}))"
            guest = await load(ABI, FUEL, MEMORY, STACK, FUEL_GLOBAL, function(body))
            try:
                await guest.call("f", budget=caesura.Budget(fuel=1000))
            except caesura.BudgetExhausted as pause:
                pause.call.drop()
            assert isinstance(guest.usage.fuel, int)
            await guest.call("f")

    run(main())


def test_pause_points_of_the_plain_abi_are_not_for_python() -> None:
    """The errors say what the module has, and how to make one that Python can pause."""
    text = '(module (memory (export "memory") 1) (func (export "spin") (loop (br 0))))'
    plain = caesura.instrument(assemble(text), caesura.Options(preempt="fuel")).module
    said = "pause points of the plain ABI, and Python pauses those of entry thunks only: instrument it with --thunks"

    async def main() -> None:
        with pytest.raises(caesura.UsageError, match=f"no time slice can end: .* {said}"):
            await caesura.load(plain, time_slice=SLICE)
        with pytest.raises(caesura.UsageError, match=f"no budget can end the guest's calls: .* {said}"):
            await caesura.load(plain, budget=caesura.Budget(fuel=1))
        guest = await caesura.load(plain)
        with pytest.raises(caesura.UsageError, match=said):
            await guest.call("spin", budget=caesura.Budget(fuel=1))
        with pytest.raises(caesura.UsageError, match=said):
            _ = guest.usage
        options = caesura.Options(preempt="fuel", thunks=True, in_secondary_memory=True)
        guest = await caesura.load(caesura.instrument(assemble(text), options).module)
        with pytest.raises(caesura.BudgetExhausted):
            await guest.call("spin", budget=caesura.Budget(fuel=1))

    asyncio.run(main())
