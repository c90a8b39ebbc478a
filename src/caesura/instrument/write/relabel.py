"""Label indices in immediates: the ones of the new code for those of the original."""

from __future__ import annotations

from caesura.instrument.write.labels import Labels
from caesura.wasm.leb128 import encode_unsigned, read_u32


class Relabeler:
    """Encodes immediates anew. `heights` is the stack of the heights that the original's open labels have now."""

    def __init__(self, data: bytes, labels: Labels, heights: list[int]) -> None:
        self._data = data
        self._labels = labels
        self._heights = heights

    def vector(self, position: int) -> bytes:
        """Return the immediates of a br_table."""
        count, position = read_u32(self._data, position)
        parts = [encode_unsigned(count)]
        for _ in range(count + 1):
            label, position = self._label(position)
            parts.append(label)
        return b"".join(parts)

    def catches(self, position: int) -> bytes:
        """Return the catch clauses of a try_table, whose own label is not open yet."""
        count, position = read_u32(self._data, position)
        parts = [encode_unsigned(count)]
        for _ in range(count):
            start = position
            position += 1
            if self._data[start] < 2:
                _, position = read_u32(self._data, position)
            parts.append(self._data[start:position])
            label, position = self._label(position)
            parts.append(label)
        return b"".join(parts)

    def cast(self, start: int, end: int) -> bytes:
        """Return a whole br_on_cast or br_on_cast_fail: opcode, flags, label, two heap types."""
        _, flags = read_u32(self._data, start + 1)
        label, rest = self._label(flags + 1)
        return self._data[start : flags + 1] + label + self._data[rest:end]

    def _label(self, position: int) -> tuple[bytes, int]:
        """Return the new label index for the one at a position, and the position behind it."""
        label, position = read_u32(self._data, position)
        return encode_unsigned(self._labels.depth(self._heights[-1 - label])), position
