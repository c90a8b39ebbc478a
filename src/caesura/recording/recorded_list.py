"""An only-list made of recordings: its text, which stays the same from run to run, and what such a text says.

    # 10+ times, from env.fetch: env.fetch <- read_line <- main
    main

Entries are sorted; above each stands how often its function was on the stack, coarsely, since how often depends on
chance and the list is under version control; from which imports; and one stack, innermost first. Names that such a
line could not hold stand in quotes, as JSON has them. So a list can be read again and merged with others and with
recordings, without anything being lost. How often is the most that any list tells, and not the sum: merging twice
changes nothing.

What people have written stays: the comment at the head, comments above entries, and sections with all that is in them,
as recordings do not tell what build they are of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from caesura.analysis.list_text import entry_line, is_comment, read_list_file, section_of, split_at_commas
from caesura.recording.examples import MOST_IMPORTS, is_left_out, shortened, shortened_name
from caesura.recording.recorded import Recording, Seen

HEAD: Final = (
    "# An only-list (caesura instrument --only-list @FILE): what was on the stack when a call was suspended.",
    "# `caesura record` writes it, and `caesura record --merge` adds to it.",
)

_ONCE: Final = "once"
_NEVER: Final = "missing in a list"
_ARROW: Final = "<-"
# A name in a comment: plain, where it has nothing that stands between names, or in quotes; or the words for those that
# an example leaves out.
_NAME: Final = r'(?:\.\.\. \d{1,15} more \.\.\.|"(?:[^"\\]|\\.)*"|[^\s",]*[^\s",:])'
_PLAIN: Final = re.compile(r'[^\s",]*[^\s",:]')
_COMMENT: Final = re.compile(
    rf"# ({_ONCE}|{_NEVER}|([\d,]+)\+ times)(?:, from ({_NAME}(?:, {_NAME})*))?(?:: ({_NAME}(?: {_ARROW} {_NAME})*))?"
)
_NAMES: Final = re.compile(_NAME)
_UNNAMED: Final = re.compile(r"#(\d{1,10})(?:@[0-9a-f]{16})?")


@dataclass
class _Block:
    """An entry: comments of people above it, and what was recorded of it, if anything was."""

    comments: list[str] = field(default_factory=list)
    seen: Seen | None = None

    def take(self, seen: Seen) -> None:
        """Add what else was recorded."""
        own = self.seen or Seen()
        own.times = max(own.times, seen.times)
        own.imports |= seen.imports
        own.add_example(seen.stack)
        self.seen = own


class RecordedList:
    """A list file. `head` are the lines of the comment that it begins with, and `sections` all from the first section
    on, by the sections' names, as it stands in the file.
    """

    def __init__(self) -> None:
        self.head: list[str] = []
        self._blocks: dict[str, _Block] = {}
        self._kept: dict[str, list[str]] = {}  # comments of people above entries that were dropped
        self._rest: list[str] = []  # comments behind the last entry
        self._sections: dict[str, list[str]] = {}

    @staticmethod
    def read(text: str) -> RecordedList:
        """Read the text of a list file."""
        result = RecordedList()
        lines = text.rstrip().split("\n")
        if len(lines) == 1 and not is_comment(lines[0].strip()) and section_of(lines[0]) is None:
            lines = split_at_commas(text) or [text]
        lines = result._take_head(lines)
        comments: list[str] = []
        section: list[str] | None = None
        for line in lines:
            entry = line.strip()
            name = section_of(line)
            if name is not None:
                section = result._sections.setdefault(name, [])
            if section is not None:
                section.append(line.rstrip())
            elif is_comment(entry):
                comments.append(entry)
            elif entry:
                result._add(entry, comments)
                comments = []
        result._rest = comments
        for lines_of_section in result._sections.values():
            while not lines_of_section[-1]:
                lines_of_section.pop()
        return result

    def entries(self) -> list[str]:
        """Return the entries that stand before all sections, sorted."""
        return sorted(self._blocks, key=_order)

    def recorded(self) -> dict[str, int]:
        """Return how often functions were on the stack, by the entries of which a comment tells that."""
        return {entry: block.seen.times for entry, block in self._blocks.items() if block.seen is not None}

    def forget_entries(self) -> list[str]:
        """Drop the entries before all sections, and return them. What people have written above one comes back if the
        entry does.
        """
        dropped = self.entries()
        self._kept = {entry: block.comments for entry, block in self._blocks.items()}
        self._blocks = {}
        return dropped

    def add_recording(self, recording: Recording) -> None:
        """Add what was recorded."""
        for entry, seen in recording.functions.items():
            self._block(entry_line(entry)).take(seen)

    def add_list(self, other: RecordedList) -> None:
        """Add what another list has; of a section that both have, the lines that this one lacks."""
        self.head = self.head or other.head
        for entry, block in other._blocks.items():
            self._merge(entry, block)
        self._rest = _with_more(self._rest, other._rest)
        for name, lines in other._sections.items():
            own_lines = self._sections.setdefault(name, [])
            known = {line.strip() for line in own_lines if line.strip()}
            own_lines += [line for line in lines if not known or (line.strip() and line.strip() not in known)]

    def rename(self, names: Mapping[str, str]) -> None:
        """Put other entries in the place of some before all sections; what is told of both becomes one."""
        for old, new in names.items():
            self._merge(new, self._blocks.pop(old))

    def text(self) -> str:
        """Return the file's text."""
        lines = [*(self.head or HEAD), ""]
        for entry in self.entries():
            block = self._blocks[entry]
            lines += block.comments
            if block.seen is not None:
                lines.append(comment_of(block.seen))
            lines.append(entry)
        lines += self._rest
        for section in self._sections.values():
            lines += ["", *section]
        return "\n".join(lines).rstrip() + "\n"

    def _take_head(self, lines: list[str]) -> list[str]:
        """Take the comment that a file begins with, if a blank line stands behind it, and return the other lines."""
        end = 0
        while end < len(lines) and is_comment(lines[end].strip()):
            end += 1
        if end == len(lines) or lines[end].strip():
            return lines
        self.head = [line.strip() for line in lines[:end]]
        return lines[end:]

    def _add(self, entry: str, comments: list[str]) -> None:
        block = self._block(entry)
        for line in comments:
            seen = seen_of(line)
            if seen is None:
                block.comments.append(line)
            else:
                block.take(seen)

    def _merge(self, entry: str, block: _Block) -> None:
        own = self._block(entry)
        own.comments = _with_more(own.comments, block.comments)
        if block.seen is not None:
            own.take(block.seen)

    def _block(self, entry: str) -> _Block:
        if entry not in self._blocks:
            self._blocks[entry] = _Block(self._kept.get(entry, []))
        return self._blocks[entry]


def read_recorded_list(path: str) -> RecordedList:
    """Read a list file. Raises UsageError for one that cannot be read, or is no text."""
    return RecordedList.read(read_list_file(path))


def comment_of(seen: Seen) -> str:
    """Return the comment that tells what was recorded of a function."""
    text = f"# {_often(seen.times)}"
    if seen.imports:
        text += f", from {', '.join([_quoted(name) for name in sorted(seen.imports)[:MOST_IMPORTS]])}"
    if seen.stack:
        text += f": {f' {_ARROW} '.join([_quoted(_without_hash(name)) for name in seen.stack])}"
    return text


def seen_of(comment: str) -> Seen | None:
    """Return what a comment tells that `comment_of` has written; None for any other."""
    found = _COMMENT.fullmatch(comment)
    if found is None:
        return None
    often, number, imports, stack = found.groups()
    try:
        times = 0 if often == _NEVER else 1 if number is None else int(number.replace(",", ""))
        return Seen(times, {shortened_name(name) for name in _names(imports)}, shortened(_names(stack)))
    except ValueError:
        return None


def _with_more(lines: list[str], others: list[str]) -> list[str]:
    """Return lines, and those of others that are not among them."""
    known = frozenset(lines)
    return lines + [line for line in others if line not in known]


def _often(times: int) -> str:
    if times < 2:
        return _ONCE if times else _NEVER
    return f"{2 if times < 10 else 10 ** (len(str(times)) - 1):,}+ times"


def _quoted(name: str) -> str:
    is_plain = (_PLAIN.fullmatch(name) is not None and name.isprintable() and name != _ARROW) or is_left_out(name)
    return name if is_plain else json.dumps(name)


def _without_hash(name: str) -> str:
    """Return what stands for a function in an example, where nothing has to be found again."""
    unnamed = _UNNAMED.fullmatch(name)
    return name if unnamed is None else f"#{unnamed[1]}"


def _names(text: str | None) -> list[str]:
    names = _NAMES.findall(text or "")
    return [json.loads(name) if name.startswith('"') else name for name in names if name != _ARROW]


def _order(entry: str) -> tuple[int, int, str]:
    """Return what entries are sorted by: names first, then functions without a name, by their indices."""
    unnamed = _UNNAMED.fullmatch(entry)
    return (0, 0, entry) if unnamed is None else (1, int(unnamed[1]), entry)
