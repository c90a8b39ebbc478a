"""Threads that work for event loops: a few for each kind of work, so that quick work does not wait for slow.

They are daemons: nothing can stop a thread half-way, and whoever interrupts a program must not have to wait for one.
An executor was rejected for that reason: the end of `asyncio.run` and of the interpreter wait for its threads. Threads
do not survive a `fork`; the child begins with new ones.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from caesura.host.native_stack import start_thread

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
