"""WASI programs: what waits is asynchronous, the rest is Wasmtime's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.host.stdin import DescriptorInput
from tests.host.support import run, zig_program
from tests.support.guests import c_guest


class Program:
    """One run of host_program.c; keeps what it writes."""

    def __init__(self, *arguments: str, **wasi: object) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.wasi = caesura.Wasi(
            ("program", *arguments),
            stdout=self.output.extend,
            stderr=self.errors.extend,
            **wasi,  # type: ignore[arg-type]
        )

    async def run(self) -> int:
        """Run the program and return its exit code."""
        async with await caesura.load(c_guest("host_program"), wasi=self.wasi) as guest:
            return await guest.run()


def test_output_arguments_and_exit_codes() -> None:
    async def main() -> None:
        program = Program("s1", "?", "x42", "s1", stdin=b"")
        assert await program.run() == 42
        assert program.output == b"slept 1\n" and program.errors == b"what is ??\n"
        assert await Program(stdin=b"").run() == 0

    run(main())


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
    """Twenty programs that sleep a second in one loop take a second, of that loop's time."""

    async def main() -> None:
        programs = [Program(argument, stdin=b"") for _ in range(20)]
        start = loop.time()
        assert await asyncio.gather(*[program.run() for program in programs]) == [0] * 20
        assert all(b"slept" in program.output for program in programs)
        least = 0 if argument.startswith("a") else seconds  # until a moment: computing has brought it nearer
        assert least <= loop.time() - start <= seconds + 0.001

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


def test_input_that_is_there() -> None:
    async def main() -> None:
        program = Program("p-1", "c", "p-1", stdin=b"one\ntwo")
        assert await program.run() == 0
        assert program.output == b"poll 1\nline one\nline twopoll 1\n"

    run(main())


def test_waiting_for_input_lets_others_run() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        source = DescriptorInput(reader)
        program = Program("p1", "c")
        program.wasi._stdin = source
        task = asyncio.create_task(program.run())
        while b"poll" not in program.output:
            await asyncio.sleep(0.001)
        assert program.output == b"poll 0\n"
        os.write(writer, b"first\nsecond")
        os.close(writer)
        assert await task == 0
        assert program.output == b"poll 0\nline first\nline second"
        os.close(reader)

    run(main())


def test_what_arrives_after_a_cancelled_read_is_kept() -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        source = DescriptorInput(reader)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.read(10), 0.01)
        os.write(writer, b"kept")
        assert await source.read(2) == b"ke"
        assert await source.read(10) == b"pt"
        os.close(writer)
        assert await source.read(10) == b"" and await source.wait() == 0
        os.close(reader)

    run(main())


def test_files_and_environment(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "note").write_text("from a file")
        program = Program(
            "f/data/note", "f/other", "eNAME", "eOTHER",
            stdin=b"", environment={"NAME": "value"}, directories={"/data": str(tmp_path)},
        )  # fmt: skip
        assert await program.run() == 0
        assert program.output == b"file from a file\nfile nothing\nenv value\nenv unset\n"
        with pytest.raises(caesura.UsageError, match="cannot be opened"):
            await Program(stdin=b"", directories={"/data": str(tmp_path / "absent")}).run()

    run(main())


def test_a_program_can_be_cancelled_in_its_sleep() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Program("s60000", stdin=b"").run()

    run(main())


def test_a_program_that_computes_can_be_interrupted() -> None:
    async def main() -> None:
        wasi = caesura.Wasi(("program", "l"), stdin=b"", stdout=lambda content: timer.start())
        guest = await caesura.load(c_guest("host_program"), wasi=wasi, interruptible=True)
        timer = threading.Timer(0.05, guest.interrupt)
        with pytest.raises(caesura.GuestTrap) as caught:
            await guest.run()
        assert caught.value.kind == "interrupted"
        timer.join()
        ordinary = await caesura.load(b"(module)")
        with pytest.raises(caesura.UsageError, match="interruptible=True"):
            ordinary.interrupt()

    run(main())


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 255, 256, 70_000, -1])
def test_programs_end_with_any_code(code: int) -> None:
    async def main() -> None:
        assert await Program(f"x{code}", stdin=b"").run() == code % 2**32
        async with await caesura.load(c_guest("host_program"), wasi=Program(f"x{code}").wasi) as guest:
            if code:  # wasi-libc just returns from _start otherwise
                with pytest.raises(caesura.GuestExit) as caught:
                    await guest.call("_start")
                assert caught.value.code == code % 2**32

    run(main())


def test_standard_streams_may_become_files(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "in").write_text("from the file\n")
        output, errors = bytearray(), bytearray()
        wasi = caesura.Wasi(
            ("streams", "/d/in", "/d/out"),
            directories={"/d": str(tmp_path)}, stdin=b"typed\n", stdout=output.extend, stderr=errors.extend,
        )  # fmt: skip
        async with await caesura.load(c_guest("host_streams"), wasi=wasi) as guest:
            assert await guest.run() == 0
        assert output == b"before\n" and (tmp_path / "out").read_text() == "after\n"
        assert errors.endswith(b"read from the file\nagain from the file\n")

    run(main())


def test_a_program_in_zig() -> None:
    async def main() -> None:
        outputs = [bytearray() for _ in range(5)]

        async def greet(output: bytearray) -> int:
            wasi = caesura.Wasi(("greeter",), stdin=b"Ada\nGrace\nJean\n", stdout=output.extend)
            async with await caesura.load(zig_program("greeter"), wasi=wasi) as guest:
                return await guest.run()

        assert await asyncio.gather(*[greet(output) for output in outputs]) == [3] * 5
        assert all(output == b"hello Ada\nhello Grace\nhello Jean\n" for output in outputs)

    run(main())


def test_imports_replace_functions_of_wasi() -> None:
    async def main() -> None:
        turns: list[int] = []

        async def sched_yield() -> int:
            turns.append(len(turns))
            await asyncio.sleep(0)
            return 0

        def clock_time_get(guest: caesura.Guest, clock: int, precision: int, result: int) -> int:
            guest.memory.write_struct("<Q", result, 10**18)
            return 0

        program = Program("y3", "a1", stdin=b"")
        replaced = {"wasi_snapshot_preview1": {"sched_yield": sched_yield, "clock_time_get": clock_time_get}}
        async with await caesura.load(c_guest("host_program"), replaced, wasi=program.wasi) as guest:
            with pytest.raises(TimeoutError):  # it sleeps until what its clock says, some 30 years from now
                async with asyncio.timeout(0.05):
                    await guest.run()
        assert turns == [0, 1, 2] and program.output == b"yielded\n"

    run(main())


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("a\0b",), {}, r"the argument 'a\\x00b' cannot be given to the guest: it has a zero character"),
        (("\udcff",), {}, r"the argument '\\udcff' cannot be given to the guest: it is not Unicode"),
        (("a",), {"environment": {"A": "\0"}}, "the value of A .* zero character"),
        (("a",), {"environment": {"\0": "A"}}, "the environment variable .* zero character"),
    ],
)
def test_text_that_c_cannot_take(arguments: tuple[str, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(caesura.UsageError, match=message):
        caesura.Wasi(arguments, **options)


POLLER = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "poll") (param i32) (result i32)
    (call $poll (i32.const 0) (i32.const 4096) (local.get 0) (i32.const 8192)))
  (func (export "random") (param i32 i32) (result i32) (call $random (local.get 0) (local.get 1))))
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
                guest.call_nowait("random", 65530, 100)
            assert caught.value.backtrace == ("random",)
            assert guest.call_nowait("random", 65530, 5) == 0

    run(main())


def test_a_wasi_object_serves_one_guest() -> None:
    async def main() -> None:
        wasi = caesura.Wasi(stdin=b"")
        await caesura.load(c_guest("host_program"), wasi=wasi)
        with pytest.raises(caesura.UsageError, match="one for each"):
            await caesura.load(c_guest("host_program"), wasi=wasi)
        with pytest.raises(caesura.UsageError, match=r"wasi=caesura\.Wasi\(\)"):
            await caesura.load(c_guest("host_program"))

    run(main())
