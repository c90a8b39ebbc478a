"""What a thread knows of the guests that compute in it: the entry that runs, its alarm, and how full its loop is."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from caesura.host.slices.watchdog import Alarm, begin_anew, new_alarm

if TYPE_CHECKING:
    from caesura.host.slices.slicing import Entry


class ThreadState:
    """`innermost` is the entry of guest code that is topmost on the thread's stack.

    `spent` is seconds for which guests have computed since the thread's event loop looked at timers and sockets, and
    `is_full` whether that is enough, so that whoever comes waits for a turn.
    """

    __slots__ = ("alarm", "innermost", "is_full", "spent")

    def __init__(self, alarm: Alarm) -> None:
        self.alarm = alarm
        self.innermost: Entry | None = None
        self.spent = 0.0
        self.is_full = False


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
    begin_anew(None if state is None else state.alarm)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
