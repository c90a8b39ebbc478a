"""Example stacks, as they are noted of each function: shortened, so that recordings grow as programs do and no more.

Each function has its own, down to it. On a stack of three thousand functions these would be four million names, and
it is the guest that says how deep its stack is and how long its names are. So of a deep stack both ends are kept, as
in error messages, with the number of those in between, by which the shortest example still is known; and of a long
name its beginning. Whoever notes an example shortens it, and whoever reads one does so again, since lines and lists
may be anybody's. `js/src/record_examples.js` is the same in JavaScript: both recorders write the same list.

A stack that a build has noted comes as a chain: each function tells what it had called. Chains share their inner ends,
so each function is visited once to find all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

# How many names an example has, with the words for those that are left out, and how many stand before these.
MOST_FRAMES: Final = 40
_INNER: Final = 20
_OUTER: Final = MOST_FRAMES - _INNER - 1

# Characters of a name.
MOST_CHARACTERS: Final = 200

# How many imports are told of one function.
MOST_IMPORTS: Final = 40

_LEFT_OUT: Final = re.compile(r"\.\.\. (\d{1,15}) more \.\.\.", re.ASCII)


def shortened_name(name: str) -> str:
    """Return a name as examples have it."""
    return name if len(name) <= MOST_CHARACTERS else f"{name[:MOST_CHARACTERS]}..."


def shortened(stack: Sequence[str]) -> tuple[str, ...]:
    """Return a stack, innermost first, as examples have it."""
    if len(stack) > MOST_FRAMES:
        stack = _joined(stack[:_INNER], stack[-_OUTER:], len(stack))
    return tuple([shortened_name(name) for name in stack])


def frames_of(stack: Sequence[str]) -> int:
    """Return how many functions the stack had that an example was made of."""
    left_out = _LEFT_OUT.fullmatch(stack[_INNER]) if len(stack) == MOST_FRAMES else None
    return len(stack) if left_out is None else len(stack) - 1 + int(left_out[1])


def is_better(one: Sequence[str], other: Sequence[str]) -> bool:
    """Tell whether an example is a better one than another, which may be none: of a shorter stack, or one as short and
    earlier by its text.
    """
    if not other:
        return len(one) > 0
    return len(one) > 0 and (frames_of(one), tuple(one)) < (frames_of(other), tuple(other))


def is_left_out(name: str) -> bool:
    """Tell whether a name is the words for functions that an example leaves out."""
    return _LEFT_OUT.fullmatch(name) is not None


def _joined(inner: Sequence[str], outer: Sequence[str], frames: int) -> list[str]:
    return [*inner, f"... {frames - _INNER - _OUTER} more ...", *outer]


class _End:
    """The inner end of a chain: the import that it came to, if it did, the first names, and how many there are."""

    def __init__(self, called: str | None, names: tuple[str, ...], frames: int) -> None:
        self.called = called
        self.names = names
        self.frames = frames


class Chains:
    """The chains of a build. `entries` are names of functions, and imports (`{"import": "module.name"}`); `called`
    returns the number of what a function had called, which is none of these where that is not known.
    """

    def __init__(self, entries: Sequence[Any], called: Callable[[int], int]) -> None:
        self._entries = entries
        self._called = called
        self._ends: dict[int, _End] = {}

    def example(self, number: int) -> tuple[tuple[str, ...], str | None]:
        """Return the shortened stack from what a function had called in the end to itself, and the import there, if
        it is known. A chain that is a ring, as no build has it, is cut there.
        """
        end = self._end(number)
        outer: list[str] = []
        while len(outer) < min(end.frames, MOST_FRAMES):
            outer.append(self._name(number))
            number = self._called(number)
        outer.reverse()
        if end.frames > MOST_FRAMES:
            outer = _joined(end.names, outer[-_OUTER:], end.frames)
        return shortened(outer), end.called

    def _end(self, number: int) -> _End:
        way: dict[int, None] = {}
        while number not in self._ends:
            if number in way or not self._is_function(number):
                self._ends[number] = self._innermost(number)
                break
            called = self._called(number)
            way[number] = None
            number = called if 0 <= called < len(self._entries) else number
        end = self._ends[number]
        for one in reversed(way):
            if one not in self._ends:
                name = (shortened_name(self._name(one)),) if len(end.names) < _INNER else ()
                self._ends[one] = _End(end.called, end.names + name, end.frames + 1)
            end = self._ends[one]
        return end

    def _innermost(self, number: int) -> _End:
        name = self._name(number)
        return _End(None if self._is_function(number) else shortened_name(name), (shortened_name(name),), 1)

    def _is_function(self, number: int) -> bool:
        return isinstance(self._entries[number], str)

    def _name(self, number: int) -> str:
        entry = self._entries[number]
        name: str = entry if isinstance(entry, str) else entry["import"]
        return name
