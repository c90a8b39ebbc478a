"""Calls on the program's own C stack and on others are resumed from within each other."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

import caesura
from tests.host.own_stack import OWN, PROGRAM, load_program
from tests.host.support import ABIS, instrumented, run


def suspended(generator: Generator[object, object, object]) -> Generator[object, object, object]:
    next(generator)
    return generator


def finish(generator: Generator[object, object, object], value: int) -> Any:
    with pytest.raises(StopIteration) as end:
        generator.send(value)
    return end.value.value


def same(value: int) -> int:
    return value


@pytest.mark.parametrize("abi", ABIS)
def test_calls_are_resumed_from_within_others(abi: str) -> None:
    """One on a stack of its own anywhere; the one on the guest's own where nothing else is running on that."""

    async def main() -> None:
        held: dict[int, Generator[object, object, object]] = {}

        def again(guest: caesura.Guest, key: int) -> Any:
            generator = held.pop(key)
            return finish(generator, 5)

        guest = await load_program(abi, caesura.yielding(same), again)
        for _ in range(3):
            own = suspended(guest.generate("run", 64, 1))
            held[2] = suspended(guest.generate("run", 64, 2))
            assert guest.call_nowait("nested", 2) == 9
            held[1] = own
            with pytest.raises(caesura.UsageError, match="resume it when that has returned"):
                guest.call_nowait("nested", 1)
            own = suspended(guest.generate("run", 64, 1))
            other = suspended(guest.generate("use_string", 1024))
            assert guest.call_nowait("position") == OWN - 64
            assert finish(other, 1008) == int.from_bytes(b"end ", "little")
            assert finish(own, 3) == 4
            assert guest.call_nowait("position") == OWN

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_the_call_on_the_own_stack_is_resumed_below_one_on_another(abi: str) -> None:
    async def main() -> None:
        held: list[Generator[object, object, object]] = []

        def again(guest: caesura.Guest, key: int) -> Any:
            if key == 0:
                assert held[0].send(7) == 2  # waits again, deeper than before
                return 0
            return finish(held[0], 7)

        text = PROGRAM.replace(
            '(func (export "nested")',
            """(func (export "twice") (param $key i32) (result i32) (local $frame i32)
              (local.set $key (call $wait (local.get $key)))
              (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 256))))
              (i32.store (local.get $frame) (i32.const 77))
              (local.set $key (i32.add (call $wait (i32.const 2)) (i32.load (local.get $frame))))
              (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 256)))
              (local.get $key))
            (func (export "wait_then_nest") (param $key i32) (result i32)
              (drop (call $wait (i32.const 1))) (call $again (local.get $key)))
            (func (export "nested")""",
        )
        imports = {"env": {"wait": caesura.yielding(same), "again": again}}
        guest = await caesura.load(instrumented(text.encode(), abi), imports, cache=False)
        for _ in range(3):
            held[:] = [suspended(guest.generate("twice", 1))]
            other = suspended(guest.generate("wait_then_nest", 0))
            assert finish(other, 0) == 0
            assert guest.call_nowait("position") == OWN - 256
            assert guest.call_nowait("fits") == 1
            other = suspended(guest.generate("wait_then_nest", 1))
            assert finish(other, 0) == 84
            assert guest.call_nowait("position") == OWN

    run(main())
