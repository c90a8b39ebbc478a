"""The arguments of an import that waits, as bits and back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from caesura.errors import SnapshotError
from caesura.wasm import types as t

_FORMATS: Final = {t.I32: "<i", t.I64: "<q", t.F32: "<f", t.F64: "<d"}


def bits_of(kind: int, value: Any, save: Callable[[int, Any], int]) -> int:
    """Return a value's bits, unsigned; `save` returns those of references."""
    layout = _FORMATS.get(kind)
    if layout is not None:
        return int.from_bytes(struct.pack(layout, value), "little")
    return int.from_bytes(value, "little") if kind == t.V128 else save(kind, value)


def value_of(kind: int, bits: int, load: Callable[[int, int], Any]) -> Any:
    """Return the value that bits are; `load` returns references. Raises SnapshotError for a type that is none."""
    layout = _FORMATS.get(kind)
    if layout is not None:
        return struct.unpack(layout, bits.to_bytes(struct.calcsize(layout), "little"))[0]
    if kind == t.V128:
        return bits.to_bytes(16, "little")
    if kind in (t.EXTERNREF, t.FUNCREF):
        return load(kind, bits)
    raise SnapshotError(f"an argument has a type that there is not: {kind}")
