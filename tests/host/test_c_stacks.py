"""C stacks: one for each call where the guest has malloc; where it has one only, what would overwrite it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

import caesura
from tests.host.support import Gates, load_calls, run, settle


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def test_a_guest_with_one_stack_has_one_suspended_call() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(library=False, wait=gates.wait)
        call = asyncio.create_task(guest.call("descend", 4, 9))
        await settle()
        with pytest.raises(caesura.UsageError, match="exports no malloc and free"):
            await guest.call("descend", 1, 1)
        assert guest.call_nowait("add", 1, 2) == 3
        gates.open(9, 0)
        assert await call == sum(9 * 31 + d * 16 + d for d in range(5))
        assert guest.call_nowait("add", 1, 2) == 3

    run(main())


async def load_with_one_stack(again: object) -> caesura.Guest:
    def pass_on(value: int) -> int:
        return value

    return await load_calls(library=False, wait=caesura.yielding(pass_on), again=again, fill=lambda target, size: 0)


def finish(generator: Generator[object, object, object], value: int) -> object:
    with pytest.raises(StopIteration) as end:
        generator.send(value)
    return end.value.value


def test_a_call_is_not_suspended_above_another_on_the_only_stack() -> None:
    async def main() -> None:
        def again(guest: caesura.Guest, value: int) -> int:
            with pytest.raises(caesura.UsageError, match="has called it again, on the only stack in its memory"):
                next(guest.generate("descend", 3, 9))
            assert guest.call_nowait("add", 1, 2) == 3
            return value

        guest = await load_with_one_stack(again)
        for _ in range(3):
            assert guest.call_nowait("nested", 5) == 6
            generator = guest.generate("descend", 3, 9)
            assert next(generator) == 9
            assert finish(generator, 0) == sum(9 * 31 + d * 16 + d for d in range(4))

    run(main())


def test_a_call_is_not_resumed_above_another_on_the_only_stack() -> None:
    async def main() -> None:
        suspended: list[Generator[object, object, object]] = []

        def again(guest: caesura.Guest, value: int) -> int:
            with pytest.raises(
                caesura.UsageError, match="resumes a call that was suspended before, above the host function's caller"
            ):
                suspended.pop().send(0)
            return value

        guest = await load_with_one_stack(again)
        for _ in range(3):
            suspended.append(guest.generate("descend", 3, 9))
            next(suspended[0])
            assert guest.call_nowait("nested", 5) == 6
            assert guest.suspended == 0

    run(main())


def test_the_only_stack_is_used_again_from_its_top() -> None:
    """Also when the suspended call ends while other guest code is running below its frames."""

    async def main() -> None:
        suspended: list[Generator[object, object, object]] = []

        def again(guest: caesura.Guest, value: int) -> int:
            suspended.pop().close()
            return value

        guest = await load_with_one_stack(again)
        for _ in range(3000):  # more than the stack holds, if a part of it were lost each time
            suspended.append(guest.generate("descend", 3, 9))
            next(suspended[0])
            assert guest.call_nowait("nested", 5) == 6
            assert guest.call_nowait("add", 1, 2) == 3
        generator = guest.generate("descend", 40, 9)
        next(generator)
        assert finish(generator, 0) == sum(9 * 31 + d * 16 + (d & 15) for d in range(41))

    run(main())


def test_a_shadow_stack_that_is_too_small_is_noticed() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_calls(shadow_stack_size=1024, wait=gates.wait)
        first = asyncio.create_task(guest.call("descend", 1, 9))
        await settle()
        with pytest.raises(caesura.UsageError, match="larger shadow_stack_size"):
            await guest.call("overflow_stack", 1500)
        gates.open(9, 0)
        assert await first == 9 * 31 + 9 * 31 + 17

    run(main())


NO_MEMORY = """(module (import "env" "wait" (func $wait (param i32) (result i32))) (memory (export "memory") 1)
  (global $stack (mut i32) (i32.const 4096)) (global $left (export "left") (mut i32) (i32.const 2))
  (func (export "malloc") (param i32) (result i32)
    (if (i32.eqz (global.get $left)) (then (return (i32.const 0))))
    (global.set $left (i32.sub (global.get $left) (i32.const 1)))
    (i32.mul (i32.const 8192) (i32.add (i32.const 1) (global.get $left))))
  (func (export "free") (param i32))
  (func (export "run") (param i32) (result i32) (local i32)
    (global.set $stack (local.tee 1 (i32.sub (global.get $stack) (i32.const 16))))
    (i32.store (local.get 1) (local.get 0))
    (local.set 0 (i32.add (call $wait (local.get 0)) (i32.load (local.get 1))))
    (global.set $stack (i32.add (local.get 1) (i32.const 16)))
    (local.get 0))
  (func (export "use") (param i32) (result i32) (local i32)
    (local.tee 1 (i32.sub (global.get $stack) (i32.const 16))) (i32.store (local.get 1) (local.get 0))))"""


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (-1, "expected at least 256"),
        (255, "shadow_stack_size is 255 bytes: expected at least 256"),
        (2**40, "shadow_stack_size is 1099511627776 bytes: expected at least 256, at most 4294967296"),
        (2**32, "argument 1 of malloc is 4294967296: out of range"),
        (2**31, "malloc has no 2147483648 bytes"),
    ],
)
def test_sizes_that_no_stack_can_have(size: int, message: str) -> None:
    async def main() -> None:
        guest = await load_calls(shadow_stack_size=size, wait=double)
        await asyncio.gather(guest.call("descend", 1, 1), guest.call("descend", 1, 2))

    with pytest.raises(caesura.UsageError, match=message):
        asyncio.run(main())


def test_there_is_no_memory_for_another_stack() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await caesura.load(NO_MEMORY.encode(), {"env": {"wait": gates.wait}}, shadow_stack_size=4096)
        calls = [asyncio.create_task(guest.call("run", key)) for key in (1, 2, 4)]
        await settle()
        with pytest.raises(caesura.UsageError, match="malloc has no 4096 bytes for another shadow stack"):
            await guest.call("run", 3)
        for key in (1, 2, 4):
            gates.open(key, 10)
        assert await asyncio.gather(*calls) == [11, 12, 14]
        call = asyncio.create_task(guest.call("run", 3))
        await settle()
        gates.open(3, 10)
        assert await call == 13

    run(main())
