"""Opening again what a saved WASI program had open: the same files, under the same numbers, standing where they stood.

The new guest has the standard streams and the folders that it is given, as every guest at its beginning. Files are
opened below these folders by Wasmtime, as the guest could do itself, so that a forged state leads nowhere else. Nothing
is made, cut off or written, whatever the guest opened them for.

Wasmtime gives what is opened the highest of the numbers that were closed, or else the one behind the last, and can put
a descriptor only in the place of another. So all numbers up to the highest that there has been are filled with
descriptors of a folder first. Each makes room for what is to be there, and the rest is closed at the end: then the next
file that the guest opens has the number that it would have had.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from caesura.argument_kinds import check_kind
from caesura.errors import InternalError, SnapshotError
from caesura.host.wasi.descriptors import PREOPEN, STREAMS, Descriptors, Opened
from caesura.host.wasi.files import FOLDER, OPEN_DIRECTORY, SAVABLE, Refused, WasiFiles
from caesura.snapshots.state import Descriptor, WasiState

# Where to look for a file that is not there any more, or None: its descriptor stays closed.
OnMissing = Callable[[Descriptor], str | None]

# The highest number that is believed; systems allow a process fewer open files.
_HIGHEST: Final = 0xFFFF


class _Placeholder:
    """What stands in a place that is to be free, or somebody else's."""


_PLACEHOLDER: Final = _Placeholder()


def reopen(files: WasiFiles | None, state: WasiState, descriptors: Descriptors, on_missing: OnMissing | None) -> None:
    """Open everything that a state has in a new guest, whose descriptors are those of the beginning.

    `files` is None for a guest without a memory. Raises SnapshotError for what cannot be opened, or is another file
    now, unless `on_missing` says what to do; and what that raises.
    """
    wanted = _wanted(state, descriptors)
    current = {(item.kind, item.folder): number for number, item in descriptors.open.items()}
    if (
        not state.highest
        and len(wanted) == len(current)
        and all(current.get(key) == number for number, key in wanted.items())
    ):
        return
    if files is None:
        raise SnapshotError("the snapshot has open files, and the guest has no memory")
    _Reopening(files, state, descriptors, on_missing).run(wanted)


def _wanted(state: WasiState, descriptors: Descriptors) -> dict[int, tuple[str, int]]:
    """Return what each number is to be: a stream, or a folder of those that the guest is given, or a file in one."""
    places = _places(state, descriptors)
    _check_number(state.highest)
    wanted: dict[int, tuple[str, int]] = {}
    for item in state.descriptors:
        if item.kind in STREAMS:
            key = item.kind, -1
        else:
            if not 0 <= item.below < len(places):
                raise SnapshotError(f"descriptor {item.number} of the snapshot lies below no folder that it has")
            key = item.kind, places[item.below]
        _check_number(item.number)
        if item.kind in (*STREAMS, PREOPEN) and key in wanted.values():
            raise SnapshotError(f"descriptor {item.number} of the snapshot is there twice")
        wanted[item.number] = key
    return wanted


def _check_number(number: int) -> None:
    if number > _HIGHEST:
        raise SnapshotError(f"the snapshot has a descriptor with the number {number}: no guest has so many")


def _places(state: WasiState, descriptors: Descriptors) -> list[int]:
    """Return for each folder of a state its place among those that the guest is given, by their names and order."""
    given = list(enumerate(descriptors.folders))
    places: list[int] = []
    for name, _, _ in state.folders:
        found = next((item for item in given if item[1] == name), None)
        if found is None:
            raise SnapshotError(f"the guest had a folder '{name}' when it was saved: give it one (directories=)")
        given.remove(found)
        places.append(found[0])
    if given:
        raise SnapshotError(
            f"the guest had no folder '{given[0][1]}' when it was saved, so that nothing in it knows of that"
        )
    return places


class _Reopening:
    def __init__(
        self, files: WasiFiles, state: WasiState, descriptors: Descriptors, on_missing: OnMissing | None
    ) -> None:
        self._files = files
        self._descriptors = descriptors
        self._on_missing = on_missing
        self._highest = state.highest
        self._records = {item.number: item for item in state.descriptors}
        # What each number is now.
        self._now: dict[int, Opened | _Placeholder] = dict(descriptors.open)

    def run(self, wanted: dict[int, tuple[str, int]]) -> None:
        """Bring what there is at the beginning to its place, and open the files in theirs."""
        begun = {(item.kind, item.folder): item for item in self._descriptors.open.values()}
        opened: dict[int, Opened] = {}
        try:
            self._fill(max([self._highest, *(number for number, key in wanted.items() if key in begun)]) + 1)
            for number, key in sorted(wanted.items()):
                if key in begun:
                    self._bring(begun[key], number)
                    opened[number] = begun[key]
            for number, key in sorted(wanted.items()):
                if key not in begun:
                    self._fill(number)
                    self._free(number)
                    file = self._open(self._records[number], key[1])
                    if file is not None:
                        opened[number] = file
            for number in sorted(self._now.keys() - opened.keys()):
                self._files.close(number)
        except Refused as error:
            raise SnapshotError(f"the descriptors of the snapshot cannot be opened again: {error}") from None
        self._descriptors.are_again(opened, self._highest)

    def _bring(self, item: Opened, number: int) -> None:
        """Give a descriptor of the beginning its number; what has that now gets another."""
        place = next(place for place, now in self._now.items() if now is item)
        if place != number:
            self._make_way(number)
            self._move(place, number)
            self._fill(place + 1)

    def _free(self, number: int) -> None:
        """Make a number, below which none is free, the one that is opened next."""
        if number not in self._now:
            return
        self._make_way(number)
        self._files.close(number)
        del self._now[number]

    def _make_way(self, number: int) -> None:
        """Have a placeholder at a number; what is there may be wanted yet."""
        if isinstance(self._now[number], _Placeholder):
            return
        spare = next((place for place, now in self._now.items() if isinstance(now, _Placeholder)), None)
        self._move(number, self._new_placeholder() if spare is None else spare)
        self._fill(number + 1)

    def _move(self, place: int, number: int) -> None:
        self._files.renumber(place, number)
        self._now[number] = self._now.pop(place)

    def _fill(self, end: int) -> None:
        """Have something at all numbers below one."""
        while any(number not in self._now for number in range(end)):
            self._new_placeholder()

    def _new_placeholder(self) -> int:
        number = self._files.open(
            self._any_folder(), ".", lookup=0, open_flags=OPEN_DIRECTORY, rights=0, inheriting=0, flags=0
        )
        self._now[number] = _PLACEHOLDER
        return number

    def _any_folder(self) -> int:
        for number, item in self._now.items():
            if isinstance(item, Opened) and item.kind == PREOPEN:
                return number
        raise SnapshotError("the snapshot has descriptors that only a guest with a folder can have")

    def _folder(self, place: int) -> int:
        return next(
            number
            for number, item in self._now.items()
            if isinstance(item, Opened) and item.kind == PREOPEN and item.folder == place
        )

    def _open(self, record: Descriptor, place: int) -> Opened | None:
        """Open a file or a folder and let it stand where it stood; return how it was opened."""
        folder, path = self._folder(place), record.path
        where = f"below '{self._descriptors.folders[place]}', which was open as descriptor {record.number}"
        expected = record.identity
        reason = self._why_not(folder, record, path, expected)
        if reason:
            if self._on_missing is None:
                raise SnapshotError(
                    f"'{path}' {where}: {reason} (on_missing says what to open instead, and --other-files of caesura "
                    "resume that it is to be what is there now)"
                )
            instead = self._on_missing(record)
            if instead is None:
                return None
            check_kind("what on_missing returns", instead, str)
            path, expected = instead, ()
            reason = self._why_not(folder, record, path, expected)
        try:
            if reason:
                raise SnapshotError(f"'{path}' {where}: {reason}")
            number = self._open_at(folder, record, path)
            if expected and self._files.status(number).identity != expected:
                raise SnapshotError(f"'{path}' {where}: it is being replaced by another file")
        except Refused as error:
            raise SnapshotError(f"'{path}' {where}: {error}") from None
        if number != record.number:
            raise InternalError(f"WASI opened descriptor {number}, and was to open {record.number}")
        opened = Opened("", place, path, record.lookup, record.rights, record.inheriting)
        self._now[number] = opened
        return opened

    def _why_not(self, folder: int, record: Descriptor, path: str, expected: tuple[int, ...]) -> str:
        """Return why the file at a path is not the one to be opened; "" if it is."""
        try:
            status = self._files.status_at(folder, record.lookup, path)
        except Refused as error:
            return str(error)
        if expected and status.identity != expected:
            return "it is another file now"
        if status.kind not in SAVABLE:  # opening one may wait for ever
            return "it is a pipe, a socket or the like"
        if (status.kind == FOLDER) != (record.kind == "folder"):
            return "it is a folder now" if status.kind == FOLDER else "it is no folder now"
        return ""

    def _open_at(self, folder: int, record: Descriptor, path: str) -> int:
        is_folder = record.kind == "folder"
        number = self._files.open(
            folder,
            path,
            lookup=record.lookup,
            open_flags=OPEN_DIRECTORY if is_folder else 0,
            rights=record.rights,
            inheriting=record.inheriting,
            flags=record.flags,
        )
        if record.offset:
            self._files.seek(number, record.offset)
        return number
