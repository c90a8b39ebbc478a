"""What an import that waits may return: any number of results, vectors, references to functions and objects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, run
from tests.support.engine import assemble

VECTOR = b"0123456789abcdef"


async def load(text: str, abi: str, functions: dict[str, Any]) -> caesura.Guest:
    """Load a module that was instrumented in one of the ways, for the coroutine functions among its imports."""
    module = assemble(text)
    if abi != "load":
        waiting = tuple(f"env.{name}" for name, function in functions.items() if asyncio.iscoroutinefunction(function))
        own = abi == "plain in its own memory"
        options = caesura.Options(imports=waiting, thunks=abi == "thunks", in_secondary_memory=own)
        module = caesura.instrument(module, options).module
    space = (1024, 65536) if abi in ("thunks", "plain") else None
    return await caesura.load(module, {"env": functions}, cache=False, stack_space=space)


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("count", [2, 5, 16, 17, 40])
def test_several_results(abi: str, count: int) -> None:
    expected = (7, 2.5, VECTOR, -5, 1.5, *range(100, 200))[:count]
    results = ("i32", "f64", "v128", "i64", "f32", *["i64"] * 100)[:count]
    text = f"""(module (import "env" "get" (func $get (param i32) (result {" ".join(results)})))
        (memory (export "memory") 1)
        (func $inner (param i32) (result {" ".join(results)}) (call $get (local.get 0)))
        (func (export "f") (param i32) (result {" ".join(results)}) (call $inner (local.get 0))))"""

    async def get(value: int) -> tuple[Any, ...]:
        await asyncio.sleep(0)
        if value < 0:
            raise KeyError(value)
        return (value, *expected[1:])

    async def main() -> None:
        guest = await load(text, abi, {"get": get})
        assert await guest.call("f", 7) == expected
        with pytest.raises(KeyError):
            await guest.call("f", -1)
        others = await asyncio.gather(*(guest.call("f", value) for value in range(3)))
        assert others == [(value, *expected[1:]) for value in range(3)]

    run(main())


FUNCTIONS = """(module (type $t (func (result i32)))
    (import "env" "choose" (func $choose (param i32 funcref) (result i32 funcref)))
    (import "env" "see" (func $see (param funcref externref)))
    (memory (export "memory") 1) (table $t 2 funcref) (elem declare func $seven)
    (func $seven (export "seven") (result i32) (i32.const 7))
    (func (export "nine") (result i32) (i32.const 9))
    (func (export "f") (param i32) (result i32)
        (table.set $t (i32.const 0) (call $chosen (local.get 0)))
        (call $see (table.get $t (i32.const 0)) (ref.null extern))
        (call_indirect $t (type $t) (i32.const 0)))
    (func $chosen (param i32) (result funcref)
        (local funcref)
        (call $choose (local.get 0) (ref.null func))
        (local.set 1) (drop) (local.get 1))
    (func (export "give") (result funcref) (ref.func $seven))
    (func (export "same") (param funcref) (result funcref) (local.get 0)))"""


@pytest.mark.parametrize("abi", ABIS)
def test_references_to_functions(abi: str) -> None:
    seen: list[object] = []

    async def choose(guest: caesura.Guest, value: int, unused: object) -> tuple[int, object]:
        assert unused is None
        await asyncio.sleep(0)
        return value, guest.function("nine") if value == 9 else guest.call_nowait("give") if value else None

    async def main() -> None:
        guest = await load(FUNCTIONS, abi, {"choose": choose, "see": lambda function, nothing: seen.append(function)})
        assert await guest.call("f", 9) == 9
        assert await guest.call("f", 7) == 7
        assert list(await asyncio.gather(guest.call("f", 7), guest.call("f", 9))) == [7, 9]
        with pytest.raises(caesura.GuestTrap, match="indirect call to null"):
            await guest.call("f", 0)
        assert seen[:2] == [guest.function("nine"), guest.function("seven")] and seen[-1] is None
        assert isinstance(seen[0], caesura.FunctionReference) and len(set(seen)) == 3
        assert guest.call_nowait("same", seen[0]) == seen[0]
        with pytest.raises(caesura.UsageError, match="expected a function of the guest's"):
            guest.call_nowait("same", print)

    run(main())


def test_functions_of_another_guest_are_refused() -> None:
    async def main() -> None:
        text = FUNCTIONS.encode()
        functions: dict[str, dict[str, Any]] = {"env": {"choose": print, "see": print}}
        one, other = [await caesura.load(text, functions, cache=False) for _ in range(2)]
        with pytest.raises(caesura.UsageError, match="argument 1 of same is a function of another guest"):
            one.call_nowait("same", other.function("seven"))
        assert one.function("seven") != other.function("seven")
        other.close()
        with pytest.raises(caesura.UsageError, match="closed"):
            other.function("seven")

    run(main())


def test_a_value_of_the_guests_own_is_no_object() -> None:
    async def main() -> None:
        text = b"""(module (func (export "number") (result externref) (extern.convert_any (ref.i31 (i32.const 5))))
            (type $s (struct (field i32)))
            (func (export "struct") (result externref) (extern.convert_any (struct.new $s (i32.const 5)))))"""
        guest = await caesura.load(text, {}, cache=False)
        for name in ("number", "struct"):
            with pytest.raises(caesura.UsageError, match="a value of its own as an externref"):
                guest.call_nowait(name)

    run(main())
