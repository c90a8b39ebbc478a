"""Start functions that wait: hosts call them, as engines cannot, before anybody has the guest."""

from __future__ import annotations

import asyncio

import pytest

import caesura
from caesura.abi import START_FUNCTION
from caesura.wasm.module import Module
from tests.host.support import run
from tests.support.engine import assemble

THUNKS = caesura.Options(thunks=True, in_secondary_memory=True, imports=("env.wait",))

GUEST = b"""(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (import "env" "done" (func $done))
  (memory (export "memory") 1)
  (global $result (mut i32) (i32.const 0))
  (func $begin (local $kept i32)
    (local.set $kept (i32.load (i32.const 16)))
    (global.set $result (i32.add (local.get $kept) (call $wait (i32.const 5))))
    (global.set $result (i32.mul (global.get $result) (call $wait (i32.const 2))))
    (call $done))
  (start $begin)
  (func (export "_initialize") (global.set $result (i32.add (global.get $result) (i32.const 1000))))
  (func (export "get") (result i32) (global.get $result))
  (data (i32.const 16) "\\07\\00\\00\\00"))"""


async def twice(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def at_once(value: int) -> int:
    return 2 * value


def instrumented(text: bytes = GUEST) -> bytes:
    return caesura.instrument(assemble(text.decode()), THUNKS).module


@pytest.mark.parametrize("by", ["load", "thunks", "compile"])
def test_it_has_ended_before_initialization_and_before_anybody_has_the_guest(by: str) -> None:
    async def main() -> None:
        ended: list[str] = []
        imports = {"env": {"wait": twice, "done": lambda: ended.append("start")}}
        if by == "compile":
            guest = await (await caesura.compile(GUEST, imports, cache=False)).load()
        else:
            guest = await caesura.load(instrumented() if by == "thunks" else GUEST, imports, cache=False)
        assert ended == ["start"]
        assert guest.call_nowait("get") == (7 + 10) * 4 + 1000
        assert sorted(guest.exports) == ["_initialize", "get"]

    run(main())


def test_guests_start_at_the_same_time() -> None:
    async def main() -> None:
        waiting = asyncio.Event()

        async def wait(value: int) -> int:
            await waiting.wait()
            return 2 * value

        tasks = [
            asyncio.create_task(caesura.load(GUEST, {"env": {"wait": wait, "done": lambda: None}}, cache=False))
            for _ in range(3)
        ]
        await asyncio.sleep(0)
        waiting.set()
        assert [(await task).call_nowait("get") for task in tasks] == [1068, 1068, 1068]

    run(main())


def test_a_start_function_that_is_cancelled_or_fails_leaves_no_guest() -> None:
    async def main() -> None:
        seen: list[caesura.Guest] = []
        began = asyncio.Event()

        async def wait(guest: caesura.Guest, value: int) -> int:
            seen.append(guest)
            began.set()
            await asyncio.sleep(3600)
            return value

        async def fails(guest: caesura.Guest, value: int) -> int:
            seen.append(guest)
            await asyncio.sleep(0)
            raise KeyError(value)

        task = asyncio.create_task(caesura.load(GUEST, {"env": {"wait": wait, "done": lambda: None}}, cache=False))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(KeyError):
            await caesura.load(GUEST, {"env": {"wait": fails, "done": lambda: None}}, cache=False)
        for guest in seen:
            with pytest.raises(caesura.UsageError, match="closed"):
                guest.call_nowait("get")

    run(main())


def test_an_import_as_the_start_function() -> None:
    async def main() -> None:
        text = b"""(module (import "env" "wait" (func $wait)) (memory (export "memory") 1) (start $wait)
          (func (export "call") (call $wait)))"""
        calls: list[int] = []

        async def wait() -> None:
            await asyncio.sleep(0)
            calls.append(1)

        guest = await caesura.load(text, {"env": {"wait": wait}}, cache=False)
        assert calls == [1]
        await guest.call("call")
        assert calls == [1, 1]

    run(main())


def test_what_cannot_suspend_stays_a_start_function() -> None:
    text = b"""(module (import "env" "wait" (func $wait (param i32) (result i32))) (memory (export "memory") 1)
      (func $begin (i32.store (i32.const 0) (i32.const 1))) (start $begin)
      (func (export "call") (result i32) (call $wait (i32.const 1))))"""
    kept = Module(instrumented(text))
    assert kept.start is not None
    assert START_FUNCTION not in {item.name for item in kept.exports}
    moved = Module(instrumented())
    assert moved.start is None
    plain = Module(caesura.instrument(assemble(GUEST.decode()), caesura.Options(imports=("env.wait",))).module)
    assert plain.start is not None, "other hosts' engines call it"


def test_a_start_function_with_parameters_is_a_lie() -> None:
    text = GUEST.replace(b"(start $begin)", b'(func (export "asyncify_start_function") (param i32))')
    with pytest.raises(caesura.UnsupportedModule, match="exports asyncify_start_function already"):
        caesura.instrument(
            assemble(text.decode().replace('(func (export "_initialize")', '(start $begin) (func (export "i")')), THUNKS
        )
    with pytest.raises(caesura.UnsupportedModule, match="exports a function asyncify_start_function"):
        run(caesura.load(instrumented(text), {"env": {"wait": twice, "done": lambda: None}}, cache=False))
