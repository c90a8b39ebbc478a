"""Instructions with several labels, or with a label among other immediates, with other labels in their place.

Whoever moves code into other constructs knows what each label of the original is in the new code: `label` says it. What
stands around the labels is copied. The one immediate of a plain branch needs no help.

A class that others derive from, since compiled code calls methods of a class, but a function that is handed over only
through the interpreter's protocol; a list of new labels by old ones would be made for each instruction.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm.leb128 import encode_unsigned, read_u32

# Kinds of catch clauses below this one have a tag.
_WITHOUT_TAG: Final = 2


class Relabeling:
    """What the labels of some code become; `data` is the module's."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def label(self, depth: int) -> int:
        """Return the label index, where the code is written now, for one of the original; for who derives from this."""
        raise NotImplementedError

    def targets(self, position: int) -> bytes:
        """Return the immediates of a `br_table`, which stand at a position."""
        data = self._data
        count, position = read_u32(data, position)
        parts = [encode_unsigned(count)]
        for _ in range(count + 1):
            depth, position = read_u32(data, position)
            parts.append(encode_unsigned(self.label(depth)))
        return b"".join(parts)

    def catches(self, position: int) -> bytes:
        """Return the catch clauses of a `try_table`, which stand at a position; its own label is not open yet."""
        data = self._data
        count, position = read_u32(data, position)
        parts = [encode_unsigned(count)]
        for _ in range(count):
            start = position
            position += 1
            if data[start] < _WITHOUT_TAG:
                _, position = read_u32(data, position)
            parts.append(data[start:position])
            depth, position = read_u32(data, position)
            parts.append(encode_unsigned(self.label(depth)))
        return b"".join(parts)

    def cast(self, start: int, end: int) -> bytes:
        """Return a whole `br_on_cast` or `br_on_cast_fail`: opcode, a byte of flags, label, two heap types."""
        _, flags = read_u32(self._data, start + 1)
        depth, heap_types = read_u32(self._data, flags + 1)
        label = encode_unsigned(self.label(depth))
        return self._data[start : flags + 1] + label + self._data[heap_types:end]
