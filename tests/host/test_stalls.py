"""What could stop an event loop is left to a process or done once: small modules of much work, imports in numbers."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path
from typing import Final

import pytest

import caesura
from benchmarks.stall_guests import many_imports, much_data, small_and_slow
from caesura.host import compile_queue, workers
from tests.host.support import WAITER, run
from tests.support.engine import assemble

SMALL: Final = 16 * 1024
MUCH: Final = 3_000_000

# What maps of this process are called that compiled code lies in, and those that Wasmtime copies data into.
CODE: Final = "/memfd:caesura-code"
COPIED_DATA: Final = "/memfd:wasm-memory-image"

# Much data, and a start function that changes it.
STARTED: Final = assemble(
    f"""(module (import "env" "wait" (func $wait (param i32) (result i32)))
      (memory (export "memory") 64) (data (i32.const 0) "{"a" * MUCH}")
      (func $start (i32.store8 (i32.const 5) (i32.const 98)))
      (start $start)
      (func (export "f") (param i32) (result i32) (call $wait (local.get 0))))"""
)

needs_memory_files = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files in memory")


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


def maps_of(name: str) -> set[str]:
    """Return the mapped ranges of this process with a name."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[0] for line in lines if name in line}


def open_files(name: str) -> int:
    """Return how many descriptors of this process are of files with a name."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{descriptor}"
        found += os.path.lexists(path) and name in os.readlink(path)
    return found


@needs_memory_files
@pytest.mark.parametrize("has_start", [False, True])
def test_the_data_of_a_module_without_a_cache_is_mapped_and_not_copied(has_start: bool) -> None:
    module = STARTED if has_start else much_data(MUCH)
    expected = b"aaaaab" if has_start else bytes(range(6))

    async def main() -> None:
        gc.collect()
        copied = maps_of(COPIED_DATA)
        assert not maps_of(CODE)
        program = await caesura.compile(module, {"env": {"wait": wait}}, cache=False)
        async with await program.load() as guest, await program.load() as other:
            assert maps_of(CODE)
            assert maps_of(COPIED_DATA) <= copied
            assert guest.memory.read(0, 6) == expected
            guest.memory.write(0, b"changed")
            assert other.memory.read(0, 6) == expected
            assert await other.call("f", 41) == 42
        async with await program.load() as third:
            assert third.memory.read(0, 6) == expected

    run(main())
    gc.collect()
    assert not maps_of(CODE)
    assert not open_files(CODE)


@needs_memory_files
def test_a_module_is_loaded_where_there_is_no_room_for_a_file_in_memory() -> None:
    import resource

    async def main() -> None:
        limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MUCH // 2, most))
        try:
            program = await caesura.compile(much_data(MUCH), {"env": {"wait": wait}}, cache=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
            workers.end_workers()  # which have that limit, too
        assert not maps_of(CODE)
        assert not open_files(CODE)
        async with await program.load() as guest:
            assert guest.memory.read(256, 6) == bytes(range(6))
            assert await guest.call("f", 41) == 42

    run(main())


def test_small_code_is_copied() -> None:
    async def main() -> None:
        async with await caesura.load(WAITER, {"env": {"wait": wait}}, cache=False) as guest:
            assert sys.platform != "linux" or not maps_of(CODE)
            assert await guest.call("outer", 1) == 102

    run(main())
