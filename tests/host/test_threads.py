"""A guest belongs to the thread that loaded it: it never runs elsewhere, and all but a generator's step is an error."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

import caesura
from tests.host.support import ABIS, Gates, load_calls, load_waiter, run, settle

pytestmark = pytest.mark.one_form


def in_another_thread(*actions: Callable[[], object]) -> list[BaseException]:
    """Do each in another thread and return what they raise."""
    errors: list[BaseException] = []

    def act() -> None:
        for action in actions:
            try:
                action()
            except BaseException as error:
                errors.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    return errors


def drain(generator: Generator[int, int, int]) -> list[int]:
    """Return all that a generator yields, each answered with 0."""
    found = [next(generator)]
    with contextlib.suppress(StopIteration):
        while True:
            found.append(generator.send(0))
    return found


def test_another_thread_is_refused() -> None:
    async def main() -> None:
        guest = await load_waiter(lambda value: value)
        errors = in_another_thread(
            lambda: guest.call_nowait("outer", 1),
            lambda: guest.memory.read(0, 1),
            lambda: guest.memory.view(0, 1),
            lambda: asyncio.run(guest.call("outer", 1)),
            lambda: guest.generate("outer", 1),
            guest.close,
            lambda: asyncio.run(guest.aclose()),
        )
        assert len(errors) == 7 and all("another thread" in str(error) for error in errors)
        assert guest.call_nowait("outer", 1) == 101

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_other_threads_may_iterate_a_generator(abi: str) -> None:
    """As web frameworks do: each step in another thread of a pool, while the guest's event loop runs."""

    async def main() -> None:
        threads: set[int] = set()

        def value(value: int) -> int:
            threads.add(threading.get_ident())
            return value

        guest = await load_waiter(caesura.yielding(value), abi)
        generator = guest.generate("loop", 3)
        assert await asyncio.to_thread(next, generator) == 3
        assert generator.send(10) == 2  # and now in the guest's own
        assert await asyncio.to_thread(generator.send, 20) == 1
        with pytest.raises(StopIteration) as end:
            generator.send(30)
        assert end.value.value == 60
        assert await asyncio.to_thread(drain, guest.generate("twice", 5)) == [5, 6]
        assert threads == {threading.get_ident()}  # the guest never runs elsewhere
        with pytest.raises(caesura.GuestTrap, match="unreachable"):
            await asyncio.to_thread(drain, guest.generate("trap", 5))
        assert guest.suspended == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_generator_whose_guests_loop_does_not_run_is_an_error(abi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caesura.host.threads.PATIENCE", 0.05)

    async def main() -> caesura.Guest:
        guest = await load_waiter(caesura.yielding(lambda value: value), abi)
        new, begun = guest.generate("loop", 3), guest.generate("loop", 3)
        assert next(begun) == 3
        errors = in_another_thread(lambda: next(new), lambda: begun.send(1))  # this thread waits for that one
        assert len(errors) == 2 and all("has done nothing for 0.05 seconds" in str(error) for error in errors)
        await settle()  # what was taken back is not done later
        assert guest.suspended == 0  # an error ends a generator
        assert guest.call_nowait("calls") == 1
        assert next(guest.generate("outer", 2)) == 2
        return guest

    guest = asyncio.run(main())
    generator = guest.generate("outer", 2)
    errors = in_another_thread(lambda: next(generator))
    assert len(errors) == 1 and "no event loop runs" in str(errors[0])


@pytest.mark.parametrize("abi", ABIS)
def test_calls_that_another_thread_lets_go_end_in_their_own(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait)
        kept = asyncio.create_task(guest.call("descend", 9, 99))
        calls = [guest.call("descend", 5, seed) for seed in range(30)]
        for call in calls:
            call.send(None)
        await settle()
        size = len(guest.memory)
        assert in_another_thread(*[call.close for call in calls]) == []
        assert len(gates.futures) == 31  # nothing has run there, the host functions neither
        assert guest.suspended == 1 and list(gates.futures) == [99]
        for seed in range(100, 200):
            again = guest.call("descend", 5, seed)
            again.send(None)
            again.close()
        assert len(guest.memory) == size
        gates.open(99, 0)
        assert await kept == sum(99 * 31 + d * 16 + d for d in range(10))

    run(main())


def test_garbage_is_collected_in_any_thread() -> None:
    """The collector may find abandoned calls anywhere, also while the guest runs in its own thread."""

    async def main() -> None:
        gates = Gates()
        busy = threading.Event()
        guest = await load_calls(
            wait=gates.wait,
            note=lambda value: busy.set(),
            again=lambda value: value,
            shadow_stack_size=65536,  # of as many calls as the collector is late
        )

        def collect() -> None:
            busy.wait(30)
            while not stop.is_set():
                gc.collect()

        stop = threading.Event()
        collector = threading.Thread(target=collect)
        collector.start()
        try:
            guest.call_nowait("divide", 1, 1)
            for seed in range(300):
                call = guest.call("descend", 20, seed)
                call.send(None)
                cycle: list[object] = [call]
                cycle.append(cycle)
                del call, cycle
                assert guest.call_nowait("nested", seed) == seed + 1
                assert guest.call_nowait("add", seed, 1) == seed + 1
        finally:
            stop.set()
            collector.join()
        gc.collect()
        assert guest.suspended == 0 and not gates.futures

    run(main())


def test_guests_in_several_threads_do_not_meet() -> None:
    results: list[int] = []

    def use(number: int) -> None:
        async def wait(value: int) -> int:
            await asyncio.sleep(0)
            return value * number

        async def main() -> None:
            guest = await load_waiter(wait)
            results.append(await guest.call("loop", 200))

        asyncio.run(main())

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [20100 * number for number in range(4)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_has_no_guests(tmp_path: Path) -> None:
    code = """
import asyncio, os
import caesura

MODULE = b'''(module (import "e" "y" (func $y)) (memory (export "memory") 1)
  (func (export "f") (result i32) (call $y) (i32.const 5)) (func (export "g") (result i32) (i32.const 7)))'''

async def use_own(program):
    async with await program.load() as own:
        print(own.call_nowait("g"), flush=True)

async def main():
    program = await caesura.compile(MODULE, {"e": {"y": caesura.yielding(lambda: 1)}})
    guest = await program.load()
    generator = guest.generate("f")
    next(generator)
    child = os.fork()
    if child == 0:
        for use in (
            lambda: guest.call_nowait("g"),
            lambda: next(generator),
            lambda: guest.generate("f"),
            lambda: guest.memory.read(0, 1),
            guest.close,
        ):
            try:
                use()
                print("used", flush=True)
            except caesura.UsageError as error:
                print(error, flush=True)
        asyncio.run(use_own(program))
        os._exit(0)
    os.waitpid(child, 0)
    print(list(generator), guest.call_nowait("g"), flush=True)
    guest.close()

asyncio.run(main())
"""
    file = tmp_path / "program.py"
    file.write_text(code)
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=60, check=True)
    refused = "this guest belongs to the process that this one was forked from: load one here"
    assert done.stdout.splitlines() == [refused] * 5 + ["7", "[] 7"]
