"""The example of docs/server.md, with clients: uploads, streams, limits, disconnects, a hundred at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

import caesura
from examples import plugin_server
from tests.host.support import run
from tests.support.engine import assemble
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.one_form

# Copies its input. A line that begins with s makes it compute for ever, with m take memory until it gets no more, with
# w sleep for a minute.
PROGRAM: Final = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $first i32)
    (loop $again
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 4096))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
      (i32.store (i32.const 4) (i32.load (i32.const 8)))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $first (i32.load8_u (i32.const 1024)))
      (if (i32.eq (local.get $first) (i32.const 115)) (then (loop (br 0))))
      (if (i32.eq (local.get $first) (i32.const 109))
        (then (loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))
      (if (i32.eq (local.get $first) (i32.const 119))
        (then
          (i64.store (i32.const 88) (i64.const 60000000000))
          (i32.store (i32.const 80) (i32.const 1))
          (drop (call $poll (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 8)))))
      (br $again))))"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    command = [sys.executable, "-m", "examples.plugin_server", "--port", "0"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


# Programs that never end being loaded.
LOOPS: Final = [
    '(func $start (loop (br 0))) (start $start) (func (export "_start"))',
    '(func (export "_initialize") (loop (br 0))) (func (export "_start"))',
]


async def upload(client: httpx.AsyncClient, program: str = PROGRAM) -> str:
    answer = await client.post("/programs", content=assemble(program))
    assert answer.status_code == 201, answer.text
    return f"/programs/{answer.json()['name']}/run"


def client_of(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=address, timeout=50, limits=httpx.Limits(max_connections=None))


def test_a_hundred_clients_at_once(address: str) -> None:
    async def main() -> None:
        async with client_of(address) as client:
            place = await upload(client)
            inputs = [f"client {number} ".encode() * 2000 for number in range(100)]
            answers = await asyncio.gather(*[client.post(place, content=given) for given in inputs])
            assert [answer.content for answer in answers] == inputs

    run(main())


@pytest.mark.parametrize(
    ("given", "end"),
    [(b"spin", b"interrupted)\n"), (b"memory", b"unreachable)\n"), (b"wait", b"interrupted)\n")],
)
def test_what_takes_too_much_is_ended_and_others_go_on(address: str, given: bytes, end: bytes) -> None:
    async def main() -> None:
        async with client_of(address) as client:
            place = await upload(client)
            greedy = [asyncio.create_task(client.post(place, content=given)) for _ in range(3)]
            for _ in range(3):
                assert (await client.post(place, content=b"quick")).content == b"quick"
            for answer in await asyncio.gather(*greedy):
                assert answer.content.startswith(given) and answer.content.endswith(end)

    run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_loading_ends_too(address: str, loop: str) -> None:
    async def main() -> None:
        async with client_of(address) as client:
            place = await upload(client)
            greedy = await upload(client, f'(module {loop} (memory (export "memory") 1))')
            answers = asyncio.gather(*[client.post(greedy) for _ in range(3)])
            assert (await client.post(place, content=b"quick")).content == b"quick"
            assert {answer.content[-14:] for answer in await answers} == {b" interrupted)\n"}

    run(main())


def test_nothing_is_left_of_a_client_that_went() -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        program = await caesura.compile(assemble(PROGRAM), wasi=True, interruptible=True)
        answer = plugin_server.Run(program, b"wait").output()
        async for piece in answer:
            assert piece == b"wait"
            break
        await answer.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            while asyncio.all_tasks() != before:
                await asyncio.sleep(0.01)

    run(main())


def test_output_streams_and_a_client_may_leave(address: str) -> None:
    async def main() -> None:
        async with client_of(address) as client:
            place = await upload(client)
            async with client.stream("POST", place, content=b"wait") as answer:
                async for piece in answer.aiter_raw():
                    assert piece == b"wait"  # while the program sleeps
                    break
            assert (await client.post(place, content=b"next")).content == b"next"

    run(main())


def test_making_a_program_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    call = "(call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"
    bomb = '(module (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
    bomb += f'(memory (export "memory") 1) (func (export "_start") {call * 400} {"drop " * 400}))'

    async def main() -> None:
        monkeypatch.setattr(plugin_server, "SECONDS_TO_COMPILE", 1.0)
        transport = httpx.ASGITransport(plugin_server.app)
        async with httpx.AsyncClient(base_url="http://server", transport=transport) as client:
            answer = await client.post("/programs", content=assemble(bomb))
            assert answer.status_code == 400 and "more than 1.0 seconds to compile" in answer.json()["error"]

    run(main())


def test_what_is_no_program_is_refused(address: str) -> None:
    async def main() -> None:
        async with client_of(address) as client:
            answer = await client.post("/programs", content=b"no module")
            assert answer.status_code == 400 and "magic bytes" in answer.json()["error"]
            answer = await client.post("/programs", content=b'(module (import "env" "secret" (func)))')
            assert answer.status_code == 400 and "env.secret" in answer.json()["error"]
            claims = (
                '(module (func (export "asyncify_start_unwind") (param i32)) (func (export "asyncify_stop_unwind"))'
            )
            claims += '(func (export "asyncify_start_rewind") (param i32)) (func (export "asyncify_stop_rewind")))'
            answer = await client.post("/programs", content=claims.encode())
            assert answer.status_code == 400 and "instrumented" in answer.json()["error"]
            answer = await client.post("/programs", content=bytes(11 << 20))
            assert answer.status_code == 413
            assert (await client.post("/programs/absent/run")).status_code == 404

    run(main())
