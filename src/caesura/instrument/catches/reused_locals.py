"""The locals that hold what moved clauses have caught: each is used again where it is free."""

from __future__ import annotations

from caesura.wasm.types import is_reference, nullable


class ReusedLocals:
    """Locals that are added to a function, from local `first` on; `types` are theirs, in order."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._free: dict[int, list[int]] = {}
        self.types: list[int] = []

    def take(self, value_type: int) -> int:
        """Return a local for values of a type. Those without a default value are held as nullable ones."""
        held = nullable(value_type) if is_reference(value_type) else value_type
        if self._free.get(held):
            return self._free[held].pop()
        self.types.append(held)
        return self._first + len(self.types) - 1

    def give_back(self, local: int) -> None:
        """Say that nobody reads a local any more."""
        self._free.setdefault(self.types[local - self._first], []).append(local)
