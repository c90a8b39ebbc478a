"""A suspended call as users see it, and resume it where nobody else does.

A call that is suspended in a host function without a body (`EXTERNAL`) is handed to whoever drives it, as a
`PendingCall`, and is then in nobody's hands: `Call.is_held`. It stays suspended for as long as the guest lives, until
somebody resumes or drops it. So it is with the calls of a guest that was restored. How a call was begun says how it is
resumed: synchronously what `guest.start` has begun, else by awaiting.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from caesura.errors import UsageError
from caesura.host.awaiting import await_coroutine, call_anew
from caesura.host.call import START, Call, current_task
from caesura.host.imports import EXTERNAL_FUNCTION, YIELDING_FUNCTION, HostFunction
from caesura.host.uncopied import Uncopied

if TYPE_CHECKING:
    from caesura.inspection.backtrace import Frame


class PendingCall(Uncopied):
    """A call of a guest's export that is suspended in a host function.

    `export` is the export's name, `function` the host function's, as "module.name", and `arguments` are what the guest
    has called that with; `value` is what it has returned if it is a yielding one, else None.

    `resume` and `throw` let the call go on; `await call` calls the host function anew first, where a guest was
    restored. Each returns what the export returns or, if the guest is suspended in a function without a body again, the
    next PendingCall; it raises what `guest.call` does. A call that a task of this process awaits, or that is a
    generator, can only be looked at: resuming it is a UsageError.
    """

    _what = "a suspended call of a caesura guest"
    _instead_of_copy = _instead_of_pickle = "take a snapshot of the guest"

    def __init__(self, call: Call) -> None:
        function = call.pending
        if function is None:
            raise UsageError("the call is not suspended")
        self._call = call
        self.export = call.export.name
        self.function = function.name
        self.arguments = call.asked
        self.value = call.waited_for if function.kind == YIELDING_FUNCTION else None

    @property
    def is_held(self) -> bool:
        """Whether nobody drives the call, so that it can be resumed."""
        return self._call.is_held and self._call.pending is not None

    def __repr__(self) -> str:
        arguments = ", ".join(f"{value!r:.100}" for value in self.arguments)
        return f"<caesura.PendingCall of {self.export}, in {self.function}({arguments})>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PendingCall) and other._call is self._call

    def __hash__(self) -> int:
        return hash(self._call)

    def __await__(self) -> Generator[Any, Any, Any]:
        call = self._call
        _check_body(call)
        _take(call)
        return (yield from _until_ended(call, call_anew(call)))

    def backtrace(self) -> list[Frame]:
        """Return the functions on the call's stack, innermost first, with what they hold.

        The first time that takes as long as instrumenting the module. Raises UsageError for a module's file that is
        not there any more, or has changed, and UnsupportedModule for a module that was instrumented elsewhere without
        `frame_layouts`.
        """
        if self._call.pending is None:
            raise UsageError(f"the call of {self.export} is not suspended any more")
        self._call.instance.check()
        return self._call.instance.backtrace_of(self._call)

    def resume(self, answer: Any = None) -> Any:
        """Let the guest go on, with what its host function returns to it. To be awaited, unless `guest.start` began the
        call.
        """
        return self._go_on(answer, None)

    def throw(self, error: BaseException) -> Any:
        """Let the guest go on, as if its host function had raised an exception; as `resume`."""
        if not isinstance(error, BaseException):
            raise UsageError(f"what is to be raised is {error!r:.100}: expected an exception")
        return self._go_on(None, error)

    def drop(self) -> None:
        """Give the call up: it will not be resumed, and what it holds is free."""
        _take(self._call)
        self._call.instance.end(self._call)

    def _go_on(self, answer: Any, failure: BaseException | None) -> Any:
        _check_held(self._call)
        if self._call.mode != START:
            return _go_on(self._call, answer, failure)
        _take(self._call)
        self._call.answer = answer
        self._call.failure = failure
        return step(self._call, self._call.resume)


def step(call: Call, run: Callable[[], None]) -> Any:
    """Take a step of a call that nobody awaits: return what the export returns, or the PendingCall."""
    try:
        run()
        return _handed(call) if call.pending is not None else call.results()
    finally:
        end_unless_held(call)


def until_handed(call: Call) -> Generator[Any, Any, Any]:
    """Let a call run on that waits, or has returned: return what the export returns, or the PendingCall."""
    while call.pending is not None:
        if call.coroutine is None:
            return _handed(call)
        yield from await_coroutine(call)
        call.resume()
    return call.results()


def end_unless_held(call: Call) -> None:
    """End a call that was not handed to anybody."""
    if not call.is_held:
        call.instance.end(call)


def is_external(function: HostFunction | None) -> bool:
    """Tell whether a host function has no body."""
    return function is not None and function.kind == EXTERNAL_FUNCTION


def _handed(call: Call) -> PendingCall:
    handed = PendingCall(call)
    call.is_held = True
    call.task = None
    return handed


def _take(call: Call) -> None:
    """Take a call into one's hands. Raises UsageError if somebody has it."""
    _check_held(call)
    call.is_held = False
    call.task = current_task() if call.mode != START else None


def _check_held(call: Call) -> None:
    call.instance.check()
    if not call.is_held:
        raise UsageError(
            f"the call of {call.export.name} is not yours to resume: it has ended, or who made it drives it (it waits "
            "in a coroutine, or is a generator)"
        )


def _check_body(call: Call) -> None:
    function = call.pending
    if function is not None and function.kind in (EXTERNAL_FUNCTION, YIELDING_FUNCTION):
        kind = "has no body" if function.kind == EXTERNAL_FUNCTION else "yields"
        raise UsageError(f"{function.name} {kind}: give what it returns to the guest with `resume`")
    if call.mode == START:
        raise UsageError(f"{call.export.name} was called with `start`, which waits for nothing: use `resume`")


async def _go_on(call: Call, answer: Any, failure: BaseException | None) -> Any:
    _take(call)
    call.answer = answer
    call.failure = failure
    return await _Driven(call)


class _Driven:
    """What a coroutine awaits to drive a call whose answer is there."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from _until_ended(self._call, None))


def _until_ended(call: Call, before: Generator[Any, Any, None] | None) -> Generator[Any, Any, Any]:
    try:
        if before is not None:
            yield from before
        call.resume()
        return (yield from until_handed(call))
    finally:
        end_unless_held(call)
