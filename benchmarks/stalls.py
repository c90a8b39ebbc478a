"""How long loading stops the event loop: the longest time in which nothing else ran, while modules are loaded.

    python -m benchmarks.stalls [--rounds N]

A task that wakes up every millisecond notes how late it is, without the time in which its thread could have run and no
processor was free (Linux tells), and how much CPU time this process took meanwhile: the smaller of the two, so that a
machine that is busy with other things does not count. Each module is loaded anew (instrumented and compiled), then from
the cache on the disk, and then from memory; it is given functions that do nothing for its imports. One with much data
is loaded without the cache, too; others have data, an array or a table that are written for each guest. Then a saved
guest with much memory goes on, and is forked (`saved`). Then modules that are small and take long (`stall_guests`), for
some seconds each.

What runs guests is imported before the loop begins, as docs/host.md advises.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import cache as once
from functools import partial
from pathlib import Path
from typing import Any, Final

import wasmtime

import caesura
from benchmarks.facts import say
from benchmarks.programs import REAL
from benchmarks.stall_guests import (
    copied_data,
    filled_table,
    large_array,
    many_exports,
    many_imports,
    much_data,
    saved_data,
    small_and_slow,
)
from caesura import compile as compile_program
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND
from caesura.wasm.module import Module

# Milliseconds that the loop may stand still.
LIMIT: Final = 20

# What is loaded without the cache, too: bytes of a module's data.
_MUCH_DATA: Final = 100_000_000
_UNCACHED: Final = "100 MB of data"

# As many elements as Wasmtime takes in a table.
_MOST_ELEMENTS: Final = 10_000_000

# Where Linux tells how long this thread has run, and waited for a processor, in nanoseconds.
_SCHEDULED: Final = Path("/proc/thread-self/schedstat")

_TICK: Final = 0.001
_IDLE: Final = 2.0
_PATIENCE: Final = 5.0


async def longest_stall(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Do some work; return the longest stall meanwhile, and how long it took, in milliseconds."""
    worst = 0.0
    done = False

    async def watch() -> None:
        nonlocal worst
        last, spent = time.perf_counter() - _waited(), time.process_time()
        while not done:
            await asyncio.sleep(_TICK)
            now, spent_now = time.perf_counter() - _waited(), time.process_time()
            worst = max(worst, min(now - last - _TICK, spent_now - spent))
            last, spent = now, spent_now

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    await work()
    took = time.perf_counter() - began
    await asyncio.sleep(0.01)
    done = True
    await watching
    return worst * 1000, took * 1000


def _waited() -> float:
    """Return for how long this thread has waited for a processor, in seconds; 0 where nobody tells."""
    descriptor = _scheduled()
    return int(os.pread(descriptor, 100, 0).split()[1]) / 1e9 if descriptor >= 0 else 0.0


@once
def _scheduled() -> int:
    """Return the descriptor of what Linux tells, or -1: each call that others may run in costs a turn of theirs."""
    return os.open(_SCHEDULED, os.O_RDONLY) if _SCHEDULED.exists() else -1


def imports_of(data: bytes, suspending: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return something for each import of a module; functions do nothing, and those of a list are coroutines."""

    async def wait(*_: object) -> int:
        await asyncio.sleep(0)
        return 0

    module = Module(data)
    imports: dict[str, dict[str, Any]] = {}
    for item in module.imports:
        given: Any = (lambda *_: 0) if f"{item.module}.{item.name}" not in suspending else wait
        if item.kind == MEMORY_KIND:
            memory = module.memories[item.index]
            given = wasmtime.MemoryType(wasmtime.Limits(memory.minimum, memory.maximum))
        elif item.kind == GLOBAL_KIND:
            given = 0
        elif item.kind != FUNCTION_KIND:
            given = wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(10_000, None))
        imports.setdefault(item.module, {})[item.name] = given
    return imports


def inputs() -> dict[str, tuple[bytes, tuple[str, ...]]]:
    """Return the modules by name, with what may suspend in them."""
    found: dict[str, tuple[bytes, tuple[str, ...]]] = {}
    found["75,000 exports"] = (many_exports(75_000), ("env.wait",))
    found["100,000 imports"] = (many_imports(100_000), ("env.wait",))
    found[_UNCACHED] = (much_data(_MUCH_DATA), ("env.wait",))
    found["100 MB, copied"] = (copied_data(_MUCH_DATA), ("env.wait",))
    found["an array"] = (large_array(_MUCH_DATA), ("env.wait",))
    found["a filled table"] = (filled_table(_MOST_ELEMENTS), ("env.wait",))
    for program in REAL:
        if program.ignore_unwind_from_catch:
            continue  # PHP has exceptions of the old form, which Wasmtime does not run
        found[program.name] = program.path.read_bytes(), program.imports
    return found


async def measure(rounds: int) -> bool:
    """Measure and print everything; tell whether all stalls are short enough."""
    idle, _ = await longest_stall(lambda: asyncio.sleep(_IDLE))
    say(f"{'':16} {'':12} {'longest stall':>14} {'took':>10}   (the loop alone: {idle:.1f} ms)")
    good = True
    for name, (data, suspending) in inputs().items():
        imports = imports_of(data, suspending)
        kept: list[object] = []

        async def load(
            data: bytes = data,
            imports: dict[str, Any] = imports,
            kept: list[object] = kept,
            *,
            cache: bool = True,
        ) -> None:
            program = await compile_program(data, imports, cache=cache)
            kept[:] = [program, await program.load()]

        for how in ("new", "from disk", "from memory", *(("uncached",) if name == _UNCACHED else ())):
            stalls, times = [], []
            for turn in range(1 if how == "new" else rounds):
                if how in ("from disk", "uncached"):
                    kept.clear()
                    gc.collect()
                stall, took = await longest_stall(lambda load=load, how=how: load(cache=how != "uncached"))  # type: ignore[misc]
                stalls.append(stall)
                times.append(took)
                del turn
            worst = statistics.median(stalls)
            good &= worst <= LIMIT
            say(f"{name:16} {how:12} {worst:11.1f} ms {statistics.median(times):7.0f} ms")
    for name, work in (await saved(_MUCH_DATA)).items():
        gc.collect()
        gc.disable()
        stall, took = await longest_stall(work)
        gc.enable()
        good &= stall <= LIMIT
        say(f"{name:46} {stall:11.1f} ms {took:7.0f} ms")
    for name, data in small_and_slow().items():
        stall, took = await longest_stall(lambda data=data: _for_seconds(data))  # type: ignore[misc]
        good &= stall <= LIMIT
        say(f"{name:46} {stall:11.1f} ms {took:7.0f} ms")
    return good


async def saved(size: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return what is done with a saved guest that has so many bytes, by name.

    Python's collector, which looks at all objects of a program whenever it likes, those of a thousand guests too, is to
    be off meanwhile.
    """
    source, imports = saved_data(size), {"env": {"ask": caesura.EXTERNAL, "wait": caesura.EXTERNAL}}
    guest = await caesura.load(source, imports)
    guest.start("run")
    snapshots = {}
    for name, content in (("text", b"much ado about nothing; " * (size // 24)), ("noise", os.urandom(size))):
        guest.memory.write(0, content)
        snapshots[name] = guest.snapshot()
    kept: list[caesura.Guest] = []

    async def restore(data: bytes) -> None:
        kept.append(await caesura.restore(data, imports, module=source))

    async def fork(snapshot: caesura.Snapshot, *, cancel: bool) -> None:
        forking = asyncio.create_task(snapshot.fork(1000, imports))
        if cancel:
            await asyncio.sleep(0.1)
            forking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            kept.extend(await forking)

    found: dict[str, Callable[[], Awaitable[object]]] = {}
    for name, snapshot in snapshots.items():
        data = await asyncio.to_thread(bytes, snapshot)
        found[f"restore {size // 1_000_000} MB of {name}"] = partial(restore, data)
    found["fork a thousand of them"] = partial(fork, snapshots["text"], cancel=False)
    found["... and give up"] = partial(fork, snapshots["text"], cancel=True)
    found[f"fork a thousand with {size // 1_000_000} MB of data"] = partial(fork, await _unchanged(size), cancel=False)
    return found


async def _unchanged(size: int) -> caesura.Snapshot:
    """Return the state of a guest whose module makes so many bytes, none of which it has changed."""
    guest = await caesura.load(much_data(size), {"env": {"wait": caesura.EXTERNAL}})
    guest.start("f", 1)
    return guest.snapshot()


async def _for_seconds(data: bytes) -> None:
    """Compile a module for some seconds; it may be refused."""
    with contextlib.suppress(TimeoutError, caesura.ModuleError):
        async with asyncio.timeout(_PATIENCE):
            await compile_program(data, imports_of(data, ("env.wait",)), cache=False)


def main() -> int:
    """Measure with an empty cache; the exit code is 1 if the loop stood still for too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalls", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often to load what is there (default: 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CAESURA_CACHE_DIR"] = folder
        return 0 if asyncio.run(measure(arguments.rounds)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
