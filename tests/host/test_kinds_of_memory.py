"""Memories that threads share, of other page sizes, and with 64-bit addresses: each guest suspends as ever in them."""

from __future__ import annotations

import asyncio
import threading

import pytest
import wasmtime

import caesura
from tests.support.engine import assemble

# Adds to a counter that all instances share, asks between, and counts what it was given.
COUNTING = """
  (module
    (import "env" "memory" (memory 1 4 shared))
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (export "memory" (memory 0))
    (func $down (param $depth i32) (result i32)
      (if (result i32) (i32.eqz (local.get $depth))
        (then (i32.atomic.rmw.add (i32.const 16) (i32.const 1)) (drop) (call $ask (i32.const 7)))
        (else (i32.add (local.get $depth) (call $down (i32.sub (local.get $depth) (i32.const 1)))))))
    (func (export "run") (param $times i32) (result i32) (local $sum i32)
      (loop $again
        (local.set $sum (i32.add (local.get $sum) (call $down (i32.const 5))))
        (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
      (local.get $sum)))
"""
TIMES = 200
RESULT = TIMES * (15 + 8)


async def ask(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


def _run_in_threads(binary: bytes, spaces: list[tuple[int, int] | None]) -> tuple[list[int], int]:
    """Run one instance in each of several threads, all on one memory; return their results, and the counter."""
    results: list[int] = []
    shared: list[caesura.GuestMemory] = []
    ready = threading.Barrier(len(spaces))
    counters: list[int] = []
    started = threading.Event()

    async def one(*, first: bool, space: tuple[int, int] | None) -> None:
        memory = wasmtime.MemoryType(wasmtime.Limits(1, 4), shared=True) if first else shared[0]
        imports = {"env": {"memory": memory, "ask": ask}}
        async with await caesura.load(binary, imports, stack_space=space) as guest:
            if first:
                shared.append(guest.memory)
            started.set()
            await asyncio.to_thread(ready.wait)
            results.append(await guest.call("run", TIMES))
            await asyncio.to_thread(ready.wait)
            counters.append(guest.memory.read_struct("<I", 16)[0])
            await asyncio.to_thread(ready.wait)

    def in_thread(place: int) -> None:
        asyncio.run(one(first=place == 0, space=spaces[place]))

    threads = [threading.Thread(target=in_thread, args=(place,)) for place in range(len(spaces))]
    for thread in threads:
        started.clear()
        thread.start()
        assert started.wait(30)
    for thread in threads:
        thread.join()
    assert len(set(counters)) == 1
    return results, counters[0]


def test_threads_share_a_memory_and_suspend_on_their_own() -> None:
    results, counter = _run_in_threads(assemble(COUNTING), [None, None, None])
    assert (results, counter) == ([RESULT] * 3, 3 * TIMES)


def test_frames_of_several_threads_in_the_memory_that_they_share() -> None:
    """The module was instrumented elsewhere, with the plain ABI: each instance gets a part of the memory."""
    binary = caesura.instrument(assemble(COUNTING), caesura.Options(imports=("env.ask",))).module
    results, counter = _run_in_threads(binary, [(1024, 9216), (9216, 17408)])
    assert (results, counter) == ([RESULT] * 2, 2 * TIMES)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"interruptible": True}, "cannot be interrupted"),
        ({"memory_limit": 1 << 17}, "may grow to 262,144 bytes"),
    ],
)
def test_what_cannot_be_promised_where_threads_share_a_memory(settings: dict[str, int], why: str) -> None:
    memory = wasmtime.MemoryType(wasmtime.Limits(1, 4), shared=True)
    with pytest.raises(caesura.UsageError, match=why):
        asyncio.run(caesura.load(assemble(COUNTING), {"env": {"memory": memory, "ask": ask}}, **settings))  # type: ignore[arg-type]


def test_a_memory_that_is_not_shared_is_not_given_to_another_guest() -> None:
    async def main() -> None:
        async with await caesura.load(assemble('(module (memory (export "memory") 1 4))')) as guest:
            imports = {"env": {"memory": guest.memory, "ask": ask}}
            with pytest.raises(caesura.UsageError, match="is not a shared one"):
                await caesura.load(assemble(COUNTING), imports)

    asyncio.run(main())


KINDS = {
    "pages of one byte": '(memory (export "memory") 1000 (pagesize 1))',
    "64-bit addresses": '(memory (export "memory") i64 1)',
    "64-bit addresses and pages of one byte": '(memory (export "memory") i64 1000 (pagesize 1))',
    "several, one with 64-bit addresses": '(memory (export "other") 1) (memory (export "memory") i64 1 3)',
    "own shared memory": '(memory (export "memory") 1 2 shared)',
}
SUMMING = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    {memory}
    (func (export "run") (param $a i64) (result i64 i64)
      (i64.mul_wide_u (local.get $a) (i64.extend_i32_u (call $ask (i32.const 4))))))
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("abi", ["here", "elsewhere"])
def test_kinds_of_memory(kind: str, abi: str) -> None:
    """Elsewhere the asyncify stack is in the guest's own memory, which grows for it, and here in one of its own."""
    binary = assemble(SUMMING.format(memory=KINDS[kind]))
    space = None
    if abi == "elsewhere":
        binary = caesura.instrument(binary).module
        space = 8192

    async def main() -> object:
        async with await caesura.load(binary, {"env": {"ask": ask}}, stack_space=space) as guest:
            return await guest.call("run", 1 << 62)

    assert asyncio.run(main()) == (1 << 62, 1)
