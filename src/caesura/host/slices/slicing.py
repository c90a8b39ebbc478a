"""What one guest with pause points is told when it is entered: until when it may run, and where it may pause.

Each entry of guest code has a deadline. What can be suspended pauses there: a call that is awaited, or in steps. What
cannot, because a Python function that is no coroutine stands below it (`call_nowait`), is *masked*: it goes on until
its time and `TOLERANCE` are over, and traps then. That is processor time of its thread, and what a host function takes
meanwhile does not count: who is stopped for good must not be a guest that could do nothing, since the process was
stopped, or the machine busy, or a host function took long. Of several host functions all but the longest count: a
guest that calls one after the other keeps the thread as one that computes. Where these wait, as by `time.sleep`, they
take no processor time, and the time that passes is all there is to count: a second of it is all that what is masked may
have with what it calls, and no host function counts for more than a tenth of that. So a process that was stopped while
one ran is forgiven ten times. A slice is time that passes, since others wait for its end.

Entries nest, when host functions call guests, this one or others: what is inside runs no longer than what is outside
may, and only the outermost that is masked has its tolerance, one for all that the host functions of an entry call so.
What a host function resumes that it has in its hands has time of its own: it would be paused at once where that of what
has called the host function is over, again and again. For the same reason whoever goes on from a pause point gets to
the next one, however little is left to it, and however long it takes to resume it.

With `preempt="flag"`, the deadline is an `Alarm` of the watchdog. With `preempt="fuel"` nobody can ask the guest to
pause, so it gets its fuel in portions, as its `Pace` says; whatever the portions, the guest counts the same, so a
budget of fuel ends at the same place. When a host function returns the clock is looked at, since its time counts and no
fuel tells of it, and behind its call stands a pause point; so it is with `preempt="flag"`, where the watchdog may not
have had a chance yet.

A guest does not notice slices. While a call of it is paused, in the middle of its code, no other code of it runs: calls
that are awaited begin, and go on, when the paused one has come to an end or waits in a host function, as they would if
it had not been paused; so do the host functions of its other calls. Letting them run was rejected: it would be as if
another thread came in between, say in the middle of `malloc`.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Generator
from math import inf
from time import monotonic, thread_time
from typing import Any, Final, NoReturn

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.frames import FrameArea
from caesura.host.settings import GuestSettings
from caesura.host.slices.budget import Allowance, Budget, check_fuel, in_force
from caesura.host.slices.entry import TOLERANCE, Entry, below, processor_time, time_left
from caesura.host.slices.pace import Pace, most_cost
from caesura.host.slices.policy import Share
from caesura.host.slices.thread import thread_state
from caesura.host.slices.turns import AT_ONCE, turns_of, wait_for_next_iteration
from caesura.host.state import CallState
from caesura.options import MOST_FUEL

# Units of fuel for which a guest may go on, beyond its budget, where it cannot be suspended.
FUEL_TOLERANCE: Final = 10_000_000

# Seconds that may pass in host functions which are called where the guest cannot be suspended, and for how many of them
# one counts at most.
WAITING: Final = 1.0
MOST_OF_ONE: Final = WAITING / 10

# Seconds of the processor that a pause and its resumption take the host, for which the guest is charged: one that uses
# each portion of fuel up at once takes several times as much of others' time so as of its own. It is what they may take
# at most (`python -m benchmarks.slices`). Measuring it was rejected: most of it is done by the event loop, for all that
# run in it, and looking at the thread's clock takes a tenth of it.
PAUSE: Final = 0.000_015

# Seconds for which each call that cannot be suspended goes on for nothing. That is what the host takes to make it on a
# slow machine, and some times as much on a fast one: what a guest gets by many calls is bounded by the host's own time.
_AS_LONG_AS_A_CALL: Final = 0.00002

# Seconds in which a guest gets to its next pause point.
_MOMENT: Final = 0.0002

_NOT_NOW: Final = 0

_BITS: Final = (1 << 64) - 1

# Of the fuel: what makes the guest pause at its next pause point, and at the one behind that, whatever it counts.
_USED_UP: Final = -1
_UP_TO_THE_NEXT_POINT: Final = 0


class Slicing:
    """The time slices of one guest; of one that has pause points but no `time_slice`, they never end.

    `area` is where frames go, `fuel` the global in which the guest counts, or None if it looks at a request. Raises
    UsageError if the memory with the request may move.
    """

    def __init__(self, settings: GuestSettings, guest: object, area: FrameArea, fuel: native.GlobalCell | None) -> None:
        self.time_slice = inf if settings.time_slice is None else float(settings.time_slice)
        self.share = Share(guest, float(settings.weight), settings.priority)
        self.time = 0.0
        self.used_fuel = 0
        self.slices = 0
        self.suspensions = 0
        # The calls that are paused, and the future that each waits for; None where somebody has it in his hands.
        self.paused: dict[CallState, asyncio.Future[None] | None] = {}
        self._gate: list[asyncio.Future[None]] = []
        self._begins: set[asyncio.Future[None]] = set()  # what calls wait for that have not begun, until their turn
        self._is_closed = False
        self.thread = thread_state()  # the guest's own
        self._area = area
        self._base = area.base
        self._fuel = fuel
        self._pace = Pace()
        self._late = 0.0  # for how many seconds the guest went on beyond its time when it was entered last
        self._innermost: Entry | None = None
        self._request: ctypes.c_ubyte | None = None
        if fuel is None:
            self._request = area.request()
            self._pause = area.pause_word()
        else:
            fuel.set(MOST_FUEL)

    @property
    def counts_fuel(self) -> bool:
        """Whether the guest counts fuel."""
        return self._fuel is not None

    # Entering and leaving

    def begin(self, call: CallState, allowance: Allowance | None, *, has_own_slice: bool, was_paused: bool) -> Entry:
        """Guest code is entered, and may take what its budget allows: tell it until when it may run.

        `has_own_slice` says that it has more than what the entry around it has left; `was_paused` that it goes on from
        a pause point, so that it gets to the next one at least.
        """
        thread = self.thread
        outer = thread.innermost
        now = monotonic()
        entry = Entry(self, allowance, outer, now)
        entry.is_masked = entry.bounded = not call.may_pause
        if outer is not None:
            if outer.bounded:
                entry.bounded = True
                entry.waited = outer.waited
            outer.slicing.time += now - outer.resumed
            thread.alarm.clear()
            if self._innermost is not None:
                self._settle(self._innermost)
        if allowance is not None:
            allowance.enter()
        given = entry.given = self._seconds(entry, now, has_own_slice=has_own_slice)
        if was_paused and not entry.is_masked:
            given = entry.given = max(given, self._to_get_on())
        if outer is not None and outer.is_stopped:
            entry.entered = thread_time()
        if entry.is_masked and given < inf:
            entry.deadline = (entry.entered or thread.latest_processor_time(now)) + given
        else:
            entry.deadline = now + given
        if self._fuel is not None and given < inf:
            pace = self._pace
            is_whole = given >= self.time_slice
            entry.portion = pace.masked_portion(given) if entry.is_masked else pace.portion(given, is_whole=is_whole)
        entry.counted = self.used_fuel
        thread.innermost = entry
        self._innermost = entry
        self._tell(entry, now, given, least=_UP_TO_THE_NEXT_POINT if has_own_slice else _USED_UP)
        return entry

    def end(self, entry: Entry) -> None:
        """Guest code has returned, in whatever way."""
        thread = self.thread
        outer = thread.innermost = entry.outer
        thread.alarm.clear()
        now = monotonic()
        if self._fuel is not None:
            self._settle(entry)
        elif entry.given < inf and not entry.is_masked:
            self._late = now - entry.began - entry.given
        if entry.allowance is not None:
            entry.allowance.leave()
        taken = now - entry.resumed
        self.time += taken
        self.share.ran += taken
        if outer is None:
            self._innermost = None
            thread.spent += now - entry.began
            if thread.spent >= AT_ONCE * self.time_slice and not thread.is_full:
                wait_for_next_iteration(thread)
            return
        self._innermost = below(entry)
        outer.resumed = now
        if outer.bounded:
            outer.waited = entry.waited
        if entry.is_masked and entry.given < inf:
            free = entry.free + _AS_LONG_AS_A_CALL
            if outer.is_masked:
                outer.free += free
            else:
                if self._fuel is None:
                    used = processor_time(entry)
                else:
                    used = self._pace.masked_seconds(self.used_fuel - entry.counted)
                outer.tolerance -= max(used - entry.covered - free, 0.0)
        if outer.is_stopped:
            taken = processor_time(entry)
            outer.left -= taken
            outer.inner += taken
        else:
            outer.slicing._tell(outer, now, time_left(outer, now))

    def stop_clock(self) -> Entry | None:
        """A host function begins that a masked entry has called: what it takes is not the guest's. Return the entry."""
        entry = self._innermost
        if entry is None or not entry.is_masked or entry.deadline == inf:
            return None
        self.thread.alarm.clear()
        entry.stopped = thread_time()
        entry.stopped_at = monotonic()
        entry.waited_before = entry.waited
        entry.left = entry.deadline - entry.stopped
        entry.inner = 0.0
        entry.is_stopped = True
        return entry

    def start_clock(self, entry: Entry) -> None:
        """The host function has ended: the guest has what was left, less what its host functions have taken but for the
        one that took longest, since it may call one after the other.
        """
        now, passed = thread_time(), monotonic()
        taken = now - entry.stopped - entry.inner
        entry.left -= min(taken, entry.longest)
        entry.longest = max(taken, entry.longest)
        # What has waited below counts already.
        entry.waited = max(entry.waited, entry.waited_before + min(passed - entry.stopped_at, MOST_OF_ONE))
        if entry.waited > WAITING:
            entry.left = min(entry.left, 0.0)
        entry.is_stopped = False
        entry.deadline = now + entry.left
        self._tell(entry, passed, entry.left)

    def look_at_clock(self) -> None:
        """A host function has ended whose time counts: if that is over, the guest pauses where it goes on."""
        entry, fuel = self._innermost, self._fuel
        if entry is None or entry.deadline == inf or monotonic() < entry.deadline:
            return
        if self._request is not None:
            self._request.value = 1  # the watchdog may still wait for its turn
        if fuel is None or entry.granted is None:
            return
        rest = _signed(fuel.get())
        if rest >= 0:
            entry.granted -= rest - _USED_UP
            fuel.set(_USED_UP & _BITS)

    def _seconds(self, entry: Entry, now: float, *, has_own_slice: bool) -> float:
        """Return for how long an entry may run."""
        seconds = self.time_slice
        if entry.allowance is not None:
            seconds = min(seconds, entry.allowance.least_cpu)
        if entry.is_masked:
            seconds += TOLERANCE
        # Where nothing is left the guest pauses at once: else waiting within a moment would be free.
        seconds = max(seconds, 0.0)
        outer = entry.outer
        if outer is None or (has_own_slice and not entry.is_masked):
            return seconds
        left = time_left(outer, now)
        if entry.is_masked and not outer.is_masked:
            entry.covered = max(left, 0.0)
            left = entry.covered + outer.tolerance
        return min(seconds, left)

    def _to_get_on(self) -> float:
        """Return for how many seconds a guest that was paused goes on at least, with what it takes to resume it."""
        if self._fuel is not None:
            return 0.0  # a portion of fuel does not pass while it is resumed
        return max(_MOMENT, min(2 * self._late, most_cost(self._area.written())))

    def _tell(self, entry: Entry, now: float, rest: float, *, least: int = _USED_UP) -> None:
        """Tell the guest what holds for an entry whose code is about to run, for `rest` seconds.

        Where these are over, or a budget of fuel is, it has `least` of it.
        """
        area = self._area
        is_masked = entry.is_masked
        if not is_masked:
            area.make_room()
        request = self._request
        if request is not None:
            pause = self._pause
            pause.value = _NOT_NOW if is_masked else self._base
            if is_masked:
                self.thread.alarm.set(now, now + rest, request, pause, self.time_slice, entry.deadline)
            else:
                self.thread.alarm.set(now, entry.deadline, request, None, self.time_slice)
            return
        area.write_pause(area.refused if is_masked else area.base)
        self._settle(entry)
        allowed = MOST_FUEL if entry.allowance is None else entry.allowance.least_fuel
        if is_masked:
            allowed = min(MOST_FUEL, allowed + FUEL_TOLERANCE)
        if entry.deadline < inf:
            allowed = min(allowed, int(entry.portion)) if rest > 0 else least
        if allowed < 0:
            allowed = least
        assert self._fuel is not None, "there is one or the other"
        self._fuel.set(allowed & _BITS)
        entry.granted = allowed

    def _settle(self, entry: Entry) -> None:
        """Charge what the guest has used of what it was granted."""
        granted, entry.granted = entry.granted, None
        if granted is None or self._fuel is None:
            return
        rest = _signed(self._fuel.get())
        used = granted - rest
        is_used_up = rest < 0 and granted == int(entry.portion)  # else it was all that a budget had left
        self.used_fuel += used
        entry.portion -= used
        if entry.allowance is not None:
            entry.allowance.charge(used)
        if not entry.is_masked and 0.0 < entry.given < inf:
            elapsed, frames = monotonic() - entry.resumed, self._area.written()
            self._pace.learn(used, elapsed, entry.given, frames, is_used_up=is_used_up)

    # Budgets

    def allowance_of(self, budget: Budget | Allowance | None) -> Allowance | None:
        """Return what a call may take that begins here: its budget, within that of whoever calls it; or what is left of
        one that several calls share.
        """
        if isinstance(budget, Allowance):
            return budget
        outer = in_force.get()
        if outer is not None and outer.slicing is not self:
            outer = None
        return outer if budget is None else Allowance(budget, self, outer)

    def has_started(self, seconds: float) -> None:
        """Note for how long host functions have run that the start function has called, where it had no slices."""
        self.time += seconds

    def check_budget(self, budget: Budget) -> None:
        """Raise UsageError for a budget that the guest cannot keep."""
        check_fuel(budget, counts=self.counts_fuel)

    # Turns

    def must_wait(self) -> bool:
        """Tell whether a call that would begin, or go on, should wait for a turn first, or for another call."""
        return (bool(self.paused) or not self._may_go_on_at_once()) and native.thread.call is None

    def until_turn(self, call: CallState) -> Generator[Any, Any, None]:
        """Wait until a call can begin, or go on: no other is paused, and it is the guest's turn."""
        had_turn = False
        while True:
            if self.paused and call not in self.paused:
                if call.pending is None and self.is_held_up():
                    self._refuse()  # a call that has not begun does not wait for what may never come
                yield from self._until_stopped()
            elif not had_turn and not self._may_go_on_at_once():
                yield from self._turn(call)
                had_turn = True
            else:
                return

    def _may_go_on_at_once(self) -> bool:
        """Tell whether guests have computed little in this iteration, and this one less than a slice since its turn:
        else who waits for nothing just before each slice ends would have more than its share.
        """
        return not self.thread.is_full and self.share.ran < self.time_slice

    def until_resumed(self, call: CallState) -> Generator[Any, Any, None]:
        """Wait until it is the turn of a call that was paused."""
        yield from self._turn(call)

    def until_free(self, waited_for: object) -> Generator[Any, Any, None]:
        """Wait until a host function can go on that has waited for something: no call of the guest is paused, but the
        one that it awaits, or those that somebody has in his hands.
        """
        while self.paused and not any(future is waited_for or future is None for future in self.paused.values()):
            yield from self._until_stopped()

    def _until_stopped(self) -> Generator[Any, Any, None]:
        """Wait until a paused call has ended, or waits in a host function or in somebody's hands."""
        future = asyncio.get_running_loop().create_future()
        self._gate.append(future)
        yield from future

    def check_free(self, call: CallState) -> None:
        """Raise UsageError if another call of the guest is paused."""
        if call not in self.paused:
            self._refuse()

    def is_taken(self, call: CallState) -> bool:
        """Tell whether another call of the guest is paused, so that this one cannot run."""
        return bool(self.paused) and call not in self.paused

    def is_held_up(self) -> bool:
        """Tell whether a call is paused that nobody drives, or whose task is one of an event loop that is closed."""
        return any(future is None or future.get_loop().is_closed() for future in self.paused.values())

    def has_paused(self, call: CallState, allowance: Allowance | None) -> None:
        """Note that a call was paused, and charge it for that."""
        self.slices += 1
        self.paused[call] = None
        self.time += PAUSE
        self.share.ran += PAUSE
        if allowance is not None:
            allowance.charge_cpu(PAUSE)

    def goes_on(self, call: CallState) -> None:
        """Note that a call that was paused runs again."""
        self.paused.pop(call, None)

    def has_stopped(self, call: CallState) -> None:
        """Note that a call has ended, or waits in a host function or in somebody's hands: others may run, or never."""
        if call.pending is None:
            self.paused.pop(call, None)
        if self._gate and (not self.paused or self.is_held_up()):
            self._open_gate()

    def close(self) -> None:
        """Let nobody wait for a guest that is closed."""
        self._is_closed = True
        self.paused.clear()
        self._open_gate()
        for future in self._begins:
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(None)

    def _open_gate(self) -> None:
        gate, self._gate = self._gate, []
        for future in gate:
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(None)

    def _turn(self, call: CallState) -> Generator[Any, Any, None]:
        try:
            turns = turns_of(asyncio.get_running_loop())
        except RuntimeError:  # whoever drives this coroutine, without asyncio, decides
            self.share.ran = 0.0
            yield
            return
        future = turns.wait(self.share)
        if call in self.paused:
            self.paused[call] = future
        elif call.pending is None:
            self._begins.add(future)
        try:
            yield from future
        except BaseException:
            turns.forget(self.share, future)
            raise
        finally:
            self._begins.discard(future)
        if self._is_closed:
            turns.forget(self.share, future)

    def _refuse(self) -> NoReturn:
        other, future = next(iter(self.paused.items()))
        if future is not None and future.get_loop().is_closed():
            raise UsageError(
                f"a call of {other.export.shown} is paused in the middle of the guest's code, and the event loop whose "
                "task awaits it is closed, so nothing of this guest can run any more: save it, if you need it, and "
                "close it"
            )
        raise UsageError(
            f"a call of {other.export.shown} is paused in the middle of the guest's code, so nothing else of it can "
            "run now: `await guest.call` waits for one that a task awaits; resume or drop one that nobody awaits (in "
            "guest.pending, its function is `pause`), and only then the call whose host function had made it"
        )


def _signed(bits: int) -> int:
    """Return the number that 64 bits stand for."""
    return bits - (1 << 64) if bits >> 63 else bits
