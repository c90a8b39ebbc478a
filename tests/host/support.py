"""Guests and host functions that the tests of the host share."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import cache
from typing import Any, Final

import caesura
from tests.support.engine import assemble
from tests.support.guests import c_guest

LIBRARY: Final = ("-mexec-model=reactor", "-Wl,--export=malloc", "-Wl,--export=free")

# Every kind of suspension in one small module, with names: the host function `wait` returns what it is told
# to.
WAITER: Final = b"""(module $waiter
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))
  (func $inner (param i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (call $wait (local.get 0)))
  (func $outer (export "outer") (param i32) (result i32)
    (i32.add (call $inner (local.get 0)) (i32.const 100)))
  (func (export "twice") (param i32) (result i32)
    (i32.add (call $inner (local.get 0)) (call $inner (i32.add (local.get 0) (i32.const 1)))))
  (func (export "loop") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (call $inner (local.get 0))))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if 0 (local.get 0)))
    (local.get 1))
  (func (export "deep") (param i32) (result i32) (call $deep (local.get 0)))
  (func $deep (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (local.get 0) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
      (else (call $inner (i32.const 0)))))
  (func (export "calls") (result i32) (global.get $calls))
  (func (export "trap") (param i32) (result i32)
    (drop (call $inner (local.get 0)))
    (unreachable)))
"""


@cache
def c_library(name: str) -> bytes:
    """Return a C guest compiled as a library that exports malloc and free."""
    return c_guest(name, *LIBRARY)


class Gates:
    """A host function `wait` whose calls end when the test says so, with what the test says."""

    def __init__(self) -> None:
        self.futures: dict[int, asyncio.Future[int]] = {}

    async def wait(self, key: int) -> int:
        """Wait until `open` is called for the key."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.futures[key] = future
        try:
            return await future
        finally:
            del self.futures[key]

    def open(self, key: int, value: int) -> None:
        """Let the wait for a key return a value."""
        self.futures[key].set_result(value)

    def fail(self, key: int, error: BaseException) -> None:
        """Let the wait for a key raise."""
        self.futures[key].set_exception(error)


# How a module may have been instrumented: by `load`; beforehand, with thunks or for the plain ABI, the
# asyncify stack in the guest's own memory or in one of its own.
ABIS: Final = ("load", "thunks", "plain", "plain in its own memory")


def instrumented(source: bytes, abi: str) -> bytes:
    """Return a module as `load` would get it."""
    if abi == "load":
        return source
    module = source if source.startswith(b"\0asm") else assemble(source.decode())
    own = abi == "plain in its own memory"
    options = caesura.Options(thunks=abi == "thunks", in_secondary_memory=own, secondary_memory_size=16 if own else 1)
    return caesura.instrument(module, options).module


async def load_waiter(wait: Any, abi: str = "load", **options: Any) -> caesura.Guest:
    """Load WAITER with a function for `wait`."""
    if abi in ("thunks", "plain"):
        options["stack_space"] = (1024, 65536)
    return await caesura.load(instrumented(WAITER, abi), {"env": {"wait": wait}}, cache=False, **options)


async def load_calls(abi: str = "load", *, library: bool = True, **given: Any) -> caesura.Guest:
    """Load host_calls.c; the host functions that are not given must not be called."""

    def unused(*arguments: int) -> int:
        raise AssertionError(f"called with {arguments}")

    settings = {
        name: given.pop(name) for name in ("memory_reservation", "shadow_stack_size", "time_slice") if name in given
    }
    functions = {"wait": unused, "fill": unused, "note": unused, "again": unused} | given
    source = c_library("host_calls") if library else c_guest("host_calls", "-mexec-model=reactor")
    return await caesura.load(instrumented(source, abi), {"env": functions}, cache=False, **settings)


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

    async def load(self) -> caesura.Guest:
        """Return the program, before it runs."""
        return await caesura.load(c_guest("host_program"), wasi=self.wasi)

    async def run(self) -> int:
        """Run the program and return its exit code."""
        async with await self.load() as guest:
            return await guest.run()


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(main: Coroutine[Any, Any, Any]) -> None:
    """Run a test's coroutine; one that hangs fails. What takes seconds takes minutes on a machine that is busy."""
    asyncio.run(asyncio.wait_for(main, 300))
