"""Shadow stacks for calls that may suspend, and the guest's globals with a stack's limits.

A compiled program keeps its C stack in linear memory, below a global. Two suspended calls on one such stack would
overwrite each other when they resume in any but the opposite order, so the calls that begin while another has not ended
get stacks of their own, from the guest's `malloc`; stacks are used again. They are as large as the guest's own, since
nobody but who linked the program knows what it needs. Copying the shadow stack out and in was rejected: host functions
write through pointers to it while the call is suspended.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

from caesura.errors import UsageError
from caesura.host.native import GlobalCell
from caesura.snapshots.state import StacksState

# How many unused shadow stacks are kept.
_SPARE: Final = 8

_ALIGNMENT: Final = 16

# Written at the low end of a shadow stack, where only an overflow reaches.
_CANARY: Final = 0x6361_6573_7572_6121
_CANARY_SIZE: Final = 8


class StackLimits:
    """The globals of a guest that hold the lowest address of its stack, and the one behind its highest."""

    def __init__(self, low: list[GlobalCell], high: list[GlobalCell]) -> None:
        self._low = low
        self._high = high
        self._kept: list[int] = []

    def size(self) -> int:
        """Return the size of the stack that they are of; 0 if they say nothing, as before the guest has set them."""
        if not self._low or not self._high:
            return 0
        return max(0, self._high[0].get() - self._low[0].get())

    @property
    def kept(self) -> tuple[int, ...]:
        """The limits of the guest's own stack, once they were noted."""
        return tuple(self._kept)

    def keep_again(self, kept: tuple[int, ...]) -> None:
        """Take what was noted in a guest that was saved. Raises ValueError if it had other globals."""
        if kept and len(kept) != len(self._low) + len(self._high):
            raise ValueError("limits of another stack")
        self._kept = list(kept)

    def keep(self) -> None:
        """Note the limits of the guest's own stack."""
        self._kept = [cell.get() for cell in (*self._low, *self._high)]

    def restore(self) -> None:
        """Set the limits to those of the guest's own stack."""
        for cell, value in zip((*self._low, *self._high), self._kept, strict=True):
            cell.set(value)

    def set(self, low: int, high: int) -> None:
        """Set the limits to those of another stack."""
        for cell in self._low:
            cell.set(low)
        for cell in self._high:
            cell.set(high)


class ShadowStacks:
    """The shadow stacks of one guest, taken from its `malloc`.

    `find_size` is asked for their size in bytes when the first is needed. `malloc` and `free` run the guest; `locate`
    returns the host's address of a range of its memory, which is good for ever unless the memory `moves`. `limits` are
    the globals with the limits of the stack in use, if the guest has such.
    """

    def __init__(
        self,
        find_size: Callable[[], int],
        malloc: Callable[[int], int],
        free: Callable[[int], object],
        locate: Callable[[int, int], int],
        limits: StackLimits | None,
        *,
        moves: bool,
    ) -> None:
        self.limits = limits
        self._find_size = find_size
        self._size = 0
        self._malloc = malloc
        self._free = free
        self.locate = locate
        self._moves = moves
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
        self._size = self._size or self._find_size()
        address = self._malloc(self._size)
        if address == 0:
            raise UsageError(
                f"the guest's malloc has no {self._size} bytes for another shadow stack: load the guest with a smaller "
                "shadow_stack_size, if its calls need less, or let it grow"
            )
        canary = self._canary(address)
        canary.value = _CANARY
        self._canaries[address] = canary
        return address

    def saved(self) -> StacksState:
        """Return which stacks there are."""
        return StacksState(
            size=self._size,
            stacks=tuple(self._canaries),
            spare=tuple(self._spare),
            surplus=tuple(self._surplus),
            limits=self.limits.kept if self.limits is not None else (),
        )

    def put_back(self, state: StacksState) -> None:
        """Take the stacks of a guest that was saved, whose memory is there again.

        Raises UsageError for stacks that are not in its memory, ValueError for what contradicts itself.
        """
        if {*state.surplus} & {*state.stacks} or len({*state.stacks}) < len(state.stacks):
            raise ValueError("stacks that are there twice, or not any more")
        if self.limits is not None:
            self.limits.keep_again(state.limits)
        self._size = state.size
        self._spare = list(state.spare)
        self._surplus = list(state.surplus)
        for address in state.stacks:
            self.locate(address, state.size)
            self._canaries[address] = self._canary(address)

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

    def find(self, address: int) -> int:
        """Return the stack that an address is on, or 0."""
        return next((stack for stack in self._canaries if stack < address <= stack + self._size), 0)

    def overflowed(self, address: int) -> bool:
        """Tell whether a call has used more than its stack."""
        return self._known(address).value != _CANARY

    def _known(self, address: int) -> ctypes.c_uint64:
        return self._canary(address) if self._moves else self._canaries[address]

    def _canary(self, address: int) -> ctypes.c_uint64:
        return ctypes.c_uint64.from_address(self.locate(address, _CANARY_SIZE))
