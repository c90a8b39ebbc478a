"""Adding entries to the text of a list file, which keeps its comments, its sections, its order, its line ends and its
encoding.

New entries stand behind the last line of the part of the file that they belong to: the last section that holds for the
module, or what stands before all sections. Sorting the whole was rejected: lists are under version control, and what a
person has put together stays so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from caesura.analysis.list_text import (
    Sections,
    decoded_list,
    entry_line,
    is_comment,
    section_of,
    split_at_commas,
)

_LINE: Final = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")


class ListFile:
    """A list file: `text` is what is in it, with its own line ends."""

    def __init__(self, path: str) -> None:
        """Read a file. Raises UsageError where it cannot be read, or is no text."""
        self.text, self._mark, self._encoding = decoded_list(path)

    def add(self, entries: Sequence[str], sections: Sections) -> None:
        """Add entries."""
        self.text = add_entries(self.text, entries, sections)

    def data(self) -> bytes:
        """Return the file's bytes."""
        return self._mark + self.text.encode(self._encoding)

    def lines(self) -> list[str]:
        """Return the lines, without their ends."""
        return [line for line, _ in _lines_of(self.text)]


def add_entries(text: str, entries: Sequence[str], sections: Sections) -> str:
    """Return a list file's text with more entries, sorted among themselves; it ends with a line end.

    A text of one line, which is divided at commas, stays one where all entries can stand in it, and else becomes one
    with an entry in each line.
    """
    added = sorted({entry_line(entry) for entry in entries})
    lines = _lines_of(text.rstrip())
    end = _line_end(text)
    if len(lines) == 1:
        line = lines[0][0]
        parts = _parts(line)
        longer = ",".join([line, *added])
        if len(parts) > 1 and _parts(longer) == [*parts, *added]:
            return longer + end
        lines = [(part, end) for part in parts or [line]]
    lines = [(line, line_end or end) for line, line_end in lines]
    place = _end_of_part([line for line, _ in lines], sections)
    while place > 0 and not lines[place - 1][0].strip():
        place -= 1
    lines[place:place] = [(entry, end) for entry in added]
    while lines and not lines[0][0]:
        del lines[0]
    return "".join([line + line_end for line, line_end in lines])


def _lines_of(text: str) -> list[tuple[str, str]]:
    """Return lines and their ends; the last one may have none."""
    return [(found[1], found[2]) for found in _LINE.finditer(text) if found[0]]


def _line_end(text: str) -> str:
    """Return the line end that most lines of a text have."""
    ends = Counter([end for _, end in _lines_of(text) if end])
    return ends.most_common(1)[0][0] if ends else "\n"


def _parts(line: str) -> list[str]:
    """Return the entries of a file's only line; none where it cannot be divided, or is something else."""
    if is_comment(line.strip()) or section_of(line) is not None:
        return []
    return [part.strip() for part in split_at_commas(line) if part.strip()]


def _end_of_part(lines: Sequence[str], sections: Sections) -> int:
    """Return the line behind the part that new entries belong to."""
    end = len(lines)
    place: int | None = None
    holds = True
    for number, line in enumerate(lines):
        name = section_of(line)
        if name is None:
            continue
        if holds:
            place = number
        holds = sections.holds(name)
    return end if holds or place is None else place
