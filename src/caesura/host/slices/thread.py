"""What a thread knows of the guests that compute in it: the entry that runs, its alarm, and how full its loop is."""

from __future__ import annotations

import os
import threading
from math import inf
from time import thread_time
from typing import TYPE_CHECKING, Final

from caesura.host.slices.watchdog import Alarm, begin_anew, new_alarm

if TYPE_CHECKING:
    from caesura.host.slices.entry import Entry
    from caesura.host.slices.stand_in import StandIn


# For so many seconds the thread's clock is not read again where a little is no matter: that is a call of the system.
_RECENT: Final = 0.001


class ThreadState:
    """`innermost` is the entry of guest code that is topmost on the thread's stack.

    `spent` is seconds for which guests have computed since the thread's event loop looked at timers and sockets, and
    `is_full` whether that is enough, so that whoever comes waits for a turn. `serving` stands for the innermost host
    function that runs, of those whose calls have a budget.
    """

    __slots__ = ("_processor_time", "_read_at", "alarm", "innermost", "is_full", "serving", "spent")

    def __init__(self, alarm: Alarm) -> None:
        self.alarm = alarm
        self.innermost: Entry | None = None
        self.serving: StandIn | None = None
        self.spent = 0.0
        self.is_full = False
        self.forget_clock()

    def forget_clock(self) -> None:
        """What was read of the thread's clock holds no more."""
        self._processor_time = 0.0
        self._read_at = -inf

    def latest_processor_time(self, now: float) -> float:
        """Return what `thread_time` shows `now`, as `monotonic` has it, or up to a millisecond more."""
        if now - self._read_at > _RECENT:
            self._read_at = now
            self._processor_time = thread_time()
        return self._processor_time + (now - self._read_at)


class _Thread(threading.local):
    state: ThreadState | None = None


_thread = _Thread()


def thread_state() -> ThreadState:
    """Return what the running thread knows."""
    found = _thread.state
    if found is None:
        found = _thread.state = ThreadState(new_alarm())
    return found


def _begin_anew() -> None:
    state = _thread.state
    if state is not None:
        state.forget_clock()
    begin_anew(None if state is None else state.alarm)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
