"""WASI programs that sleep and yield, in a loop whose clock runs ahead; what `poll_oneoff` answers."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import struct

import pytest

import caesura
from tests.host.support import Program, run

pytestmark = pytest.mark.one_form


class _SkippingSelector(selectors.DefaultSelector):
    """Where a loop would wait for a time, the time has passed; other threads are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.skipped += timeout
        return ready


class _SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock counts what was waited for, and nothing else."""

    def __init__(self) -> None:
        self.waits = _SkippingSelector()
        super().__init__(self.waits)

    def time(self) -> float:
        return self.waits.skipped


@pytest.mark.parametrize(("argument", "seconds"), [("s1000", 1), ("a1000", 1), ("s3600000", 3600)])
def test_programs_sleep_together(argument: str, seconds: int) -> None:
    """Twenty programs that sleep a second in one loop take a second, of that loop's time.

    All are loaded before the first begins: the loop would skip its sleep while threads load the others.
    """

    async def main() -> None:
        programs = [Program(argument, stdin=b"") for _ in range(20)]
        guests = [await program.load() for program in programs]
        start = loop.time()
        assert await asyncio.gather(*[guest.run() for guest in guests]) == [0] * 20
        assert all(b"slept" in program.output for program in programs)
        least = 0 if argument.startswith("a") else seconds  # until a moment: computing has brought it nearer
        assert least <= loop.time() - start <= seconds + 0.001
        for guest in guests:
            guest.close()

    loop = _SkippingLoop()
    with contextlib.closing(loop):
        loop.run_until_complete(main())


def test_yielding_lets_others_run() -> None:
    async def main() -> None:
        order: list[str] = []

        class Named(Program):
            async def run(self) -> int:
                code = await super().run()
                order.append("program")
                return code

        async def other() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            order.append("other")

        program = Named("y20", stdin=b"")
        await asyncio.gather(program.run(), other())
        assert program.output == b"yielded\n" and order == ["other", "program"]

    run(main())


def test_a_program_can_be_cancelled_in_its_sleep() -> None:
    async def main() -> None:
        async with await Program("s60000", stdin=b"").load() as guest:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await guest.run()

    run(main())


POLLER = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "poll") (param i32) (result i32)
    (call $poll (i32.const 0) (i32.const 4096) (local.get 0) (i32.const 8192)))
  (func (export "sizes") (param i32 i32) (result i32) (call $sizes (local.get 0) (local.get 1))))
"""


def test_events_say_what_happened() -> None:
    """Two clocks, one that Wasmtime does not have, and standard output, which is always ready."""

    async def main() -> None:
        async with await caesura.load(POLLER.encode(), wasi=caesura.Wasi(stdin=b"")) as guest:
            assert await guest.call("poll", 0) == 28  # nothing to wait for: EINVAL
            subscriptions = [
                struct.pack("<QBxxxxxxxIxxxxQQHxxxxxx", 11, 0, 1, 10**9, 0, 0),
                struct.pack("<QBxxxxxxxIxxxxQQHxxxxxx", 22, 0, 2, 0, 0, 1),
                struct.pack("<QBxxxxxxxI28x", 33, 2, 1),
            ]
            guest.memory.write(0, b"".join(subscriptions))
            assert await guest.call("poll", 3) == 0
            assert guest.memory.read_struct("<I", 8192) == (2,)
            events = [guest.memory.read_struct("<QHB", 4096 + 32 * place) for place in range(2)]
            assert events == [(22, 8, 0), (33, 0, 2)]
            guest.memory.write(0, struct.pack("<QBxxxxxxxIxxxxQQHxxxxxx", 22, 0, 77, 0, 0, 1))
            with pytest.raises(caesura.GuestTrap, match="Invalid enum value Clockid"):
                await guest.call("poll", 1)

    run(main())


def test_wrong_arguments_for_wasmtimes_functions_are_the_guests_fault() -> None:
    async def main() -> None:
        async with await caesura.load(POLLER.encode(), wasi=caesura.Wasi(stdin=b"")) as guest:
            with pytest.raises(caesura.GuestTrap, match=r"Pointer out of bounds") as caught:
                guest.call_nowait("sizes", 100, 65534)
            assert caught.value.backtrace == ("sizes",)
            assert guest.call_nowait("sizes", 100, 65532) == 0

    run(main())
