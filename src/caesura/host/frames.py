"""Where a suspended call's frames lie: the asyncify stack and its control block.

Only one call unwinds or rewinds at a time, so one area serves all suspended calls: a call's frames stay where they were
written until another call wants to suspend, and are only then copied to Python bytes. A guest with one call at a time,
which is nearly every guest, copies nothing. An area for each call was rejected: each would have to be as large as the
deepest stack.

What the guest writes into the block is its claim. The block itself lies inside the memory, which never shrinks, so it
can always be read and written. *current*, from which the number of bytes of frames follows, is compared with the end of
the area once, when the call is suspended; the number is kept here, since the guest may change the block at any time. A
memory that may move is asked where it is before each access.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from caesura.abi import (
    CURRENT_OFFSET,
    FRAMES_OFFSET,
    PAUSE_OFFSET,
    PAUSE_REFUSED,
    PREEMPT_FRAMES_OFFSET,
    REQUEST_BYTE_OFFSET,
    RESULTS_OFFSET,
    STACK_POINTER_OFFSET,
)
from caesura.errors import UnsupportedModule
from caesura.host import native
from caesura.host.state import CallState

_ONE_RESULT: Final = struct.Struct("16s")


class Corrupted(Exception):
    """The guest says that its frames lie outside of the asyncify stack."""


class FrameArea:
    """The part of a guest's memory with the control block and, behind it, one suspended call's frames.

    Its `place` is the first address, in the guest, and the one behind the last; one that `grows` ends where the memory
    does. `wide` tells whether the memory has 64-bit addresses, `moves` whether it may lie elsewhere after it has grown,
    `pauses` whether the guest has pause points, so that there is more in the block. Raises UnsupportedModule if the
    memory is too small.
    """

    def __init__(
        self,
        memory: native.MemoryCell,
        place: tuple[int, int],
        *,
        wide: bool,
        grows: bool,
        moves: bool,
        pauses: bool = False,
    ) -> None:
        start, end = place
        self.start = start
        self._memory = memory
        self._owner: CallState | None = None
        self._moves = moves
        self._pointer = struct.Struct("<Q" if wide else "<I")
        self._size = PREEMPT_FRAMES_OFFSET if pauses else FRAMES_OFFSET  # of the block
        self.base = self._base = start + self._size  # where frames begin
        self.refused = PAUSE_REFUSED & (0xFFFF_FFFF_FFFF_FFFF if wide else 0xFFFF_FFFF)
        self._end = end
        self._grows = grows
        self._owned = 0  # bytes of the owner's frames
        size = self._memory.size()
        if self._base > min(end, size):
            raise UnsupportedModule(
                f"the memory for the asyncify stack has {size} bytes, and its control block would end at {self._base}: "
                "the module is not instrumented as it says"
            )
        self._host_base = 0
        self._block: ctypes.Array[ctypes.c_char] = ctypes.create_string_buffer(0)
        self._locate()
        self._write(CURRENT_OFFSET, self._base)
        self._write(self._pointer.size, end)

    def block(self) -> ctypes.Array[ctypes.c_char]:
        """Return the control block. A 32-bit memory with its whole address space never moves, others are asked."""
        if self._moves:
            self._locate()
        return self._block

    def write_results(self, packed: bytes) -> None:
        """Write an import's results to where they lie in the control block."""
        block = self.block()
        if len(packed) == _ONE_RESULT.size:
            _ONE_RESULT.pack_into(block, RESULTS_OFFSET, packed)  # less than half of the time that `memmove` takes
        else:
            ctypes.memmove(self._host_base + self.start + RESULTS_OFFSET, packed, len(packed))

    @property
    def place(self) -> tuple[int, int]:
        """The first address, and the one behind the last."""
        return self.start, self._end

    def has_room(self, size: int) -> bool:
        """Tell whether so many bytes of frames fit."""
        return size <= self._end - self._base

    def frames_of(self, call: CallState) -> bytes:
        """Return a copy of a suspended call's frames."""
        if self._owner is not call:
            return call.frames
        self.block()
        return native.bytes_at(self._host_base + self._base, self._owned)

    def make_room(self) -> None:
        """Let nothing lie where a guest that pauses by itself writes its frames."""
        if self._owner is not None:
            self._copy_out()

    def write_pause(self, address: int) -> None:
        """Say where a guest that pauses begins to write its frames, or what it is to do instead."""
        self._write(PAUSE_OFFSET, address)

    def pause_word(self) -> ctypes.c_uint32 | ctypes.c_uint64:
        """Return that place in the block, which must not move."""
        kind = ctypes.c_uint64 if self._pointer.size == 8 else ctypes.c_uint32
        return kind.from_address(self._host_base + self.start + PAUSE_OFFSET)

    def request(self) -> ctypes.c_ubyte:
        """Return the byte by which the guest is asked to pause; the block must not move."""
        return ctypes.c_ubyte.from_address(self._host_base + self.start + REQUEST_BYTE_OFFSET)

    def prepare_unwind(self) -> None:
        """Make room for frames: another suspended call's are copied out."""
        self._copy_out()
        self._write(CURRENT_OFFSET, self._base)

    def written(self) -> int:
        """Return how many bytes of frames the guest says to have written; never more than there is room for."""
        if self._moves:
            self._locate()
        size: int = self._pointer.unpack_from(self._block, CURRENT_OFFSET)[0] - self._base
        return min(max(size, 0), self._end - self._base)

    def keep(self, call: CallState) -> bool:
        """Keep the frames that a call was just suspended with; False: there are none.

        Raises Corrupted if the guest says that they lie elsewhere.
        """
        if self._moves:
            self._locate()
        current: int = self._pointer.unpack_from(self._block, CURRENT_OFFSET)[0]
        size = current - self._base
        if size == 0:
            return False
        if self._grows and current > self._end:
            self._end = self._memory.size()
        if size < 0 or current > self._end:
            raise Corrupted
        self._owner = call
        self._owned = size
        return True

    def prepare_rewind(self, call: CallState) -> None:
        """Put a call's frames into the area, if they are not there."""
        if self._owner is call:
            self._owner = None
            return
        self._copy_out()
        frames = call.frames
        self.block()
        ctypes.memmove(self._host_base + self._base, frames, len(frames))
        self._write(CURRENT_OFFSET, self._base + len(frames))
        call.frames = b""

    def forget(self, call: CallState) -> None:
        """Drop a call's frames, if they are here: it will not be resumed."""
        if self._owner is call:
            self._owner = None

    def reset(self) -> None:
        """Forget half-written frames after a trap, so that the state can become normal again."""
        if self._owner is None:
            self._write(CURRENT_OFFSET, self._base)

    def take_stack_pointer(self) -> int:
        """Return the shadow stack pointer that an entry thunk left behind, and clear its place."""
        block = self.block()
        value: int = self._pointer.unpack_from(block, STACK_POINTER_OFFSET)[0]
        self._pointer.pack_into(block, STACK_POINTER_OFFSET, 0)
        return value

    def write_stack_pointer(self, value: int) -> None:
        """Tell the next entry thunk which shadow stack to run on (0: the current one)."""
        self._write(STACK_POINTER_OFFSET, value)

    def _copy_out(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            self.block()
            owner.frames = native.bytes_at(self._host_base + self._base, self._owned)

    def _write(self, offset: int, value: int) -> None:
        self._pointer.pack_into(self.block(), offset, value)

    def _locate(self) -> None:
        self._host_base = self._memory.base()
        self._block = (ctypes.c_char * self._size).from_address(self._host_base + self.start)
