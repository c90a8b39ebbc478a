"""The text of lists: from what is on the command line, or in a file, to entries.

A list is divided at commas outside brackets (`foo(int, char),bar` has two entries), or at line ends if it has any;
`@file` stands for the file's text. The only line of a file is divided at commas too, as Binaryen does it, unless it
cannot be a list: C++'s operators (`operator<(A, B)`, `operator,(A, B)`) are one name. Blanks around an entry and
carriage returns are dropped, where Binaryen would look for a function of that name.

Files can have comments and sections, which Binaryen has not, so that one commented file serves several builds. A line
that is `#`, or begins with `#` and a blank, is a comment; one that is `[...]` with no other brackets inside begins a
section. Compilers give functions no such names: `#` comes with a name behind it (`~lib/array/Array<i32>#push`), and the
brackets of component tools and of Objective-C (`[method]file.read`, `-[A b]`) are only a part of the name; any
other can be reached by a pattern (`#* x`, `[x]*`). What stands before all sections holds for every module, a section
where `Sections` says so. An INI or TOML reader would want keys and quotes: names have both `=` and `:`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from caesura.errors import UsageError
from caesura.wasm.sections import MAGIC

_OPENING: Final = "(<[{"
_CLOSING: Final = ")>]}"
_BLANKS: Final = " \t\r\n\v\f\0"
_SECTION: Final = re.compile(r"\[([^\[\]]+)\]")
# What cannot stand in a line of a text in UTF-8, or ends one for some who read it.
_UNWRITABLE: Final = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029\0\ud800-\udfff]")  # mypyc refuses the last ones
# What stands for a function without a name where nobody has its body.
_INDEX: Final = re.compile(r"#\d{1,10}")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def entry_line(name: str) -> str:
    """Return the line of a list file that means the function of this name.

    That is the name, or a pattern that the name matches where a line with it would be something else: a comment, the
    beginning of a section, several lines, or a name without the blanks around it.
    """
    line = _UNWRITABLE.sub("*", name)
    if line.strip() != line or not line:
        line = "*" + line.strip() + "*"
    if is_comment(line):
        return "#*" + line[1:]
    return line + "*" if _SECTION.fullmatch(line) else line


def can_be_written(name: str) -> bool:
    """Tell whether a line of a list file can mean the function of this name, and not every function there is."""
    return entry_line(name).replace("*", "").strip() != ""


def can_be_named(name: str) -> bool:
    """Tell the same where functions that have no name may go by an index: one may have a name that looks so."""
    return can_be_written(name) and _INDEX.fullmatch(name) is None


class Sections:
    """Which sections of list files hold.

    Those in `chosen`, by their names; where none is, those whose name is, or matches with `*` and `?`, that of the
    module's file. `found` are the sections of all files that were read, `unused` are files (as named on the command
    line) that have sections of which none holds.
    """

    def __init__(self, chosen: Sequence[str] = (), file_name: str = "") -> None:
        self._chosen = dict.fromkeys(chosen)
        self._file_name = file_name
        self.found: dict[str, None] = {}
        self.unused: list[str] = []

    def holds(self, name: str) -> bool:
        """Tell whether a section holds."""
        self.found[name] = None
        if self._chosen:
            return name in self._chosen
        if "*" not in name and "?" not in name:
            return bool(name) and name == self._file_name
        return bool(self._file_name) and fnmatchcase(self._file_name, name)

    def missing(self) -> list[str]:
        """Return the sections that were chosen and that no file has had so far."""
        return [name for name in self._chosen if name not in self.found]


def read_list(
    text: str,
    sections: Sections | None = None,
    *,
    brackets: bool = True,
    as_binaryen: bool = False,
) -> tuple[str, ...]:
    """Return the entries of a list given as text, on the command line or (`@file`) in a file.

    `sections` says which sections of a file hold; without it none does. `brackets` says that commas inside brackets
    belong to a name, `as_binaryen` that a file may have bytes that are no text, and has neither comments nor sections.

    Raises UsageError where the file cannot be read or is no text, or where brackets on the command line do not match.
    """
    is_file = text.startswith("@")
    path = text[1:]
    text = (read_list_file(path, any_bytes=as_binaryen) if is_file else text).strip(_BLANKS)
    parts = text.split("\n")
    if is_file and not as_binaryen:
        parts = _entries(parts, sections or Sections(), path)
    if "\n" not in text and len(parts) == 1:
        if not brackets:
            parts = text.split(",")
        else:
            parts = split_at_commas(text)
            if not parts:
                if not is_file:
                    raise UsageError(
                        f"Asyncify: failed to parse lists: the brackets in the list '{text}' do not match: "
                        "put such names in a file, one on a line, and give @file"
                    )
                parts = [text]
    return tuple([part.strip() for part in parts if part.strip()])


def _entries(lines: list[str], sections: Sections, path: str) -> list[str]:
    """Return the lines of a file that are entries which hold, in their order."""
    entries: list[str] = []
    has_sections = False
    has_held = False
    holds = True
    for line in lines:
        text = line.strip()
        if is_comment(text):
            continue
        name = section_of(line)
        if name is None:
            if holds:
                entries.append(line)
            continue
        holds = sections.holds(name)
        has_sections = True
        has_held = has_held or holds
    if has_sections and not has_held and path not in sections.unused:
        sections.unused.append(path)
    return entries


def section_of(line: str) -> str | None:
    """Return the name of the section that begins with a line of a file; None where none does."""
    head = _SECTION.fullmatch(line.strip())
    return None if head is None else head[1].strip()


def is_comment(line: str) -> bool:
    """Tell whether a line of a file, without the blanks around it, is a comment."""
    return line == "#" or line.startswith(("# ", "#\t"))


def read_list_file(path: str, *, any_bytes: bool = False) -> str:
    """Return the text of a file in UTF-8 or UTF-16, with or without a byte order mark, and with any line ends.

    Raises UsageError, as `decoded_list` does.
    """
    text, _, _ = decoded_list(path, any_bytes=any_bytes)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def decoded_list(path: str, *, any_bytes: bool = False) -> tuple[str, bytes, str]:
    """Return the text of such a file with its own line ends, its byte order mark, and the encoding of what is behind.

    Raises UsageError where it is no text, or in another encoding, whose names could match nothing. What is no text may
    look like UTF-16, as modules do, whose first byte is zero.
    """
    if not path:
        raise UsageError("cannot read a list file: its name is empty (expected a name behind the @)")
    try:
        with open(path, "rb") as file:
            data = file.read()
        mark, encoding = _encoding_of(data)
        if data.startswith(MAGIC):
            raise UsageError(
                f"cannot read the list file '{path}': it is a WebAssembly module; expected a text with the name of a "
                "function on each line"
            )
        text = data[len(mark) :].decode(encoding, "surrogateescape" if any_bytes else "strict")
    except UnicodeDecodeError as error:
        offset = error.start + len(mark)
        name = "UTF-16" if error.encoding.startswith("utf-16") else "UTF-8"
        raise UsageError(
            f"cannot read the list file '{path}': byte {offset} ({data[offset]:#04x}) is not valid {name}; "
            "expected a text in UTF-8 or UTF-16"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the list file '{path}': {reason}") from error
    if not any_bytes and "\0" in text.strip(_BLANKS):
        raise UsageError(
            f"cannot read the list file '{path}': it is no text, since it has zero bytes; expected a text in UTF-8 or "
            "UTF-16"
        )
    return text, mark, encoding


def _encoding_of(data: bytes) -> tuple[bytes, str]:
    """Return the byte order mark that a list's text has, and its encoding. Without one, UTF-16 shows by the zero in its
    first letter.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return mark, encoding
    if len(data) >= 2 and data[0] and not data[1]:
        return b"", "utf-16-le"
    if len(data) >= 2 and data[1] and not data[0]:
        return b"", "utf-16-be"
    return b"", "utf-8"


def split_at_commas(text: str) -> list[str]:
    """Divide a list at commas outside brackets; return nothing if brackets do not match."""
    parts: list[str] = []
    nesting = 0
    start = 0
    for position, character in enumerate(text):
        if character in _OPENING:
            nesting += 1
        elif character in _CLOSING:
            nesting -= 1
        elif character == "," and nesting == 0 and not _is_comma_operator(text, position):
            parts.append(text[start:position])
            start = position + 1
    if nesting != 0:
        return []
    parts.append(text[start:])
    return parts


def _is_comma_operator(text: str, position: int) -> bool:
    """Tell whether a comma is the name of C++'s operator: `operator,(A, B)`."""
    if not text.startswith(("(", " ("), position + 1):
        return False
    end = position
    while end > 0 and text[end - 1].isspace():
        end -= 1
    return text.endswith("operator", 0, end)
