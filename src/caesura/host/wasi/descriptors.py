"""Which descriptors a WASI program has open, and how it opened them.

Wasmtime knows, and does not tell. So what changes that goes through here: `path_open`, `fd_close`, `fd_renumber`, and
`path_rename`, since an open file that gets another name is to be found again. Everything else is asked when it is
wanted: where files stand, their flags, which files they are.

A path is kept as the guest gave it, below the folder that it was given at the beginning, however many folders it
opened in between: those may be closed by now. What a path leads to when it is opened again is compared with what was
open, so that nothing depends on names that changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from caesura.errors import SnapshotError
from caesura.host.wasi.files import FOLDER, READ_AND_WRITE, REGULAR_FILE, SAVABLE, FileStatus, Refused, WasiFiles
from caesura.snapshots.state import Descriptor

STREAMS: Final = ("stdin", "stdout", "stderr")
PREOPEN: Final = "preopen"

# What `path_open` was given for paths that were not noted.
_TOO_LONG: Final = 1 << 16


class Opened(NamedTuple):
    """How a descriptor came to be. `kind` is a stream's name, PREOPEN or "" for what the guest has opened.

    `folder` is the place among the folders that the guest was given, `path` the folder's name or what was opened
    below (None: it is not known).
    """

    kind: str
    folder: int = -1
    path: str | None = ""
    lookup: int = 0
    rights: int = 0
    inheriting: int = 0


_OPENED_STREAMS: Final = {number: Opened(kind) for number, kind in enumerate(STREAMS)}


class Descriptors:
    """The open descriptors of one guest, by number. `folders` are the names of those that it was given."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = tuple(folders)
        self.open: dict[int, Opened] = dict(_OPENED_STREAMS)
        for place, name in enumerate(folders):
            self.open[len(STREAMS) + place] = Opened(PREOPEN, place, name)
        self._highest = max(self.open)

    def opened(self, number: int, below: int, path: bytes | None, *, lookup: int, rights: int, inheriting: int) -> None:
        """Note what the guest has opened, at a path below an open folder (None: one that is too long to be noted)."""
        parent = self.open[below]
        joined = None if path is None else _joined(parent, path.decode())
        self.open[number] = Opened("", parent.folder, joined, lookup, rights, inheriting)
        self._highest = max(self._highest, number)

    def closed(self, number: int) -> None:
        """Note what the guest has closed."""
        self.open.pop(number, None)

    def renumbered(self, number: int, replaced: int) -> None:
        """Note that a descriptor has the number of another one now."""
        moved = self.open.pop(number, None)
        if moved is not None:
            self.open[replaced] = moved

    def renamed(self, below: int, path: bytes, new_below: int, new_path: bytes) -> None:
        """Note that what lay at a path has moved; open files are among that, or lie in it."""
        parent, new_parent = self.open[below], self.open[new_below]
        before, after = _joined(parent, path.decode()), _joined(new_parent, new_path.decode())
        if before is None or after is None:
            return
        gone = _parts(before)
        for number, item in self.open.items():
            if item.kind or item.folder != parent.folder or item.path is None:
                continue
            parts = _parts(item.path)
            if parts[: len(gone)] == gone:
                moved = "/".join([after.rstrip("/"), *parts[len(gone) :]])
                self.open[number] = item._replace(folder=new_parent.folder, path=moved)

    @property
    def highest(self) -> int:
        """The highest number that there has been, if it is not open any more, else 0."""
        return 0 if self._highest in self.open else self._highest

    def are_again(self, opened: dict[int, Opened], highest: int) -> None:
        """Take what is open in a guest that was saved, and the highest number that there has been (0: is open)."""
        self.open = opened
        self._highest = max(highest, *opened, 0)

    def preopened(self, folder: int) -> int | None:
        """Return the descriptor of a folder that the guest was given; None if the guest has closed it."""
        return next(
            (number for number, item in self.open.items() if item.kind == PREOPEN and item.folder == folder), None
        )

    def saved(self, files: WasiFiles | None) -> tuple[Descriptor, ...]:
        """Return what is needed to open everything again. Raises SnapshotError for what cannot be.

        `files` is None for a guest without a memory, which cannot have opened anything.
        """
        return tuple(self._saved(number, item, files) for number, item in sorted(self.open.items()))

    def _saved(self, number: int, item: Opened, files: WasiFiles | None) -> Descriptor:
        if item.kind or files is None:
            return Descriptor(number=number, kind=item.kind, path=item.path or "", below=item.folder)
        what = f"descriptor {number}, which is '{item.path}' below '{self.folders[item.folder]}'"
        if item.path is None:
            raise SnapshotError(f"the guest cannot be saved: the path of descriptor {number} is too long")
        try:
            kind, flags, rights = files.flags(number)
            if kind not in SAVABLE:
                raise SnapshotError(f"the guest cannot be saved: {what}, is a pipe, a socket or the like")
            status = files.status(number)
            self._check_found(item, status, files, what)
            offset = files.offset(number) if kind == REGULAR_FILE else 0
        except Refused as error:
            raise SnapshotError(f"the guest cannot be saved: {what}: {error}") from None
        return Descriptor(
            number=number,
            kind="folder" if kind == FOLDER else "file",
            path=item.path,
            below=item.folder,
            lookup=item.lookup,
            flags=flags,
            # Wasmtime lets write what was emptied when it was opened, whatever rights were asked for.
            rights=item.rights & ~READ_AND_WRITE | rights & READ_AND_WRITE,
            inheriting=item.inheriting,
            offset=offset,
            identity=status.identity,
        )

    def _check_found(self, item: Opened, status: FileStatus, files: WasiFiles, what: str) -> None:
        """Raise SnapshotError if the path of an open file does not lead to it any more."""
        folder = self.preopened(item.folder)
        assert item.path is not None, "who calls this has looked"
        try:
            found = folder is None or files.status_at(folder, item.lookup, item.path).identity == status.identity
        except Refused:
            found = False
        if not found or not status.links:
            raise SnapshotError(
                f"the guest cannot be saved: {what}, has been removed or has got another name while it is open"
            )


def path_is_noted(size: int) -> bool:
    """Tell whether a path of so many bytes is noted."""
    return size <= _TOO_LONG


def _joined(parent: Opened, path: str) -> str | None:
    if parent.kind == PREOPEN:
        return path
    return None if parent.path is None else f"{parent.path}/{path}"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
