"""Globals and tables whose references Python cannot be shown, by the module's functions for them (docs/abi.md).

What is null, a function, a number of 31 bits, or an exception that carries numbers is saved; anything else that is
there is refused, and named.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from caesura.abi import (
    HELD_GLOBAL,
    HELD_TABLE,
    STATE_CLEAR,
    STATE_FETCH,
    STATE_FIND,
    STATE_SIZE,
    STATE_STORE,
)
from caesura.errors import SnapshotError
from caesura.host.abi_functions import AbiFunction
from caesura.host.instance import Instance
from caesura.host.saving.exceptions import ExceptionLoader, ExceptionSaver
from caesura.host.saving.live import EVERYWHERE, Live
from caesura.host.saving.references import ReferenceLoader, ReferenceSaver
from caesura.snapshots.section import StateGlobal, StateTable
from caesura.snapshots.state import NULL
from caesura.wasm import types as t

_RAW = 8  # bytes of a raw reference


class Held:
    """Such a global, which is a table of one element here, or such a table."""

    def __init__(self, instance: Instance, item: StateGlobal | StateTable) -> None:
        is_table = isinstance(item, StateTable)
        self._instance = instance
        self._item = item
        self._name = f"{HELD_TABLE if is_table else HELD_GLOBAL}{item.index}"
        self.what = f"{'table' if is_table else 'global'} {item.index}"
        self._is_table = is_table

    def size(self) -> int:
        """Return how many elements there are."""
        return _done(self._instance.abi_function(f"{STATE_SIZE}{self._name}").result(), self.what) & 0xFFFF_FFFF

    def read(self, references: ReferenceSaver, exceptions: ExceptionSaver, live: Live = EVERYWHERE) -> list[int]:
        """Return the numbers of all elements. Raises SnapshotError for what cannot be saved."""
        holders = live.holders(self.size())
        numbers = [NULL] * len(holders)
        for place in self._places():
            holder = holders[place]
            if holder is None:
                continue
            what = holder or (f"element {place} of {self.what}" if self._is_table else self.what)
            numbers[place] = self._read(place, what, references, exceptions)
        return numbers

    def function_at(self, place: int, references: ReferenceSaver) -> int | None:
        """Return the index of the function at a place, None for null. Raises SnapshotError for others' ones."""
        if place >= self.size():
            return None
        number = self._function(place, f"element {place} of {self.what}", references)
        return None if number == NULL else number

    def put_back(self, numbers: list[int], references: ReferenceLoader, exceptions: ExceptionLoader) -> None:
        """Make the elements of a new instance what they were. Raises SnapshotError where that cannot be."""
        size = len(numbers)
        if size < self.size():
            raise SnapshotError(f"{self.what} of the snapshot has {size} elements, and that of the module more")
        if not _done(self._function_named(STATE_CLEAR, size).result(), self.what):
            raise SnapshotError(f"{self.what} of the snapshot has {size} elements, and may not have as many here")
        if all(number == NULL for number in numbers):
            return
        store = self._instance.abi_function(f"{STATE_STORE}{self._name}", slots=2)
        for place, number in enumerate(numbers):
            if number == NULL:
                continue
            what = f"element {place} of {self.what}" if self._is_table else self.what
            if self._item.type == t.FUNCREF:
                if store.ask(place, references.function(number)) is None:
                    raise SnapshotError(
                        f"{what} of the snapshot is function {number}, which is of another type than it holds, "
                        f"{self._item.declared}"
                    )
            elif self._item.type == t.ANYREF:
                if store.ask(place, number) is None:
                    raise SnapshotError(
                        f"{what} of the snapshot is a number, and what it holds is of type {self._item.declared}"
                    )
            else:
                exceptions.make(number)
                if store.ask(place) is None:
                    raise SnapshotError(f"{what} of the snapshot cannot be set")

    def _places(self) -> Iterator[int]:
        """Yield the places that are not null."""
        find = self._instance.abi_function(f"{STATE_FIND}{self._name}")
        place = 0
        while True:
            found = find.ask(place)
            number = struct.unpack_from("<i", found)[0] if found is not None else None
            number = _done(number, self.what)
            if number < place:  # -1: there are no more
                return
            yield number
            place = number + 1

    def _read(self, place: int, what: str, references: ReferenceSaver, exceptions: ExceptionSaver) -> int:
        if self._item.type == t.FUNCREF:
            return self._function(place, what, references)
        if self._item.type == t.ANYREF:
            number = self._function_named(STATE_FETCH, place).result()
            if number is None or number < 0:
                raise SnapshotError(
                    f"the guest cannot be saved: {what} holds a reference of type {self._item.declared}, and only null "
                    "and numbers (i31) can be saved of that"
                )
            return number
        if not self._function_named(STATE_FETCH, place).attempt():
            raise SnapshotError(f"the guest cannot be saved: {what} cannot be read (table_limit?)")
        return exceptions.save(what)

    def _function(self, place: int, what: str, references: ReferenceSaver) -> int:
        found = self._instance.abi_function(f"{STATE_FETCH}{self._name}").ask(place)
        if found is None:
            raise SnapshotError(f"the guest cannot be saved: {what} cannot be read")
        raw = int.from_bytes(found[:_RAW], "little")
        return NULL if raw == 0 else references.raw_function(raw, what)

    def _function_named(self, prefix: str, argument: int) -> AbiFunction:
        return self._instance.abi_function(f"{prefix}{self._name}", argument)


def _done(result: int | None, what: str) -> int:
    if result is None:
        raise SnapshotError(f"the module's function for {what} failed, as it does when the guest is interrupted")
    return result
