"""Locals that are added to a function for values that live for a short stretch of code: one for each type."""

from __future__ import annotations

from typing import Final


class AddedScratch:
    """`types` are those of the locals that have been asked for; the first one gets the number `first`."""

    def __init__(self, first: int) -> None:
        self.types: list[int] = []
        self.first: Final = first

    def local(self, value_type: int) -> int:
        """Return the local of a type."""
        if value_type not in self.types:
            self.types.append(value_type)
        return self.first + self.types.index(value_type)
