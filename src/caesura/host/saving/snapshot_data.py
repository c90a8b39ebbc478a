"""What a snapshot is as data: a state, what it is a change of, and the bytes of both. Guests are made of it elsewhere.

The state is whole, also of a change: what an earlier snapshot has in common with it is shared with that. What it takes
to write changes (`caesura.snapshots.base`) is made once, however many there are, and only if there are any.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Self

from caesura.argument_kinds import check_hook, check_kind
from caesura.errors import UsageError
from caesura.host.saving.background import in_background
from caesura.host.saving.memories import MemoryImage
from caesura.host.saving.putting_back import SavedGuest
from caesura.host.saving.references import LoadObject
from caesura.host.sources import Source
from caesura.host.wasi.reopening import OnMissing
from caesura.snapshots.pages import Run
from caesura.snapshots.state import State

if TYPE_CHECKING:  # what writes them takes a tenth of what importing all else takes
    from caesura.snapshots.base import Base


# In bytes: so much of memories is written in a millisecond or two, for which a thread is not worth while.
_WRITTEN_AT_ONCE: Final = 4 << 20


class SnapshotData:
    """A state. `base` is the snapshot that it is written as a change of, and `changes` says, for each memory by its
    index, which chunks differ, if that is known. `module` is what the guest was loaded from, in this process.
    """

    def __init__(
        self,
        state: State,
        *,
        base: SnapshotData | None = None,
        changes: Mapping[int, tuple[Run, ...]] | None = None,
        module: Source | None = None,
    ) -> None:
        self._state = state
        self._base = base
        self._changes = changes
        self._module = module
        self._place: str | None = None  # where it was saved last, or read from
        self._brought: bytes | None = None  # the module that the base has brought along, if the state itself does not
        self._known: Base | None = None
        self._images: tuple[MemoryImage, ...] | None = None

    @classmethod
    def load(
        cls, source: str | os.PathLike[str] | bytes, *, base: SnapshotData | None = None, limit: int | None = None
    ) -> Self:
        """Read a snapshot from a file or from bytes; `base` is the earlier one that it says what has changed since.

        `limit` is how many bytes it may hold, unpacked: 4 GiB, if it is not given. One that holds more is refused
        before it is unpacked.

        Raises UsageError for a file that cannot be read, SnapshotError for what is no snapshot, was damaged, is of a
        version of the format that is not known, or needs another base.
        """
        from caesura.snapshots import saving
        from caesura.snapshots.format import LIMIT, decode

        check_kind("a snapshot's source", source, str, os.PathLike, bytes)
        check_kind("base", base, SnapshotData, NoneType)
        check_kind("limit", limit, int, NoneType)
        data = source if isinstance(source, bytes) else saving.load(source)
        known = None if base is None else base.known
        loaded = cls(decode(data, known, limit=LIMIT if limit is None else limit), base=base)
        if not isinstance(source, bytes):
            loaded._place = saving.identity_of(source)
        if base is not None and loaded._state.module.instrumented == base._state.module.instrumented:
            loaded._brought = base._state.embedded or base._brought
        return loaded

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the snapshot to a file: all of it or, whatever happens, nothing.

        Raises UsageError if it cannot be written, or is a change and would take the place of a snapshot that it needs.
        """
        from caesura.snapshots import saving

        place = saving.identity_of(path)
        base = self._base
        while base is not None:
            if base._place == place:
                raise UsageError(f"'{os.fspath(path)}' holds what this is a change of: save it elsewhere")
            base = base._base
        saving.save(path, bytes(self))
        self._place = place

    def __bytes__(self) -> bytes:
        from caesura.snapshots.format import encode, encode_changes

        if self._base is None:
            return encode(self._state)
        if self._changes is None:
            return encode(self._state, self._base.known)
        return encode_changes(self._state, self._changes, self._base.known)

    def __reduce__(self) -> tuple[Any, ...]:
        from caesura.snapshots.format import encode

        return type(self).load, (encode(self._state),)

    @property
    def state(self) -> State:
        """The data (`caesura.snapshots.state`)."""
        return self._state

    @property
    def module(self) -> Source | None:
        """What the guest was loaded from, if that was in this process, or the module that the base brings along."""
        if self._module is None and self._state.embedded is None:
            return self._brought
        return self._module

    @property
    def known(self) -> Base:
        """The state with what it takes to write changes of it."""
        from caesura.snapshots.base import Base

        if self._known is None:
            if self._base is None or self._changes is None:
                self._known = Base(self._state)
            else:
                self._known = self._base.known.after(self._state, self._changes)
        return self._known

    async def saved_guest(
        self, load_object: LoadObject | None, on_missing: OnMissing | None, *, often: bool
    ) -> SavedGuest:
        """Return what guests are made of; `often`: many of them."""
        check_hook("load_object", load_object)
        check_hook("on_missing", on_missing)
        size = sum(len(content) for memory in self._state.memories for _, content in memory.runs)
        if self._images is None and size > _WRITTEN_AT_ONCE:
            await in_background(self._make_images)
        elif self._images is None and often:
            self._make_images()
        return SavedGuest(self._state, self._images, load_object, on_missing)

    def _make_images(self) -> None:
        self._images = tuple(MemoryImage(memory) for memory in self._state.memories)
