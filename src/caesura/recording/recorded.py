"""Reading recordings: what all lines of all files say together.

Lines add up, so their order does not matter, nor how many processes wrote them. A process that is killed while it
writes, or a disk that is full, leaves a piece of a line, behind which the next process' line may stand: such a piece is
left out, and said, and what stands behind it is read. Everything else that is no line of a recording is an error, since
it says that the file is another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from caesura.analysis.list_text import can_be_written
from caesura.errors import UsageError
from caesura.recording.examples import is_better, shortened, shortened_name
from caesura.recording.lines import VERSION, VERSION_KEY

# How many bytes a line may have, and a file. Recorders write lines of a few million, but for a function whose name has
# more; older ones wrote each function's whole stack.
_LONGEST_LINE: Final = 1 << 26
LARGEST_FILE: Final = 1 << 30

# How a line begins, whoever writes it; a piece of one may be shorter.
_BEGIN: Final = f'{{"{VERSION_KEY}"'


@dataclass
class Seen:
    """What is known of a function that was on the stack at suspensions: how often, from which imports, and one stack.

    `times` is exact, or as much as a list tells. `stack` is the import and the functions down to this one, of all
    stacks the shortest, and of these the first by their text; it is an example (see `examples`), empty where none is
    known. `modules` are what lines call the modules that functions of this name or index are of (see `module_label`),
    where they tell.
    """

    times: int = 0
    imports: set[str] = field(default_factory=set)
    stack: tuple[str, ...] = ()
    modules: set[str] = field(default_factory=set)

    def add_example(self, stack: Sequence[str]) -> None:
        """Take a stack if it is a better example."""
        stack = shortened(stack)
        if is_better(stack, self.stack):
            self.stack = stack


@dataclass
class Recording:
    """What recordings say: functions by their entries in lists, those that a list lacked among them.

    `missing` are these again, in the order in which they were told. `guests` counts lines of guests, `unrecorded` says
    why some could not be recorded, `warnings` what was left out.
    """

    functions: dict[str, Seen] = field(default_factory=dict)
    missing: dict[str, None] = field(default_factory=dict)
    guests: int = 0
    unrecorded: dict[str, None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def seen(self, entry: str) -> Seen:
        """Return what is known of a function, which may be nothing so far."""
        return self.functions.setdefault(entry, Seen())


def is_recording(data: bytes) -> bool:
    """Tell whether a file holds lines of a recording, whatever else is in it."""
    begin = _BEGIN.encode()
    return data.startswith(begin) or b"\n" + begin in data


def read_recording(data: bytes, path: str, recording: Recording) -> None:
    """Add what a file says. Raises UsageError, with the line's number, for what is no line of a recording."""
    for number, line in enumerate(_lines(data), 1):
        where = f"line {number} of the recording '{path}'"
        if len(line) > _LONGEST_LINE:
            raise UsageError(
                f"{where} has {len(line):,} bytes, where {_LONGEST_LINE:,} are the most: an old recorder has written "
                "whole stacks, or it is no recording; record again"
            )
        text = line.decode(errors="replace").strip()
        if not text:
            continue
        objects, is_whole = _parse(text, where)
        if not is_whole:
            recording.warnings.append(
                f"{where} is cut off, since a process was stopped while it wrote it, or the disk was full: a part of "
                "what was recorded is lost"
            )
        for fields in objects:
            _add(fields, where, recording)


def _lines(data: bytes) -> Iterator[bytes]:
    """Return a text's lines, one after the other: all at once would be as large as the text again."""
    start = 0
    while start <= len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield data[start:end]
        start = end + 1


def _parse(text: str, where: str) -> tuple[list[dict[str, Any]], bool]:
    """Return what a line says, or the whole ones of those that are in it, and whether nothing else is."""
    fields = _object_of(text)
    if fields is not None and VERSION_KEY in fields:
        return [fields], True
    before, *pieces = text.split(_BEGIN)
    if not _BEGIN.startswith(before):
        raise UsageError(f"{where} is none: expected a JSON object with '{VERSION_KEY}', not {text[:60]!r}")
    objects = [_object_of(_BEGIN + piece) for piece in pieces]
    found = [fields for fields in objects if fields is not None]
    return found, not before and len(found) == len(objects)


def _object_of(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _add(fields: dict[str, Any], where: str, recording: Recording) -> None:
    version = fields[VERSION_KEY]
    if version != VERSION or isinstance(version, bool):
        raise UsageError(f"{where} is of version {version!r:.40}, and this caesura knows version {VERSION}")
    functions, missing = fields.get("functions", {}), fields.get("missing", [])
    if not isinstance(functions, dict) or not _are_texts(missing):
        raise UsageError(f"{where} has something else where functions should be")
    unrecorded = fields.get("unrecorded")
    if isinstance(unrecorded, str):
        recording.unrecorded[unrecorded] = None
    else:
        recording.guests += 1
    module = fields.get("module")
    for entry, told in functions.items():
        if not _is_writable(entry, where, recording):
            continue
        if isinstance(module, str):
            recording.seen(entry).modules.add(shortened_name(module))
        _add_function(recording.seen(entry), told, f"{where}, of the function {entry!r:.100},")
    for entry in missing:
        recording.missing[entry] = None
        if not _is_writable(entry, where, recording):
            continue
        seen = recording.seen(entry)
        if isinstance(module, str):
            seen.modules.add(shortened_name(module))


def _is_writable(entry: str, where: str, recording: Recording) -> bool:
    """Tell whether a list can have an entry; that it cannot, as it would match every function, is a warning."""
    if can_be_written(entry):
        return True
    recording.warnings.append(
        f"{where} has a function with the name {entry!r:.100}, which stands for all functions in a list: it is left out"
    )
    return False


def _add_function(seen: Seen, told: Any, where: str) -> None:
    count = told.get("count") if isinstance(told, dict) else None
    if type(count) is not int or count < 0:
        raise UsageError(f"{where} does not say how often it was on the stack")
    called, stack = told.get("import"), told.get("stack", [])
    if not (called is None or isinstance(called, str)) or not _are_texts(stack):
        raise UsageError(f"{where} has something else where an import and a stack should be")
    seen.times += count
    if called is not None:
        seen.imports.add(shortened_name(called))
    seen.add_example(stack)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
