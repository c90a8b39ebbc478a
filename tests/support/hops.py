"""WASI programs that are saved at every call of the system, and go on in another guest each time.

As a program, it takes a state's file and takes some of these hops in a process of its own:
`python -m tests.support.hops MODULE STATE FOLDER CALLS ARGUMENT...`; prints what the program did, and writes the state
anew unless the program has ended, which its exit code tells (100 if it has not).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import caesura
from caesura.host.wasi.pausing import PausingWasi

NOT_ENDED: Final = 100


class Pauses:
    """Lets a guest go on past one call of the system, and holds it at the next."""

    def __init__(self) -> None:
        self._passed = False
        self.arrived = asyncio.Event()

    def __call__(self) -> asyncio.Future[None] | None:
        """Return what the guest is to wait for, at a call of the system."""
        if not self._passed:
            self._passed = True
            return None
        self.arrived.set()
        return asyncio.get_running_loop().create_future()


async def hop(module: bytes, state: bytes | None, wasi: PausingWasi) -> tuple[bytes, int | None]:
    """Make a guest, let it go on until its next call of the system, and save it.

    Returns the state and None, or at the end nothing and the exit code.
    """
    pauses = Pauses()
    wasi.pause = pauses
    if state is None:
        guest = await caesura.load(module, wasi=wasi)
    else:
        guest = await caesura.restore(state, wasi=wasi, module=module)
    running = asyncio.create_task(guest.run())
    arriving = asyncio.create_task(pauses.arrived.wait())
    await asyncio.wait({running, arriving}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        arriving.cancel()
        guest.close()
        return b"", await running
    while not guest.suspended:
        await asyncio.sleep(0)
    saved = bytes(guest.snapshot())
    await guest.aclose()
    await asyncio.gather(running, return_exceptions=True)
    return saved, None


async def hop_until(
    module: bytes, state: bytes | None, make_wasi: Callable[[], PausingWasi], calls: int
) -> tuple[bytes, int | None, int]:
    """Hop so many times, or until the program ends; returns how many it were, too."""
    code: int | None = None
    count = 0
    keeper = await caesura.load(module, wasi=make_wasi())  # so that the compiled module stays at hand
    while code is None and count < calls:
        state, code = await hop(module, state, make_wasi())
        count += 1
    keeper.close()
    return state or b"", code, count


def main() -> int:
    """Take some hops in this process."""
    module, state, folder, calls, *arguments = sys.argv[1:]
    output = bytearray()
    place = Path(state)

    def make_wasi() -> PausingWasi:
        return PausingWasi(arguments, directories={"/data": folder}, stdout=output.extend, environment={"COLOR": "red"})

    before = place.read_bytes() if place.exists() else None
    after, code, _ = asyncio.run(hop_until(Path(module).read_bytes(), before, make_wasi, int(calls)))
    place.write_bytes(after)
    os.write(1, output)
    return NOT_ENDED if code is None else code


if __name__ == "__main__":
    sys.exit(main())
