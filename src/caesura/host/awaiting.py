"""Letting the host function run in which a suspended call waits.

Everything that its coroutine waits for is handed on to whoever drives the call. Who that may be is the business of
`pending` and `driving`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator
from typing import Any

from caesura.host.call import Call
from caesura.host.imports import COROUTINE_FUNCTION
from caesura.host.slices.budget import EXHAUSTED


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
    Where it waits for a call that has used up this call's budget, this returns, with `waited_for` EXHAUSTED.
    """
    coroutine = call.coroutine
    assert coroutine is not None
    waited_for = call.waited_for
    stacks = call.instance.stacks
    slicing = call.instance.slicing
    try:
        if waited_for is EXHAUSTED:
            failure, call.failure, call.waited_for = call.failure, None, None
            waited_for = _serving(call, coroutine.send if failure is None else coroutine.throw, failure)
        while True:
            if waited_for is EXHAUSTED and call.has_own_budget:
                call.waited_for = EXHAUSTED
                return
            try:
                sent = yield waited_for
                if slicing is not None and slicing.paused:  # the host function may call the guest
                    yield from slicing.until_free(waited_for)
            except GeneratorExit:
                raise
            except BaseException as error:
                waited_for = _serving(call, coroutine.throw, error)
            else:
                if call.allowance is None and (
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


def _serving(call: Call, step: Callable[[Any], Any], value: Any) -> Any:
    """Let the host coroutine run, and what it calls in the guest on the call's stack."""
    instance = call.instance
    stacks = instance.stacks
    outer, stacks.serving = stacks.serving, (call, instance.store.depth)
    try:
        return step(value) if call.allowance is None else call.allowance.within(step, value)
    finally:
        stacks.serving = outer
        del value  # an exception that passes here would refer to itself, and to the guest
