"""What a host puts onto a call's C stack for another call, which runs on another one.

While a call on the guest's own stack is suspended the stack pointer is below its frames, and that is where the guest's
`stackAlloc` allocates: an argument, say, of a call that begins next. That call gets a stack of its own, and nothing
protects the argument once the function in which the first call waits has returned. The same goes for what a host
function allocates on the stack of its own call, and then begins another one.

So these bytes are noted before the first call goes on, and put back when it has left their place. Where it is suspended
with frames there, they are lost until it has left those, and who would read them is refused. To allocate somewhere
else was rejected, since collectors that scan the stack need all of it in one place, and so was to copy the first call's
frames away: what lies in them has addresses too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from caesura.errors import UsageError

_Call = TypeVar("_Call")  # calls have some of these, and stand above

OVERWRITTEN: Final = (
    "a call's arguments on a C stack were overwritten by the call that was suspended there before, which "
    "still uses their place: allocate them with malloc"
)


class KeptArguments(Generic[_Call]):
    """The bytes from `low` to below `high` in the guest's memory, which a call finds when it reads them.

    They lie on the stack of `neighbour` (None: of no call that has not ended), which is `stack` (0: the guest's own).
    `locate` returns the host's address of a range, good until the guest runs. `noted` are the bytes if they are away.
    """

    def __init__(
        self,
        locate: Callable[[int, int], int],
        low: int,
        high: int,
        neighbour: _Call | None = None,
        stack: int = 0,
        *,
        noted: bytes | None = None,
    ) -> None:
        self._locate = locate
        self.low = low
        self.high = high
        self.neighbour = neighbour
        self.stack = stack
        self._noted = noted

    @property
    def noted(self) -> bytes | None:
        """The bytes, if the neighbour may use their place."""
        return self._noted

    def note(self) -> None:
        """Note the bytes before the neighbour goes on, unless its frames are in their place."""
        if self._noted is None:
            self._noted = self._read()

    def is_away(self) -> bool:
        """Tell whether the place may be used by the neighbour."""
        return self._noted is not None

    def put_back(self) -> None:
        """The neighbour has left the place."""
        if self._noted is not None:
            ctypes.memmove(self._locate(self.low, len(self._noted)), self._noted, len(self._noted))
            self._noted = None

    def leave(self, found: int) -> None:
        """The neighbour is suspended with its pointer there."""
        if found >= self.high:
            self.put_back()
        elif self._noted == self._read():
            self._noted = None

    def check(self) -> None:
        """Raise UsageError if the bytes are not what they should be, before the call that reads them goes on."""
        if self._noted is not None and self._noted != self._read():
            raise UsageError(OVERWRITTEN)

    def follow(self) -> None:
        """The call that they are for has run, and may have changed them."""
        if self._noted is not None:
            self._noted = self._read()

    def _read(self) -> bytes:
        size = self.high - self.low
        return ctypes.string_at(self._locate(self.low, size), size)
