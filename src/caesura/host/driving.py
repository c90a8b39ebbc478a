"""Driving a call from outside: what happens while the guest is suspended.

A call is driven by a generator, as a coroutine is: by whoever awaits it, or by whoever iterates it. They differ in how
they find out what the import returns to the guest, and in nothing else. An asynchronous generator does both. What ends
a call early:

* The host function raises (also because its task was cancelled, or because something was thrown into the generator):
  the guest is rewound and the exception raised at the pause point, so that it leaves through the guest with the guest's
  backtrace.
* The call itself is abandoned (its coroutine or generator is closed): the frames are dropped. Rewinding then was
  rejected: nobody is left to see what the guest does. (It is done where a guest cannot forget references otherwise.)
"""

from __future__ import annotations

import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from caesura.host.call import Call
from caesura.host.threads import run_in_loop


@types.coroutine
def drive_awaited(call: Call) -> Generator[Any, Any, Any]:
    """Run a call that is awaited."""
    try:
        call.start()
        while call.pending is not None:
            yield from _await_coroutine(call)
            call.resume()
        return call.results()
    finally:
        call.instance.end(call)


def drive_iterated(call: Call) -> Generator[Any, Any, Any]:
    """Run a call as a generator of what yielding host functions return, which any thread may iterate."""
    results: list[Any] = []

    def step(run: Callable[[], None]) -> None:
        run()
        if call.pending is None:
            results.append(call.results())
            call.instance.end(call)

    try:
        _in_its_thread(call, lambda: step(call.start))
        while not results:
            try:
                call.answer = yield call.waited_for
            except GeneratorExit:
                raise
            except BaseException as error:
                call.failure = error
            _in_its_thread(call, lambda: step(call.resume))
        return results[0]
    finally:
        if not results:
            call.instance.end(call)


async def drive_asynchronously(call: Call) -> AsyncGenerator[Any, Any]:
    """Run a call as an asynchronous generator: await what coroutines wait for, yield what yielding functions return."""
    try:
        call.start()
        while call.pending is not None:
            if call.coroutine is not None:
                await _await_coroutine(call)
            else:
                try:
                    call.answer = yield call.waited_for
                except GeneratorExit:
                    raise
                except BaseException as error:
                    call.failure = error
            call.resume()
    finally:
        call.instance.end(call)


def _in_its_thread(call: Call, step: Callable[[], None]) -> None:
    owner = call.instance.owner
    if owner.is_here():
        step()
    else:
        owner.check_process()
        run_in_loop(call.instance.loop, step)


@types.coroutine
def _await_coroutine(call: Call) -> Generator[Any, Any, None]:
    """Let the host coroutine, which has begun to wait, run to its end.

    Everything that it waits for is handed on to whoever awaits the call, and everything that is sent or thrown back to
    it; so tasks, cancellation, timeouts and context variables work as if the guest were not there, under any loop.
    """
    coroutine = call.coroutine
    assert coroutine is not None
    waited_for = call.waited_for
    stacks = call.instance.stacks
    try:
        while True:
            try:
                sent = yield waited_for
            except GeneratorExit:
                raise
            except BaseException as error:
                waited_for = _serving(call, coroutine.throw, error)
            else:
                if stacks.pointer is None or (call.stack == stacks.current and stacks.serving is None):
                    waited_for = coroutine.send(sent)
                else:
                    waited_for = _serving(call, coroutine.send, sent)
    except StopIteration as end:
        call.answer = end.value
    except GeneratorExit:
        raise
    except BaseException as error:
        call.failure = error


def _serving(call: Call, step: Callable[[Any], Any], value: Any) -> Any:
    """Let the host coroutine run, and what it calls in the guest on the call's stack."""
    instance = call.instance
    stacks = instance.stacks
    outer, stacks.serving = stacks.serving, (call, instance.store.depth)
    try:
        return step(value)
    finally:
        stacks.serving = outer
        del value  # an exception that passes here would refer to itself, and to the guest
