"""Exceptions in a saved guest: the tag and the numbers that it carries, and a new one that carries the same.

The module takes an exception that it has fetched to pieces, and makes new ones (`instrument.state_exports`). A program
cannot tell one from another of the same tag with the same numbers, so equal ones are one in a state.
"""

from __future__ import annotations

import struct
from typing import Final

from caesura.abi import STATE_EXCEPTION, STATE_MAKE_EXCEPTION
from caesura.errors import SnapshotError
from caesura.host.instance import Instance
from caesura.host.values import SLOT
from caesura.snapshots.section import StateTag
from caesura.snapshots.state import ExceptionState
from caesura.wasm import types as t

_WIDTHS: Final = {t.I32: 32, t.I64: 64, t.F32: 32, t.F64: 64, t.V128: 128}
_HALF: Final = (1 << 64) - 1


class ExceptionSaver:
    """Turns exceptions that the module has fetched into numbers; `exceptions` are what they stand for."""

    def __init__(self, instance: Instance, tags: tuple[StateTag, ...]) -> None:
        self._instance = instance
        self._tags = tags
        self._numbers: dict[ExceptionState, int] = {}

    @property
    def exceptions(self) -> tuple[ExceptionState, ...]:
        """All that were saved, by their numbers."""
        return tuple(self._numbers)

    def save(self, what: str) -> int:
        """Return the number of the exception that was fetched. Raises SnapshotError for one that cannot be saved."""
        for number, tag in enumerate(self._tags):
            values = self._values(number, tag)
            if values is None:
                continue
            if tag.unsaved:
                raise SnapshotError(
                    f"the guest cannot be saved: {what} holds an exception of tag {number}, which {tag.unsaved}"
                )
            return self._numbers.setdefault(ExceptionState(tag=number, values=values), len(self._numbers))
        raise SnapshotError(
            f"the guest cannot be saved: {what} holds an exception that is none of the module's own tags: one of the "
            "host's, or of another instance"
        )

    def _values(self, number: int, tag: StateTag) -> tuple[tuple[int, int], ...] | None:
        """Return what the exception carries, if it is of a tag."""
        slots = 1 + sum(2 if kind == t.V128 else 1 for kind in tag.types)
        results = self._instance.abi_function(f"{STATE_EXCEPTION}{number}", slots=slots).ask()
        if results is None:
            raise SnapshotError("the guest cannot be saved: it failed while an exception was looked into")
        found = [struct.unpack_from("<Q", results, SLOT * place)[0] for place in range(slots)]
        if not found[0] & 0xFFFF_FFFF:
            return None
        values: list[tuple[int, int]] = []
        place = 1
        for kind in tag.types:
            bits = found[place] & ((1 << min(_WIDTHS[kind], 64)) - 1)
            place += 1
            if kind == t.V128:
                bits |= found[place] << 64
                place += 1
            values.append((kind, bits))
        return tuple(values)


class ExceptionLoader:
    """Makes the exceptions of a saved guest in a new instance, which then stores them."""

    def __init__(self, instance: Instance, exceptions: tuple[ExceptionState, ...]) -> None:
        self._instance = instance
        self._exceptions = exceptions
        self._made: int | None = None

    def make(self, number: int) -> None:
        """Make an exception, unless it is what was made last. Raises SnapshotError where that fails."""
        if number == self._made:
            return
        exception = self._exceptions[number]
        bits: list[int] = []
        for kind, value in exception.values:
            bits += [value & _HALF, value >> 64] if kind == t.V128 else [value]
        name = f"{STATE_MAKE_EXCEPTION}{exception.tag}"
        if self._instance.abi_function(name, slots=max(1, len(bits))).ask(*bits) is None:
            raise SnapshotError(f"exception {number} of the snapshot cannot be made: the guest has no room for it")
        self._made = number
