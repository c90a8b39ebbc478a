"""What the asyncio host costs: suspensions, calls, guests, memory, each next to what it is compared with.

    python -m benchmarks.host [--quick] [--output FOLDER]

A suspension is compared with the bare `await` that it contains, and with Binaryen's output driven through
wasmtime-py's public API (npm's `binaryen`; our own plain ABI where that is not installed); a call with wasmtime-py's
own. Times that are compared are measured in turn, round after round in one process, and medians are kept; each figure
of memory is measured in a process of its own, because what one has freed would hide what the next takes.

Writes benchmarks-host.json and the table of costs in host.md, into docs or FOLDER.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import wasmtime

import caesura
from benchmarks.host_guests import C_STACK_GUEST, GUEST, PublicApi
from benchmarks.host_report import write_results

REPOSITORY: Final = Path(__file__).resolve().parents[1]
WASM_OPT: Final = REPOSITORY / "node_modules" / "binaryen" / "bin" / "wasm-opt"

ROUNDS: Final = 7


@dataclass(frozen=True)
class Sizes:
    """How many of each."""

    suspensions: int
    calls: int
    guests: int
    calls_in_one: int
    leaks: int


FULL: Final = Sizes(suspensions=50_000, calls=50_000, guests=10_000, calls_in_one=1_000, leaks=100_000)
QUICK: Final = Sizes(suspensions=2_000, calls=2_000, guests=500, calls_in_one=1_000, leaks=10_000)


async def wait(value: int) -> int:
    """Do what the guests' host function does: wait for one turn of the loop."""
    await asyncio.sleep(0)
    return value


async def seconds_of(action: Callable[[], Awaitable[object]]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    await action()
    return time.perf_counter() - start


async def medians(count: int, actions: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """Return the median microseconds of each action, which does something `count` times; they are run in turn."""
    rounds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(ROUNDS):
        for name, action in actions.items():
            rounds[name].append(await seconds_of(action))
    return {name: statistics.median(times) / count * 1e6 for name, times in rounds.items()}


def instrumented_elsewhere(module: bytes) -> tuple[str, bytes]:
    """Return a module for the public API and who instrumented it."""
    if not WASM_OPT.exists():
        return "caesura's plain ABI", caesura.instrument(module).module
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.wasm", Path(folder) / "out.wasm"
        source.write_bytes(module)
        subprocess.run([str(WASM_OPT), "-O1", "--asyncify", str(source), "-o", str(target)], check=True)
        version = subprocess.run([str(WASM_OPT), "--version"], check=True, capture_output=True, text=True).stdout
        return f"the output of Binaryen {version.removeprefix('wasm-opt version ').split()[0]}", target.read_bytes()


async def suspensions(sizes: Sizes) -> dict[str, Any]:
    """Measure a suspension, in microseconds."""
    count = sizes.suspensions
    module = bytes(wasmtime.wat2wasm(GUEST))
    whose, elsewhere = instrumented_elsewhere(module)
    public = PublicApi(elsewhere, wait)
    guest = await caesura.load(module, {"env": {"wait": wait}})
    c_guest = await caesura.load(C_STACK_GUEST, {"env": {"wait": wait}})

    async def bare() -> None:
        for value in range(count):
            await wait(value)

    async def call_each() -> None:
        for _ in range(count):
            await c_guest.call("once", 1)

    async def in_a_loop() -> None:
        await guest.call("loop", count)

    async def with_a_c_stack() -> None:
        await c_guest.call("loop", count)

    async def publicly() -> None:
        await public.loop(count)

    times = await medians(
        count,
        {"bare": bare, "ours": in_a_loop, "c": with_a_c_stack, "c_once": call_each, "public": publicly},
    )
    return {
        "bare_await_us": times["bare"],
        "suspension_us": times["ours"] - times["bare"],
        "suspension_with_c_stack_us": times["c"] - times["bare"],
        "call_with_one_suspension_us": times["c_once"] - times["bare"],
        "public_api_us": times["public"] - times["bare"],
        "public_api_of": whose,
    }


async def calls(sizes: Sizes) -> dict[str, Any]:
    """Measure a call that does not suspend, in microseconds."""
    count = sizes.calls
    guest = await caesura.load(GUEST, {"env": {"wait": wait}})
    c_guest = await caesura.load(C_STACK_GUEST, {"env": {"wait": wait}})
    engine = wasmtime.Engine()
    linker = wasmtime.Linker(engine)
    module = wasmtime.Module(engine, bytes(wasmtime.wat2wasm(GUEST)))
    linker.define_unknown_imports_as_traps(module)
    store = wasmtime.Store(engine)
    function: Any = linker.instantiate(store, module).exports(store)["add"]

    async def wasmtimes() -> None:
        for _ in range(count):
            function(store, 3, 4)

    async def nowait() -> None:
        for _ in range(count):
            guest.call_nowait("add", 3, 4)

    async def awaited() -> None:
        for _ in range(count):
            await guest.call("add", 3, 4)

    async def may_suspend() -> None:
        for _ in range(count):
            await guest.call("maybe", 0)

    async def may_suspend_with_a_c_stack() -> None:
        for _ in range(count):
            await c_guest.call("maybe", 0)

    times = await medians(
        count,
        {
            "own": wasmtimes,
            "nowait": nowait,
            "await": awaited,
            "maybe": may_suspend,
            "c": may_suspend_with_a_c_stack,
        },
    )
    return {
        "wasmtime_call_us": times["own"],
        "call_nowait_us": times["nowait"],
        "call_us": times["await"],
        "call_that_may_suspend_us": times["maybe"],
        "call_that_may_suspend_with_c_stack_us": times["c"],
    }


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:  # not Linux: the most that it ever held
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


async def guests(sizes: Sizes) -> dict[str, Any]:
    """Measure many guests with a suspended call each."""
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait_long(value: int) -> int:
        return await gate

    module = bytes(wasmtime.wat2wasm(GUEST))
    first = await caesura.load(module, {"env": {"wait": wait_long}})
    before = resident()
    start = time.perf_counter()
    running = []
    for _ in range(sizes.guests):
        guest = await caesura.load(module, {"env": {"wait": wait_long}})
        running.append(asyncio.create_task(guest.call("loop", 1)))
    await asyncio.sleep(0)
    elapsed = time.perf_counter() - start
    used = resident() - before
    gate.set_result(5)
    assert set(await asyncio.gather(*running)) == {5}
    first.close()
    return {
        "guests": sizes.guests,
        "bytes_per_guest": used / sizes.guests,
        "load_and_suspend_us": elapsed / sizes.guests * 1e6,
    }


async def calls_in_one(sizes: Sizes) -> dict[str, Any]:
    """Measure many suspended calls in one guest."""
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait_long(value: int) -> int:
        return await gate

    guest = await caesura.load(GUEST, {"env": {"wait": wait_long}})
    before = resident()
    running = [asyncio.create_task(guest.call("loop", 1)) for _ in range(sizes.calls_in_one)]
    await asyncio.sleep(0)
    suspended = guest.suspended
    used = resident() - before
    gate.set_result(5)
    await asyncio.gather(*running)
    return {"calls_in_one_guest": suspended, "bytes_per_call": used / suspended}


async def leaks(sizes: Sizes) -> dict[str, Any]:
    """Measure how a process grows: as many suspensions again as have been before."""
    guest = await caesura.load(GUEST, {"env": {"wait": wait}})
    c_guest = await caesura.load(C_STACK_GUEST, {"env": {"wait": wait}})
    sizes_seen = []
    for _ in range(3):
        sizes_seen.append(resident())
        await guest.call("loop", sizes.leaks // 2)
        for _ in range(sizes.leaks // 2):
            await c_guest.call("once", 1)
    return {"suspensions": sizes.leaks, "growth_bytes": resident() - sizes_seen[1]}


FIGURES: Final[dict[str, Callable[[Sizes], Awaitable[dict[str, Any]]]]] = {
    "suspensions": suspensions,
    "calls": calls,
    "guests": guests,
    "calls_in_one": calls_in_one,
    "leaks": leaks,
}


def versions() -> dict[str, str]:
    """Return what was measured with."""
    about = subprocess.run([sys.executable, "-m", "caesura", "--version"], check=True, capture_output=True, text=True)
    return {
        "caesura": about.stdout.strip(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def main() -> None:
    """Measure everything, each figure in a process of its own, print the results and write them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.host", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of everything, and nothing is written")
    parser.add_argument("--output", default=str(REPOSITORY / "docs"), help="the folder for the results (default: docs)")
    parser.add_argument("--figure", choices=FIGURES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    if arguments.figure:
        print(json.dumps(asyncio.run(_awaited(FIGURES[arguments.figure](sizes)))))
        return
    facts: dict[str, Any] = {"versions": versions(), "rounds": ROUNDS}
    for name in FIGURES:
        print(f"\rmeasuring {name}\x1b[K", end="", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.host", "--figure", name, *(["--quick"] if arguments.quick else [])]
        done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
        facts |= json.loads(done.stdout)
    print("\r\x1b[K", end="", file=sys.stderr)
    print(write_results(None if arguments.quick else Path(arguments.output), facts))


async def _awaited(figure: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return await figure


if __name__ == "__main__":
    main()
