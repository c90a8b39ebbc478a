"""`when_unsuspendable="block"`: the thread waits where a list leaves out what is on the stack of a guest."""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

import caesura
from tests.host.support import run
from tests.support.engine import assemble

GUEST: Final = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $passed (mut i32) (i32.const 0))
  (func $inner (param i32) (result i32) (call $wait (local.get 0)))
  (func $left_out (param i32) (result i32)
    (call $inner (local.get 0))
    (global.set $passed (i32.add (global.get $passed) (i32.const 1))))
  (func $run (export "run") (param i32) (result i32) (i32.add (call $left_out (local.get 0)) (i32.const 100)))
  (func $good (export "good") (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 200)))
  (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func (export "passed") (result i32) (global.get $passed)))"""
OPTIONS: Final = caesura.Options(only_list=("inner", "run", "good"))


async def load(wait: Any, **more: Any) -> caesura.Guest:
    """Load the guest, whose host functions the thread waits for where it must."""
    settings: dict[str, Any] = {"when_unsuspendable": "block", "options": OPTIONS, "cache": False, **more}
    return await caesura.load(assemble(GUEST), {"env": {"wait": wait}}, **settings)


@contextmanager
def told() -> Iterator[list[str]]:
    """Collect what is warned of."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
        messages += [str(item.message) for item in caught if item.category is RuntimeWarning]


async def later(value: int) -> int:
    """A host function that always waits."""
    await asyncio.sleep(0.001)
    return value


def test_the_thread_waits_and_says_so_once() -> None:
    async def main() -> None:
        with told() as messages:
            guest = await load(later)
            ticks: list[int] = []
            other = asyncio.create_task(_tick(ticks))
            await asyncio.sleep(0)
            before = len(ticks)
            for value in range(3):
                assert await guest.call("run", value) == value + 100
            assert len(ticks) == before, "the loop stands still"
            assert await guest.call("good", 1) == 201
            assert len(ticks) > before, "where the guest can be suspended, it is"
            other.cancel()
            assert guest.call_nowait("passed") == 3 and guest.suspended == 0
        assert len(messages) == 1
        assert messages[0].startswith(
            "the thread waits (when_unsuspendable='block'): host function env.wait has to wait"
        )
        assert 'Missing in the list: ["left_out"]\n' in messages[0]

    run(main())


async def _tick(ticks: list[int]) -> None:
    while True:
        ticks.append(1)
        await asyncio.sleep(0)


def test_nothing_is_said_where_nothing_has_to_wait() -> None:
    async def at_once(value: int) -> int:
        return value

    async def main() -> None:
        with told() as messages:
            assert await (await load(at_once)).call("run", 1) == 101
        assert messages == []

    run(main())


def test_the_host_function_is_where_others_are() -> None:
    """It can use the guest's memory, call the guest, and wait for calls of it; its context is the caller's."""
    context: contextvars.ContextVar[str] = contextvars.ContextVar("context", default="")

    async def wait(guest: caesura.Guest, value: int) -> int:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        await asyncio.sleep(0)
        guest.memory.write(8, context.get().encode())
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
        if value == 1:
            nested = await asyncio.gather(guest.call("good", 5), guest.call("run", 7))
            assert list(nested) == [210, 114]
        return int(guest.call_nowait("double", value))

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        with told():
            guest = await load(wait)
            context.set("caller")
            assert await guest.call("run", 1) == 102
        assert guest.memory.read(8, 6) == b"caller"
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
        async with asyncio.timeout(5):
            await asyncio.sleep(0)

    run(main())


def test_what_a_host_function_raises_goes_through_the_guest() -> None:
    async def wait(value: int) -> int:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60 if value else 0)
        raise KeyError(value)

    async def main() -> None:
        with told():
            guest = await load(wait)
            with pytest.raises(KeyError):
                await guest.call("run", 0)
            with pytest.raises(TimeoutError):
                await guest.call("run", 1)
            with pytest.raises(KeyError):
                await guest.call("good", 0)
        assert guest.call_nowait("passed") == 0

    run(main())


def test_a_warning_that_is_an_error_ends_the_call() -> None:
    async def main() -> None:
        ended: list[int] = []

        async def wait(value: int) -> int:
            try:
                return await later(value)
            finally:
                ended.append(value)

        guest = await load(wait)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning, match="the thread waits"):
                await guest.call("run", 1)
        assert ended == [1]
        assert await guest.call("good", 2) == 202

    run(main())


def test_who_cannot_wait_anyway_hears_of_that() -> None:
    async def main() -> None:
        guest = await load(later)
        with pytest.raises(caesura.UsageError, match="`call_nowait`"):
            guest.call_nowait("run", 1)
        yields = await load(caesura.yielding(lambda value: value))
        with pytest.raises(caesura.UsageError, match="Missing in the list"):
            next(yields.generate("run", 1))
        external = await load(caesura.EXTERNAL)
        with pytest.raises(caesura.UsageError, match="Missing in the list"):
            external.start("run", 1)
        with told():
            assert [item async for item in (await load(later)).agenerate("run", 1)] == []

    run(main())


def test_every_way_to_get_a_guest_takes_it() -> None:
    async def main() -> None:
        imports = {"env": {"wait": later}}
        program = await caesura.compile(assemble(GUEST), imports, options=OPTIONS, cache=False)
        plain = await program.load()
        snapshot = plain.snapshot()
        guests = [
            await program.load(when_unsuspendable="block"),
            await caesura.restore(
                snapshot, imports, module=assemble(GUEST), options=OPTIONS, cache=False, when_unsuspendable="block"
            ),
            *await snapshot.fork(2, imports, when_unsuspendable="block"),
        ]
        with told() as messages:
            for guest in guests:
                assert await guest.call("run", 1) == 101
        assert len(messages) == len(guests)
        with pytest.raises(caesura.UsageError, match="Missing in the list"):
            await plain.call("run", 1)
        with pytest.raises(caesura.UsageError, match="needs a module that tells when it cannot be suspended"):
            await load(later, options=caesura.Options(only_list=("inner",), no_guard=True))
        with pytest.raises(caesura.UsageError, match="when_unsuspendable is 'wait': expected 'error' or 'block'"):
            await program.load(when_unsuspendable="wait")

    run(main())
