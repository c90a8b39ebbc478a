"""The two ways to tell a guest to unwind and rewind: through thunks, and with the plain ABI.

Both are driven by the same `Call`, which asks four things of a protocol: to suspend (inside a host function),
whether the guest returned because it was suspended, to prepare a resumption, and to make the state normal
again after a trap. With thunks these are reads and writes of the control block; the plain ABI needs calls
into the guest, which are cheap only because they go past wasmtime-py (see `native`). docs/abi.md describes
both.
"""

from __future__ import annotations

import struct
import typing
from typing import TYPE_CHECKING, Final

from caesura.abi import FRAMES_OFFSET, RESULTS_OFFSET, STATUS_OFFSET, Status
from caesura.host.frames import FrameArea

if TYPE_CHECKING:
    from caesura.host.call import Call

# As plain numbers: each look at an enumeration would cost a suspension 80 ns.
_RUN: Final = int(Status.RUN)
_SUSPEND: Final = int(Status.SUSPEND)
_RESUME: Final = int(Status.RESUME)
_RESUME_CALL: Final = int(Status.RESUME_CALL)

# Bytes of results that the block has room for.
_ROOM: Final = FRAMES_OFFSET - RESULTS_OFFSET

_STATUS: Final = struct.Struct("<i")


class Lost(Exception):
    """A suspension or a resumption did not reach its end: some function on the stack does not take part."""


class Overflowed(Exception):
    """A suspended call did not fit; Binaryen's modules notice it when everything is written."""


class StateChange(typing.Protocol):
    """A call of one of the ABI's functions."""

    def __call__(self) -> None:
        """Call it. Raises GuestTrap if it fails."""

    def attempt(self) -> bool:
        """Call it and tell whether it succeeded."""


class Protocol:
    """What a `Call` asks of a protocol."""

    def __init__(self, area: FrameArea, stop_unwind: StateChange) -> None:
        self.area = area
        self._stop_unwind = stop_unwind

    def suspend(self, call: Call) -> None:
        """Make the guest unwind when the running host function returns."""
        raise NotImplementedError

    def is_suspended(self, call: Call) -> bool:
        """Tell whether the guest returned because it was suspended. Raises Lost, Overflowed and Corrupted."""
        raise NotImplementedError

    def prepare_resume(self, call: Call) -> None:
        """Make the guest rewind when the call's export is called again."""
        raise NotImplementedError

    def arrived(self, call: Call) -> None:
        """The guest has called the import at which it was suspended; make its state normal."""
        raise NotImplementedError

    def repair(self) -> None:
        """Make the state normal after a trap or an exception. Raises GuestTrap if the guest will not have it."""
        self.area.reset()
        if not self._stop_unwind.attempt():  # it reports an overflow once more
            self._stop_unwind()


class Thunks(Protocol):
    """Status and results pass through the control block."""

    def suspend(self, call: Call) -> None:
        """Make the guest unwind when the running host function returns."""
        self.area.prepare_unwind()
        _STATUS.pack_into(self.area.block(), STATUS_OFFSET, _SUSPEND)
        call.unwinding = True

    def is_suspended(self, call: Call) -> bool:
        """Tell whether the guest returned because it was suspended. Raises Lost and Corrupted."""
        block = self.area.block()
        status = _STATUS.unpack_from(block, STATUS_OFFSET)[0]
        call.unwinding = False
        if status == _RUN:
            if call.pending is not None or call.arriving is not None:
                raise Lost
            return False
        _STATUS.pack_into(block, STATUS_OFFSET, _RUN)
        if status != _SUSPEND or call.pending is None or not self.area.keep(call):
            raise Lost
        return True

    def prepare_resume(self, call: Call) -> None:
        """Make the guest rewind when the call's export is called again."""
        area = self.area
        area.prepare_rewind(call)
        status = _RESUME_CALL
        packed = call.packed
        if packed is not None and len(packed) <= _ROOM:
            area.write_results(packed)
            call.arriving = None
            status = _RESUME
        _STATUS.pack_into(area.block(), STATUS_OFFSET, status)

    def arrived(self, call: Call) -> None:
        """Make the state normal at the import where the guest was suspended."""
        # The import thunk has done it.

    def repair(self) -> None:
        """Make the state normal after a trap or an exception. Raises GuestTrap if the guest will not have it."""
        _STATUS.pack_into(self.area.block(), STATUS_OFFSET, _RUN)
        self.area.write_stack_pointer(0)
        super().repair()


class Plain(Protocol):
    """The four state changes are calls of exports."""

    def __init__(
        self,
        area: FrameArea,
        stop_unwind: StateChange,
        start_unwind: StateChange,
        start_rewind: StateChange,
        stop_rewind: StateChange,
    ) -> None:
        super().__init__(area, stop_unwind)
        self._start_unwind = start_unwind
        self._start_rewind = start_rewind
        self._stop_rewind = stop_rewind

    def suspend(self, call: Call) -> None:
        """Make the guest unwind when the running host function returns."""
        self.area.prepare_unwind()
        self._start_unwind()
        call.unwinding = True

    def is_suspended(self, call: Call) -> bool:
        """Tell whether the guest returned because it was suspended. Raises Lost, Overflowed and Corrupted."""
        if call.arriving is not None:
            raise Lost
        if not call.unwinding:
            return False
        call.unwinding = False
        if not self._stop_unwind.attempt():
            raise Overflowed
        if not self.area.keep(call) and not call.is_of_import():
            raise Lost
        return True

    def prepare_resume(self, call: Call) -> None:
        """Make the guest rewind when the call's export is called again."""
        self.area.prepare_rewind(call)
        self._start_rewind()

    def arrived(self, call: Call) -> None:
        """Make the state normal at the import where the guest was suspended."""
        self._stop_rewind()
