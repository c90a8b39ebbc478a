"""Which places of the tables for the references of frames suspended calls use (`instrument.abi.references`).

The asyncify stack of each ends with where its references lie. What else is in these tables is of calls that have ended
by a trap or were given up: nobody will ask for it, so it is neither saved nor a reason to refuse.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from caesura.snapshots.section import StateSection
from caesura.snapshots.state import CallRecord

_RUN: Final = struct.Struct("<II")


class Live:
    """The places of a table that are in use: all of them, or runs of them, each with whose it is, in words."""

    def __init__(self, runs: list[tuple[int, int, str]] | None = None) -> None:
        self._runs = runs

    def holders(self, size: int) -> Sequence[str | None]:
        """Return who uses each of so many places: "" for the table itself, None for nobody."""
        if self._runs is None:
            return [""] * size
        holders: list[str | None] = [None] * size
        for start, end, holder in self._runs:
            end = min(end, size)
            if start < end:
                holders[start:end] = [holder] * (end - start)
        return holders


EVERYWHERE: Final = Live()


def live_places(saved: StateSection, calls: tuple[CallRecord, ...]) -> dict[int, Live]:
    """Return which places are in use, by the index of the table, of the tables that hold references of frames."""
    tables = saved.frames.tables
    if not saved.frames.runs:
        return {}
    size = _RUN.size * len(tables)
    runs: dict[int, list[tuple[int, int, str]]] = {table: [] for table in tables}
    for call in calls:
        if len(call.frames) < size:
            continue
        holder = f"a frame of the call of {call.export}, which waits in {call.function},"
        for table, (start, count) in zip(tables, _RUN.iter_unpack(call.frames[-size:]), strict=True):
            if count:
                runs[table].append((start, start + count, holder))
    return {table: Live(found) for table, found in runs.items()}
