"""Writing down what a guest notes of its suspensions, where `CAESURA_RECORD` names a file (docs/lists.md).

A guest counts by itself, while it unwinds; reading that takes a call for each of its functions, so it is done only
after a suspension in which a function was noted for the first time, and when the guest is closed or the process ends.
Who kills the process loses counts then, but no function. Lines add up: the first of a function has its example, and
those before the last have only what is new, so that what is written grows with the module, whatever the guest does.

A file that cannot be written must not change what the guest does: that is a warning, and what is not written is kept
for the next line.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from caesura.errors import UsageError
from caesura.host.abi_functions import AbiFunction
from caesura.host.native import GlobalCell
from caesura.host.threads import Owner
from caesura.host.warning import warn
from caesura.recording.examples import Chains, is_better
from caesura.recording.lines import ToldFunction, append_line, divided

_HALF: Final = 0xFFFF_FFFF


class Recorder:
    """Writes lines to a file. `entries` is the text of the module's section, `read` gives what was noted by a number,
    and `changed` tells whether there is anything new.
    """

    def __init__(self, path: str, entries: str, read: AbiFunction, changed: GlobalCell, owner: Owner) -> None:
        self._path = path
        self._entries: list[Any] = json.loads(entries)
        self._read = read
        self._changed = changed
        self._owner = owner
        self._written: dict[int, int] = {}
        self._called: dict[int, str | None] = {}
        self._has_written = False
        self._has_ended = False
        _recorders.add(self)

    def after_suspension(self) -> None:
        """Write what was noted for the first time, if anything was."""
        if self._changed.get():
            self._write(all_of_it=False)

    def end(self) -> None:
        """Write what there is, if only that nothing was suspended. The guest is not asked again: it may be gone."""
        if self._has_ended:
            return
        self._has_ended = True
        if not (self._owner.is_here() or self._owner.has_ended()):
            return  # its thread may be running it
        self._write(all_of_it=True)
        if not self._has_written:
            self._append({})

    def _write(self, *, all_of_it: bool) -> None:
        self._changed.set(0)
        values = self._values()
        chains = Chains(self._entries, lambda number: (values.get(number, 0) >> 32) - 1)
        by_import: dict[str | None, dict[str, ToldFunction]] = {}
        counts: dict[tuple[str | None, str], dict[int, int]] = {}
        for number, value in values.items():
            entry, count = self._entries[number], value & _HALF
            new = count - self._written.get(number, 0)
            if new <= 0 or not isinstance(entry, str) or not (all_of_it or number not in self._written):
                continue
            stack: tuple[str, ...] = ()
            if number not in self._written:
                stack, self._called[number] = chains.example(number)
            called = self._called[number]
            counts.setdefault((called, entry), {})[number] = count
            # Several functions may have one name.
            told = by_import.setdefault(called, {}).setdefault(entry, {"count": 0, "import": called})
            told["count"] += new
            if stack and is_better(stack, told.get("stack", ())):
                told["stack"] = stack
        for called, functions in by_import.items():
            for part in divided(functions):
                if not self._append(part):
                    return
                for entry in part:
                    self._written.update(counts[called, entry])

    def _values(self) -> dict[int, int]:
        """Return what was noted, by number, where anything was."""
        values: dict[int, int] = {}
        for number in range(len(self._entries)):
            answer = self._read.ask(number)
            value = 0 if answer is None else int.from_bytes(answer[:8], "little")
            if value:
                values[number] = value
        return values

    def _append(self, functions: dict[str, ToldFunction]) -> bool:
        try:
            append_line(self._path, functions=functions)
        except UsageError as error:
            warn(f"{error}; what the guest records is not written", RuntimeWarning)
            return False
        self._has_written = True
        return True


def note_unrecorded(path: str, reason: str) -> None:
    """Say in a recording why a guest is not recorded."""
    try:
        append_line(path, unrecorded=reason)
    except UsageError as error:
        warn(str(error), RuntimeWarning)


def _end_all() -> None:
    for recorder in list(_recorders):
        recorder.end()


_recorders: Final[WeakSet[Recorder]] = WeakSet()
_at_exit: Final[Callable[[], None]] = atexit.register(_end_all)
