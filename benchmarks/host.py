"""What the asyncio host costs: suspensions, guests, calls, memory.

    python -m benchmarks.host [--quick]

Every figure is measured in this run, next to what it is compared with: a suspension with the bare `await`
that it contains, and with the plain ABI driven through wasmtime-py's public API (on Binaryen's output where
npm's binaryen is installed, else on ours); a call with Wasmtime's own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import wasmtime

import caesura

REPOSITORY: Final = Path(__file__).resolve().parents[1]
WASM_OPT: Final = REPOSITORY / "node_modules" / "binaryen" / "bin" / "wasm-opt"

ROUNDS: Final = 5

GUEST: Final = b"""(module
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1 1)
  (func (export "loop") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (call $wait (local.get 0))))
      (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
      (br_if 0 (local.get 0)))
    (local.get 1))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
"""


async def wait(value: int) -> int:
    """Do what the guest's host function does: wait for one turn of the loop."""
    await asyncio.sleep(0)
    return value


def best(measure: Callable[[], float]) -> float:
    """Return the median of some measurements."""
    return statistics.median(measure() for _ in range(ROUNDS))


def seconds_of_awaits(count: int) -> float:
    """Return how long the same number of bare awaits takes."""

    async def main() -> float:
        start = time.perf_counter()
        for value in range(count):
            await wait(value)
        return time.perf_counter() - start

    return asyncio.run(main())


def seconds_of_suspensions(count: int) -> float:
    """Return how long a guest takes that waits `count` times."""

    async def main() -> float:
        guest = await caesura.load(GUEST, {"env": {"wait": wait}})
        start = time.perf_counter()
        await guest.call("loop", count)
        return time.perf_counter() - start

    return asyncio.run(main())


def seconds_through_the_public_api(module: bytes, count: int) -> float:
    """Return how long the same guest takes when the plain ABI is driven with `wasmtime.Func` calls."""
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    address, end = 1024, 65536
    rewinding = False

    def host_wait(value: int) -> int:
        nonlocal rewinding
        if rewinding:
            stop_rewind(store)
            rewinding = False
            return value
        memory.write(store, (address + 8).to_bytes(4, "little") + end.to_bytes(4, "little"), address)
        start_unwind(store, address)
        return 0

    function_type = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    imported = wasmtime.Func(store, function_type, host_wait)
    instance = wasmtime.Instance(store, wasmtime.Module(engine, module), [imported])
    exports = instance.exports(store)
    memory: Any = exports["memory"]
    loop: Any = exports["loop"]
    start_unwind: Any = exports["asyncify_start_unwind"]
    stop_unwind: Any = exports["asyncify_stop_unwind"]
    start_rewind: Any = exports["asyncify_start_rewind"]
    stop_rewind: Any = exports["asyncify_stop_rewind"]
    get_state: Any = exports["asyncify_get_state"]

    async def main() -> float:
        nonlocal rewinding
        start = time.perf_counter()
        loop(store, count)
        while get_state(store) == 1:
            stop_unwind(store)
            await wait(0)
            start_rewind(store, address)
            rewinding = True
            loop(store, 0)
        return time.perf_counter() - start

    return asyncio.run(main())


def instrumented_elsewhere() -> tuple[str, bytes]:
    """Return a module for the public API and who instrumented it."""
    module = bytes(wasmtime.wat2wasm(GUEST))
    if not WASM_OPT.exists():
        return "caesura's plain ABI", caesura.instrument(module).module
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.wasm", Path(folder) / "out.wasm"
        source.write_bytes(module)
        command = ["node", str(WASM_OPT), "-O1", "--asyncify", str(source), "-o", str(target)]
        subprocess.run(command, check=True)
        return "Binaryen's output", target.read_bytes()


def seconds_of_calls(count: int) -> tuple[float, float, float]:
    """Return how long calls take that do not suspend: Wasmtime's own, `call_nowait`, `await call`."""

    async def main() -> tuple[float, float, float]:
        guest = await caesura.load(GUEST, {"env": {"wait": wait}})
        engine = wasmtime.Engine()
        linker = wasmtime.Linker(engine)
        module = wasmtime.Module(engine, bytes(wasmtime.wat2wasm(GUEST)))
        linker.define_unknown_imports_as_traps(module)
        store = wasmtime.Store(engine)
        own: Any = linker.instantiate(store, module).exports(store)["add"]
        start = time.perf_counter()
        for _ in range(count):
            own(store, 3, 4)
        first = time.perf_counter()
        for _ in range(count):
            guest.call_nowait("add", 3, 4)
        second = time.perf_counter()
        for _ in range(count):
            await guest.call("add", 3, 4)
        return first - start, second - first, time.perf_counter() - second

    return asyncio.run(main())


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:  # not Linux: the most that it ever held
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if platform.system() == "Darwin" else 1024)


def bytes_of_guests(count: int) -> tuple[float, float]:
    """Return the bytes for each of many suspended guests, and the seconds to load and suspend one."""

    async def main() -> tuple[float, float]:
        gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def wait_long(value: int) -> int:
            return await gate

        module = bytes(wasmtime.wat2wasm(GUEST))
        first = await caesura.load(module, {"env": {"wait": wait_long}})
        before = resident()
        start = time.perf_counter()
        calls = []
        for _ in range(count):
            guest = await caesura.load(module, {"env": {"wait": wait_long}})
            calls.append(asyncio.create_task(guest.call("loop", 1)))
        await asyncio.sleep(0)
        elapsed = time.perf_counter() - start
        used = resident() - before
        gate.set_result(5)
        assert set(await asyncio.gather(*calls)) == {5}
        del first
        return used / count, elapsed / count

    return asyncio.run(main())


def bytes_of_calls(count: int) -> tuple[float, int]:
    """Return the bytes for each of many suspended calls in one instance, and how many were suspended."""

    async def main() -> tuple[float, int]:
        gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def wait_long(value: int) -> int:
            return await gate

        guest = await caesura.load(GUEST, {"env": {"wait": wait_long}})
        before = resident()
        calls = [asyncio.create_task(guest.call("loop", 1)) for _ in range(count)]
        await asyncio.sleep(0)
        suspended = guest.suspended
        used = resident() - before
        gate.set_result(5)
        await asyncio.gather(*calls)
        return used / count, suspended

    return asyncio.run(main())


def growth(count: int) -> int:
    """Return the bytes that a process has grown by after many suspensions."""
    seconds_of_suspensions(count // 10)
    before = resident()
    seconds_of_suspensions(count)
    return resident() - before


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="measure the asyncio host")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    scale = 10 if parser.parse_args().quick else 1
    count = 50_000 // scale
    bare = best(lambda: seconds_of_awaits(count)) / count
    ours = best(lambda: seconds_of_suspensions(count)) / count
    whose, module = instrumented_elsewhere()
    public = best(lambda: seconds_through_the_public_api(module, count // 10)) / (count // 10)
    own, nowait, awaited = (seconds / count for seconds in seconds_of_calls(count))
    call_bytes, suspended = bytes_of_calls(1000)
    grown = growth(100_000 // scale)
    guests = 10_000 // scale
    guest_bytes, guest_seconds = bytes_of_guests(guests)  # last: what it frees would hide what others take
    version = platform.python_version()
    print(f"Python {version} on {platform.machine()}; times in microseconds, median of {ROUNDS} rounds\n")
    print("| what | measured |")
    print("| --- | ---: |")
    print(f"| bare `await asyncio.sleep(0)` in a coroutine | {bare * 1e6:.1f} |")
    print(f"| suspend and resume, above the bare await | {(ours - bare) * 1e6:.1f} |")
    print(f"| the same, {whose} through the public API | {(public - bare) * 1e6:.1f} |")
    print(f"| a call through wasmtime-py | {own * 1e6:.1f} |")
    print(f"| the same with `call_nowait` | {nowait * 1e6:.1f} |")
    print(f"| the same with `await call` | {awaited * 1e6:.1f} |")
    print(f"| load and suspend one guest of {guests:,} | {guest_seconds * 1e6:.0f} |")
    print(f"| resident memory of each, all suspended (KB) | {guest_bytes / 1e3:.1f} |")
    print(f"| resident memory of each of {suspended:,} calls in one guest (KB) | {call_bytes / 1e3:.1f} |")
    print(f"| growth after {100_000 // scale:,} suspensions (KB) | {grown / 1e3:.0f} |")


if __name__ == "__main__":
    main()
