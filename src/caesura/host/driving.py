"""Driving a call from outside: what happens while the guest is suspended.

A call is driven by a generator, as a coroutine is: by whoever awaits it, or by whoever iterates it. The two differ in
how they find out what the import returns to the guest, and in nothing else. What ends a call early:

* The host function raises (also because its task was cancelled, or because something was thrown into the generator):
  the guest is rewound and the exception raised at the pause point, so that it leaves through the guest with the guest's
  backtrace.
* The call itself is abandoned (its coroutine or generator is closed): the frames are dropped. Rewinding then was
  rejected: nobody is left to see what the guest does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caesura.host.call import Call


def drive(call: Call, wait: Callable[[Call], Generator[Any, Any, None]]) -> Generator[Any, Any, Any]:
    """Run a call; wherever the guest is suspended, `wait` sets what the import returns or raises."""
    try:
        call.start()
        while call.pending is not None:
            yield from wait(call)
            call.resume()
        return call.results()
    finally:
        call.end()


def await_coroutine(call: Call) -> Generator[Any, Any, None]:
    """Let the host coroutine, which has begun to wait, run to its end.

    Everything that it waits for is handed on to whoever awaits the call, and everything that is sent or thrown back to
    it; so tasks, cancellation, timeouts and context variables work as if the guest were not there, under any loop.
    """
    coroutine = call.coroutine
    assert coroutine is not None
    waited_for = call.waited_for
    try:
        while True:
            try:
                sent = yield waited_for
            except GeneratorExit:
                raise
            except BaseException as error:
                waited_for = coroutine.throw(error)
            else:
                waited_for = coroutine.send(sent)
    except StopIteration as end:
        call.answer = end.value
    except GeneratorExit:
        raise
    except BaseException as error:
        call.failure = error


def hand_out(call: Call) -> Generator[Any, Any, None]:
    """Yield what the host function returned, and take what comes back."""
    try:
        call.answer = yield call.waited_for
    except GeneratorExit:
        raise
    except BaseException as error:
        call.failure = error
