"""Appending to the file in which processes note what they see of suspensions.

Any number of processes write to one file at once, and any of them may be killed: so each line is written by one call,
to a file that is open for appending, and is a JSON object of its own:

    {"caesura_record": 1, "functions": {ENTRY: {"count": 3, "import": "env.sleep", "stack": [...]}}, "missing": [ENTRY]}

`functions` were on the stack at suspensions; `count` is how often since the process' last line, so that lines add up.
`stack`, an example (see `examples`), stands where the function is told of first.
`missing` were on the stack where a guest could not be suspended, since a list leaves them out. An ENTRY is what stands
in lists: a name, `#index@hash`, or `#index` where nobody could hash. `unrecorded` says why a guest could not be
recorded. Each key may be absent; a line without any is of a guest that was never suspended. A lock was rejected: who
dies with it stops the others, and the JavaScript host, which writes the same lines, has none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NotRequired, TypedDict

from caesura.errors import UsageError

# The key and version that tell the lines of such a file.
VERSION_KEY: Final = "caesura_record"
VERSION: Final = 1

# Beyond so many characters of names what is told takes another line, since who reads lines has an end.
_MOST_IN_LINE: Final = 1_000_000

ToldFunction = TypedDict(
    "ToldFunction", {"count": int, "import": str | None, "stack": NotRequired[Sequence[str]]}, total=True
)

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
    functions: Mapping[str, ToldFunction] | None = None,
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


def divided(functions: Mapping[str, ToldFunction]) -> Iterator[dict[str, ToldFunction]]:
    """Divide what is told of functions into as many lines as it takes."""
    part: dict[str, ToldFunction] = {}
    left = _MOST_IN_LINE
    for entry, told in functions.items():
        length = len(entry) + sum(map(len, told.get("stack", ())))
        if part and length > left:
            yield part
            part, left = {}, _MOST_IN_LINE
        part[entry] = told
        left -= length
    if part:
        yield part


def note_missing(path: str, entries: Sequence[str]) -> None:
    """Append what is missing in a list, but for what this process has told there already: it may go on being refused
    for ever. Raises UsageError for a file that cannot be written.
    """
    known = _told_missing.setdefault(path, set())
    new = [entry for entry in dict.fromkeys(entries) if entry not in known]
    part: list[str] = []
    left = _MOST_IN_LINE
    for entry in new:
        if part and len(entry) > left:
            append_line(path, missing=part)
            known.update(part)
            part, left = [], _MOST_IN_LINE
        part.append(entry)
        left -= len(entry)
    if part:
        append_line(path, missing=part)
        known.update(part)


_told_missing: Final[dict[str, set[str]]] = {}
