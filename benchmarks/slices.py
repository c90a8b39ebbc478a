"""What time slices cost a host, and what they are worth: timers while guests compute, throughput, pauses, calls.

    python -m benchmarks.slices [--quick] [--output FOLDER]

* How late an event loop's timers are while 1,000 guests are there, of which 500 loop for ever, in slices. This is real
  time: it takes a machine that has nothing else to do.
* The work of 1,000 guests one after the other, without slices, and all at once, in slices: processor time.
* A pause and resumption at a depth of 10, by `await guest.call`, with slices that are over at once.
* Calls of a guest with slices, next to those of one without.

What the pause points cost the guests' own code is in benchmarks.md. Writes benchmarks-slices.json and the table in
slices.md, into docs or FOLDER.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import caesura
from benchmarks.host import REPOSITORY, versions
from benchmarks.slices_report import write_results

GUEST: Final = b"""(module (memory 1)
  (func $down (param i32)
    (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))) (else (loop (br 0)))))
  (func (export "spin") (param i32) (call $down (local.get 0)))
  (func (export "count") (param i64) (result i64) (local i64)
    (loop (local.set 1 (i64.add (local.get 1) (i64.const 1)))
      (br_if 0 (i64.lt_u (local.get 1) (local.get 0))))
    (local.get 1)))"""

TIME_SLICE: Final = 0.005
GUESTS: Final = 1_000
DEPTH: Final = 10
ROUNDS: Final = 5

# Seconds between which a timer's time lies.
_TIMES: Final = 0.02, 0.5


@dataclass(frozen=True)
class Sizes:
    """How many seconds timers are watched, how far each guest counts, and how many pauses and calls are made."""

    seconds: float
    work: int
    pauses: float
    calls: int


FULL: Final = Sizes(seconds=20, work=20_000_000, pauses=2, calls=50_000)
QUICK: Final = Sizes(seconds=3, work=4_000_000, pauses=0.3, calls=5_000)


async def timers(program: caesura.Program, sizes: Sizes) -> dict[str, float]:
    """Return how late timers are, in slices: the median, the 99th percentile and the latest."""
    guests = [await program.load(time_slice=TIME_SLICE) for _ in range(GUESTS)]
    computing = [asyncio.create_task(guest.call("spin", 0)) for guest in guests[: GUESTS // 2]]
    late: list[float] = []

    async def wait(guest: caesura.Guest) -> None:
        while True:
            seconds = random.uniform(*_TIMES)
            due = time.perf_counter() + seconds
            await asyncio.sleep(seconds)
            late.append(max(0.0, time.perf_counter() - due) / TIME_SLICE)
            await guest.call("count", 10)

    waiting = [asyncio.create_task(wait(guest)) for guest in guests[GUESTS // 2 :]]
    await asyncio.sleep(sizes.seconds)
    for task in [*computing, *waiting]:
        task.cancel()
    await asyncio.wait([*computing, *waiting])
    for guest in guests:
        guest.close()
    percentiles = statistics.quantiles(late, n=100)
    return {"late_median": statistics.median(late), "late_99": percentiles[98], "late_most": max(late)}


async def throughput(program: caesura.Program, sizes: Sizes) -> dict[str, float]:
    """Return the processor time of all guests' work, one after the other and in slices, in seconds."""

    async def one_by_one() -> None:
        for _ in range(GUESTS):
            async with await program.load() as guest:
                await guest.call("count", sizes.work)

    async def at_once() -> None:
        guests = [await program.load(time_slice=TIME_SLICE) for _ in range(GUESTS)]
        await asyncio.gather(*(guest.call("count", sizes.work) for guest in guests))
        for guest in guests:
            guest.close()

    return {"one_by_one_s": await _processor_time(one_by_one), "at_once_s": await _processor_time(at_once)}


async def pauses(program: caesura.Program, sizes: Sizes) -> float:
    """Return the processor time of a pause and a resumption, in microseconds."""
    guest = await program.load(time_slice=TIME_SLICE)
    slicing = guest._instance.slicing
    assert slicing is not None, "it has a time slice"
    slicing.time_slice = 0.0  # which nobody can ask for: each is over when it begins
    began = time.process_time()
    try:
        async with asyncio.timeout(sizes.pauses):
            await guest.call("spin", DEPTH)
    except TimeoutError:
        pass
    return (time.process_time() - began) / guest.usage.slices * 1e6


async def calls(sizes: Sizes) -> dict[str, float]:
    """Return the processor time of calls of guests with and without slices, in microseconds."""
    plain, sliced = await caesura.load(GUEST), await caesura.load(GUEST, time_slice=TIME_SLICE)
    found: dict[str, list[float]] = {"plain_us": [], "plain_nowait_us": [], "sliced_us": [], "sliced_nowait_us": []}
    for _ in range(ROUNDS):
        for name, guest in (("plain", plain), ("sliced", sliced)):

            async def awaited(guest: caesura.Guest = guest) -> None:
                for _ in range(sizes.calls):
                    await guest.call("count", 1)

            async def at_once(guest: caesura.Guest = guest) -> None:
                for _ in range(sizes.calls):
                    guest.call_nowait("count", 1)

            found[f"{name}_us"].append(await _processor_time(awaited) / sizes.calls * 1e6)
            found[f"{name}_nowait_us"].append(await _processor_time(at_once) / sizes.calls * 1e6)
    return {name: statistics.median(values) for name, values in found.items()}


async def _processor_time(work: Callable[[], Awaitable[None]]) -> float:
    gc.collect()
    began = time.process_time()
    await work()
    return time.process_time() - began


async def measure(sizes: Sizes) -> dict[str, Any]:
    """Return all figures."""
    program = await caesura.compile(GUEST, preempt="flag")
    facts: dict[str, Any] = {"versions": versions(), "guests": GUESTS, "time_slice": TIME_SLICE, "depth": DEPTH}
    facts |= await calls(sizes)
    facts["pause_us"] = statistics.median([await pauses(program, sizes) for _ in range(ROUNDS)])
    facts |= await throughput(program, sizes)
    facts |= await timers(program, sizes)
    return facts


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slices", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="measure less, and write nothing unless --output says where"
    )
    parser.add_argument("--output", type=Path, default=None, metavar="FOLDER", help="where to write (default: docs)")
    arguments = parser.parse_args()
    facts = asyncio.run(measure(QUICK if arguments.quick else FULL))
    folder = arguments.output or (None if arguments.quick else REPOSITORY / "docs")
    print(write_results(folder, facts))
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
