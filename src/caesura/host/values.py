"""Values between Python and the guest: what may cross, checked before the guest sees it.

Wasmtime's raw calls take 16 bytes a value and check nothing, and wasmtime-py wraps integers that are too
large without a word. Here a call's arguments go through `struct` in one step, which refuses what does not
fit; only then are they looked at one by one, to say which one is wrong, or to accept an unsigned number
(2**32 - 1 and -1 are the same i32). Floats are Python floats; an f32 is rounded. v128 is 16 bytes, externref
any Python object, funcref a function of the guest's own (see `references`), None the null of both. Other references
are refused: Python has no use for them, and Wasmtime's C API aborts on some.
"""

from __future__ import annotations

import ctypes
import functools
import reprlib
import struct
from collections.abc import Callable
from operator import index
from typing import Any, Final

from caesura.errors import UsageError
from caesura.host.references import References
from caesura.wasm import types as t

SLOT: Final = 16

_FORMATS: Final = {
    t.I32: "i12x",
    t.I64: "q8x",
    t.F32: "f12x",
    t.F64: "d8x",
    t.V128: "16s",
    t.EXTERNREF: "I12x",
    t.FUNCREF: "Q8x",
}
_BITS: Final = {t.I32: 32, t.I64: 64}

# Integers beyond are described: Python refuses to write very large ones at all.
_SHOWN_BITS: Final = 128

Buffer = ctypes.Array[ctypes.c_char]


class Values:
    """A list of value types: how many, and how they are written and read.

    `packer` makes bytes of plain numbers; None where other values are among the types.
    """

    def __init__(self, types: tuple[int, ...]) -> None:
        self.types = types
        self.count = len(types)
        self._kinds = tuple(enumerate(types))
        self.unsupported = next((kind for kind in types if kind not in _FORMATS), 0)
        self.has_references = t.EXTERNREF in types or t.FUNCREF in types
        self._special = self.has_references or t.V128 in types
        self._struct = struct.Struct("<" + "".join(_FORMATS.get(kind, "16x") for kind in types))
        self.packer: Callable[..., bytes] | None = None if self._special else self._struct.pack
        self.size = SLOT * self.count

    def __str__(self) -> str:
        return f"({', '.join(t.type_name(kind) for kind in self.types)})"

    def write(
        self, buffer: Buffer, offset: int, values: tuple[Any, ...], objects: References, what: str, owner: str
    ) -> None:
        """Write values into a buffer; in errors they are, for instance, each an "argument" of "handle"."""
        if not self._special and _are_plain(values):
            try:
                self._struct.pack_into(buffer, offset, *values)
                return
            except (struct.error, OverflowError, TypeError):
                pass  # an unsigned number, or a mistake: look at each
        self.write_converted(buffer, offset, self.convert(values, what, owner), objects, what, owner)

    def pack(self, values: tuple[Any, ...], what: str, owner: str) -> bytes:
        """Return values as bytes, as `write` writes them; there are no references among them."""
        if not self._special and _are_plain(values):
            try:
                return self._struct.pack(*values)
            except (struct.error, OverflowError, TypeError):
                pass  # an unsigned number, or a mistake: look at each
        return self._struct.pack(*self.convert(values, what, owner))

    def convert(self, values: tuple[Any, ...], what: str, owner: str) -> list[Any]:
        """Return values as `struct` wants them, but for references.

        Converting an object to a number runs its `__index__` or `__float__`, which may call the guest. Each is called
        once, and nothing is written meanwhile.
        """
        if len(values) != self.count:
            plural = "" if self.count == 1 else "s"
            raise UsageError(f"{owner}: expected {self.count} {what}{plural} {self}, got {len(values)}")
        return [checked_value(kind, values[place], f"{what} {place + 1} of {owner}") for place, kind in self._kinds]

    def write_converted(
        self, buffer: Buffer, offset: int, converted: list[Any], objects: References, what: str, owner: str
    ) -> None:
        """Write what `convert` returned; references are good until the guest runs next."""
        if self.has_references:
            places = [place for place, kind in self._kinds if kind == t.EXTERNREF]
            for place, raw in zip(places, objects.to_raw([converted[place] for place in places]), strict=True):
                converted[place] = raw
            for place, kind in self._kinds:
                if kind == t.FUNCREF:
                    converted[place] = objects.function_to_raw(converted[place], f"{what} {place + 1} of {owner}")
        self._struct.pack_into(buffer, offset, *converted)

    def read(self, buffer: Buffer, offset: int, objects: References) -> tuple[Any, ...]:
        """Return the values in a buffer."""
        values = self._struct.unpack_from(buffer, offset)
        if not self.has_references:
            return values
        return tuple(objects.read(kind, value) for kind, value in zip(self.types, values, strict=True))


@functools.lru_cache(maxsize=1024)
def values_of(types: tuple[int, ...]) -> Values:
    """Return the list of some types: one object for all functions of all guests that have it."""
    return Values(types)


def _are_plain(values: tuple[Any, ...]) -> bool:
    """Tell whether `struct` takes values without running code of theirs."""
    for value in values:
        kind = type(value)
        if kind is not int and kind is not float:
            return False
    return True


def result_of(values: tuple[Any, ...]) -> Any:
    """Return results as Python functions do: None, the value, or a tuple."""
    if len(values) == 1:
        return values[0]
    return values or None


def results_from(value: Any, count: int) -> tuple[Any, ...]:
    """Return what a Python function returned as a tuple of results."""
    if count == 1:
        return (value,)
    if value is None:
        return ()
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def checked_value(kind: int, value: Any, what: str) -> Any:
    """Return a value in the form that `struct` wants; raises UsageError if it does not fit the type."""
    name = t.type_name(kind)
    if kind in _BITS:
        if not hasattr(type(value), "__index__"):  # as Python looks for it: a class, `int`, is no integer
            raise UsageError(f"{what} is {_shown(value)}: expected an integer for {name}")
        return _checked_integer(kind, index(value), what)
    if kind in (t.F32, t.F64):
        if not (hasattr(type(value), "__float__") or hasattr(type(value), "__index__")):
            raise UsageError(f"{what} is {_shown(value)}: expected a number for {name}")
        try:
            number = float(value)
            struct.pack("<f" if kind == t.F32 else "<d", number)
        except OverflowError:
            raise UsageError(f"{what} is {_shown(value)}: out of range for {name}") from None
        return number
    if kind == t.V128:
        raw = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""
        if len(raw) != SLOT:
            raise UsageError(f"{what} is {_shown(value)}: expected 16 bytes for v128")
        return raw
    return value


def _checked_integer(kind: int, value: int, what: str) -> int:
    bits = _BITS[kind]
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise UsageError(
            f"{what} is {_shown(value)}: out of range for {t.type_name(kind)} "
            f"({-(1 << (bits - 1))} to {(1 << (bits - 1)) - 1}, or unsigned to {(1 << bits) - 1})"
        )
    return value - (1 << bits) if value >= 1 << (bits - 1) else value


def _shown(value: object) -> str:
    """Return a value as an error shows it: never pages of it."""
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"an integer of {value.bit_length()} bits"
    return reprlib.repr(value)
