"""Many C programs in one thread: each sleeps and talks to an HTTP server, all at the same time.

Every program is an instance of its own, written in plain blocking C (examples/guests/worker.c). One after the
other they would take minutes; suspended in their waiting they take about as long as one. With `rich`
installed a live display shows how they get on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import caesura
from examples.compiling import compile_guest
from examples.http_server import get, serve

ROUNDS = 10
PAUSE = 200


async def run_one(address: str, limit: asyncio.Semaphore, advance: Callable[[], None]) -> int:
    """Run one program to its end; return what it printed."""
    output = bytearray()

    async def fetch(guest: caesura.Guest, url: int, length: int, buffer: int, size: int) -> int:
        async with limit:
            content = await get(guest.memory.read_string(url, length))
        guest.memory.write(buffer, content[:size])
        return min(size, len(content))

    def report(done: int, total: int) -> None:
        advance()

    wasi = caesura.Wasi(("worker", address, str(ROUNDS), str(PAUSE)), stdin=b"", stdout=output.extend)
    imports = {"env": {"fetch": fetch, "report": report}}
    async with await caesura.load(compile_guest("worker"), imports, wasi=wasi) as guest:
        code = await guest.run()
    if code != 0:
        raise SystemExit(f"a program ended with exit code {code}")
    return int(output)


@contextlib.contextmanager
def progress(guests: int) -> Iterator[Callable[[], None]]:
    """Show how many rounds are done, if there is somebody to look."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, disable=not sys.stdout.isatty()) as display:
        task = display.add_task(f"{guests} programs, {ROUNDS} rounds each", total=guests * ROUNDS)
        yield partial(display.advance, task)


async def main(guests: int) -> None:
    """Run the programs and say how long it took."""
    expected = sum(number * number for number in range(1, ROUNDS + 1))
    start = time.perf_counter()
    async with serve() as address:
        limit = asyncio.Semaphore(100)
        with progress(guests) as advance:
            results = await asyncio.gather(*[run_one(address, limit, advance) for _ in range(guests)])
    elapsed = time.perf_counter() - start
    if set(results) != {expected}:
        raise SystemExit(f"the programs printed {sorted(set(results))} instead of {expected}")
    slept = guests * ROUNDS * PAUSE / 1000
    fetched = guests * ROUNDS
    print(f"{guests} C programs slept {slept:.0f} seconds and fetched {fetched} pages in {elapsed:.1f} seconds,")
    print("in one thread, each suspended while it waited.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="run many C programs in one thread")
    parser.add_argument("--guests", type=int, default=300)
    asyncio.run(main(parser.parse_args().guests))
