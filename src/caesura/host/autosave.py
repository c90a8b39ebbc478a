"""Saving a program while it runs: when a signal arrives, again and again after a time, or at its end by Ctrl-C.

A program that computes cannot be saved; one that waits can. So a request is noted, and the program's next call of the
system waits (`wasi.pausing`), or its time slice ends: then the event loop has its turn, and this has its own. If the
program waits already, it is saved at once. A program that calls nothing any more is not saved without time slices.

What cannot be saved goes on: it is told, and losing the program over it would be worse. A program of which a state
would not say what is to be called of it (`why_not`) has only begun: that one ends when it is to.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable
from typing import Final

from caesura.errors import CaesuraError
from caesura.host.guest import Guest
from caesura.host.wasi.pausing import PausingWasi

# Seconds between looks at a program that does not run yet.
_AGAIN: Final = 0.001


class Autosave:
    """When one program is saved, and where. `every` is seconds (None: only when asked for).

    With `embed` its module goes along. `report` is called with a sentence where it could not be saved.
    `signals` are those at which whoever runs the program asks for it. `why_not` says why it cannot be saved now,
    whatever its state.
    """

    def __init__(
        self, place: str, *, every: float | None = None, embed: bool = False, report: Callable[[str], object]
    ) -> None:
        self.place: Final = place
        self.why_not = ""
        self._told = ""  # which `why_not` has been told already
        self.signals: tuple[signal.Signals, ...] = ()
        self._every = math.inf if every is None else every
        self._embed = embed
        self._report = report
        self._wanted = False
        self._ends = False
        self._has_ended = False
        self._next = math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = asyncio.Event()
        self._done: asyncio.Future[None] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the program was saved to end."""
        return self._has_ended

    @property
    def ends(self) -> bool:
        """Whether the program is to end when it is saved."""
        return self._ends

    def request(self, *, ends: bool = False) -> None:
        """Ask for the program to be saved; with `ends`, it is to end then. May be called by a signal's handler."""
        self._wanted = True
        self._ends = self._ends or ends
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._asked.set)

    def begin(self, wasi: PausingWasi) -> None:
        """Watch the program's calls of the system from now on."""
        self._loop = asyncio.get_running_loop()
        self._next = time.monotonic() + self._every
        wasi.pause = self._pause
        if self._wanted:
            self._asked.set()

    async def watch(self, guest: Guest) -> None:
        """Save the program whenever that is asked for; returns when it is to end and has been saved."""
        while True:
            await self._wait()
            if not guest.suspended:
                await asyncio.sleep(_AGAIN)
                continue
            is_last = self._ends and bool(self.why_not)
            saved = self._save(guest, goes_on=not is_last)
            self._wanted = False
            self._has_ended = saved and self._ends
            self._next = time.monotonic() + self._every
            if self._has_ended or is_last:
                return
            self._ends = False
            done, self._done = self._done, None
            if done is not None:
                done.set_result(None)

    def save_at_end(self, guest: Guest) -> None:
        """Save the program where it has come to, as it does not go on."""
        self._has_ended = self._save(guest, goes_on=False)

    def _pause(self) -> asyncio.Future[None] | None:
        """Return what the program is to wait for at a call of the system, or None."""
        if self.has_ended:  # until its task is cancelled: what it did now would be done again
            return asyncio.get_running_loop().create_future()
        if not self._wanted and time.monotonic() < self._next:
            return None
        self._wanted = True
        self._asked.set()
        if self._done is None:
            self._done = asyncio.get_running_loop().create_future()
        return self._done

    async def _wait(self) -> None:
        """Wait until saving is asked for, or it is time."""
        try:
            async with asyncio.timeout(None if self._next == math.inf else max(0.0, self._next - time.monotonic())):
                await self._asked.wait()
        except TimeoutError:
            pass
        self._asked.clear()

    def _save(self, guest: Guest, *, goes_on: bool) -> bool:
        if self.why_not:
            if not goes_on or self._told != self.why_not:
                self._told = self.why_not
                self._tell(self.why_not, goes_on=goes_on)
            return False
        try:
            guest.snapshot(embed=self._embed).save(self.place)
        except CaesuraError as error:
            self._tell(str(error), goes_on=goes_on)
            return False
        return True

    def _tell(self, reason: str, *, goes_on: bool) -> None:
        self._report(f"the program {'goes on, and ' if goes_on else ''}could not be saved: {reason}")
