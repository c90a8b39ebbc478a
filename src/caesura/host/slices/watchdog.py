"""The thread that asks a guest to pause when its time is over, one for all guests of a process.

A guest with pause points looks at a byte of its asyncify memory again and again (docs/abi.md, *request*). While it
runs, its thread has an `Alarm` set: when to write there, and where. The watchdog sleeps until the next alarm. It wakes
once or twice a slice while something runs, and not at all otherwise: to set an alarm is to store a tuple, unless the
watchdog sleeps for good, which it does when no alarm has been set for a while. So a call pays for a clock, and not for
waking a thread.

Where a guest cannot be suspended, what ends is processor time of its thread, and what is set is when that is over at
the earliest. The watchdog looks at that thread's clock then, and comes back as often as it takes. So a process that was
stopped, or a machine that has no processor for it, costs the guest nothing. Where the system does not tell the clock of
another thread (macOS and Windows), the time that has passed has to do.

That the byte is read while another thread writes it is sound because it is one byte, and read again.

What could go wrong, and why it does not:

* The memory is freed, or another guest's, when the watchdog writes. An alarm is only set while code of the guest is on
  the thread's stack; no store is closed then (`Instance.release_if_unused` waits). The watchdog says that it looks
  before it reads an alarm, and holds a lock until it has written; who clears an alarm looks at that afterwards, and
  waits for the lock where it has to. Python runs these steps in some order (its global lock), so one sees the other:
  nothing is written once `clear` has returned. (A lock around each would take longer than all the rest.)
* The memory moves while the guest runs, since its asyncify stack grows. Guests with such a memory get no time slices
  (`setup`): its maximum has to fit the address space that is reserved for it.
* An alarm is set just when the watchdog goes to sleep for good: it says so, and then looks once more.
* A `fork` while the watchdog holds the lock: the forking thread takes it first. The child begins without a watchdog,
  and alarms of other threads are gone with these.
* A signal's handler, or a finalizer, calls a guest while this thread holds the lock: it may take it again.
* The interpreter ends while the watchdog holds the lock, and a finalizer calls a guest: the watchdog is stopped before.

A signal (`setitimer`) was rejected, since it reaches the main thread only; so was a thread for each slice (50 us).
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time
import weakref
from math import inf
from time import monotonic
from typing import Final

# Seconds for which the watchdog stays awake without an alarm, and the longest that it sleeps while it is.
_AWAKE: Final = 0.05
_LONGEST: Final = 0.05

# An alarm that is due in less than so much of what the watchdog may sleep for wakes it.
_EARLY: Final = 0.5

Word = ctypes.c_uint32 | ctypes.c_uint64

# Seconds after which the watchdog looks again at a clock of a thread at the earliest.
_COME_BACK: Final = 0.001

# When, as `monotonic` has it; the byte to set; what to fill with ones before that, if anything; and what the clock of
# the thread has to show before that, if it is that clock that counts.
_Set = tuple[float, ctypes.c_ubyte, Word | None, float]


class Alarm:
    """When the guest that runs in a thread is to be asked to pause; made by `new_alarm`, one for each thread."""

    __slots__ = ("__weakref__", "_clock", "_postponed", "_set")

    def __init__(self) -> None:
        self._set: _Set | None = None
        # The watchdog's own: for what was set it has found the thread's clock behind, and looks again at that time.
        self._postponed: tuple[_Set, float] | None = None
        self.read_clock()

    def read_clock(self) -> None:
        """The running thread is the one whose alarm this is."""
        self._clock = _clock_of_thread()

    def set(
        self,
        now: float,
        when: float,
        request: ctypes.c_ubyte,
        refused: Word | None,
        period: float,
        processor_time: float = -inf,
    ) -> None:
        """Have the request set at a time, and before that all bits of `refused`; nothing is set now.

        The request is cleared, unless it is time `now`. `period` is how long the watchdog may sleep at most, in
        seconds, so that it notices in time. Nothing is set before the thread has used so much `processor_time`, as
        `thread_time` has it.
        """
        watchdog = _watchdog
        if when <= now:
            _write(request, refused)
            return
        request.value = 0
        if when == inf:
            return
        self._set = when, request, refused, processor_time
        if watchdog.is_idle or period < watchdog.period:
            with watchdog.lock:
                watchdog.wake(period)
        elif when - now < _EARLY * watchdog.period:
            watchdog.look_again()

    def clear(self) -> None:
        """Let nothing be written any more, now that the guest does not run."""
        watchdog = _watchdog
        self._set = None
        if watchdog.is_looking:
            with watchdog.lock:
                pass

    def ring(self, now: float) -> float:
        """Write if it is time, and return when it will be; the lock is held."""
        found = self._set
        if found is None:
            self._postponed = None
            return inf
        when, request, refused, processor_time = found
        if self._postponed is not None and self._postponed[0] is found:
            when = self._postponed[1]
        if when > now:
            return when
        missing = self._missing(processor_time)
        if missing > 0:
            when = now + max(missing, _COME_BACK)
            self._postponed = found, when
            return when
        _write(request, refused)
        self._set = None
        return inf

    def _missing(self, processor_time: float) -> float:
        """Return how many seconds the thread's clock lacks, as far as it can be seen."""
        if self._clock is None or processor_time == -inf:
            return 0.0
        return processor_time - time.clock_gettime(self._clock)


def _clock_of_thread() -> int | None:
    """Return the clock of the running thread's processor time, which other threads can read; None if there is none."""
    if sys.platform == "win32" or sys.platform == "darwin":
        return None
    return time.pthread_getcpuclockid(threading.get_ident())


def _write(request: ctypes.c_ubyte, refused: Word | None) -> None:
    if refused is not None:
        refused.value = -1
    request.value = 1


class _Watchdog:
    """The thread, and all alarms. `is_looking` says that it may have read an alarm and not have written yet."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.is_idle = True
        self.is_looking = False
        self.period = _LONGEST
        self._bell = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_ended = False
        self._alarms: weakref.WeakSet[Alarm] = weakref.WeakSet()

    def new_alarm(self) -> Alarm:
        """Return an alarm for a thread, and start the watchdog, which may take longer than a slice."""
        alarm = Alarm()
        with self.lock:
            self._alarms.add(alarm)
            self._start()
        return alarm

    def wake(self, period: float) -> None:
        """Look at the alarms at once, and then again after such a time; the lock is held."""
        self.is_idle = False
        self.period = min(self.period, period)
        self._bell.set()
        self._start()

    def _start(self) -> None:
        if self._thread is None and not self._has_ended:
            self._thread = threading.Thread(target=self._run, name="caesura-time-slices", daemon=True)
            self._thread.start()

    def look_again(self) -> None:
        """Look at the alarms at once: one is set that is too early to wait for."""
        self._bell.set()

    def begin_anew(self, own: Alarm | None) -> None:
        """Begin without a thread, in a process that was forked; the alarm of the thread that has forked goes on."""
        self.lock = threading.RLock()
        self.is_looking = False
        self._bell = threading.Event()
        self._thread = None
        self.is_idle = True
        self._alarms = weakref.WeakSet(() if own is None else (own,))
        if own is not None:
            own.read_clock()
        if own is not None and own.ring(-inf) < inf:
            self.wake(self.period)

    def end(self) -> None:
        """Stop the thread: from now on nobody is asked to pause."""
        with self.lock:
            self._has_ended = True
            thread = self._thread
            self._bell.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        last = monotonic()
        while True:
            now = monotonic()
            with self.lock:
                if self._has_ended:
                    return
                self._bell.clear()
                following = self._look(now)
                if following < inf:
                    last = now
                elif now - last > _AWAKE:
                    self.is_idle = True
                    following = self._look(now)
                    self.is_idle = following == inf
                if self.is_idle:
                    self.period = _LONGEST
                pause = None if self.is_idle else max(min(following - now, self.period), 0)
            self._bell.wait(pause)
            if pause is None:
                last = monotonic()

    def _look(self, now: float) -> float:
        """Look at the alarms, and return when the next one is."""
        self.is_looking = True
        following = inf
        for alarm in self._alarms:
            following = min(following, alarm.ring(now))
        self.is_looking = False
        return following


_watchdog: Final = _Watchdog()


def new_alarm() -> Alarm:
    """Return an alarm, for the running thread."""
    return _watchdog.new_alarm()


def begin_anew(own: Alarm | None) -> None:
    """Begin anew in a process that was forked by the thread with this alarm."""
    _watchdog.begin_anew(own)


atexit.register(_watchdog.end)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _watchdog.lock.acquire(), after_in_parent=lambda: _watchdog.lock.release())
