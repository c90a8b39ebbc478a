"""Driving a call from outside: what happens while the guest is suspended.

A call is driven by a generator, as a coroutine is: by whoever awaits it, or by whoever iterates it. They differ in how
they find out what the import returns to the guest, and in nothing else. An asynchronous generator does both. What ends
a call early:

* The host function raises (also because its task was cancelled, or because something was thrown into the generator):
  the guest is rewound and the exception raised at the pause point, so that it leaves through the guest with the guest's
  backtrace.
* The call itself is abandoned (its coroutine or generator is closed): the frames are dropped. Rewinding then was
  rejected: nobody is left to see what the guest does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from caesura.host.threads import run_in_loop

if TYPE_CHECKING:
    from caesura.host.call import Call


def drive_awaited(call: Call) -> Generator[Any, Any, Any]:
    """Run a call that is awaited."""
    try:
        call.start()
        while call.pending is not None:
            yield from await_coroutine(call)
            call.resume()
        return call.results()
    finally:
        call.end()


def drive_iterated(call: Call) -> Generator[Any, Any, Any]:
    """Run a call as a generator, which any thread may iterate."""
    results: list[Any] = []

    def step(run: Callable[[], None]) -> None:
        run()
        if call.pending is None:
            results.append(call.results())
            call.end()

    try:
        _in_its_thread(call, lambda: step(call.start))
        while not results:
            yield from _hand_out(call)
            _in_its_thread(call, lambda: step(call.resume))
        return results[0]
    finally:
        if not results:
            call.end()


def _in_its_thread(call: Call, step: Callable[[], None]) -> None:
    if call.instance.is_in_its_thread():
        step()
    else:
        call.instance.owner.check_process()
        run_in_loop(call.instance.loop, step)


async def drive_asynchronously(call: Call) -> AsyncGenerator[Any, Any]:
    """Run a call as an asynchronous generator: await what coroutines wait for, yield what yielding functions return."""
    try:
        call.start()
        while call.pending is not None:
            if call.coroutine is not None:
                await _Waiting(call)
            else:
                try:
                    call.answer = yield call.waited_for
                except GeneratorExit:
                    raise
                except BaseException as error:
                    call.failure = error
            call.resume()
    finally:
        call.end()


class _Waiting:
    """What a coroutine awaits while the host coroutine of a call runs to its end."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, None]:
        return await_coroutine(self._call)


def await_coroutine(call: Call) -> Generator[Any, Any, None]:
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


def give_up(coroutine: Coroutine[Any, Any, Any], waited_for: Any) -> None:
    """Close a host coroutine that has begun to wait, for something that nobody will see.

    A future of asyncio's is marked between the moment when it is awaited and the moment when a task gets it; one that
    stays marked can be awaited by nobody any more.
    """
    if getattr(waited_for, "_asyncio_future_blocking", None):
        waited_for._asyncio_future_blocking = False
    coroutine.close()


def _serving(call: Call, step: Callable[[Any], Any], value: Any) -> Any:
    """Let the host coroutine run, and what it calls in the guest on the call's stack."""
    stacks = call.instance.stacks
    outer, stacks.serving = stacks.serving, (call, call.instance.depth)
    try:
        return step(value)
    finally:
        stacks.serving = outer
        del value  # an exception that passes here would refer to itself, and to the guest


def _hand_out(call: Call) -> Generator[Any, Any, None]:
    """Yield what the host function returned, and take what comes back."""
    try:
        call.answer = yield call.waited_for
    except GeneratorExit:
        raise
    except BaseException as error:
        call.failure = error
