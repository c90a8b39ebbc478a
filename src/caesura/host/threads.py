"""A guest's own thread, and what other threads may do with it: let it take a step.

A guest belongs to the thread that loaded it: Wasmtime's stores must not be used from two at once. Web frameworks
iterate generators in a pool of threads, though, each step in another. So a step of a generator that is asked for
elsewhere is handed to the guest's event loop and waited for. Letting the other thread borrow the guest was rejected:
every look at the guest's memory would need a lock. A loop that does not answer (its thread may be waiting for this
one) must not make both hang: the step is then taken back.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Final, NoReturn

from caesura.errors import UsageError

# Seconds in which a loop must begin a step; guest code in another task may keep it for a while.
PATIENCE: Final = 10.0


class Owner:
    """The process and the thread that a guest belongs to.

    Forks are counted, which costs nothing where a guest is used; asking for the process's number would.
    """

    __slots__ = ("_forks", "_thread")

    def __init__(self) -> None:
        self._forks = _forks
        self._thread = threading.get_ident()

    def is_here(self) -> bool:
        """Tell whether the caller is on the owner's thread."""
        return threading.get_ident() == self._thread and self._forks == _forks

    def has_ended(self) -> bool:
        """Tell whether the owner's thread, in this process, is no more, so that whoever is left can use what it had."""
        running = [thread.ident for thread in threading.enumerate()]
        return self._forks == _forks and self._thread not in running

    def check_process(self) -> None:
        """Raise UsageError if the caller is in a process that was forked from the owner's."""
        if self._forks != _forks:
            raise UsageError("this guest belongs to the process that this one was forked from: load one here")

    def refuse(self) -> NoReturn:
        """Raise UsageError for a caller that is elsewhere."""
        self.check_process()
        raise UsageError("this guest belongs to another thread: load one in each thread that needs one")


# How many forks lie between this process and the first one.
_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


def current_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running event loop, if there is one of asyncio's."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def run_in_loop(loop: asyncio.AbstractEventLoop | None, step: Callable[[], None]) -> None:
    """Let another thread's event loop run a step, and wait until it has; raises what the step raises.

    Raises UsageError if the loop does not run.
    """
    if loop is None or not loop.is_running():
        raise UsageError("this guest belongs to another thread, in which no event loop runs: load one in each thread")
    order = _Order(step)
    try:
        loop.call_soon_threadsafe(order.run)
    except RuntimeError:
        raise UsageError("this guest belongs to another thread, whose event loop has ended") from None
    if not order.begun.wait(PATIENCE) and order.take_back():
        raise UsageError(
            f"this guest belongs to another thread, whose event loop has done nothing for {PATIENCE:g} seconds: does "
            "it wait for this thread?"
        )
    order.ended.wait()
    if order.error is not None:
        raise order.error


class _Order:
    """A step that another thread is asked to run."""

    def __init__(self, step: Callable[[], None]) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self._step = step
        self._open = threading.Lock()  # whoever gets it decides whether the step is run or taken back

    def run(self) -> None:
        """Run the step, unless it was taken back."""
        if not self._open.acquire(blocking=False):
            return
        self.begun.set()
        try:
            self._step()
        except BaseException as error:
            self.error = error
        self.ended.set()

    def take_back(self) -> bool:
        """Tell whether the step has not begun and now never will."""
        return self._open.acquire(blocking=False)
