"""Adding entries to the text of a list file, which keeps its comments, its sections and its order.

New entries stand behind the last line of the part of the file that they belong to: the last section that holds for the
module, or what stands before all sections. Sorting the whole was rejected: lists are under version control, and what a
person has put together stays so.
"""

from __future__ import annotations

from collections.abc import Sequence

from caesura.analysis.list_text import Sections, entry_line, section_of, split_at_commas


def add_entries(text: str, entries: Sequence[str], sections: Sections) -> str:
    """Return a list file's text with more entries, sorted among themselves; it ends with a line end.

    A text of one line, which is divided at commas, becomes one with an entry in each line.
    """
    lines = text.rstrip().split("\n")
    if len(lines) == 1:
        lines = [part.strip() for part in split_at_commas(text) or [text]]
    place = _end_of_part(lines, sections)
    while place > 0 and not lines[place - 1].strip():
        place -= 1
    added = sorted({entry_line(entry) for entry in entries})
    return "\n".join(lines[:place] + added + lines[place:]).lstrip("\n") + "\n"


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
