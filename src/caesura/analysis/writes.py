"""Which locals a stretch of code writes.

A segment tree over the instructions that write a local: stretches are asked for again and again, and each answer takes
the logarithm of their number. Looking through the stretch each time was quadratic in large functions.
"""

from __future__ import annotations

from caesura.analysis.actions import ACTION_TABLE, LOCAL_SET, LOCAL_TEE
from caesura.analysis.body import Body
from caesura.wasm.indices import InstructionIndex


class Writes:
    """The instructions of a body that write a local, as a tree in which each node has what its two children write."""

    def __init__(self, body: Body) -> None:
        self._indices: list[int] = []
        actions = ACTION_TABLE.of(body)
        for index in range(len(actions)):
            action = actions[index]
            if action == LOCAL_SET or action == LOCAL_TEE:
                self._indices.append(index)
        count = len(self._indices)
        self._nodes: list[int] = [0] * count
        self._nodes += [1 << body.immediates[index] for index in self._indices]
        for node in range(count - 1, 0, -1):
            self._nodes[node] = self._nodes[2 * node] | self._nodes[2 * node + 1]

    def between(self, start: InstructionIndex, end: InstructionIndex) -> int:
        """Return the locals that instructions from `start` and before `end` write, as bits."""
        return self.between_places(self.place_of(start), self.place_of(end))

    def between_places(self, start: int, end: int) -> int:
        """Do what `between` does for instructions whose places `place_of` gave: whoever asks often looks up once."""
        count = len(self._indices)
        low = start + count
        high = end + count
        written = 0
        while low < high:
            if low & 1:
                written |= self._nodes[low]
                low += 1
            if high & 1:
                high -= 1
                written |= self._nodes[high]
            low >>= 1
            high >>= 1
        return written

    def place_of(self, index: InstructionIndex) -> int:
        """Return how many of these instructions stand before an instruction.

        This is `bisect_left`, which compiled code could only call by way of Python's objects.
        """
        indices = self._indices
        low = 0
        high = len(indices)
        while low < high:
            middle = (low + high) >> 1
            if indices[middle] < index:
                low = middle + 1
            else:
                high = middle
        return low
