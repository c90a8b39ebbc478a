"""The guest's memory as WASI functions see it: pointers that may point anywhere, lists of buffers of any length.

A list of buffers ("iovecs") may name the same megabytes thousands of times, so that a small guest could ask for more
than the host has, and for minutes of the event loop. WASI, like POSIX, lets a call read or write less than it was
asked for, and C libraries go on with the rest: so a call passes a bounded part, whatever is asked. Refusing long lists
was rejected, since honest programs have them too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from caesura.host.errors import MEMORY_OUT_OF_BOUNDS, GuestTrap
from caesura.host.memory import GuestMemory

# What one call reads or writes at most, in buffers (Linux's IOV_MAX) and in bytes.
_MOST_BUFFERS: Final = 1024
MOST_BYTES: Final = 16 << 20

# An address and a size.
Buffer = tuple[int, int]

_BUFFER: Final = struct.Struct("<II")
_POINTER_BITS: Final = 0xFFFF_FFFF


class WasiMemory:
    """A guest's memory, with 32-bit pointers, signed or unsigned. What lies beyond its end is the guest's fault."""

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self._memory)

    def check(self, address: int, size: int) -> None:
        """Raise GuestTrap if a range is not in the memory."""
        start = address & _POINTER_BITS
        if start + size > len(self._memory):
            raise GuestTrap(MEMORY_OUT_OF_BOUNDS, ())

    def read(self, address: int, size: int) -> bytes:
        """Return a copy of `size` bytes."""
        self.check(address, size)
        return self._memory.read(address & _POINTER_BITS, size)

    def write(self, address: int, content: bytes | bytearray | memoryview) -> None:
        """Copy bytes into the memory."""
        self.check(address, len(content))
        self._memory.write(address & _POINTER_BITS, content)

    def write_number(self, address: int, number: int) -> None:
        """Write a size."""
        self.write(address, struct.pack("<I", number))

    def buffers(self, address: int, count: int) -> list[Buffer]:
        """Return the (address, size) pairs of a list of buffers: as many as one call serves, all in the memory."""
        count = min(count & _POINTER_BITS, _MOST_BUFFERS)
        found: list[Buffer] = []
        rest = MOST_BYTES
        pairs: Iterator[Any] = _BUFFER.iter_unpack(self.read(address, count * _BUFFER.size))
        for start, size in pairs:
            self.check(start, size)
            if size:
                found.append((start, min(size, rest)))
                rest -= min(size, rest)
            if not rest:
                break
        return found

    def gather(self, buffers: list[Buffer]) -> bytes:
        """Return the content of buffers."""
        return b"".join(self.read(address, size) for address, size in buffers)

    def scatter(self, buffers: list[Buffer], content: bytes) -> None:
        """Write bytes into buffers, as far as they reach."""
        rest = memoryview(content)
        for address, size in buffers:
            self.write(address, rest[:size])
            rest = rest[size:]


def total_size(buffers: list[Buffer]) -> int:
    """Return how many bytes buffers have together."""
    return sum(size for _, size in buffers)
