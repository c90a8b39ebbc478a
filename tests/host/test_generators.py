"""Exports as generators: no event loop, no threads."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, load_waiter, run


def generate(guest: caesura.Guest, *call: Any) -> Generator[Any, Any, Any]:
    return guest.generate(*call)


@pytest.mark.parametrize("abi", ABIS)
def test_send_returns_into_the_guest(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(caesura.yielding(lambda value: value * 10), abi)
        loop = guest.generate("loop", 3)
        assert next(loop) == 30
        assert loop.send(1) == 20
        other = guest.generate("outer", 7)
        assert next(other) == 70
        assert loop.send(2) == 10
        with pytest.raises(StopIteration) as end:
            loop.send(3)
        assert end.value.value == 6
        with pytest.raises(StopIteration) as end:
            other.send(-1)
        assert end.value.value == 99

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_generators_are_lazy_and_can_be_abandoned(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(caesura.yielding(lambda value: value), abi)
        generator = guest.generate("outer", 1)
        assert guest.call_nowait("calls") == 0
        assert next(generator) == 1
        generator.close()
        assert guest.suspended == 0
        for _ in range(100):
            assert next(guest.generate("outer", 2)) == 2
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_throw_raises_at_the_pause_point(abi: str) -> None:
    async def main() -> None:
        guest = await load_waiter(caesura.yielding(lambda value: value), abi)
        generator = guest.generate("outer", 1)
        next(generator)
        error = ValueError("thrown")
        with pytest.raises(ValueError, match="thrown") as caught:
            generator.throw(error)
        assert caught.value is error
        assert "  inner\n  outer" in "".join(error.__notes__)
        assert next(guest.generate("outer", 2)) == 2

    run(main())


def test_what_is_sent_must_fit() -> None:
    async def main() -> None:
        guest = await load_waiter(caesura.yielding(lambda value: value))
        generator = guest.generate("outer", 1)
        next(generator)
        with pytest.raises(caesura.UsageError, match="expected an integer for i32"):
            next(generator)  # sends None

    run(main())


def test_the_ways_to_call_are_not_mixed_up() -> None:
    async def main() -> None:
        guest = await load_waiter(caesura.yielding(lambda value: value))
        with pytest.raises(caesura.UsageError, match=r"use `guest\.generate`"):
            await guest.call("outer", 1)

        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            return value

        guest = await load_waiter(wait)
        with pytest.raises(caesura.UsageError, match=r"use `await guest\.call`"):
            next(guest.generate("outer", 1))

    run(main())


def test_a_guest_that_never_ends() -> None:
    async def main() -> None:
        text = """(module (import "env" "emit" (func $emit (param i64)))
          (func (export "fibonacci") (local i64 i64 i64)
            (local.set 1 (i64.const 1))
            (loop
              (call $emit (local.get 0))
              (local.set 2 (i64.add (local.get 0) (local.get 1)))
              (local.set 0 (local.get 1)) (local.set 1 (local.get 2))
              (br 0))))"""
        guest = await caesura.load(text.encode(), {"env": {"emit": caesura.yielding(lambda value: value)}})
        numbers = guest.generate("fibonacci")
        assert list(itertools.islice(numbers, 12)) == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]

    run(main())


def test_a_plain_loop_sends_nothing() -> None:
    """As the page says: an import with a result needs `send`."""

    async def main() -> None:
        async with await load_waiter(caesura.yielding(lambda value: value), ABIS[0]) as guest:
            with pytest.raises(caesura.UsageError, match=r"result 1 of host function .* is None"):
                for _ in guest.generate("outer", 7):
                    pass

    run(main())


def test_a_generator_may_own_its_guest() -> None:
    """As a framework streams it: whoever stops iterating closes the guest."""

    async def main() -> None:
        guests: list[caesura.Guest] = []

        async def items() -> AsyncGenerator[int, int]:
            async with await load_waiter(caesura.yielding(lambda value: value), ABIS[0]) as guest:
                guests.append(guest)
                async for item in guest.agenerate("outer", 7):
                    yield item

        stream = items()
        assert await anext(stream) == 7
        await stream.aclose()
        with pytest.raises(caesura.UsageError, match="closed"):
            guests[0].call_nowait("outer", 1)

    run(main())
