"""Lists that leave a function out: waiting below it is refused, and the function named."""

from __future__ import annotations

import asyncio

import pytest

import caesura
from tests.host.support import load_waiter, run
from tests.support.engine import assemble


async def same(value: int) -> int:
    await asyncio.sleep(0)
    return value


@pytest.mark.parametrize(
    "options",
    [caesura.Options(only_list=("outer",)), caesura.Options(remove_list=("inner",))],
)
def test_waiting_below_a_function_that_is_left_out_names_it(options: caesura.Options) -> None:
    async def main() -> None:
        guest = await load_waiter(same, options=options)
        with pytest.raises(caesura.UsageError, match=r"env\.wait has to wait, but inner is on the guest's stack"):
            await guest.call("outer", 1)
        assert guest.call_nowait("calls") == 1
        with pytest.raises(caesura.UsageError, match="inner"):
            await guest.call("outer", 1)

    run(main())


DEEP = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (global $passed (mut i32) (i32.const 0))
  (func $deep (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
      (else (call $wait (i32.const 7)))))
  (func $left_out (param i32) (result i32)
    (call $deep (local.get 0))
    (global.set $passed (i32.add (global.get $passed) (i32.const 1))))
  (func (export "run") (param i32) (result i32) (call $left_out (local.get 0)))
  (func (export "passed") (result i32) (global.get $passed)))"""


@pytest.mark.parametrize("depth", [3, 17, 18, 19, 20, 100, 3000])
@pytest.mark.parametrize("named", [True, False])
def test_a_function_that_is_left_out_is_named_from_any_depth(depth: int, named: bool) -> None:
    async def main() -> None:
        text = DEEP if named else DEEP.replace("$deep", "1").replace("$left_out", "2").replace("(func 1", "(func")
        text = text.replace("(func 2", "(func")
        options = caesura.Options(only_list=("deep", "run") if named else ("1", "3"))
        module = assemble(text)
        guest = await caesura.load(module, {"env": {"wait": same}}, options=options, cache=False)
        name = "left_out" if named else "function 2"
        with pytest.raises(caesura.UsageError, match=f"env.wait has to wait, but {name} is on the guest's stack"):
            await guest.call("run", depth)
        assert guest.call_nowait("passed") == 0 and guest.suspended == 0

    run(main())


def test_what_is_checked_is_one_entry_of_the_guest() -> None:
    """A function that is left out may be on the stack outside the call that is suspended."""
    text = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
      (import "env" "plain" (func $plain))
      (func $left_out (export "left_out") (call $plain))
      (func $inner (export "inner") (result i32) (call $wait (i32.const 4))))"""

    async def main() -> None:
        generators = []

        def plain(guest: caesura.Guest) -> None:
            generators.append(guest.generate("inner"))
            assert next(generators[0]) == 8

        functions = {"wait": caesura.yielding(lambda value: 2 * value), "plain": plain}
        guest = await caesura.load(text.encode(), {"env": functions}, options=caesura.Options(only_list=("inner",)))
        guest.call_nowait("left_out")
        with pytest.raises(StopIteration) as end:
            generators[0].send(3)
        assert end.value.value == 3

    run(main())


def test_lists_that_are_right() -> None:
    async def main() -> None:
        guest = await load_waiter(same, options=caesura.Options(only_list=("outer", "inner")))
        assert await guest.call("outer", 1) == 101

    run(main())
