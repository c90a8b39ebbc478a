"""Code of others that runs in the middle of things: numbers that call the guest, others' frames, collected objects."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, Gates, instrumented, load_waiter, run, settle

PAIRS = b"""(module (import "env" "pair" (func $pair (param i32) (result i64 f64)))
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "sum") (param i32) (result f64) (local f64)
    (local.set 1 (call $pair (local.get 0))) (f64.convert_i64_s) (f64.add (local.get 1)))
  (func (export "outer") (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 100))))"""


class Number:
    """A number that does something when it is made one, and counts how often that is."""

    def __init__(self, value: int, action: Callable[[], object]) -> None:
        self.value = value
        self.action = action
        self.times = 0

    def __index__(self) -> int:
        self.times += 1
        self.action()
        return self.value

    def __float__(self) -> float:
        return float(self.__index__())


def finish(generator: Any, value: int) -> Any:
    with pytest.raises(StopIteration) as end:
        generator.send(value)
    return end.value.value


@pytest.mark.parametrize("abi", ABIS)
def test_results_that_run_the_guest_when_they_are_converted(abi: str) -> None:
    """Others are suspended, resumed and begun meanwhile; each object is converted once."""

    async def main() -> None:
        def same(value: int) -> int:
            return value

        place = (1024, 65536) if abi in ("thunks", "plain") else None
        imports = {"env": {"wait": caesura.yielding(same), "pair": caesura.yielding(same)}}
        guest = await caesura.load(instrumented(PAIRS, abi), imports, stack_space=place, cache=False)
        others: list[Any] = []

        def disturb() -> None:
            other = guest.generate("outer", 5)
            assert next(other) == 5
            assert finish(other, 7) == 107
            others.append(guest.generate("outer", 6))
            assert next(others[-1]) == 6

        for _ in range(3):
            call = guest.generate("outer", 1)
            next(call)
            number = Number(20, disturb)
            assert finish(call, number) == 120  # type: ignore[arg-type]
            pair = guest.generate("sum", 1)
            next(pair)
            numbers = (Number(2, disturb), Number(40, disturb))
            assert finish(pair, numbers) == 42.0  # type: ignore[arg-type]
            assert [one.times for one in (number, *numbers)] == [1, 1, 1]
        assert [finish(other, 3) for other in others] == [103] * 9
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_results_that_cannot_be_converted_are_raised_in_the_guest(abi: str) -> None:
    async def main() -> None:
        def fail() -> None:
            assert guest.call_nowait("calls") == 1
            raise LookupError("no number")

        async def wait(value: int) -> Any:
            await asyncio.sleep(0)
            return Number(1, fail) if value == 1 else value

        guest = await load_waiter(wait, abi)
        with pytest.raises(LookupError, match="no number") as caught:
            await guest.call("outer", 1)
        assert any("outer" in note for note in caught.value.__notes__)
        assert await guest.call("outer", 2) == 102

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_result_that_closes_the_guest_when_it_is_converted(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(caesura.yielding(lambda value: value), abi)
        call = guest.generate("outer", 1)
        next(call)
        with pytest.raises(caesura.UsageError, match="closed"):
            call.send(Number(1, guest.close))

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_arguments_that_run_the_guest_when_they_are_converted(abi: str) -> None:
    async def main() -> None:
        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            return value

        guest = await load_waiter(wait, abi)

        def disturb() -> None:
            with pytest.raises(caesura.UsageError, match="has to wait"):
                guest.call_nowait("outer", 1)

        number = Number(3, disturb)
        assert await guest.call("outer", number) == 103
        assert number.times == 1

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_calls_through_another_guest_do_not_count_for_the_first(abi: str) -> None:
    """One waits, through a host function another, and that through a host function the first: frames of three calls."""

    async def main() -> None:
        gates = Gates()
        guests: list[caesura.Guest] = []
        refusals: list[str] = []

        async def wait_or_cross(guest: caesura.Guest, value: int) -> int:
            if value < 10:
                return await gates.wait(value)
            other = guests[1 - guests.index(guest)]
            try:
                return int(other.call_nowait("outer", value - 10))
            except caesura.UsageError as error:
                refusals.append(str(error))
                return -1

        guests += [await load_waiter(wait_or_cross, abi) for _ in range(2)]
        first = asyncio.create_task(guests[0].call("outer", 1))
        await settle()
        assert await guests[0].call("outer", 22) == 100 + 100 - 1
        assert await guests[1].call("outer", 12) == 100 - 1
        assert len(refusals) == 2
        assert all("call_nowait" in refusal for refusal in refusals)
        gates.open(1, 5)
        assert await first == 105
        assert [guest.suspended for guest in guests] == [0, 0]
        assert guests[0].call_nowait("calls") == 4

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_calls_from_anywhere(abi: str) -> None:
    """A profiler's hook runs at every call and return of Python's, as the garbage collector may.

    What it calls in the guest runs or is refused, and everything else is as if there were none.
    """

    async def main() -> None:
        outcomes: list[object] = []
        busy = False

        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            return value

        guest = await load_waiter(wait, abi)

        def hook(*event: object) -> None:
            nonlocal busy
            if busy:
                return
            busy = True
            try:
                outcomes.append(guest.call_nowait("calls"))
            except caesura.UsageError as error:
                outcomes.append(str(error))
            finally:
                busy = False

        sys.setprofile(hook)
        try:
            results = [await guest.call("twice", 3) for _ in range(3)]
            pairs = await asyncio.gather(guest.call("outer", 1), guest.call("outer", 2))
        finally:
            sys.setprofile(None)
        assert [*results, *pairs] == [7, 7, 7, 101, 102]
        assert guest.call_nowait("calls") == 8
        assert any(isinstance(outcome, int) for outcome in outcomes)
        refused = {outcome for outcome in outcomes if isinstance(outcome, str)}
        assert refused == {"the guest is being entered or suspended: nothing else can run in it at this moment"}

    run(main())


OBJECTS = b"""(module (memory 1) (table $held 4 externref)
  (func (export "hold") (param i32 externref) (table.set $held (local.get 0) (local.get 1)))
  (func (export "same") (param externref) (result externref) (local.get 0))
  (func (export "add") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))"""


def test_objects_that_call_the_guest_when_it_lets_them_go() -> None:
    async def main() -> None:
        class Handle:
            def __del__(self) -> None:
                try:
                    answers.append(guest.call_nowait("add", 1))
                except caesura.UsageError as error:
                    answers.append(str(error))

        guest = await caesura.load(OBJECTS, {}, cache=False)
        for place in range(3000):
            guest.call_nowait("hold", place & 3, Handle())
        assert len(answers) > 1000
        assert set(answers) == {2}

    answers: list[object] = []
    run(main())
    before = len(answers)
    gc.collect()  # the last ones, together with the guest
    assert set(answers[before:]) == {"this guest is closed"}


def test_arguments_of_generators_stay_until_they_begin() -> None:
    async def main() -> None:
        guest = await caesura.load(OBJECTS, {}, cache=False)
        begun = [guest.generate("same", ("object", number)) for number in range(20)]
        for place in range(3000):
            guest.call_nowait("hold", place & 3, place)
        for number, call in enumerate(begun):
            with pytest.raises(StopIteration) as end:
                next(call)
            assert end.value.value == ("object", number)

    run(main())
