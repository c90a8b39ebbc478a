"""The section `asyncify.record`: what the numbers stand for by which a module notes functions (see `abi.recording`).

It has what stands in lists, so that whoever reads the module need know neither its names nor its bodies: a function's
name in the name section, or, where it has none (or one that a list cannot have, such as a line end), its index in the
given file and the hash of its body there. Names of exports do not count: engines do not show them in traces, from
which others record.
"""

from __future__ import annotations

import json
from typing import Any, Final

from caesura.analysis.body_entries import body_entry, function_names
from caesura.analysis.list_text import can_be_named
from caesura.instrument.abi.recording import RecordingCode
from caesura.instrument.given import Given

# The key by which imports are told from functions.
_IMPORT: Final = "import"


def record_section(given: Given, recording: RecordingCode) -> bytes:
    """Return the section's payload: a JSON array with what each number stands for."""
    original = given.translated.original
    names = function_names(original)
    imports = [f"{item.module}.{item.name}" for item in given.module.function_imports()]
    entries: list[Any] = [{_IMPORT: imports[function]} for function in recording.imports]
    for function in recording.functions:
        index = given.renumbered.original_function(function)
        name = names.get(index, "")
        entries.append(name if can_be_named(name) else body_entry(original, index))
    return json.dumps(entries, separators=(",", ":")).encode()
