"""Letting the host function run in which a suspended call waits.

Everything that its coroutine waits for is handed on to whoever drives the call. Who that may be is the business of
`pending` and `driving`.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Generator
from typing import Any

from caesura.host.call import Call
from caesura.host.imports import COROUTINE_FUNCTION
from caesura.host.slices.budget import Exhausted


def call_anew(call: Call) -> Generator[Any, Any, None]:
    """Call the host function in which a call waits once more, and let it run to its end."""
    function = call.pending
    assert function is not None, "who calls this has looked"
    try:
        result = _serving(call, lambda arguments: function.call(call.instance.guest, arguments), call.asked)
        if function.kind != COROUTINE_FUNCTION:
            call.answer = result
            return
        try:
            waited_for = _serving(call, result.send, None)
        except StopIteration as end:
            call.answer = end.value
            return
    except BaseException as error:
        call.failure = error
        return
    call.coroutine = result
    call.waited_for = waited_for
    yield from await_coroutine(call)


@types.coroutine
def await_coroutine(call: Call) -> Generator[Any, Any, None]:
    """Let the host coroutine, which has begun to wait, run to its end.

    Everything that it waits for is handed on to whoever awaits the call, and everything that is sent or thrown back to
    it; so tasks, cancellation, timeouts and context variables work as if the guest were not there, under any loop.
    Where it waits for a call that has used up this call's budget, this returns, with `waited_for` Exhausted.
    """
    coroutine = call.coroutine
    assert coroutine is not None
    waited_for = call.waited_for
    stacks = call.instance.stacks
    slicing = call.instance.slicing
    stand_in = call.stand_in
    failure: BaseException | None = None
    try:
        if type(waited_for) is Exhausted:
            call.waited_for = None
            if waited_for.is_handed:
                failure, call.failure = call.failure, None
                if failure is None and stand_in is not None:
                    failure = stand_in.failure()
                waited_for = _serving(call, coroutine.send if failure is None else coroutine.throw, failure)
        while True:
            if type(waited_for) is Exhausted:
                if waited_for.catcher is stand_in:
                    call.waited_for = waited_for
                    return
                call.let_go()
                waited_for.inside.append(call)
            if stand_in is not None:
                stand_in.begin_waiting(waited_for)
            try:
                sent = yield waited_for
                if slicing is not None and slicing.paused:  # the host function may call the guest
                    yield from slicing.until_free(waited_for)
                if type(waited_for) is Exhausted:
                    call.take()
                failure = None if stand_in is None else stand_in.failure()
            except GeneratorExit:
                raise
            except BaseException as error:
                failure = error
                if stand_in is not None and isinstance(error, asyncio.CancelledError):
                    stand_in.must_cancel = False
            if failure is not None:
                waited_for = _serving(call, coroutine.throw, failure)
                failure = None
            elif call.allowance is None and (
                stacks.pointer is None or (call.stack == stacks.current and stacks.serving is None)
            ):
                waited_for = coroutine.send(sent)
            else:
                waited_for = _serving(call, coroutine.send, sent)
    except StopIteration as end:
        call.answer = end.value
    except GeneratorExit:
        raise
    except BaseException as error:
        call.failure = error
    finally:
        failure = None  # which refers to all that it has gone through
    if stand_in is not None:
        stand_in.has_ended()


def _serving(call: Call, step: Callable[[Any], Any], value: Any) -> Any:
    """Let the host coroutine run, and what it calls in the guest on the call's stack."""
    instance = call.instance
    stacks = instance.stacks
    outer, stacks.serving = stacks.serving, (call, instance.store.depth)
    try:
        allowance = call.allowance
        return step(value) if allowance is None else (call.stand_in or call.new_stand_in()).run(allowance, step, value)
    finally:
        stacks.serving = outer
        del value  # an exception that passes here would refer to itself, and to the guest
