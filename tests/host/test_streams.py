"""Standard input from whatever it arrives in, output to whoever takes it in his own time."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.host.wasi.stdin import DescriptorInput, Place
from tests.host.support import Program, run, settle
from tests.support.guests import c_guest

pytestmark = pytest.mark.one_form

LINES = b"line first\nline second"


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"fir", b"", b"st\nsec", b"ond"):
        await asyncio.sleep(0)
        yield piece


def reader() -> asyncio.StreamReader:
    stream = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    loop.call_later(0.001, stream.feed_data, b"first\nse")
    loop.call_later(0.002, stream.feed_data, b"cond")
    loop.call_later(0.003, stream.feed_eof)
    return stream


def connection() -> socket.socket:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)

    def send() -> None:
        theirs.sendall(b"first\nsecond")
        theirs.close()

    asyncio.get_running_loop().call_later(0.001, send)
    return ours


@pytest.mark.parametrize(
    "make", [lambda: b"first\nsecond", lambda: bytearray(b"first\nsecond"), pieces, reader, connection]
)
def test_input_from_anything_that_arrives(make: Callable[[], Any]) -> None:
    async def main() -> None:
        source = make()
        program = Program("c", stdin=source)
        assert await program.run() == 0
        assert program.output == LINES
        if isinstance(source, socket.socket):
            source.close()

    run(main())


def test_polling_for_what_has_not_arrived_loses_nothing() -> None:
    """The program gives up waiting for input, which would end an asynchronous generator if it were cancelled."""
    arrived = asyncio.Event()

    async def late() -> AsyncIterator[bytes]:
        await arrived.wait()
        yield b"first\nsecond"

    async def main() -> None:
        program = Program("p1", "p1", "c", stdin=late())
        task = asyncio.create_task(program.run())
        while program.output.count(b"poll 0\n") < 2:
            await asyncio.sleep(0.001)
        arrived.set()
        assert await task == 0
        assert program.output == b"poll 0\npoll 0\n" + LINES

    run(main())


def test_a_closed_guest_lets_its_source_go() -> None:
    async def main() -> None:
        stream = asyncio.StreamReader()
        program = Program("c", stdin=stream)
        task = asyncio.create_task(program.run())
        await settle()
        while not task.done() and len(asyncio.all_tasks()) < 3:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stream.feed_data(b"for somebody else")
        assert await stream.read(100) == b"for somebody else"

    run(main())


def test_what_the_source_raises_arrives_in_the_caller() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"first\n"
        raise ConnectionResetError("the other side is gone")

    async def texts() -> AsyncIterator[Any]:
        yield "text"

    async def main() -> None:
        program = Program("c", stdin=broken())
        with pytest.raises(ConnectionResetError, match="the other side is gone"):
            await program.run()
        assert program.output == b"line first\n"
        with pytest.raises(caesura.UsageError, match="gave 'text': expected bytes"):
            await Program("c", stdin=texts()).run()

    run(main())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stdin": "text"}, "stdin is 'text': expected bytes; encode it, an asynchronous iterator"),
        ({"stdin": 0}, "stdin is 0: expected bytes, an asynchronous iterator"),
        ({"stdin": [b"a"]}, "stdin is .*: expected bytes"),
        ({"stdout": sys.stdout}, "stdout is .*: expected a function that is called with bytes"),
        ({"stderr": b""}, "stderr is b'': expected a function"),
        ({"arguments": "prog arg"}, "arguments is 'prog arg': expected a sequence of texts"),
        ({"arguments": ["prog", 1]}, "the argument 1 cannot be given to the guest: expected text, not int"),
        ({"environment": {"A": 1}}, "the value of A 1 cannot be given to the guest: expected text, not int"),
        ({"environment": {1: "A"}}, "the environment variable 1 cannot be given to the guest: expected text, not int"),
        ({"environment": {"A=B": "C"}}, "the environment variable 'A=B' cannot be given to the guest: it is no name"),
        ({"environment": ["A=1"]}, "environment is .*: expected a mapping"),
        ({"directories": "/tmp"}, "directories is '/tmp': expected a mapping"),
        ({"read_only_directories": {"/a": 1}}, "the folder given for '/a' is 1: expected a path"),
    ],
)
def test_wrong_kinds_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(caesura.UsageError, match=message):
        caesura.Wasi(**options)


def test_a_socket_that_would_block_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(caesura.UsageError, match=r"call setblocking\(False\)"):
        caesura.Wasi(stdin=ours)


def test_output_to_a_coroutine_function_holds_the_program_back() -> None:
    async def main() -> None:
        arrived: list[bytes] = []
        gate = asyncio.Semaphore(0)

        async def take(content: bytes) -> None:
            arrived.append(content)
            await gate.acquire()

        wasi = caesura.Wasi(("program", "s1", "s1", "?"), stdin=b"", stdout=take, stderr=arrived.append)
        async with await caesura.load(c_guest("host_program"), wasi=wasi) as guest:
            task = asyncio.create_task(guest.run())
            for count in (1, 2):
                while len(arrived) < count:
                    await asyncio.sleep(0.001)
                await settle()
                assert len(arrived) == count and not task.done()
                gate.release()
            assert await task == 0
        assert arrived == [b"slept 1\n", b"slept 1\n", b"what is ??\n"]

    run(main())


def test_a_function_that_returns_something_to_await_is_an_error() -> None:
    async def take(content: bytes) -> None:
        pass

    async def main() -> None:
        wasi = caesura.Wasi(("program", "s1"), stdin=b"", stdout=lambda content: take(content))
        async with await caesura.load(c_guest("host_program"), wasi=wasi) as guest:
            with pytest.raises(caesura.UsageError, match="make it `async def`"):
                await guest.run()

    run(main())


def test_a_second_loop_gets_what_arrived_between_the_two() -> None:
    end, writer = os.pipe()
    source = DescriptorInput(end)

    async def read_in_vain() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.read(10), 0.01)

    asyncio.run(read_in_vain())
    os.write(writer, b"typed\n")
    while not source.available:
        time.sleep(0.001)  # the thread that was started for the first loop brings it
    assert asyncio.run(source.read(10)) == b"typed\n"
    os.write(writer, b"more\n")
    assert asyncio.run(source.read(10)) == b"more\n"
    assert source.wait_blocking(0.01) is None
    os.write(writer, b"most\n")
    assert source.read_blocking(2) == b"mo" and source.read_blocking(10) == b"st\n"
    os.close(writer)
    assert asyncio.run(source.read(10)) == b"" and source.read_blocking(10) == b""
    os.close(end)


def test_a_forked_child_reads_standard_input_too() -> None:
    """The parent's thread that reads does not exist in the child."""
    code = """
import asyncio, os
from caesura.host.wasi.stdin import standard_input

async def read_in_vain():
    try:
        await asyncio.wait_for(standard_input.read(10), 0.05)
    except TimeoutError:
        pass

asyncio.run(read_in_vain())
end, writer = os.pipe()
os.write(writer, b"for the child")
if os.fork() == 0:
    os.dup2(end, 0)  # so that the parent's thread does not take it
    print(asyncio.run(standard_input.read(100)), flush=True)
    os._exit(0)
os.wait()
os._exit(0)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"b'for the child'\n"


@pytest.mark.parametrize("offset", [1 << 63, (1 << 64) - 1])
def test_a_forged_place_in_standard_input(offset: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as file:
        given = DescriptorInput(file.fileno())
        assert given.read_blocking(4) == b"0123"
        place = given.place()
        assert place is not None and place.offset == 4
        with pytest.raises(caesura.SnapshotError, match=f"cannot be read from byte {offset} on"):
            given.go_to(place._replace(offset=offset))
        given.go_to(Place(0, (0, 0)))  # it is another file
        assert given.read_blocking(2) == b"45"
        given.go_to(place)
        assert given.read_blocking(20) == b"456789"
        assert given.read_blocking(1) == b""
