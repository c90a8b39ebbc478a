"""Calls with arguments on the C stack that overlap, as Emscripten's `ccall` makes them: right, or refused.

Each puts its argument there, begins, and puts the stack pointer back to where it was when it has ended, whoever has
allocated there meanwhile. Seeds are the same in every run; CAESURA_RANDOM_ROUNDS=N does N times as much.
"""

from __future__ import annotations

import asyncio
import os
import random
import types
from collections.abc import Coroutine, Generator
from itertools import permutations
from typing import Any, Final

import pytest

import caesura
from tests.host.support import ABIS, Gates, instrumented, run, settle
from tests.support.paths import REPOSITORY

PROGRAM: Final = (REPOSITORY / "js" / "test" / "guests" / "ccalls.wat").read_bytes()
TOP: Final = 65536

ROUNDS: Final = int(os.environ.get("CAESURA_RANDOM_ROUNDS", "1"))
SEEDS: Final = 12 * ROUNDS

# What says that a call cannot go on, or begin, because of what others have on the C stack.
REFUSALS: Final = ("allocate them with malloc", "C stack")


@types.coroutine
def _go_on(work: Coroutine[Any, Any, Any], waited_for: Any) -> Generator[Any, Any, Any]:
    while True:
        sent = yield waited_for
        try:
            waited_for = work.send(sent)
        except StopIteration as end:
            return end.value


async def go_on(work: Coroutine[Any, Any, Any], waited_for: Any) -> Any:
    """Run the rest of a coroutine that has begun."""
    return await _go_on(work, waited_for)


class Turmoil:
    """Calls of one guest that begin, wait, go on and end in an order that a seed says; counts how they ended."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.guest: caesura.Guest
        self.right = 0
        self.refused = 0
        self.wrong: list[object] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.left = 60

    async def ask(self, guest: caesura.Guest, key: int, rounds: int) -> int:
        """Wait for a while; some begin other calls before or after."""
        if self.random.random() < 0.2:
            self.meanwhile()
        if self.random.random() < 0.1:
            self.begin(self.work())
        for _ in range(self.random.choice((0, 1, 1, 2, 5))):
            await asyncio.sleep(0)
        if self.random.random() < 0.1:
            self.meanwhile()
        return rounds

    def host(self, guest: caesura.Guest, key: int) -> int:
        """Begin calls while others run."""
        for _ in range(self.random.randrange(3)):
            self.begin(self.work())
        return key

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin in this very moment, within whatever runs."""
        if self.left <= 0:
            work.close()
            return
        self.left -= 1
        try:
            waited_for = work.send(None)
        except StopIteration:
            return
        self.tasks.add(asyncio.create_task(go_on(work, waited_for)))

    def argument(self) -> tuple[int, bytes]:
        """Put an argument onto the C stack."""
        value = self.random.randbytes(self.random.choice((1, 4, 16, 40, 120)))
        address = self.guest.call_nowait("stackAlloc", len(value))
        self.guest.memory.write(address, value)
        return address, value

    def meanwhile(self) -> None:
        """Call what does not wait, with an argument and without."""
        before = self.guest.call_nowait("stackSave")
        address, value = self.argument()
        self.expect(self.guest.call_nowait("sum", address, len(value)), sum(value))
        self.guest.call_nowait("stackRestore", before)
        self.guest.call_nowait("scribble", self.random.choice((16, 64, 256)))

    async def work(self) -> None:
        """Make some calls with arguments, one after the other."""
        for _ in range(self.random.choice((1, 1, 2, 4))):
            key, rounds = self.random.randrange(1, 127), self.random.choice((1, 1, 2, 4))
            before = self.guest.call_nowait("stackSave")
            address, value = self.argument()
            frame = self.random.choice((32, 64, 200))
            try:
                if self.random.random() < 0.2:
                    self.expect(await self.guest.call("nest", key, key % 2), key)
                else:
                    result = await self.guest.call("work", key, address, len(value), rounds, frame)
                    self.expect(result, rounds * sum(value))
            except caesura.UsageError as error:
                if not any(text in str(error) for text in REFUSALS):
                    raise
                self.refused += 1
            finally:
                self.guest.call_nowait("stackRestore", before)
            if self.random.random() < 0.3:
                self.meanwhile()

    def expect(self, found: object, wanted: object) -> None:
        """Count."""
        if found == wanted:
            self.right += 1
        else:
            self.wrong.append((found, wanted))

    async def run(self, abi: str) -> None:
        """Let it all happen."""
        imports = {"env": {"ask": self.ask, "host": self.host}}
        self.guest = await caesura.load(instrumented(PROGRAM, abi), imports, cache=False)
        while self.left > 0:
            self.begin(self.work())
            if self.random.random() < 0.4:
                await asyncio.sleep(0)
        while self.tasks:
            await self.tasks.pop()


async def call_with_argument(guest: caesura.Guest, key: int, value: bytes) -> int:
    """As Emscripten's `ccall` does."""
    before = guest.call_nowait("stackSave")
    address = guest.call_nowait("stackAlloc", len(value))
    guest.memory.write(address, value)
    try:
        result: int = await guest.call("work", key, address, len(value), 1, 64)
        return result
    finally:
        guest.call_nowait("stackRestore", before)


async def load_waiting(abi: str, gates: Gates, host: Any = None) -> caesura.Guest:
    async def ask(key: int, rounds: int) -> int:
        return await gates.wait(key)

    imports = {"env": {"ask": ask, "host": host or (lambda key: key)}}
    return await caesura.load(instrumented(PROGRAM, abi), imports, cache=False)


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_the_pointer_is_put_back_in_any_order(abi: str, order: tuple[int, ...]) -> None:
    """Behind each end, what is put there next is above the arguments of calls that wait, or of frames."""

    async def main() -> None:
        gates = Gates()
        guest = await load_waiting(abi, gates)
        for _ in range(3):
            calls = []
            for key in (1, 2, 3):
                calls.append(asyncio.create_task(call_with_argument(guest, key, bytes([key]) * 100)))
                await settle()
            for key in order:
                gates.open(key, 0)
                assert await calls[key - 1] == 100 * key
                assert call_now(guest, b"x" * 200) == 200 * ord("x")
                guest.call_nowait("scribble", 256)
            assert guest.call_nowait("stackSave") == TOP

    run(main())


def call_now(guest: caesura.Guest, value: bytes) -> int:
    """Call what does not wait, with an argument."""
    before = guest.call_nowait("stackSave")
    address = guest.call_nowait("stackAlloc", len(value))
    guest.memory.write(address, value)
    result: int = guest.call_nowait("sum", address, len(value))
    guest.call_nowait("stackRestore", before)
    return result


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("waits", [False, True])
def test_a_host_function_begins_a_call_with_arguments_on_the_running_stack(abi: str, *, waits: bool) -> None:
    """The call that it is a host function of runs on over its place, and may have ended when the other goes on."""

    async def main() -> None:
        gates = Gates()
        tasks: list[asyncio.Task[int]] = []

        def host(key: int) -> int:
            work = call_with_argument(guest, 9, b"argument")
            tasks.append(asyncio.create_task(go_on(work, work.send(None))))
            return key

        guest = await load_waiting(abi, gates, host)
        first = asyncio.create_task(guest.call("nest", 5, int(waits)))
        await settle()
        if waits:
            gates.open(5, 0)
        assert await first == 5
        another = asyncio.create_task(guest.call("work", 7, 512, 4, 1, 200))
        await settle()
        gates.open(9, 0)
        assert await tasks[0] == sum(b"argument")
        gates.open(7, 0)
        assert await another == 0
        assert guest.call_nowait("stackSave") == TOP

    run(main())


def test_more_is_put_there_than_the_stack_holds() -> None:
    """It is refused before anything is written."""

    async def main() -> None:
        gates = Gates()
        guest = await load_waiting("load", gates)
        first = asyncio.create_task(call_with_argument(guest, 1, b"one"))
        await settle()
        before = guest.call_nowait("stackSave")
        with pytest.raises(caesura.UsageError, match="the guest's own C stack is full"):
            guest.call_nowait("stackAlloc", TOP - 512)
        assert guest.call_nowait("stackSave") == before
        gates.open(1, 0)
        assert await first == sum(b"one")

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_calls_with_arguments_on_the_c_stack_overlap_at_random(abi: str) -> None:
    right = refused = 0
    for seed in range(SEEDS):
        turmoil = Turmoil(seed)
        run(turmoil.run(abi))
        assert not turmoil.wrong, f"seed {seed}"
        right += turmoil.right
        refused += turmoil.refused
    print(f"{right} right, {refused} refused")
    assert right > 50 * SEEDS
    assert refused * 5 < right
