"""A suspended call as users see it, and resume it where nobody else does.

A call that is suspended in a host function without a body (`EXTERNAL`) is handed to whoever drives it, as a
`PendingCall`, and is then in nobody's hands: `Call.is_held`. It stays suspended for as long as the guest lives, until
somebody resumes or drops it. So it is with the calls of a guest that was restored.

How a call was begun says how `resume` goes on with it: at once what `guest.start` has begun, which may be outside of
any event loop, else by awaiting. Who restores a guest may not know how its calls were begun, and who awaits what has
run already has lost its result. So `aresume` is awaited, whatever the call, and nothing has run before that. Refusing
`resume` in a restored guest was rejected, since steps without an event loop go on in restored guests, too; and so was
looking whether the caller awaits, which only the caller's code tells.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, NoReturn

from caesura.abi import START_FUNCTION
from caesura.argument_kinds import shown
from caesura.errors import UsageError
from caesura.host.awaiting import await_coroutine, call_anew
from caesura.host.call import Call
from caesura.host.imports import EXTERNAL_FUNCTION, PAUSE, YIELDING_FUNCTION, HostFunction
from caesura.host.slices.budget import Budget, Exhausted, UsedUp, used_up_in
from caesura.host.slices.stand_in import catcher
from caesura.host.slices.thread import thread_state
from caesura.host.suspendable import AGENERATE, GENERATE, START
from caesura.host.uncopied import Uncopied

if TYPE_CHECKING:
    from caesura.inspection.backtrace import Frame


class PendingCall(Uncopied):
    """A call of a guest's export that is suspended in a host function.

    `export` is the export's name, `function` the host function's, as "module.name", and `arguments` are what the guest
    has called that with; `value` is what it has returned if it is a yielding one, else None.

    `resume` and `throw` let the call go on, once: at once what `guest.start` began, other calls when that is awaited.
    `aresume` and `athrow` are awaited, however the call was begun; `await call` calls the host function anew first,
    where a guest was restored. Each returns what the export returns or, if the guest is suspended in a function without
    a body again, the next PendingCall; it raises what `guest.call` does. A call that a task of this process awaits, or
    that is a generator, can only be looked at: resuming it is a UsageError. So is an answer that does not fit what the
    host function returns; then nothing has changed, and the call waits for another answer.
    """

    _what = "a suspended call of a caesura guest"
    _instead_of_copy = _instead_of_pickle = "take a snapshot of the guest"

    def __init__(self, call: Call) -> None:
        function = call.pending
        if function is None:
            raise UsageError("the call is not suspended")
        self._call = call
        self._handed = call.handed
        self.ended = ""  # why, where who has this could not know
        self.export = call.export.name
        self.function = function.name
        self.arguments = call.asked
        self.value = call.waited_for if function.kind == YIELDING_FUNCTION else None

    @property
    def is_held(self) -> bool:
        """Whether nobody drives the call, so that it can be resumed."""
        return self._call.is_held and self._is_there()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{value!r:.100}" for value in self.arguments)
        return f"<caesura.PendingCall of {self.export}, in {self.function}({arguments})>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PendingCall) and other._call is self._call

    def __hash__(self) -> int:
        return hash(self._call)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._go_on_anew(None)

    def within(self, budget: Budget | None) -> Awaitable[Any]:
        """Return what lets the guest go on as `await` of this does, but with a budget as that of `resume`."""
        return _Within(self._go_on_anew, budget)

    def _go_on_anew(self, budget: Budget | None) -> Generator[Any, Any, Any]:
        call = self._call
        self._check_held()
        _check_body(call)
        call.renew_budget(budget)
        _await_from_now_on(call)
        _take(call)
        return (yield from _until_ended(call, None if call.is_paused else call_anew(call)))

    def backtrace(self) -> list[Frame]:
        """Return the functions on the call's stack, innermost first, with what they hold.

        The first time that takes as long as instrumenting the module. Raises UsageError for a module's file that is
        not there any more, or has changed, and UnsupportedModule for a module that was instrumented elsewhere without
        `frame_layouts`.
        """
        if not self._is_there():
            raise UsageError(f"the call of {self.export} is not suspended there any more")
        self._call.instance.check()
        return self._call.instance.backtrace_of(self._call)

    def resume(self, answer: Any = None, *, budget: Budget | None = None) -> Any:
        """Let the guest go on, with what its host function returns to it. To be awaited, unless `guest.start` began the
        call: then this goes on at once, and returns what `guest.start` does. Where it is not known how the call began,
        in a guest that was restored, say, `aresume` is for all. `budget` is what the call may take from now on;
        without, what is left of its budget, or, where that is used up, as much as it likes.

        Raises UsageError, at once, for an answer that does not fit the type of the host function's results, and for one
        to a call that was paused in the middle of its code, which has asked nothing.
        """
        answer = self._prepared(answer, budget)
        if self._call.mode != START:
            return self._go_on_awaited(answer, None)
        return self._go_on(answer, None)

    async def aresume(self, answer: Any = None, *, budget: Budget | None = None) -> Any:
        """Let the guest go on, as `resume`, but awaited, however the call was begun; nothing happens before that.

        The call is the task's from then on, and may wait in coroutine functions: what `guest.start` has begun, too.
        """
        return await self._go_on_awaited(self._prepared(answer, budget), None)

    def throw(self, error: BaseException) -> Any:
        """Let the guest go on, as if its host function had raised an exception; as `resume`."""
        self._check_error(error)
        if self._call.mode != START:
            return self._go_on_awaited(None, error)
        return self._go_on(None, error)

    async def athrow(self, error: BaseException) -> Any:
        """Let the guest go on, as if its host function had raised an exception; as `aresume`."""
        self._check_error(error)
        return await self._go_on_awaited(None, error)

    def drop(self) -> None:
        """Give the call up: it will not be resumed, and what it holds is free.

        Nothing happens where that is so already, since the BudgetExhausted that has brought it left a host function.
        """
        if self.ended:
            return
        self._check_held()
        _take(self._call)
        self._call.instance.end(self._call)

    def _prepared(self, answer: Any, budget: Budget | None) -> Any:
        """Return the answer with which the call can go on, with another budget; raises what `resume` does."""
        self._check_held()
        function = self._call.pending
        assert function is not None, "it is held"
        if not self._call.is_paused:
            answer = function.checked_answer(self._call.instance.objects, answer)
        elif answer is not None:
            raise UsageError(
                f"the call of {self.export} is paused and has asked nothing, so it takes no answer, and was given "
                f"{shown(answer)}: a budget is given as `resume(budget=...)`"
            )
        self._call.renew_budget(budget)
        return answer

    def _check_error(self, error: BaseException) -> None:
        self._check_held()
        if not isinstance(error, BaseException):
            raise UsageError(f"what is to be raised is {error!r:.100}: expected an exception")

    def _go_on(self, answer: Any, failure: BaseException | None) -> Any:
        call = self._call
        _take(call)
        call.answer, call.failure = answer, failure
        return step(call, lambda: _resume(call))

    async def _go_on_awaited(self, answer: Any, failure: BaseException | None) -> Any:
        self._check_held()  # others may have been faster
        call = self._call
        _await_from_now_on(call)
        _take(call)
        call.answer, call.failure = answer, failure
        return await _Driven(call)

    def _check_held(self) -> None:
        """Raise UsageError unless the call is suspended where this says, and nobody drives it."""
        call = self._call
        call.instance.check()
        if self.ended:
            raise UsageError(f"the call of {self.export} {self.ended}")
        if call.is_held and not self._is_there():
            raise UsageError(
                f"the call of {self.export} has gone on since, and waits elsewhere now: this answered {self.function}, "
                "and the next PendingCall is what that returned"
            )
        if not call.is_held:
            raise UsageError(
                f"the call of {self.export} is not yours to resume: it has ended, or who made it drives it (it waits "
                "in a coroutine, or is a generator)"
            )

    def _is_there(self) -> bool:
        return self._call.pending is not None and self._call.handed == self._handed


# How errors call an export that begins a guest.
_BEGINS = {START_FUNCTION: "its start function"}


class BudgetExhausted(UsedUp):
    """A call has used up its budget, and is suspended where it stands.

    `call` is the PendingCall: `resume(budget=...)` goes on with it, `drop()` gives it up, and meanwhile the guest can
    be saved. `exhausted` is the budget, in words. Where `load` raises it there is no guest, and no call goes on.
    """

    def __init__(self, export: str, exhausted: str, call: PendingCall, *, is_loaded: bool = True) -> None:
        self.call = call
        self.exhausted = exhausted
        if not is_loaded:
            where = _BEGINS.get(export, export)
            super().__init__(
                f"the guest has used up its budget, {exhausted}, before it was loaded (in {where}), and is closed: "
                "load it with a larger budget, or without"
            )
            return
        super().__init__(
            f"the call of {export} has used up its budget, {exhausted}, and is suspended: let it go on with "
            "`.call.resume(budget=...)`, or give it up with `.call.drop()`"
        )

    def leave(self, call: object, function: str) -> None:
        """Give the call up, if nobody has taken it and it is of the guest whose host function this leaves: while that
        call is paused the other one could not end. The error says so from then on.
        """
        inner = self.call._call
        assert isinstance(call, Call), "calls have host functions"
        if inner.instance is not call.instance or inner is call or not self.call.is_held:
            return
        inner.is_held = False
        inner.instance.end(inner)
        why = (
            f"has ended: BudgetExhausted, of which it was the call, has left host function {function}, and so has "
            f"ended the call of {call.export.shown} as well. What a host function awaits itself, and not in a task "
            "that it has started, is suspended with it and goes on; or let it catch BudgetExhausted"
        )
        self.call.ended = why
        self.args = (f"the call of {inner.export.shown} has used up its budget, {self.exhausted}, and {why}",)


def step(call: Call, run: Callable[[], None]) -> Any:
    """Take a step of a call that nobody awaits: return what the export returns, or the PendingCall."""
    try:
        run()
        if call.pending is None:
            return call.results()
        check_budget(call)
        return _handed(call)
    finally:
        end_unless_held(call)


def until_handed(call: Call) -> Generator[Any, Any, Any]:
    """Let a call run on that waits, or has returned: return what the export returns, or the PendingCall."""
    while call.pending is not None:
        if call.coroutine is not None:
            yield from await_coroutine(call)
            if call.instance.slicing is not None:  # guests without slices pay for one look at that
                yield from until_turn_of(call)
        elif call.pending is PAUSE:
            yield from until_resumed(call)
        else:
            return _handed(call)
        call.resume()
    return call.results()


def until_turn_of(call: Call) -> Generator[Any, Any, None]:
    """Let others have their turn before a call goes on whose host function has ended. Raises BudgetExhausted if that
    has used up the budget of the call.
    """
    if type(call.waited_for) is Exhausted:
        call.waited_for.is_handed = True
        for suspended in (call, *reversed(call.waited_for.inside)):  # as they stand in `guest.pending`
            suspended.instance.suspended.pop(suspended)
            suspended.instance.suspended[suspended] = None
        _raise_exhausted(call)
    if call.failure is not None and call.pending is not None:
        for used_up in used_up_in(call.failure):
            used_up.leave(call, call.pending.shown)
    if must_wait(call):
        yield from until_turn(call)


def must_wait(call: Call) -> bool:
    """Tell whether a call should wait for its guest's turn before it begins, or goes on."""
    slicing = call.instance.slicing
    return slicing is not None and call.pending is not PAUSE and slicing.must_wait()


def until_turn(call: Call) -> Generator[Any, Any, None]:
    """Let others have their turn before a call begins, or goes on after its host function has returned."""
    slicing = call.instance.slicing
    if slicing is not None:
        if call.failure is not None and slicing.is_taken(call):
            try:
                raise call.failure  # the call ends here: the guest cannot be entered now, and would not catch it
            finally:
                call.failure = None
        try:
            yield from slicing.until_turn(call)
        except GeneratorExit:
            raise
        except BaseException as error:
            if call.pending is None or slicing.is_taken(call):
                raise
            call.failure = error  # it is raised where the guest waits


def until_resumed(call: Call) -> Generator[Any, Any, None]:
    """Let others have their turn before a call that was paused goes on. Raises BudgetExhausted if it must not."""
    exhausted = None if call.allowance is None else call.allowance.exhausted()
    if exhausted is not None:
        outer = catcher(thread_state(), exhausted)
        if outer is None:
            _raise_exhausted(call)
        call.let_go()
        yield Exhausted(outer, call)
        call.take()  # and it goes on, however little is left: else a small budget would never bring it further
    slicing = call.instance.slicing
    if slicing is not None:  # else the guest is closed, which resuming it says
        yield from slicing.until_resumed(call)


def check_budget(call: Call) -> None:
    """Hand a call that was paused to whoever drives it, as BudgetExhausted, if a budget is used up."""
    if call.allowance is not None and call.pending is PAUSE and call.allowance.exhausted() is not None:
        _raise_exhausted(call)


def _raise_exhausted(call: Call) -> NoReturn:
    exhausted = call.allowance.exhausted() if call.allowance is not None else None
    raise BudgetExhausted(call.export.shown, str(exhausted), _handed(call))


def end_unless_held(call: Call) -> None:
    """End a call that was not handed to anybody."""
    if not call.is_held:
        call.instance.end(call)


def is_external(function: HostFunction | None) -> bool:
    """Tell whether a host function has no body."""
    return function is not None and function.kind == EXTERNAL_FUNCTION


def _handed(call: Call) -> PendingCall:
    call.handed += 1
    call.is_held = True
    call.let_go()
    slicing = call.instance.slicing
    if slicing is not None:
        slicing.has_stopped(call)
    return PendingCall(call)


def _await_from_now_on(call: Call) -> None:
    """Let a task drive a call that was begun in steps: it may wait, too."""
    if call.mode in (START, GENERATE):
        call.mode = AGENERATE


def _take(call: Call) -> None:
    """Take a call that is nobody's into one's hands."""
    call.is_held = False
    call.take()


def _resume(call: Call) -> None:
    """Let a call go on. Where it may not now, which is said before anything has changed, it is nobody's again."""
    function = call.pending
    try:
        call.resume()
    except BaseException:
        if function is not None and call.pending is function and call in call.instance.suspended:
            call.is_held = True
            call.task = call.failure = None
        raise


def _check_body(call: Call) -> None:
    function = call.pending
    if function is not None and function.kind in (EXTERNAL_FUNCTION, YIELDING_FUNCTION):
        kind = "has no body" if function.kind == EXTERNAL_FUNCTION else "yields"
        raise UsageError(f"{function.shown} {kind}: give what it returns to the guest with `aresume`")


class _Driven:
    """What a coroutine awaits to drive a call whose answer is there."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from _until_ended(self._call, None))


class _Within:
    """What a coroutine awaits to let a call go on with a budget."""

    def __init__(self, go_on: Callable[[Budget | None], Generator[Any, Any, Any]], budget: Budget | None) -> None:
        self._go_on = go_on
        self._budget = budget

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._go_on(self._budget)


def _check_free(call: Call) -> None:
    """Raise why a host function has failed that was called anew, where it cannot be raised in the guest, since another
    call is paused that nobody drives: that is why, mostly. The call is nobody's again.
    """
    failure, slicing = call.failure, call.instance.slicing
    if failure is None or slicing is None or not slicing.is_taken(call) or not slicing.is_held_up():
        return
    call.failure = call.coroutine = call.waited_for = None
    call.is_held = True
    call.let_go()
    try:
        raise failure
    finally:
        del failure


def _until_ended(call: Call, before: Generator[Any, Any, None] | None) -> Generator[Any, Any, Any]:
    try:
        if before is not None:
            yield from before
            _check_free(call)
        if call.is_paused and call.pending is not PAUSE:
            return (yield from until_handed(call))
        _resume(call)
        return (yield from until_handed(call))
    finally:
        end_unless_held(call)
