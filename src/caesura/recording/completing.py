"""Completing entries of functions that a host could only tell by an index: `#12`.

The JavaScript host sees indices and no bodies. With the module that was given, such an entry becomes the function's
name or, where it has none, its index with the hash of its body, as everywhere else in lists. An index alone would
silently mean another function after a rebuild, so lists match nothing by it. That of a list is taken for the given
module's, since a list does not tell; a recording may.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from caesura.analysis.body_entries import list_entry
from caesura.recording.examples import shortened
from caesura.recording.module_label import module_label
from caesura.recording.recorded import Recording
from caesura.recording.recorded_list import RecordedList
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

_INDEX: Final = re.compile(r"#(\d{1,10})")


def unhashed_entries(entries: Iterable[str]) -> list[str]:
    """Return those of some entries that are only an index."""
    return [entry for entry in entries if _INDEX.fullmatch(entry)]


def complete_list(listed: RecordedList, data: bytes) -> None:
    """Complete these entries of a list, but for its sections. Raises as `complete_entries` does."""
    module = Module(data)
    listed.rename({entry: _complete(module, entry) for entry in unhashed_entries(listed.entries())})


def complete_entries(recording: Recording, data: bytes) -> None:
    """Complete these entries, given the module that ran as it was before it was instrumented.

    Those that lines have from other modules only, such as side modules, stay as they are. Raises UsageError for an
    index that is none of a function with a body in it, and what reading a module raises.
    """
    module = Module(data)
    label = module_label(module)
    complete: dict[str, str] = {}
    for entry in unhashed_entries(recording.functions):
        modules = recording.functions[entry].modules
        if not modules or label in modules:
            complete[entry] = _complete(module, entry)
    for old, new in complete.items():
        seen = recording.functions.pop(old)
        target = recording.seen(new)
        target.times += seen.times
        target.imports |= seen.imports
        target.add_example(seen.stack)
    # In stacks of functions of other modules, the module stands behind the entry.
    complete |= {f"{old} ({label})": f"{new} ({label})" for old, new in complete.items()}
    for seen in recording.functions.values():
        seen.stack = shortened([complete.get(name, name) for name in seen.stack])


def _complete(module: Module, entry: str) -> str:
    return list_entry(module, FunctionIndex(int(entry[1:])))
