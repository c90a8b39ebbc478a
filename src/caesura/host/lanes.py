"""Threads that work for event loops: a few for each kind of work, so that quick work does not wait for slow.

They are daemons: nothing can stop a thread half-way, and whoever interrupts a program must not have to wait for one.
An executor was rejected for that reason: the end of `asyncio.run` and of the interpreter wait for its threads. Threads
do not survive a `fork`; the child begins with new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from caesura.host.native_stack import start_thread

_T = TypeVar("_T")

Task = Callable[[], None]


class Lane:
    """Up to `limit` threads that do tasks in the order in which they come; none raises anything."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._unfinished = 0

    def put(self, task: Task) -> None:
        """Let a thread do a task."""
        with self._lock:
            self._unfinished += 1
            is_thread_needed = self._threads < min(self._limit, self._unfinished)
            self._threads += is_thread_needed
        self._tasks.put(task)
        if is_thread_needed:
            start_thread(self._run, f"caesura-{self._name}")

    def _run(self) -> None:
        while True:
            self._tasks.get()()
            with self._lock:
                self._unfinished -= 1


async def in_lane(lane: Lane, work: Callable[[], _T]) -> _T:
    """Let a thread do some work and wait for it."""
    waiter = Waiter[_T]()
    lane.put(lambda: waiter.tell(*outcome(work)))
    return await waiter.future


def outcome(work: Callable[[], _T]) -> tuple[_T | None, BaseException | None]:
    """Return what some work results in, and what it raised instead."""
    try:
        return work(), None
    except BaseException as error:
        return None, error


class Waiter(Generic[_T]):
    """Somebody who waits, in a loop of his own, for what a thread finds out."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[_T] = self._loop.create_future()

    def tell(self, result: _T | None, failure: BaseException | None) -> None:
        """Tell the result, or what was raised instead; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._arrive, result, failure)

    def _arrive(self, result: Any, failure: BaseException | None) -> None:
        if self.future.done():
            return  # cancelled
        if failure is not None:
            self.future.set_exception(failure)
        else:
            self.future.set_result(result)
