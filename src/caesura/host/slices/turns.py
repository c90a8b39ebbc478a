"""Turns in an event loop: of the guests that have something to compute, one runs in each of the loop's iterations.

So timers and sockets wait for one slice, however many guests compute, and for little more than two in the worst case. A
call that was paused waits for a turn. One that would begin, or go on since what it has waited for is there, does so at
once. But in an iteration in which guests have had a quarter of a slice already, or when its guest has had a slice
since its last turn, it waits for a turn as well. Who is next is the policy's business. A guest that waits for anything
else is not known here, and costs nothing.

Turns are futures, so that tasks, cancellation and timeouts work on guests that compute as on everything that waits. A
task of its own that runs all guests was rejected: context variables, tracebacks and cancellation are those of the
caller's task only if that drives the call.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections import deque
from typing import Final

from caesura.errors import UsageError
from caesura.host.slices.policy import FairShares, Policy, Share
from caesura.host.slices.thread import ThreadState, thread_state

# Of a slice: when guests have computed for so long in an iteration of the loop, who comes waits for a turn.
AT_ONCE: Final = 0.25

# These end the process, or the loop, and nothing of it may hide them.
_ENDS_THE_PROCESS: Final = (KeyboardInterrupt, SystemExit)


class Turns:
    """The guests of one event loop that wait for a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # Futures and callbacks know the loop, which knows these: they must not keep each other alive.
        self._loop = weakref.ref(loop)
        self.policy: Policy = FairShares()
        self._waiting: dict[Share, deque[asyncio.Future[None]]] = {}
        self._is_scheduled = False

    def wait(self, share: Share) -> asyncio.Future[None]:
        """Return what is done when it is a guest's turn."""
        loop = self._here()
        future = loop.create_future()
        waiting = self._waiting.get(share)
        if waiting is None:
            try:
                self.policy.add(share)
            except _ENDS_THE_PROCESS:
                raise
            except BaseException as error:  # CancelledError, say, would look like that of the task
                raise self._failure(error) from error
            self._waiting[share] = deque((future,))
            share.ran = 0.0
        else:
            waiting.append(future)
        self.schedule()
        return future

    def forget(self, share: Share, future: asyncio.Future[None]) -> None:
        """Do not wait any more for a turn that has not come."""
        waiting = self._waiting.get(share)
        if waiting is None or future not in waiting:
            return
        waiting.remove(future)
        if not waiting:
            del self._waiting[share]
            try:
                self.policy.remove(share)
            except _ENDS_THE_PROCESS:
                raise
            except BaseException as error:  # who does not wait any more has been cancelled, which this must not hide
                self._here().call_exception_handler({"message": str(self._failure(error)), "exception": error})

    def change_policy(self, policy: Policy) -> None:
        """Have another policy. Raises UsageError while guests wait for a turn."""
        if self._waiting:
            raise UsageError("guests wait for a turn by another policy: choose one before guests compute")
        self.policy = policy

    def schedule(self) -> None:
        """Let the next guest go on when the loop has had a look at timers and sockets."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._after_others()

    def _after_others(self) -> None:
        loop = self._here()
        loop.call_at(loop.time(), self._next)  # behind the timers that are due; `call_soon` would be before them

    def _here(self) -> asyncio.AbstractEventLoop:
        loop = self._loop()
        assert loop is not None, "who calls this runs in it"
        return loop

    def _next(self) -> None:
        self._is_scheduled = False
        state = thread_state()
        state.spent = 0.0
        state.is_full = False
        try:
            future = self._chosen()
        except BaseException as error:  # of a policy that somebody has written: who waits for it must not wait for ever
            self._fail(error)
            return
        if future is None:
            return
        if not future.done():  # its task may have been cancelled
            future.set_result(None)
        if self._waiting:
            self._is_scheduled = True
            self._here().call_soon(self._after_others)  # which is behind the task that goes on now

    def _chosen(self) -> asyncio.Future[None] | None:
        """Return what the guest waits for whose turn it is, or None if nobody waits."""
        share = self.policy.choose()
        if share is None:
            if self._waiting:
                raise UsageError("it has chosen nobody, though guests wait for a turn")
            return None
        if not isinstance(share, Share):
            raise UsageError(f"it has chosen {_shown(share)}: `choose` returns the share of a guest, or None")
        waiting = self._waiting.get(share)
        if waiting is None:
            raise UsageError("it has chosen a guest that does not wait for a turn")
        if len(waiting) > 1:
            self.policy.add(share)
            share.ran = 0.0
        future = waiting.popleft()
        if not waiting:
            del self._waiting[share]
        return future

    def _fail(self, error: BaseException) -> None:
        """Tell all calls that wait for a turn that the policy does not say whose it is; raise what ends the process."""
        waiting, self._waiting = self._waiting, {}
        raised = [error]
        for share, futures in waiting.items():
            try:
                self.policy.remove(share)
            except BaseException as another:  # the policy has failed already
                raised.append(another)
            for future in futures:
                if not future.done():
                    failure = self._failure(error)
                    failure.__cause__ = error
                    future.set_exception(failure)
        for one in raised:
            if isinstance(one, _ENDS_THE_PROCESS):
                raise one

    def _failure(self, error: BaseException) -> UsageError:
        return UsageError(f"the policy {_shown(self.policy)} has failed, so no turn comes: {_shown(error)}")


def _shown(value: object) -> str:
    """Return how an error writes a value of somebody's class, who may have written its `__repr__`, too."""
    try:
        return f"{value!r:.200}"
    except _ENDS_THE_PROCESS:
        raise
    except BaseException:
        return f"a {type(value).__name__}"


_turns: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Turns]] = weakref.WeakKeyDictionary()


def wait_for_next_iteration(state: ThreadState) -> None:
    """Let others who come wait for the event loop's next iteration: guests have computed as much as they may in one."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # nobody waits for an iteration of no loop
        state.spent = 0.0
        return
    state.is_full = True
    turns_of(loop).schedule()


def has_run(state: ThreadState, seconds: float, time_slice: float) -> None:
    """Note that something of a guest has run for so long without a slice: host functions that start functions call."""
    state.spent += seconds
    if state.spent >= AT_ONCE * time_slice and not state.is_full:
        wait_for_next_iteration(state)


async def wait_for_turn(guest: object, weight: float, priority: int) -> None:
    """Let others have their turn before a guest is made, if guests have computed as much as they may."""
    if not thread_state().is_full:
        return
    try:
        turns = turns_of(asyncio.get_running_loop())
    except RuntimeError:  # whoever drives this coroutine, without asyncio, decides
        return
    share = Share(guest, weight, priority)
    future = turns.wait(share)
    try:
        await future
    except BaseException:
        turns.forget(share, future)
        raise


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """Return the turns of an event loop."""
    found = _turns.get(loop)
    if found is None:
        found = _turns[loop] = Turns(loop)
    return found


def use_policy(policy: Policy) -> None:
    """Let a policy say whose turn it is in the running event loop, of the guests that compute in time slices.

    It has the methods of `caesura.FairShares`, which is the policy where nobody says; docs/slices.md tells what they
    do. Raises UsageError outside of an event loop, for an object without these methods, a class, methods that have to
    be awaited, and while guests wait for a turn.
    """
    if isinstance(policy, type):
        raise UsageError(f"the policy is the class {policy.__name__}: give an object of it, {policy.__name__}(...)")
    for name in ("add", "remove", "choose"):
        method = getattr(policy, name, None)
        if not callable(method):
            raise UsageError(f"the policy {_shown(policy)} has no method `{name}`")
        if inspect.iscoroutinefunction(method):
            raise UsageError(
                f"the method `{name}` of the policy {_shown(policy)} is a coroutine function: it has to answer at once"
            )
    try:
        turns = turns_of(asyncio.get_running_loop())
    except RuntimeError:
        raise UsageError("a policy is an event loop's, and none is running here") from None
    turns.change_policy(policy)
