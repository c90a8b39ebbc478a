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
from typing import Any, Final

from caesura.host.awaiting import await_coroutine
from caesura.host.call import Call
from caesura.host.imports import PAUSE
from caesura.host.pending import (
    BudgetExhausted,
    PendingCall,
    check_budget,
    end_unless_held,
    is_external,
    must_wait,
    until_handed,
    until_resumed,
    until_turn,
    until_turn_of,
)
from caesura.host.suspendable import START
from caesura.host.threads import run_in_loop


@types.coroutine
def drive_awaited(call: Call) -> Generator[Any, Any, Any]:
    """Run a call that is awaited."""
    slicing = call.instance.slicing
    try:
        if slicing is not None and slicing.must_wait():
            yield from until_turn(call)
            call.instance.check()
        call.start()
        return (yield from until_handed(call))
    finally:
        end_unless_held(call)


def drive_iterated(call: Call) -> Generator[Any, Any, Any]:
    """Run a call as a generator of what yielding host functions return, which any thread may iterate."""
    results: list[Any] = []

    def step(run: Callable[[], None]) -> None:
        run()
        if call.pending is None:
            results.append(call.results())
            call.instance.end(call)
            return
        try:
            check_budget(call)
        except BudgetExhausted:
            call.mode = START  # the generator ends: who has the call in his hands takes its further steps
            raise

    def begin() -> None:
        call.instance.check()  # a generator starts long after it was made
        call.start()

    try:
        _in_its_thread(call, lambda: step(begin))
        while not results:
            try:
                call.answer = yield _yielded(call)
            except GeneratorExit:
                raise
            except BaseException as error:
                call.failure = error
            _in_its_thread(call, lambda: step(call.resume))
        return results[0]
    finally:
        if not results:
            end_unless_held(call)


async def drive_asynchronously(call: Call) -> AsyncGenerator[Any, Any]:
    """Run a call as an asynchronous generator: await what coroutines wait for, yield what yielding functions return."""
    try:
        if must_wait(call):
            await _until_turn(call)
        call.instance.check()
        call.start()
        while call.pending is not None:
            if call.pending is PAUSE:
                await _until_resumed(call)
            elif call.coroutine is not None:
                await await_coroutine(call)
                await _until_turn_of(call)
            else:
                try:
                    call.answer = yield _yielded(call)
                except GeneratorExit:
                    raise
                except BaseException as error:
                    call.failure = error
                if must_wait(call):
                    await _until_turn(call)
            call.resume()
    finally:
        end_unless_held(call)


def _yielded(call: Call) -> Any:
    """Return what a generator yields: what a yielding function has returned, or the call, if there is no body."""
    return PendingCall(call) if call.pending is PAUSE or is_external(call.pending) else call.waited_for


_until_turn_of: Final = types.coroutine(until_turn_of)
_until_turn: Final = types.coroutine(until_turn)
_until_resumed: Final = types.coroutine(until_resumed)


def _in_its_thread(call: Call, step: Callable[[], None]) -> None:
    owner = call.instance.owner
    if owner.is_here():
        step()
    else:
        owner.check_process()
        run_in_loop(call.instance.loop, step)
