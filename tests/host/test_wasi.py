"""WASI programs: what waits is asynchronous, the rest is Wasmtime's."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.host.wasi.stdin import DescriptorInput
from tests.host.support import Gates, Program, load_waiter, run, settle
from tests.support.guests import c_guest, zig_guest

pytestmark = pytest.mark.one_form


def test_output_arguments_and_exit_codes() -> None:
    async def main() -> None:
        program = Program("s1", "?", "x42", "s1", stdin=b"")
        assert await program.run() == 42
        assert program.output == b"slept 1\n" and program.errors == b"what is ??\n"
        assert await Program(stdin=b"").run() == 0

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
        with pytest.raises(caesura.UsageError, match="absent': No such file or directory"):
            await Program(stdin=b"", directories={"/data": str(tmp_path / "absent")}).run()

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


def test_read_only_folders(tmp_path: Path) -> None:
    """The program reads a file there, and cannot open another for writing."""

    async def main() -> None:
        (tmp_path / "in").write_text("from the file\n")
        (tmp_path / "out").write_text("as it was\n")
        errors = bytearray()
        folders: dict[str, Any] = {"read_only_directories": {"/d": tmp_path}}
        for options, code in ((folders, 2), ({"directories": {"/d": tmp_path}}, 0)):
            wasi = caesura.Wasi(
                ("streams", "/d/in", "/d/out"), stdin=b"", stdout=bytearray().extend, stderr=errors.extend, **options
            )
            async with await caesura.load(c_guest("host_streams"), wasi=wasi) as guest:
                assert await guest.run() == code
            assert (tmp_path / "out").read_text() == ("as it was\n" if code else "after\n")
        assert errors.count(b"read from the file\n") == 2

    run(main())


def test_a_program_in_zig() -> None:
    async def main() -> None:
        outputs = [bytearray() for _ in range(5)]

        async def greet(output: bytearray) -> int:
            wasi = caesura.Wasi(("greeter",), stdin=b"Ada\nGrace\nJean\n", stdout=output.extend)
            async with await caesura.load(zig_guest("greeter"), wasi=wasi) as guest:
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
            task = asyncio.create_task(guest.run())
            while not program.output:
                await asyncio.sleep(0)
            await settle()
            assert not task.done()  # it sleeps until what its clock says, some 30 years from now
            task.cancel()
            await asyncio.wait([task])
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


def test_a_guest_that_is_interrupted_while_suspended_traps_when_it_goes_on() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, interruptible=True)
        call = asyncio.create_task(guest.call("outer", 1))
        await settle()
        guest.interrupt()
        gates.open(1, 5)
        with pytest.raises(caesura.GuestTrap) as caught:
            await call
        assert caught.value.kind == "interrupted"
        assert guest.suspended == 0
        call = asyncio.create_task(guest.call("outer", 2))
        await settle()
        gates.open(2, 5)
        assert await call == 105

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
