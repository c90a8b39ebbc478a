"""The task that a host function sees, where its call has a budget: one that stands in for whoever drives the call.

A call that has used its budget up is handed to somebody, its host function suspended with it, and may go on in another
task. What a host function has asked asyncio for refers to its task, though: `asyncio.timeout`, and a `TaskGroup`,
cancel the one in which they were entered. That task may do something else by then. So host functions of calls that
have a budget run as `StandIn`, which asyncio provides for ("Extending": who writes tasks of his own says which one
runs). To cancel it cancels what the host function waits for, as a task's `cancel` does, and where the call is in
somebody's hands, it is raised where the call goes on. Who drives the call is not concerned; cancelling that task is
passed on to the host function by asyncio itself, as ever.

Letting the host functions run in tasks of their own was rejected: each waiting would take another iteration of the
event loop, and each call of a host function a task, whether it waits or not.

The stand-ins whose host functions run, one inside of the other, are on the thread's stack (`ThreadState.serving`). They
tell which call is handed out when a budget ends: see `catcher`.
"""

from __future__ import annotations

import asyncio
from asyncio import _enter_task, _get_running_loop, _leave_task, tasks
from collections.abc import Callable
from typing import Any, Final, TypeVar

from caesura.host.slices.budget import Allowance, in_force
from caesura.host.slices.thread import ThreadState

_T = TypeVar("_T")

# Leaves a task and enters another, and returns the first one: from Python 3.12 on.
_swap: Final[Callable[[asyncio.AbstractEventLoop, Any], Any] | None] = getattr(tasks, "_swap_current_task", None)


class StandIn:
    """Stands in for the tasks that drive a call, one after the other, in what the call's host functions see.

    While a step of a host function runs, `driver` is the task, or the stand-in of an outer call; else None, as
    where there is no task. `waits_for` is what the host function waits for while it does, and `must_cancel` says that
    it is to be cancelled where it waits next. What asks for more than a task's `cancel` and its like is asked of the
    driver.
    """

    __slots__ = (
        "__weakref__",
        "_before",
        "_is_let_go",
        "_message",
        "_requests",
        "_thread",
        "allowance",
        "driver",
        "must_cancel",
        "outer",
        "waits_for",
    )

    def __init__(self, thread: ThreadState) -> None:
        self._thread = thread
        self.allowance: Allowance | None = None
        self.driver: Any = None
        self.outer: StandIn | None = None  # around it on the thread's stack
        self.waits_for: Any = None
        self.must_cancel = False
        self._message: Any = None
        self._requests = 0  # to cancel this
        self._before = 0  # requests to cancel former drivers, less those that the present one has had by then
        self._is_let_go = False

    def run(self, allowance: Allowance, step: Callable[..., _T], *arguments: Any) -> _T:
        """Let a host function run whose call has an allowance: what it calls in the guest is charged to that, too."""
        thread = self._thread
        outer = self.outer = thread.serving
        thread.serving = self
        self.allowance = allowance
        self.waits_for = None
        before = in_force.set(allowance)
        loop = _get_running_loop()
        task: Any = None
        if loop is not None:
            if _swap is not None:
                task = _swap(loop, self)
            else:
                task = asyncio.current_task(loop)
                if task is not None:
                    _leave_task(loop, task)
                    _enter_task(loop, self)  # type: ignore[arg-type]
        self.driver = task
        if task is not None and self._is_let_go:
            self._is_let_go = False
            self._before -= task.cancelling()
        try:
            return step(*arguments)
        finally:
            if loop is not None:
                if _swap is not None:
                    _swap(loop, task)
                elif task is not None:
                    _leave_task(loop, self)  # type: ignore[arg-type]
                    _enter_task(loop, task)
            self.driver = self.outer = None
            in_force.reset(before)
            thread.serving = outer

    def begin_waiting(self, waits_for: Any) -> None:
        """Note what the host function waits for from now on; if it is to be cancelled, that is."""
        self.waits_for = waits_for
        if self.must_cancel and _cancel(waits_for, self._message):
            self.must_cancel = False

    def failure(self) -> asyncio.CancelledError | None:
        """Return what is to be raised in the host function, which has waited, if it was cancelled meanwhile."""
        if not self.must_cancel:
            return None
        self.must_cancel = False
        return asyncio.CancelledError() if self._message is None else asyncio.CancelledError(self._message)

    def let_go(self) -> None:
        """Note that the call is in nobody's hands from now on, and may go on in another task."""
        task = _asyncio_task()
        if task is not None and not self._is_let_go:
            self._is_let_go = True
            self._before += task.cancelling()

    def has_ended(self) -> None:
        """The host function has ended: where it was to be cancelled and has not waited any more, its caller is."""
        self.waits_for = None
        if self.must_cancel:
            self.must_cancel = False
            self._requests = 0
            task = _asyncio_task()
            if task is not None:
                task.cancel(self._message)

    # What a task has

    def cancel(self, msg: Any = None) -> bool:
        """Cancel what the host function waits for, or it when it waits next."""
        self._requests += 1
        self._message = msg
        if not _cancel(self.waits_for, msg):
            self.must_cancel = True
        return True

    def cancelling(self) -> int:
        """Return how many requests to cancel this, or who drives it, there are."""
        driver = self.driver
        return self._requests + self._before + (0 if driver is None else int(driver.cancelling()))

    def uncancel(self) -> int:
        """Take a request back, and return how many are left."""
        if self._requests:
            self._requests -= 1
            if not self._requests:
                self.must_cancel = False
        elif self.driver is not None:
            self.driver.uncancel()
        return self.cancelling()

    def done(self) -> bool:
        """Tell whether it has ended: not while anybody can ask for it."""
        return False

    def cancelled(self) -> bool:
        """Tell whether it was cancelled, and has ended."""
        return False

    @property
    def _must_cancel(self) -> bool:  # AnyIO looks at it
        return self.must_cancel

    @property
    def _fut_waiter(self) -> Any:  # and at this
        return self.waits_for

    def __getattr__(self, name: str) -> Any:
        driver = self.driver
        if driver is None:
            raise AttributeError(f"no task drives the call of this host function now, which would have {name!r}")
        return getattr(driver, name)

    def __repr__(self) -> str:
        return f"<caesura's stand-in for {self.driver!r}>"


def catcher(thread: ThreadState, exhausted: Allowance) -> StandIn | None:
    """Return the stand-in of the call that is handed out when a budget has ended, in a call that pauses: the outermost
    that is charged to it, of those whose host functions run in this task; None if that is the call that pauses.
    """
    found = None
    stand_in = thread.serving
    task: Any = stand_in
    if stand_in is not None and stand_in.driver is not None and _asyncio_task() is not stand_in:
        return None  # a task that has begun at once, inside of the host function
    while stand_in is not None and task is stand_in:
        allowance = stand_in.allowance
        while allowance is not None and allowance is not exhausted:
            allowance = allowance.outer
        if allowance is exhausted:
            found = stand_in
        task, stand_in = stand_in.driver, stand_in.outer
        if task is None:
            task = stand_in
    return found


def current_task() -> asyncio.Task[Any] | None:
    """Return the running task, whoever stands in for it, if there is one of asyncio's."""
    task: Any = _asyncio_task()
    while type(task) is StandIn:
        task = task.driver
    return task  # type: ignore[no-any-return]


def _asyncio_task() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None  # another loop than asyncio's


def _cancel(waits_for: Any, message: Any) -> bool:
    cancel = getattr(waits_for, "cancel", None)
    return cancel is not None and bool(cancel() if message is None else cancel(message))
