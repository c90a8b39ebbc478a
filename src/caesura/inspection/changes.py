"""What differs between two saved states, as JSON has it: calls, globals, tables, ranges of memory, files.

Memory is told in ranges of bytes that changed, and in chunks where a state says only that they are as the module makes
them, and the module is not there. Fewer than 16 equal bytes between two changes count as changed, too:
else a list of pointers whose upper halves stay would be a range for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final, TypeVar

from caesura.errors import SnapshotError
from caesura.inspection.backtrace import Frame
from caesura.inspection.contents import (
    Json,
    ModuleNames,
    describe_call,
    describe_descriptor,
    describe_folders,
    describe_global,
    elements_of,
    names_of,
)
from caesura.inspection.memory_map import kind_at, regions_of
from caesura.snapshots import pages
from caesura.snapshots.differences import changed_runs, initial_ranges
from caesura.snapshots.initial_memory import complete
from caesura.snapshots.state import CHUNK, CallRecord, MemoryState, State, TableState
from caesura.wasm.module import Module

_Item = TypeVar("_Item")

# How many equal bytes end a range.
_GAP: Final = 16
_CHANGED: Final = re.compile(rb"[^\0](?:\0{0,%d}[^\0])*" % (_GAP - 1), re.DOTALL)

Backtraces = Sequence[Sequence[Frame] | str]


def describe_changes(
    before: State, now: State, module: Module | None, traces_before: Backtraces, traces_now: Backtraces
) -> Json:
    """Return what differs between two states of guests; `module` is the one that was given, if that is there.

    Of what is in both and the same nothing is told.
    """
    names = names_of(module)
    now = _completed(now, module)
    before = _completed(before, module if before.module.original == now.module.original else None)
    return {
        "module": {
            "same": before.module.instrumented == now.module.instrumented,
            "before": before.module.instrumented.hex(),
            "now": now.module.instrumented.hex(),
        },
        "calls": _calls(before, now, names, traces_before, traces_now),
        "globals": _by_key(
            before.globals, now.globals, lambda item: item.index, lambda item: describe_global(item, names)
        ),
        "tables": [_table(old, new) for old, new in _pairs(before.tables, now.tables) if old != new],
        "memories": [
            _memory(old, new, now, module) for old, new in _pairs(before.memories, now.memories) if old != new
        ],
        "dropped": {
            "data": sorted(set(now.dropped_data) - set(before.dropped_data)),
            "elements": sorted(set(now.dropped_elements) - set(before.dropped_elements)),
        },
        "folders": {"before": describe_folders(before.wasi), "now": describe_folders(now.wasi)},
        "files": _by_key(_descriptors(before), _descriptors(now), lambda item: item.number, describe_descriptor),
    }


def _completed(state: State, module: Module | None) -> State:
    """Return a state with what is as its module makes it, if that tells."""
    if module is None:
        return state
    try:
        return complete(state, module)
    except SnapshotError:
        return state


def _calls(
    before: State, now: State, names: ModuleNames, traces_before: Backtraces, traces_now: Backtraces
) -> list[Json]:
    """Return the calls that are not in both: a call that has gone on to another place is another one there."""
    old = list(zip(before.calls, traces_before, strict=True))
    new = list(zip(now.calls, traces_now, strict=True))
    gone = [{"change": "gone", **describe_call(call, trace, names)} for call, trace in old if not _has(now.calls, call)]
    come = [
        {"change": "new", **describe_call(call, trace, names)} for call, trace in new if not _has(before.calls, call)
    ]
    return gone + come


def _has(calls: Sequence[CallRecord], call: CallRecord) -> bool:
    """Tell whether a call is among others, suspended where it is."""
    return any(
        (other.export, other.function, other.arguments, other.frames, other.stack)
        == (call.export, call.function, call.arguments, call.frames, call.stack)
        for other in calls
    )


def _descriptors(state: State) -> Sequence[Any]:
    return () if state.wasi is None else state.wasi.descriptors


def _by_key(
    before: Sequence[_Item], now: Sequence[_Item], key: Callable[[_Item], int], told: Callable[[_Item], Json]
) -> list[Json]:
    """Return what differs: `before` and `now` are None where it was not or is not."""
    old = {key(item): item for item in before}
    new = {key(item): item for item in now}
    changes: list[Json] = []
    for number in sorted(old.keys() | new.keys()):
        one, other = old.get(number), new.get(number)
        if one != other:
            changes.append({"before": told(one) if one else None, "now": told(other) if other else None})
    return changes


_Indexed = TypeVar("_Indexed", MemoryState, TableState)


def _pairs(before: Sequence[_Indexed], now: Sequence[_Indexed]) -> Iterator[tuple[_Indexed | None, _Indexed | None]]:
    """Yield what has the same index."""
    old = {item.index: item for item in before}
    new = {item.index: item for item in now}
    for index in sorted(old.keys() | new.keys()):
        yield old.get(index), new.get(index)


def _table(before: TableState | None, now: TableState | None) -> Json:
    old, new = (() if table is None else elements_of(table) for table in (before, now))
    either = now or before
    assert either is not None, "one of them is there"
    changed = sum(one != other for one, other in zip_longest(old, new))
    return {"index": either.index, "before": len(old), "now": len(new), "changed": changed}


def _memory(before: MemoryState | None, now: MemoryState | None, state: State, module: Module | None) -> Json:
    either = now or before
    assert either is not None, "one of them is there"
    told: Json = {
        "index": either.index,
        "before": 0 if before is None else before.size,
        "now": 0 if now is None else now.size,
        "ranges": [],
        "unknown": 0,
    }
    if now is not None:
        regions = regions_of(now, state, module)
        unknown = unknown_ranges(before, now)
        told["ranges"] = [
            {"start": start, "size": end - start, "kind": kind_at(regions, start)}
            for start, end in sorted([*pages.outside(changed_ranges(before, now), unknown), *unknown])
        ]
        told["unknown"] = sum(end - start for start, end in unknown)
    told["changed"] = sum(item["size"] for item in told["ranges"])
    return told


def unknown_ranges(before: MemoryState | None, now: MemoryState) -> list[tuple[int, int]]:
    """Return where either is as the module makes it, and not both: without the module nobody knows in which bytes."""
    old, new = [] if before is None else initial_ranges(before), initial_ranges(now)
    return sorted([*pages.outside(old, new), *pages.outside(new, old)])


def changed_ranges(before: MemoryState | None, now: MemoryState) -> list[tuple[int, int]]:
    """Return the ranges of addresses in which a memory differs from what it was, where there was none: from zeros."""
    found: list[tuple[int, int]] = []
    old = () if before is None else before.runs
    for first, content in changed_runs(before, now):
        start = first * CHUNK
        was = pages.read(old, start, start + len(content))
        mixed = int.from_bytes(content, "little") ^ int.from_bytes(was, "little")
        for match in _CHANGED.finditer(mixed.to_bytes(len(content), "little")):
            low, high = start + match.start(), start + match.end()
            if found and low - found[-1][1] < _GAP:
                low = found.pop()[0]
            found.append((low, high))
    return found
