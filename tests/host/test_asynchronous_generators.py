"""Exports as asynchronous generators, which yield what the guest hands out and wait where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, instrumented, run, settle

STREAM = b"""(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "emit" (func $emit (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "stream") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (call $emit (call $ask (local.get 0)))))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1)))
"""


class Source:
    """A host function that waits for the test, and notes when it is cancelled."""

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(0)
        self.cancelled = 0

    async def ask(self, value: int) -> int:
        """Return ten times the value, when the test says so."""
        try:
            await self.gate.acquire()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return value * 10


async def load(source: Source, abi: str) -> caesura.Guest:
    options: dict[str, Any] = {"stack_space": (1024, 65536)} if abi in ("thunks", "plain") else {}
    imports = {"env": {"ask": source.ask, "emit": caesura.yielding(lambda value: value + 1)}}
    return await caesura.load(instrumented(STREAM, abi), imports, cache=False, **options)


@pytest.mark.parametrize("abi", ABIS)
def test_it_waits_and_yields(abi: str) -> None:
    async def main() -> None:
        source = Source()
        guest = await load(source, abi)
        streams = [guest.agenerate("stream", 3), guest.agenerate("stream", 2)]
        assert guest.suspended == 0  # nothing runs before it is iterated
        waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await settle()
        assert guest.suspended == 2 and not any(task.done() for task in waiting)
        source.gate.release()
        source.gate.release()
        assert await asyncio.gather(*waiting) == [31, 21]
        source.gate.release()
        source.gate.release()
        assert await streams[1].asend(5) == 11
        assert await streams[0].asend(5) == 21
        source.gate.release()
        assert await streams[0].asend(6) == 11
        for stream, answer in zip(streams, (7, 8), strict=True):
            with pytest.raises(StopAsyncIteration):
                await stream.asend(answer)
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_what_is_thrown_in_is_raised_in_the_guest(abi: str) -> None:
    async def main() -> None:
        source = Source()
        guest = await load(source, abi)
        stream = guest.agenerate("stream", 3)
        source.gate.release()
        assert await anext(stream) == 31
        with pytest.raises(KeyError) as caught:
            await stream.athrow(KeyError("enough"))
        assert any("guest backtrace" in note for note in caught.value.__notes__)
        assert guest.suspended == 0 and [item async for item in stream] == []

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_cancellation_and_closing(abi: str) -> None:
    async def main() -> None:
        source = Source()
        guest = await load(source, abi)
        task = asyncio.ensure_future(anext(guest.agenerate("stream", 3)))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.cancelled == 1 and guest.suspended == 0
        closed, forgotten = guest.agenerate("stream", 3), guest.agenerate("stream", 3)
        source.gate.release()
        source.gate.release()
        assert await anext(closed) == 31 and await anext(forgotten) == 31
        await closed.aclose()
        del forgotten
        await settle()
        assert guest.suspended == 0
        waiting = asyncio.ensure_future(anext(guest.agenerate("stream", 3)))
        at_yield = guest.agenerate("stream", 3)
        await settle()
        source.gate.release()
        await settle()
        assert waiting.done() and await waiting == 31
        source.gate.release()
        assert await anext(at_yield) == 31
        waiting = asyncio.ensure_future(anext(guest.agenerate("stream", 3)))
        await settle()
        await guest.aclose()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(caesura.UsageError, match="closed"):
            await anext(at_yield)

    run(main())


def test_the_ways_that_cannot_wait_name_the_one_that_can() -> None:
    async def main() -> None:
        guest = await load(Source(), "load")
        with pytest.raises(
            caesura.UsageError, match=r"called with `generate`: use `await guest.call`, or `guest\.agenerate`"
        ):
            next(guest.generate("stream", 1))
        plain = await caesura.load(STREAM, {"env": {"ask": int, "emit": caesura.yielding(int)}}, cache=False)
        with pytest.raises(caesura.UsageError, match=r"use `guest\.generate`, `guest\.agenerate` or `guest\.start`"):
            await plain.call("stream", 1)
        with pytest.raises(caesura.UsageError, match="expected 1 argument"):
            plain.agenerate("stream")

        stream: AsyncGenerator[Any, Any] = plain.agenerate("stream", 2)
        assert await anext(stream) == 2 and await stream.asend(0) == 1

    run(main())
