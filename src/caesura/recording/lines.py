"""Appending to the file in which processes note what they see of suspensions.

Any number of processes write to one file at once, and any of them may be killed: so each line is written by one call,
to a file that is open for appending, and is a JSON object of its own:

    {"caesura_record": 1, "functions": {ENTRY: {"count": 3, "import": "env.sleep", "stack": [...]}}, "missing": [ENTRY]}

`functions` were on the stack at suspensions; `count` is how often since the process' last line, so that lines add up.
`missing` were on the stack where a guest could not be suspended, since a list leaves them out. An ENTRY is what stands
in lists: a name, `#index@hash`, or `#index` where nobody could hash. `unrecorded` says why a guest could not be
recorded. Each key may be absent; a line without any is of a guest that was never suspended. A lock was rejected: who
dies with it stops the others, and the JavaScript host, which writes the same lines, has none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from caesura.errors import UsageError

# The key and version that tell the lines of such a file.
VERSION_KEY: Final = "caesura_record"
VERSION: Final = 1

_FLAGS: Final = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that nobody reads is an error, and no guest stands still for it
)
_MODE: Final = 0o666  # less the user's mask


def append_line(
    path: str,
    *,
    functions: Mapping[str, Mapping[str, Any]] | None = None,
    missing: Sequence[str] = (),
    unrecorded: str = "",
) -> None:
    """Append a line to a recording. Raises UsageError for a file that cannot be written."""
    fields: dict[str, Any] = {VERSION_KEY: VERSION}
    if functions:
        fields["functions"] = functions
    if missing:
        fields["missing"] = list(missing)
    if unrecorded:
        fields["unrecorded"] = unrecorded
    line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
    try:
        file = os.open(path, _FLAGS, _MODE)
        try:
            written = os.write(file, line)
        finally:
            os.close(file)
    except OSError as error:
        raise UsageError(f"cannot append to the recording '{path}': {error.strerror or error}") from error
    if written != len(line):
        raise UsageError(f"cannot append to the recording '{path}': only {written} of {len(line)} bytes were written")
