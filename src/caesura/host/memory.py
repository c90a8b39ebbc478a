"""The guest's memory as host functions want it: bytes, strings, structs, and views that survive growth.

A guest's memory can grow whenever the guest runs, and then it may lie elsewhere: an address or a `memoryview`
kept across a call would read freed pages. So nothing here keeps one: every access asks Wasmtime where the
memory is (0.4 us), checks the range, and copies. `view` gives the same care in the shape of a sequence.
Handing out a `memoryview` was rejected, because nothing could take it back.
"""

from __future__ import annotations

import ctypes
import reprlib
import struct
from collections.abc import Callable
from typing import Any, Final, overload

from caesura.argument_kinds import check_kind, shown
from caesura.errors import UsageError
from caesura.host import native
from caesura.host.uncopied import Uncopied

PAGE_SIZE: Final = 65536

# What codecs raise for bytes or characters that they have no place for, and for an encoding that there is not.
_NO_TEXT: Final = (ValueError, LookupError, TypeError)

# What `struct` raises for layouts and values that it does not take.
_NO_STRUCTURE: Final = (struct.error, TypeError, ValueError, OverflowError)

# How much of a string whose end is not known is read first.
_STRING_CHUNK: Final = 256


class GuestMemory(Uncopied):
    """A memory of a guest. Addresses and sizes are bytes.

    What lies beyond its end is a UsageError, and so are arguments of the wrong kind, and bytes of the guest's that are
    no text where text was asked for. `item` is what wasmtime-py has for it.
    """

    _what = "the memory of a caesura guest"
    _instead_of_copy = _instead_of_pickle = "`read` copies bytes out of it"

    def __init__(self, context: int, memory: native.Memory, check: Callable[[], None]) -> None:
        cell = native.MemoryCell(context, memory)
        self.item = memory
        self._context = context
        self._address = cell.address
        self._find_base = cell.find_base
        self._find_size = cell.find_size
        self._check = check

    def __len__(self) -> int:
        self._check()
        return int(self._find_size(self._context, self._address))

    def read(self, address: int, size: int) -> bytes:
        """Return a copy of `size` bytes."""
        return native.bytes_at(self._locate(address, size), size)

    def write(self, address: int, content: bytes | bytearray | memoryview) -> None:
        """Copy bytes into the memory."""
        try:
            raw = bytes(memoryview(content))  # not `bytes(content)`, which makes zeros of an integer
        except TypeError:
            raise UsageError(f"what is to be written is {reprlib.repr(content)}: expected bytes") from None
        ctypes.memmove(self._locate(address, len(raw)), raw, len(raw))

    def read_string(self, address: int, size: int | None = None, encoding: str = "utf-8") -> str:
        """Return the text at an address; without `size` it ends at the first zero byte, as in C."""
        if size is None:
            raw = bytearray()
            check_kind("address", address, int)
            end = len(self)
            step = _STRING_CHUNK
            while True:
                chunk = self.read(address, min(step, end - address)) if address < end else b""
                step = min(2 * step, PAGE_SIZE)
                if not chunk:
                    raise UsageError("the guest's string has no zero byte before the end of the memory")
                place = chunk.find(0)
                if place >= 0:
                    return _decoded(bytes(raw + chunk[:place]), encoding)
                raw += chunk
                address += len(chunk)
        return _decoded(self.read(address, size), encoding)

    def write_string(self, address: int, text: str, size: int, encoding: str = "utf-8") -> int:
        """Write text and a zero byte into a buffer of `size` bytes; return the size without the zero."""
        check_kind("text", text, str)
        check_kind("size", size, int)
        try:
            raw = text.encode(encoding)
        except _NO_TEXT as error:
            raise UsageError(f"the text cannot be written as {encoding}: {error}") from None
        if len(raw) >= size:
            raise UsageError(f"a text of {len(raw)} bytes and its zero byte do not fit into {size} bytes of the guest")
        self.write(address, raw + b"\0")
        return len(raw)

    def read_struct(self, layout: str, address: int) -> tuple[Any, ...]:
        """Return the fields of a structure, as `struct.unpack` does; guests are little endian ("<")."""
        return struct.unpack(layout, self.read(address, _size_of(layout)))

    def write_struct(self, layout: str, address: int, *values: Any) -> None:
        """Write a structure, as `struct.pack` does."""
        self._locate(address, _size_of(layout))  # before a size that is a mistake is made
        try:
            packed = struct.pack(layout, *values)
        except _NO_STRUCTURE as error:
            raise _wrong_structure(layout, error) from None
        self.write(address, packed)

    def view(self, address: int, size: int) -> MemoryView:
        """Return a window into the memory that stays valid when the memory grows."""
        self._locate(address, size)
        return MemoryView(self, address, size)

    def _locate(self, address: int, size: int) -> int:
        """Return the host's address of a range of the memory, good until the guest runs again; not for users."""
        self._check()
        if type(address) is not int or type(size) is not int:
            check_kind("address", address, int)
            check_kind("size", size, int)
        end = int(self._find_size(self._context, self._address))
        if address < 0 or size < 0 or address + size > end:
            raise UsageError(
                f"{shown(size)} bytes at address {shown(address)} of the guest's memory: it has {end} bytes"
            )
        return (self._find_base(self._context, self._address) or 0) + address


def _decoded(raw: bytes, encoding: str) -> str:
    """Return the text that bytes of the guest's are; what it has written there may be none."""
    try:
        return raw.decode(encoding)
    except _NO_TEXT as error:
        raise UsageError(f"the guest's string cannot be read as {encoding}: {error}") from None


def _size_of(layout: str) -> int:
    """Return the size of a structure."""
    try:
        return struct.calcsize(layout)
    except _NO_STRUCTURE as error:
        raise _wrong_structure(layout, error) from None


def _wrong_structure(layout: object, error: Exception) -> UsageError:
    """Return the error for a layout that is none, or for values that do not fit it."""
    return UsageError(f"the structure {reprlib.repr(layout)}: {error}")


class MemoryView(Uncopied):
    """A window into a guest's memory: indexing and slices read and write the guest's bytes."""

    _what = "a window into the memory of a caesura guest"
    _instead_of_copy = _instead_of_pickle = "`bytes(view)` copies what it shows"

    def __init__(self, memory: GuestMemory, address: int, size: int) -> None:
        self._memory = memory
        self._start = address
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return self._memory.read(self._start, self._size)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> bytes: ...
    def __getitem__(self, place: int | slice) -> int | bytes:
        if isinstance(place, slice):
            start, stop, step = place.indices(self._size)
            if step == 1:
                return self._memory.read(self._start + start, max(0, stop - start))
            return bytes(self)[place]
        return self._memory.read(self._start + self._checked(place), 1)[0]

    @overload
    def __setitem__(self, place: int, value: int) -> None: ...
    @overload
    def __setitem__(self, place: slice, value: bytes | bytearray | memoryview) -> None: ...
    def __setitem__(self, place: int | slice, value: int | bytes | bytearray | memoryview) -> None:
        if isinstance(value, int):
            if isinstance(place, slice):
                raise TypeError("a slice of guest memory is set to bytes, not to an integer")
            self._memory.write(self._start + self._checked(place), bytes([value]))
            return
        if not isinstance(place, slice):
            raise TypeError("a byte of guest memory is set to an integer, not to bytes")
        start, stop, step = place.indices(self._size)
        raw = bytes(memoryview(value))  # the length of a view that has wider items is not its bytes
        if step != 1 or len(raw) != max(0, stop - start):
            raise ValueError("a slice of guest memory is set to bytes of the same length, without a step")
        self._memory.write(self._start + start, raw)

    def _checked(self, place: int) -> int:
        if not -self._size <= place < self._size:
            raise IndexError(f"byte {place} of a view of {self._size} bytes")
        return place % self._size
