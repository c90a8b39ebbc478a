"""WASI programs: what waits is asynchronous, the rest is Wasmtime's."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

import caesura
from caesura.host.stdin import DescriptorInput
from tests.host.support import run
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


@pytest.mark.parametrize("argument", ["s300", "a300"])
def test_programs_sleep_together(argument: str) -> None:
    async def main() -> None:
        await Program(stdin=b"").run()  # compiles it
        programs = [Program(argument, stdin=b"") for _ in range(20)]
        start = time.monotonic()
        codes = await asyncio.gather(*[program.run() for program in programs])
        elapsed = time.monotonic() - start
        assert codes == [0] * 20
        assert all(b"slept" in program.output for program in programs)
        assert 0.3 <= elapsed < 3  # one after the other they sleep six seconds

    run(main())


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


def test_a_wasi_object_serves_one_guest() -> None:
    async def main() -> None:
        wasi = caesura.Wasi(stdin=b"")
        await caesura.load(c_guest("host_program"), wasi=wasi)
        with pytest.raises(caesura.UsageError, match="one for each"):
            await caesura.load(c_guest("host_program"), wasi=wasi)
        with pytest.raises(caesura.UsageError, match=r"wasi=caesura\.Wasi\(\)"):
            await caesura.load(c_guest("host_program"))

    run(main())
