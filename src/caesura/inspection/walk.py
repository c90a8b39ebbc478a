"""Whose frames lie on an asyncify stack, from the outermost function inwards, and at which call site each stands.

Frames follow each other without gaps, the outermost last, and say which call site of their function they belong to. So
the walk begins at the end, with the function that was called from outside, and each call site tells the next one. That
of a call through a table comes from the frame's own values and what the table holds. Where that is not known (the index
was computed anew, or a table's contents are not there) every function of the type is tried, and what comes out must end
where the stack begins, in the import that suspended the call. If several chains do, the frames in which they differ are
marked as uncertain.

Functions without frames on the way are found by their only call site, and tail calls by the identities of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from caesura.abi import CALLS_FUNCTION, CALLS_TABLE, SOURCE_CONSTANT, SOURCE_VALUE
from caesura.errors import SnapshotError
from caesura.inspection.layouts import CallSite, FunctionLayout, Layouts
from caesura.wasm.types import I64

# How many frames are looked at before the walk gives up: a forged stack could be read in very many ways.
_MOST_STEPS: Final = 1_000_000

# What a lookup in a table answers where nobody knows.
UNKNOWN: Final = -1


class UnreadableStack(SnapshotError):
    """The bytes of an asyncify stack are not those of any chain of frames of the module."""


@dataclass(frozen=True)
class Activation:
    """A function on the stack, with a frame or without, and the call site at which it stands.

    `start` is where its frame begins in the stack's bytes; None if it has none. `site` counts the function's call
    sites by their numbers. `certain` is False if other functions' frames would fit the bytes as well.
    """

    layout: FunctionLayout
    site: int
    start: int | None
    certain: bool = True

    @property
    def call(self) -> CallSite:
        """The call site."""
        return self.layout.sites[self.site]


class Callees:
    """What a walk asks about a module.

    `is_pending` tells whether a function is the import in which the call is suspended; `element` gives the function in
    a table at an index, and `referenced` that of a reference in a frame, by its type and its handle, for the bytes
    behind the outermost frame: None for null, or UNKNOWN. `of_type` gives all functions of a type.
    """

    def __init__(
        self,
        is_pending: Callable[[int], bool],
        element: Callable[[int, int], int | None],
        referenced: Callable[[int, int, bytes], int | None],
        of_type: Callable[[int], Sequence[int]],
    ) -> None:
        self.is_pending: Final = is_pending
        self.element: Final = element
        self.referenced: Final = referenced
        self.of_type: Final = of_type


def walk(layouts: Layouts, stack: bytes, outermost: int, callees: Callees) -> list[Activation]:
    """Return the activations of a suspended call, innermost first; `outermost` is the function called from outside.

    Raises UnreadableStack where the bytes are no chain of frames.
    """
    chains = _Walk(layouts, stack, callees).chains(outermost)
    if not chains:
        raise UnreadableStack(
            f"the {len(stack)} bytes on the asyncify stack are no frames of this module, from function {outermost} on: "
            "it may be another module, or one that was instrumented with other options"
        )
    first = chains[0]
    if len(chains) > 1:
        other = chains[1]
        same = 0
        while same < min(len(first), len(other)) and first[same] == other[same]:
            same += 1
        first = [Activation(one.layout, one.site, one.start, certain=place < same) for place, one in enumerate(first)]
    return first[::-1]


class _Walk:
    """Finds chains, depth first, without recursion: stacks can have hundreds of thousands of frames."""

    def __init__(self, layouts: Layouts, stack: bytes, callees: Callees) -> None:
        self._layouts = layouts
        self._stack = stack
        self._callees = callees
        self._runs = stack[len(stack) - layouts.runs_size :] if layouts.runs_size else b""

    def chains(self, outermost: int) -> list[list[Activation]]:
        """Return the chains that fit, outermost first, two at most."""
        end = len(self._stack) - self._layouts.runs_size
        found: list[list[Activation]] = []
        chain: list[Activation] = []
        # What is left to try: how long the chain is then, where the next frame ends, and the function.
        choices: list[tuple[int, int, int]] = [(0, end, outermost)]
        steps = 0
        while choices and len(found) < 2:
            length, position, function = choices.pop()
            del chain[length:]
            steps += 1
            if steps > _MOST_STEPS:
                raise UnreadableStack("the asyncify stack can be read in too many ways")
            following: list[int]
            if self._is_end(function, position):
                found.append(chain.copy())
                continue
            layout = self._layout(function, position)
            if layout is None:
                following = self._behind_marker(function, position)
                position -= self._layouts.marker
            else:
                position, following = self._enter(layout, position, chain)
            choices += [(len(chain), position, callee) for callee in reversed(following)]
        return found

    def _is_end(self, function: int, position: int) -> bool:
        """Tell whether the chain ends with a function: the import in which the call is suspended."""
        marker = self._layouts.marker
        if position != marker or function in self._layouts.functions:
            return False
        if marker and self._word(0) != 1:
            return True  # the suspension came from another module's function
        return self._callees.is_pending(function)

    def _behind_marker(self, function: int, position: int) -> list[int]:
        """Return what a function of another module may have called, of this one, where it was suspended below."""
        marker = self._layouts.marker
        if not marker or position <= marker or self._word(position - marker) != 0:
            return []
        return list(self._layouts.functions)

    def _layout(self, function: int, position: int) -> FunctionLayout | None:
        """Return the layout of a function, or of the one that took its place by a tail call."""
        layouts = self._layouts
        layout = layouts.functions.get(function)
        if layout is None or (layout.identity is None and not layout.leaves):
            return layout
        if layout.leaves and layout.identity is None and layout.sites:
            return layout  # a frameless wrapper
        size = layouts.identity_size
        identity = self._word(position - size) if position >= size else UNKNOWN
        return layouts.by_identity.get(identity)

    def _enter(self, layout: FunctionLayout, position: int, chain: list[Activation]) -> tuple[int, list[int]]:
        """Put an activation on the chain; return where its frame begins, and what it may have called: nothing if its
        frame does not fit.
        """
        if not layout.has_frame:
            if not layout.leaves:
                chain.append(Activation(layout, 0, None))
            return position, [layout.sites[0].target] if layout.sites else []
        start = position - layout.size - (0 if layout.identity is None else self._layouts.identity_size)
        if start < 0:
            return position, []
        number = self._word(start, signed=True) - layout.first
        if not 0 <= number < len(layout.sites):
            return position, []
        chain.append(Activation(layout, number, start))
        return start, self._called(layout, number, start)

    def _called(self, layout: FunctionLayout, number: int, start: int) -> list[int]:
        """Return the functions that a call site may have called."""
        site = layout.sites[number]
        if site.kind == CALLS_FUNCTION:
            return [site.target]
        function = self._looked_up(layout, site, start)
        if function is None:
            return []
        return list(self._callees.of_type(site.target)) if function == UNKNOWN else [function]

    def _looked_up(self, layout: FunctionLayout, site: CallSite, start: int) -> int | None:
        """Return the function that a call through a table or a reference has called: None for null, or UNKNOWN."""
        if site.kind == CALLS_TABLE:
            if site.source == SOURCE_CONSTANT:
                return self._callees.element(site.table, site.constant)
            if site.source >= SOURCE_VALUE:
                value = layout.values[site.source - SOURCE_VALUE]
                size = 8 if value.type == I64 else 4
                index = int.from_bytes(self._stack[start + value.offset : start + value.offset + size], "little")
                return self._callees.element(site.table, index)
        elif site.source == SOURCE_CONSTANT:
            return site.constant
        elif site.source >= SOURCE_VALUE:
            value = layout.values[site.source - SOURCE_VALUE]
            return self._callees.referenced(value.type, self._word(start + value.offset), self._runs)
        return UNKNOWN

    def _word(self, offset: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._stack[offset : offset + 4], "little", signed=signed)
