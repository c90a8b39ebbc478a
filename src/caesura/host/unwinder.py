"""The two ways to tell a guest to unwind and rewind: through thunks, and with the plain ABI.

A `Call` asks four things of an unwinder: to begin (inside a host function), whether the guest returned because it was
suspended, to prepare a resumption, and to make the state normal again after a trap. With thunks these are reads and
writes of the control block; the plain ABI needs calls into the guest, which are cheap only because they go past
wasmtime-py (see `native`). docs/abi.md describes both.
"""

from __future__ import annotations

import struct
from typing import Final

from caesura.abi import FRAMES_OFFSET, RESULTS_OFFSET, STATUS_OFFSET, Status
from caesura.host.abi_functions import AbiFunction
from caesura.host.frames import FrameArea
from caesura.host.imports import PAUSE
from caesura.host.state import CallState

# As plain numbers: each look at an enumeration would cost a suspension 80 ns.
_RUN: Final = int(Status.RUN)
_SUSPEND: Final = int(Status.SUSPEND)
_RESUME: Final = int(Status.RESUME)
_RESUME_CALL: Final = int(Status.RESUME_CALL)
_PAUSED: Final = int(Status.PAUSED)

# Bytes of results that the block has room for.
_ROOM: Final = FRAMES_OFFSET - RESULTS_OFFSET

_STATUS: Final = struct.Struct("<i")


class Lost(Exception):
    """A suspension or a resumption did not reach its end: some function on the stack does not take part."""


class Overflowed(Exception):
    """A suspended call did not fit; Binaryen's modules notice it when everything is written."""


class Unwinder:
    """What a `Call` asks of the way in which its guest unwinds and rewinds."""

    def __init__(self, area: FrameArea, stop_unwind: AbiFunction, drop_references: AbiFunction | None) -> None:
        self.area = area
        self._stop_unwind = stop_unwind
        self._drop_references = drop_references

    def abandon(self, call: CallState) -> None:
        """Drop what a suspended call has in the guest: it will not be resumed."""
        if self._drop_references is not None:
            self.area.prepare_rewind(call)
            self._drop_references.attempt()
        self.area.forget(call)

    def start_unwind(self) -> None:
        """Make the guest unwind when the running host function returns."""
        raise NotImplementedError

    def is_suspended(self, call: CallState) -> bool:
        """Tell whether the guest returned because it was suspended. Raises Lost, Overflowed and Corrupted."""
        raise NotImplementedError

    def prepare_resume(self, call: CallState) -> bool:
        """Make the guest rewind when the call's export is called again; tell whether it calls the import again."""
        raise NotImplementedError

    def arrived(self) -> None:
        """The guest has called the import at which it was suspended; make its state normal."""
        raise NotImplementedError

    def repair(self) -> None:
        """Make the state normal after a trap or an exception. Raises GuestTrap if the guest will not have it."""
        self.area.reset()
        if not self._stop_unwind.attempt():  # it reports an overflow once more
            self._stop_unwind()


class ThunkUnwinder(Unwinder):
    """Status and results pass through the control block."""

    def start_unwind(self) -> None:
        """Make the guest unwind when the running host function returns."""
        self.area.prepare_unwind()
        _STATUS.pack_into(self.area.block(), STATUS_OFFSET, _SUSPEND)

    def is_suspended(self, call: CallState) -> bool:
        """Tell whether the guest returned because it was suspended. Raises Lost and Corrupted."""
        block = self.area.block()
        status = _STATUS.unpack_from(block, STATUS_OFFSET)[0]
        if status == _RUN:
            if call.pending is not None or call.arriving is not None:
                raise Lost
            return False
        _STATUS.pack_into(block, STATUS_OFFSET, _RUN)
        if status == _PAUSED and call.may_pause and call.pending is None and call.arriving is None:
            if not self.area.keep(call):
                raise Lost
            call.pending = PAUSE
            return True
        if status != _SUSPEND or call.pending is None or not self.area.keep(call):
            raise Lost
        return True

    def prepare_resume(self, call: CallState) -> bool:
        """Make the guest rewind when the call's export is called again; tell whether it calls the import again."""
        area = self.area
        area.prepare_rewind(call)
        packed = call.packed
        if packed is None or len(packed) > _ROOM:
            _STATUS.pack_into(area.block(), STATUS_OFFSET, _RESUME_CALL)
            return True
        area.write_results(packed)
        _STATUS.pack_into(area.block(), STATUS_OFFSET, _RESUME)
        return False

    def arrived(self) -> None:
        """Make the state normal at the import where the guest was suspended."""
        # The import thunk has done it.

    def repair(self) -> None:
        """Make the state normal after a trap or an exception. Raises GuestTrap if the guest will not have it."""
        _STATUS.pack_into(self.area.block(), STATUS_OFFSET, _RUN)
        self.area.write_stack_pointer(0)
        super().repair()


class PlainUnwinder(Unwinder):
    """The four state changes are calls of exports."""

    def __init__(
        self,
        area: FrameArea,
        stop_unwind: AbiFunction,
        drop_references: AbiFunction | None,
        start_unwind: AbiFunction,
        start_rewind: AbiFunction,
        stop_rewind: AbiFunction,
    ) -> None:
        super().__init__(area, stop_unwind, drop_references)
        self._start_unwind = start_unwind
        self._start_rewind = start_rewind
        self._stop_rewind = stop_rewind

    def start_unwind(self) -> None:
        """Make the guest unwind when the running host function returns."""
        self.area.prepare_unwind()
        self._start_unwind()

    def is_suspended(self, call: CallState) -> bool:
        """Tell whether the guest returned because it was suspended. Raises Lost, Overflowed and Corrupted."""
        if call.arriving is not None:
            raise Lost
        if call.pending is None:
            return False
        if not self._stop_unwind.attempt():
            raise Overflowed
        if not self.area.keep(call) and not call.export.is_import:
            raise Lost
        return True

    def prepare_resume(self, call: CallState) -> bool:
        """Make the guest rewind when the call's export is called again; it calls the import again."""
        self.area.prepare_rewind(call)
        self._start_rewind()
        return True

    def arrived(self) -> None:
        """Make the state normal at the import where the guest was suspended."""
        self._stop_rewind()
