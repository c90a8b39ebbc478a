"""For how long calls of `poll_oneoff` have slept, so that they sleep for the rest when they are made anew.

A call is known by its arguments: it begins to wait before anybody knows which call of the guest's it is, and is made
anew with the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from caesura.host.state import CallState

# The arguments of a call.
Asked = tuple[int, ...]


class Waits:
    """The calls of one guest that sleep. Times are nanoseconds."""

    def __init__(self) -> None:
        self._since: dict[Asked, int] = {}
        self._before: dict[Asked, int] = {}  # for how long those had slept that were saved, and are not made anew yet

    def begin(self, asked: Asked, suspended: Iterable[CallState]) -> int:
        """Note that a call begins to sleep; return for how long it did before it was saved.

        `suspended` are the guest's suspended calls, among which it is if it was saved.
        """
        before = self._before.pop(asked, 0)
        if before and not any(call.asked == asked for call in suspended):
            before = 0  # it is another call, with the same arguments
        self._since[asked] = time.monotonic_ns() - before
        return before

    def end(self, asked: Asked) -> None:
        """Note that a call sleeps no more."""
        self._since.pop(asked, None)

    def waited(self, asked: Asked) -> int:
        """Return for how long a suspended call has slept."""
        since = self._since.get(asked)
        return self._before.get(asked, 0) if since is None else time.monotonic_ns() - since

    def waited_before(self, asked: Asked, waited: int) -> None:
        """Note for how long a call had slept when it was saved."""
        self._before[asked] = waited
