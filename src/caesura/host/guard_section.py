"""What a module that is guarded tells of its functions: which are the original's, and what those that were added mean
on a stack.

The section is a claim like all others of a module, so it is checked when the module is read. A module that an older
caesura has instrumented has none: then nobody knows what the functions behind the original's are.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from caesura.abi import (
    ADDED_BITS,
    ADDED_COPY,
    ADDED_SECOND_BODY,
    GUARD_SECTION,
    INDIRECT_IGNORED,
    ONLY_LIST,
    REMOVE_LIST,
)
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.wasm.leb128 import read_u32

# What a function is besides: one of the original's, or added, and of no importance for who looks at a stack.
ORIGINAL: Final = -1
OTHER: Final = -2
UNKNOWN: Final = -3

_LISTS: Final = {ONLY_LIST: "only-list", REMOVE_LIST: "remove-list", INDIRECT_IGNORED: "ignore_indirect"}


@dataclass(frozen=True)
class GuardSection:
    """`lists` is which kind of list was given ("": nobody knows), `end` the first function that was added, `removed`
    how many imports were, by which indices were higher in the original. `kinds` says what functions that were added
    are, `originals` which function second bodies and copies are of. All of that `is_told`, or is a guess.
    """

    end: int
    _: KW_ONLY
    lists: str = ""
    removed: int = 0
    kinds: dict[int, int] = field(default_factory=dict)
    originals: dict[int, int] = field(default_factory=dict)
    is_told: bool = False

    def kind(self, function: int) -> int:
        """Return what a function is: ORIGINAL, one of `ADDED_GUARD` and so on, OTHER, or UNKNOWN."""
        if function < self.end:
            return ORIGINAL
        return self.kinds.get(function, OTHER) if self.is_told else UNKNOWN

    def shown(self, function: int) -> int | None:
        """Return the function that one on a stack is shown as: itself, or what a copy is of; None for what was added.

        That goes for second bodies, too: what they are of is on the stack below them.
        """
        kind = self.kind(function)
        return function if kind == ORIGINAL else self.originals[function] if kind == ADDED_COPY else None

    def original(self, function: int) -> int:
        """Return the index that one of the original's functions, which is no import, had there."""
        return function + self.removed

    def check(self, functions: int) -> None:
        """Raise UnsupportedModule if the section is not that of a module with so many functions."""
        highest = max([self.end - 1, *self.kinds], default=0)
        if highest >= functions or any(function >= self.end for function in self.originals.values()):
            raise UnsupportedModule(
                f"the section {GUARD_SECTION} of the module tells of functions that there are not: the module is not "
                "instrumented as it says"
            )


def read_guard_section(payload: bytes) -> GuardSection:
    """Return what the section tells. Raises UnsupportedModule if it is none."""
    try:
        lists, position = read_u32(payload, 0)
        removed, position = read_u32(payload, position)
        end, position = read_u32(payload, position)
        kinds: dict[int, int] = {}
        originals: dict[int, int] = {}
        latest = {ADDED_SECOND_BODY: 0, ADDED_COPY: 0}
        added = end
        while position < len(payload):
            number, position = read_u32(payload, position)
            added, kind = added + (number >> ADDED_BITS), number & ((1 << ADDED_BITS) - 1)
            kinds[added] = kind
            if kind in latest:
                number, position = read_u32(payload, position)
                latest[kind] += number
                originals[added] = latest[kind]
    except MalformedModule as error:
        raise UnsupportedModule(f"the section {GUARD_SECTION} of the module is cut off or no numbers") from error
    if lists not in _LISTS:
        raise UnsupportedModule(
            f"the section {GUARD_SECTION} of the module tells of a list of kind {lists}, which there is not: the "
            "module is not instrumented as it says"
        )
    return GuardSection(end, lists=_LISTS[lists], removed=removed, kinds=kinds, originals=originals, is_told=True)
