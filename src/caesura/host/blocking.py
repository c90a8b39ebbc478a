"""Waiting for a host coroutine where its guest cannot be suspended: the thread stands still until it has ended.

The coroutine runs in an event loop of its own, in the guest's thread and on top of the guest's stack, as plain host
functions do: so it can use the guest's memory and call the guest. The loop in which the guest was called stands still
meanwhile, and with it all of its tasks; what belongs to that loop, such as a lock or a connection, is of no use to the
coroutine. A helper thread for the loop was rejected: a guest belongs to its thread, so that a coroutine there could
neither read what it was given addresses of nor call `malloc`.

asyncio has no loops inside of others, but says to those who write loops and tasks how to tell it which ones run; that
is put back behind it.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from caesura.host.imports import give_up


def run_to_its_end(coroutine: Coroutine[Any, Any, Any], has_to_wait: Callable[[], None]) -> Any:
    """Run a host coroutine from its beginning to its end, and return what it returns, or raise what it raises.

    `has_to_wait` is called before it waits for the first time; what that raises ends it.
    """
    loop = asyncio._get_running_loop()
    task = asyncio.current_task(loop) if loop is not None else None
    if loop is not None and task is not None:
        asyncio._leave_task(loop, task)
    asyncio._set_running_loop(None)
    try:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:  # so it is not made anybody's default
            return runner.run(_run(coroutine, has_to_wait))
    finally:
        coroutine.close()
        asyncio._set_running_loop(loop)
        if loop is not None and task is not None:
            asyncio._enter_task(loop, task)


async def _run(coroutine: Coroutine[Any, Any, Any], has_to_wait: Callable[[], None]) -> Any:
    return await _stepped(coroutine, has_to_wait)


@types.coroutine
def _stepped(coroutine: Coroutine[Any, Any, Any], has_to_wait: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Hand on what a coroutine waits for, and what comes back."""
    try:
        waited_for = coroutine.send(None)
        try:
            has_to_wait()
        except BaseException:
            give_up(coroutine, waited_for)
            raise
        while True:
            try:
                sent = yield waited_for
            except BaseException as error:
                waited_for = coroutine.throw(error)
            else:
                waited_for = coroutine.send(sent)
    except StopIteration as end:
        return end.value
