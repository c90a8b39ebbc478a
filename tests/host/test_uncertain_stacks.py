"""Programs that take one call at a time: by a setting, since code compares the pointer, or since it is not certain."""

from __future__ import annotations

import asyncio

import pytest

import caesura
from tests.host.own_stack import OWN, PROGRAM, load_program, unused
from tests.host.support import ABIS, Gates, instrumented, run, settle


def test_a_single_stack() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program("load", gates.wait, single_stack=True)
        call = asyncio.create_task(guest.call("run", 64, 1))
        await settle()
        with pytest.raises(caesura.UsageError, match="single_stack=True"):
            await guest.call("run", 64, 2)
        assert guest.call_nowait("position") == OWN - 64
        gates.open(1, 1)
        assert await call == 2

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_program_that_compares_its_pointer_with_the_end_of_its_stack(abi: str) -> None:
    """The linker's symbols for the stack's ends are constants in the code: its calls can only run on the own stack."""

    async def main() -> None:
        gates = Gates()
        text = PROGRAM.replace("(global.get $__stack_base)", "(i32.const 65536)")
        imports = {"env": {"wait": gates.wait, "again": unused}}
        guest = await caesura.load(instrumented(text.encode(), abi), imports, cache=False)
        for _ in range(2):
            first = asyncio.create_task(guest.call("run", 64, 1))
            await settle()
            with pytest.raises(caesura.UsageError, match="compares its stack pointer with the ends of its own stack"):
                await guest.call("run", 64, 2)
            gates.open(1, 1)
            assert await first == 2
        guest = await caesura.load(instrumented(text.encode(), abi), imports, cache=False, single_stack=False)
        calls = [asyncio.create_task(guest.call("run", 64, key)) for key in (1, 2)]
        await settle()
        for key in (1, 2):
            gates.open(key, 1)
        assert await asyncio.gather(*calls) == [2, -1]

    run(main())


NO_STACK = """(module (import "env" "wait" (func $wait (param i32) (result i32))) (memory (export "memory") 1)
  (global $g (mut i32) (i32.const {start}))
  (func (export "run") (param i32) (result i32)
    (global.set $g (i32.sub (global.get $g) (i32.const 16)))
    {use}
    (local.set 0 (i32.add (call $wait (local.get 0)) (global.get $g)))
    {restore}
    (local.get 0)))"""
USE = "(i32.store (global.get $g) (i32.const 1))"
RESTORE = "(global.set $g (i32.add (global.get $g) (i32.const 16)))"


@pytest.mark.parametrize("abi", ["load", "thunks", "plain"])
def test_a_global_that_counts_down_is_the_guests_own_business(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        place = None if abi == "load" else (4096, 65536)
        module = instrumented(NO_STACK.format(start=96, use="", restore="").encode(), abi)
        guest = await caesura.load(module, {"env": {"wait": gates.wait}}, cache=False, stack_space=place)
        calls = [asyncio.create_task(guest.call("run", key)) for key in (1, 2)]
        await settle()
        for key in (1, 2):
            gates.open(key, 0)
        assert await asyncio.gather(*calls) == [64, 64]

    run(main())


def test_where_the_stack_is_not_certain_only_one_call_is_taken() -> None:
    """The global ends up in no place where a stack can be, but it is used as one."""

    async def main() -> None:
        gates = Gates()
        module = NO_STACK.format(start=100, use=USE, restore=RESTORE).encode()
        guest = await caesura.load(module, {"env": {"wait": gates.wait}}, cache=False)
        for _ in range(2):
            call = asyncio.create_task(guest.call("run", 1))
            await settle()
            with pytest.raises(caesura.UsageError, match="not certain which global is the guest's stack pointer"):
                await guest.call("run", 2)
            gates.open(1, 0)
            assert await call == 84

    run(main())
