"""WASI's `poll_oneoff`: wait until a clock has come to a time, or there is input, of any number of these.

A program may wait for as many things as fit into its memory. They are read, and answered, in steps of some thousands,
between which the event loop goes on; meanwhile they are kept as numbers in arrays, which take half of what they take in
the guest. All that the guest points to is checked before anything is waited for.
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from array import array
from collections.abc import Callable
from typing import Any, Final

from caesura.host.wasi.buffers import WasiMemory
from caesura.host.wasi.stdin import Input

SUCCESS: Final = 0
INVALID: Final = 28

# Kinds of subscriptions and events.
_CLOCK: Final = 0
_READ: Final = 1

# user data, kind, clock or descriptor, timeout, precision, flags
_SUBSCRIPTION: Final = struct.Struct("<QBxxxxxxxIxxxxQQHxxxxxx")
_EVENT: Final = struct.Struct("<QHBxxxxxQHxxxxxx")
_ABSOLUTE: Final = 1
_NANOSECONDS: Final = 1_000_000_000
_STEP: Final = 2048

# Waiting for input has no time of its own.
_NO_DEADLINE: Final = math.inf


class Poll:
    """One call of `poll_oneoff`.

    `inputs` are the descriptors of `source`; of all others, reading and writing never has to wait here. `clock`
    returns an error number and the time of one of WASI's clocks, in nanoseconds. `waited` is for how many nanoseconds
    the call has waited before, in a guest that was saved meanwhile.
    """

    def __init__(
        self,
        memory: WasiMemory,
        source: Input,
        inputs: set[int],
        clock: Callable[[int], tuple[int, int]],
        waited: int = 0,
    ) -> None:
        self._memory = memory
        self._source = source
        self._inputs = inputs
        self._clock = clock
        self._waited = waited
        self._clocks: dict[int, tuple[int, int]] = {}
        self._user_data = array("Q")
        self._kinds = array("B")
        self._errors = array("H")
        self._deadlines = array("d")
        self._waits_for_input = False

    async def run(self, subscriptions: int, events: int, count: int, result: int) -> int:
        """Wait; return the error number. Arguments are WASI's."""
        if count == 0:
            return INVALID
        self._check(subscriptions, events, count, result)
        now = asyncio.get_running_loop().time()
        for first in range(0, count, _STEP):
            if first:
                await asyncio.sleep(0)
            self._read(subscriptions, first, min(count - first, _STEP), now)
        now, available = await self._wait()
        written = 0
        for first in range(0, count, _STEP):
            if first:
                await asyncio.sleep(0)
            written += self._answer(events, written, first, now, available)
        self._memory.write_number(result, written)
        return SUCCESS

    def run_blocking(self, subscriptions: int, events: int, count: int, result: int) -> int:
        """Do what `run` does, stopping the thread: for guests that cannot be suspended here."""
        if count == 0:
            return INVALID
        self._check(subscriptions, events, count, result)
        now = time.monotonic()
        self._read(subscriptions, 0, count, now)
        earliest = min(self._deadlines)
        available: int | None = None
        if self._waits_for_input:
            available = self._source.wait_blocking(earliest - now)
        else:
            time.sleep(max(0.0, earliest - now))
        now = max(time.monotonic(), earliest) if available is None else time.monotonic()
        written = 0
        for first in range(0, count, _STEP):
            written += self._answer(events, written, first, now, available)
        self._memory.write_number(result, written)
        return SUCCESS

    def _check(self, subscriptions: int, events: int, count: int, result: int) -> None:
        self._memory.check(subscriptions, count * _SUBSCRIPTION.size)
        self._memory.check(events, count * _EVENT.size)
        self._memory.check(result, 4)

    def _read(self, subscriptions: int, first: int, count: int, now: float) -> None:
        """Note some subscriptions."""
        size = _SUBSCRIPTION.size
        content = self._memory.read(subscriptions + first * size, count * size)
        subscription: tuple[Any, ...]
        for subscription in _SUBSCRIPTION.iter_unpack(content):
            user_data, kind, subject, timeout, _, flags = subscription
            error, deadline = SUCCESS, now
            if kind == _CLOCK:
                error, deadline = self._deadline(subject, timeout, flags, now)
            elif kind == _READ and subject in self._inputs:
                deadline = _NO_DEADLINE
                self._waits_for_input = True
            self._user_data.append(user_data)
            self._kinds.append(kind)
            self._errors.append(error)
            self._deadlines.append(deadline)

    def _deadline(self, clock: int, timeout: int, flags: int, now: float) -> tuple[int, float]:
        """Return an error number, and when the loop's clock has come to the time that a subscription names."""
        if not flags & _ABSOLUTE:
            return SUCCESS, now + (timeout - self._waited) / _NANOSECONDS
        if clock not in self._clocks:
            self._clocks[clock] = self._clock(clock)
        error, passed = self._clocks[clock]
        return (error, now) if error else (SUCCESS, now + (timeout - passed) / _NANOSECONDS)

    async def _wait(self) -> tuple[float, int | None]:
        """Wait until something has come true; return the time, and how much input there is (None: not asked)."""
        loop = asyncio.get_running_loop()
        earliest = min(self._deadlines)
        if not self._waits_for_input:
            await asyncio.sleep(max(0.0, earliest - loop.time()))
            return max(loop.time(), earliest), None
        try:
            async with asyncio.timeout_at(earliest if earliest < _NO_DEADLINE else None):
                available = await self._source.wait()
        except TimeoutError:
            return max(loop.time(), earliest), None
        return loop.time(), available

    def _answer(self, events: int, written: int, first: int, now: float, available: int | None) -> int:
        """Write the events of some subscriptions that have come true behind those that are written; return how many."""
        made = bytearray()
        for place in range(first, min(first + _STEP, len(self._kinds))):
            deadline = self._deadlines[place]
            is_input = deadline == _NO_DEADLINE
            if deadline > now and not (is_input and available is not None):
                continue
            kind = self._kinds[place]
            size = available or 0 if is_input else int(kind != _CLOCK)
            made += _EVENT.pack(self._user_data[place], self._errors[place], kind, size, 0)
        self._memory.write(events + written * _EVENT.size, made)
        return len(made) // _EVENT.size
