"""Where a guest's stacks lie: the asyncify stack's frames, and shadow stacks for calls that may suspend.

**Frames.** Only one call unwinds or rewinds at a time, so one area serves all suspended calls: a call's
frames stay where they were written until another call wants to suspend, and are only then copied to Python
bytes. A guest with one call at a time, which is nearly every guest, copies nothing. An area for each call was
rejected: each would have to be as large as the deepest stack.

**Shadow stacks.** A compiled program keeps its C stack in linear memory, below a global. Two suspended calls
on one such stack would overwrite each other when they resume in any but the opposite order, so each call that
may suspend runs on a stack of its own, from the guest's `malloc`; stacks are used again. Copying the shadow
stack out and in was rejected: host functions write through pointers to it while the call is suspended. A
guest without `malloc` has its one stack; it can have one suspended call, and what else runs meanwhile runs
below that call's frames.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Final

from caesura.errors import UsageError
from caesura.host import native

if TYPE_CHECKING:
    from collections.abc import Callable

    from caesura.host.call import Call

# Offsets in the control block of the thunk ABI (docs/abi.md), which begins with the plain ABI's {current,
# end}.
STATUS: Final = 16
STACK_POINTER: Final = 24
RESULTS: Final = 32
FRAMES: Final = 288

# How many unused shadow stacks are kept.
_SPARE: Final = 8

_ALIGNMENT: Final = 16

# Written at the low end of a shadow stack, where only an overflow reaches.
_CANARY: Final = 0x6361_6573_7572_6121
_CANARY_SIZE: Final = 8


class FrameArea:
    """The part of a guest's memory with the control block and, behind it, one suspended call's frames."""

    def __init__(self, context: int, memory: object, memory_address: int, start: int, end: int, wide: bool) -> None:
        self.start = start
        self.owner: Call | None = None
        self._context = context
        self._memory = memory  # keeps the structure at memory_address alive
        self._memory_address = memory_address
        self._wide = wide
        self._pointer = struct.Struct("<Q" if wide else "<I")
        self._base = start + FRAMES
        self._host_base = 0
        self._block: ctypes.Array[ctypes.c_char] = ctypes.create_string_buffer(0)
        self._locate()
        self._write(0, self._base)
        self._write(self._pointer.size, end)

    def block(self) -> ctypes.Array[ctypes.c_char]:
        """Return the control block. A 32-bit memory never moves (see `program`), others are asked."""
        if self._wide:
            self._locate()
        return self._block

    def prepare_unwind(self) -> None:
        """Make room for frames: another suspended call's are copied out."""
        self._copy_out()
        self._write(0, self._base)

    def frames(self) -> bytes:
        """Return a copy of the frames in the area."""
        size = self.size()
        return ctypes.string_at(self._host_base + self._base, size)

    def size(self) -> int:
        """Return how many bytes of frames there are."""
        block = self.block()
        current: int = self._pointer.unpack_from(block, 0)[0]
        return current - self._base

    def prepare_rewind(self, call: Call) -> None:
        """Put a call's frames into the area, if they are not there."""
        if self.owner is call:
            self.owner = None
            return
        self._copy_out()
        frames = call.frames
        self.block()
        ctypes.memmove(self._host_base + self._base, frames, len(frames))
        self._write(0, self._base + len(frames))
        call.frames = b""

    def reset(self) -> None:
        """Forget half-written frames after a trap, so that the state can become normal again."""
        if self.owner is None:
            self._write(0, self._base)

    def _copy_out(self) -> None:
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.frames = self.frames()

    def _write(self, offset: int, value: int) -> None:
        self._pointer.pack_into(self.block(), offset, value)

    def take_stack_pointer(self) -> int:
        """Return the shadow stack pointer that an entry thunk left behind, and clear its place."""
        block = self.block()
        value: int = self._pointer.unpack_from(block, STACK_POINTER)[0]
        self._pointer.pack_into(block, STACK_POINTER, 0)
        return value

    def write_stack_pointer(self, value: int) -> None:
        """Tell the next entry thunk which shadow stack to run on (0: the current one)."""
        self._write(STACK_POINTER, value)

    def _locate(self) -> None:
        self._host_base = native.memory_address(self._context, self._memory_address) or 0
        self._block = (ctypes.c_char * FRAMES).from_address(self._host_base + self.start)


class ShadowStacks:
    """The shadow stacks of one guest, taken from its `malloc`.

    `malloc` and `free` run the guest; `locate` returns the host's address of a range of its memory, which is good
    for ever if the memory is not `wide`.
    """

    def __init__(
        self,
        size: int,
        malloc: Callable[[int], int],
        free: Callable[[int], object],
        locate: Callable[[int, int], int],
        wide: bool,
    ) -> None:
        self._size = size
        self._malloc = malloc
        self._free = free
        self._locate = locate
        self._wide = wide
        self._spare: list[int] = []
        self._surplus: list[int] = []
        self._canaries: dict[int, ctypes.c_uint64] = {}

    def take(self) -> int:
        """Return the address of a stack."""
        while self._surplus:
            self._free(self._surplus.pop())
        if self._spare:
            address = self._spare.pop()
            self._known(address).value = _CANARY  # its last call may have used more than the stack
            return address
        address = self._malloc(self._size)
        if address == 0:
            raise UsageError(f"the guest's malloc has no {self._size} bytes for another shadow stack")
        canary = self._canary(address)
        canary.value = _CANARY
        self._canaries[address] = canary
        return address

    def give_back(self, address: int) -> None:
        """Take a stack back from a call that ended.

        Nothing runs in the guest here: what ends a call may be the garbage collector, in any moment.
        """
        if len(self._spare) < _SPARE:
            self._spare.append(address)
        else:
            del self._canaries[address]
            self._surplus.append(address)

    def top(self, address: int) -> int:
        """Return the stack pointer to begin with: stacks grow down."""
        return (address + self._size) & -_ALIGNMENT

    def overflowed(self, address: int) -> bool:
        """Tell whether a call has used more than its stack."""
        return self._known(address).value != _CANARY

    def _known(self, address: int) -> ctypes.c_uint64:
        return self._canary(address) if self._wide else self._canaries[address]

    def _canary(self, address: int) -> ctypes.c_uint64:
        return ctypes.c_uint64.from_address(self._locate(address, _CANARY_SIZE))
