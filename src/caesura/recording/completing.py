"""Completing entries of functions that a host could only tell by an index: `#12`.

The JavaScript host sees indices and no bodies. With the module that was given, such an entry becomes the function's
name or, where it has none, its index with the hash of its body, as everywhere else in lists. An index alone would
silently mean another function after a rebuild, so lists match nothing by it.
"""

from __future__ import annotations

import re
from typing import Final

from caesura.analysis.body_entries import list_entry
from caesura.recording.recorded import Recording
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

_INDEX: Final = re.compile(r"#(\d{1,10})")


def unhashed_entries(recording: Recording) -> list[str]:
    """Return the entries that are only an index."""
    return [entry for entry in recording.functions if _INDEX.fullmatch(entry)]


def complete_entries(recording: Recording, data: bytes) -> None:
    """Complete these entries, given the module that ran as it was before it was instrumented.

    Raises UsageError for an index that is none of a function with a body in it, and what reading a module raises.
    """
    module = Module(data)
    complete: dict[str, str] = {}
    for entry in unhashed_entries(recording):
        complete[entry] = list_entry(module, FunctionIndex(int(entry[1:])))
    for old, new in complete.items():
        seen = recording.functions.pop(old)
        target = recording.seen(new)
        target.times += seen.times
        target.imports |= seen.imports
        target.add_example(seen.stack)
    for seen in recording.functions.values():
        seen.stack = tuple([complete.get(name, name) for name in seen.stack])
