"""Making programs away from the event loop: one thread instruments and compiles for all.

A large module takes seconds, in which the loop must not stand still. One thread does it for everybody, one program
after the other, so that a hundred guests that are loaded together do not compile a hundred times. It is a daemon:
nothing can stop a compilation half-way, and whoever interrupts a program must not have to wait for one. An executor
was rejected for that reason: the end of `asyncio.run` waits for its threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import Final

from caesura.host.program import Program, Recipe, make_program


class _Order:
    """A program that somebody waits for, in a loop of his own."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Program] = self._loop.create_future()

    def fulfil(self) -> None:
        """Make the program; runs in the making thread."""
        if self.future.cancelled():
            return
        program: Program | None = None
        failure: Exception | None = None
        try:
            program = make_program(self.recipe)
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._deliver, program, failure)

    def _deliver(self, program: Program | None, failure: Exception | None) -> None:
        if self.future.done():
            return  # cancelled
        if program is not None:
            self.future.set_result(program)
        elif failure is not None:
            self.future.set_exception(failure)


class _Maker:
    """The thread and what it still has to do."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def place(self, order: _Order) -> None:
        """Let the thread fulfil an order; it is started when it is first needed."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="caesura-maker")
                self._thread.start()
        self._orders.put(order)

    def _run(self) -> None:
        while True:
            self._orders.get().fulfil()


_maker: Final = _Maker()


async def order_program(recipe: Recipe) -> Program:
    """Return a program that is not in memory, without stopping the loop. Raises what `make_program` raises."""
    order = _Order(recipe)
    _maker.place(order)
    return await order.future
