"""What could stop an event loop is left to a process or done once: small modules of much work, imports in numbers."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

import caesura
from benchmarks.stall_guests import many_imports, small_and_slow
from caesura.host import compile_queue, workers
from tests.host.support import WAITER, run
from tests.support.engine import assemble

SMALL: Final = 16 * 1024


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


async def anything(*_: object) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("name", small_and_slow())
def test_a_small_module_of_much_work_is_none_for_a_thread(name: str) -> None:
    module = small_and_slow()[name]
    assert len(module) <= SMALL
    assert not compile_queue._is_instrumented_quickly(module)


def test_a_small_module_of_much_work_is_instrumented_in_a_process() -> None:
    workers.end_workers()

    async def main() -> None:
        module = small_and_slow()["results that stay on the stack"]
        with pytest.raises(caesura.UnsupportedModule, match="too many operands stand on the stack"):
            await caesura.load(module, {"env": {"wait": anything}}, cache=False)

    run(main())
    assert len(workers._running) == 1


def test_a_small_module_of_little_work_is_instrumented_in_a_thread() -> None:
    workers.end_workers()

    async def main() -> None:
        async with await caesura.load(WAITER, {"env": {"wait": wait}}, cache=False) as guest:
            assert await guest.call("outer", 1) == 102

    run(main())
    assert not workers._running


@pytest.mark.parametrize("count", [3, 12_000])
def test_an_import_that_is_there_many_times_is_connected_once(count: int) -> None:
    async def main() -> None:
        program = await caesura.compile(many_imports(count), {"env": {"wait": wait}}, cache=False)
        async with await program.load() as guest:
            assert len(guest._instance.imports) == 1
            assert await guest.call("f", 41) == 42

    run(main())


@pytest.mark.parametrize(
    ("imports", "said"),
    [
        ("(func) (func (param i32))", r"env\.wait as a function \(\) -> \(\) and as a function \(i32\) -> \(\)"),
        ("(func) (global i64)", r"env\.wait as a function \(\) -> \(\) and as a global of type i64"),
        ("(global i32) (global (mut i32))", r"env\.wait as a global of type i32 and as a mutable global of type i32"),
    ],
)
def test_a_name_for_different_things_is_refused(imports: str, said: str) -> None:
    items = imports.replace(") (", ")\n(").split("\n")
    text = "".join(f'(import "env" "wait" {item})' for item in items)

    async def main() -> None:
        with pytest.raises(caesura.UnsupportedModule, match=said):
            await caesura.load(
                assemble(f'(module {text} (func (export "f")))'), {"env": {"wait": anything}}, cache=False
            )

    run(main())


def test_an_error_does_not_name_all_of_100_000_missing_imports() -> None:
    text = "".join(f'(import "env" "f{number}" (func))' for number in range(1_000))

    async def main() -> None:
        with pytest.raises(caesura.UsageError, match=r"not given: env\.f0, .*env\.f19, and 980 more$"):
            await caesura.load(assemble(f"(module {text})"), {}, cache=False)

    run(main())
