"""The user's lists: Binaryen's syntax, matching with `*`, and what the entries mean in one module.

Text becomes entries in `read_list`: a list is divided at commas outside brackets (`foo(int, char),bar` has two
entries), or at line ends if it has any; `@file` stands for the file's text. The only line of a file is divided at
commas too, as Binaryen does it, unless it cannot be a list: C++'s operators (`operator<(A, B)`, `operator,(A, B)`) are
one name. A `PatternList` matches names against entries and remembers which entries never matched, because a name that
matches nothing is nearly always a typing error that would otherwise show as a guest that cannot resume. An entry that
is exactly a name of the module is that name and no pattern, whatever stars it has: `pick(int*)` is an overload of
`pick(int, long*)`, not a pattern that takes it along. `resolve_lists` applies the lists of an `Options` to a module's
names; what it says about them is in Binaryen's words, which build systems look for. Patterns are not compiled to
regular expressions: prefix, suffix and `str.find` for the pieces between stars are as fast, and linear for every
pattern. Blanks around an entry and carriage returns are dropped, where Binaryen would look for a function of that name.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Final

from caesura.abi import BUILTIN_MODULES
from caesura.analysis.suspension import Lists
from caesura.errors import UsageError
from caesura.options import Options

_OPENING: Final = "(<[{"
_CLOSING: Final = ")>]}"

# For how many entries that match no import closest names are looked for, among how many at most (a comparison takes
# some 20 microseconds), and how many are told.
_MOST_HINTS: Final = 5
_MOST_COMPARED: Final = 1000
_SHOWN: Final = 3

# How warnings about entries begin, and what may follow.
_REMOVE_LIST: Final = "Asyncify removelist"
_ADD_LIST: Final = "Asyncify addlist"
_ONLY_LIST: Final = "Asyncify onlylist"
_TWO_BODIES_LIST: Final = "two-bodies list"
_IMPORT_LIST: Final = "import list"
_HEADS: Final = (_REMOVE_LIST, _ADD_LIST, _ONLY_LIST, _TWO_BODIES_LIST, _IMPORT_LIST)
_HINT_START: Final = " (did you mean "

_BLANKS: Final = " \t\r\n\v\f\0"


def read_list(text: str, *, brackets: bool = True, any_bytes: bool = False) -> tuple[str, ...]:
    """Return the entries of a list given as text, on the command line or (`@file`) in a file.

    `brackets` says that commas inside brackets belong to a name, `any_bytes` that a file may have bytes that are no
    text.

    Raises UsageError where the file cannot be read or is no text, or where brackets on the command line do not match.
    """
    is_file = text.startswith("@")
    text = (_read_file(text[1:], any_bytes=any_bytes) if is_file else text).strip(_BLANKS)
    if "\n" in text:
        parts = text.split("\n")
    elif not brackets:
        parts = text.split(",")
    else:
        parts = _split_at_commas(text)
        if not parts:
            if not is_file:
                raise UsageError(
                    f"Asyncify: failed to parse lists: the brackets in the list '{text}' do not match: "
                    "put such names in a file, one on a line, and give @file"
                )
            parts = [text]
    return tuple([part.strip() for part in parts if part.strip()])


def _read_file(path: str, *, any_bytes: bool) -> str:
    """Return the text of a file in UTF-8 or UTF-16, with or without a byte order mark.

    Raises UsageError where it is in another encoding, whose names could match nothing.
    """
    if not path:
        raise UsageError("cannot read a list file: its name is empty (expected a name behind the @)")
    try:
        with open(path, "rb") as file:
            data = file.read()
        text = data.decode(_encoding_of(data), "surrogateescape" if any_bytes else "strict")
    except UnicodeDecodeError as error:
        # A byte order mark of UTF-8 does not count in the error.
        offset = error.start + (len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0)
        name = "UTF-16" if error.encoding.startswith("utf-16") else "UTF-8"
        raise UsageError(
            f"cannot read the list file '{path}': byte {offset} ({data[offset]:#04x}) is not valid {name}; "
            "expected a text in UTF-8 or UTF-16"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the list file '{path}': {reason}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding_of(data: bytes) -> str:
    """Return the encoding of a list's text. Without a byte order mark, UTF-16 shows by the zero in its first letter."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(data) >= 2 and data[0] and not data[1]:
        return "utf-16-le"
    if len(data) >= 2 and data[1] and not data[0]:
        return "utf-16-be"
    return "utf-8-sig"


def _split_at_commas(text: str) -> list[str]:
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
    return text.startswith(("(", " ("), position + 1) and text[:position].rstrip().endswith("operator")


class PatternList:
    """The entries of one list, ready for matching the names of a module.

    `*` in an entry stands for any characters, none included, unless the entry is one of the names.
    """

    def __init__(self, entries: Sequence[str], names: list[str]) -> None:
        self._matched: dict[str, bool] = {}
        self._patterns: list[tuple[str, list[str]]] = []
        self._is_pattern: set[str] = set()
        exact = set(names) if "*" in "".join(entries) else set()
        for entry in entries:
            if entry not in self._matched:
                self._matched[entry] = False
                if "*" in entry and entry not in exact:
                    self._patterns.append((entry, entry.split("*")))
                    self._is_pattern.add(entry)

    def match(self, name: str) -> bool:
        """Tell whether an entry matches the name, and mark every entry that does."""
        found = False
        if self.has_name(name):
            self._matched[name] = True
            found = True
        for entry, pieces in self._patterns:
            if (not found or not self._matched[entry]) and _matches(pieces, name):
                self._matched[entry] = True
                found = True
        return found

    def has_name(self, name: str) -> bool:
        """Tell whether the name is itself an entry (not one that a pattern matches)."""
        return name in self._matched and name not in self._is_pattern

    def unmatched(self) -> list[str]:
        """Return the entries that no name has matched so far, in the order given."""
        return [entry for entry, matched in self._matched.items() if not matched]


def _matches(pieces: list[str], name: str) -> bool:
    """Match a pattern, divided at its stars, by taking the earliest place for every piece."""
    prefix = pieces[0]
    suffix = pieces[-1]
    end = len(name) - len(suffix)
    position = len(prefix)
    if position > end or not name.startswith(prefix) or not name.endswith(suffix):
        return False
    for piece in pieces[1:-1]:
        position = name.find(piece, position, end)
        if position < 0:
            return False
        position += len(piece)
    return True


def resolve_lists(options: Options, imports: list[str], names: list[str], warnings: list[str]) -> Lists:
    """Return what the lists mean in a module.

    `imports` has `module.name` for every imported function, `names` the name of every function, imported ones first.
    Entries that match nothing are added to `warnings`, or raise a `UsageError` if the options are strict.
    """
    remove = PatternList(options.remove_list, names)
    add = PatternList(options.add_list, names)
    only = PatternList(options.only_list, names)
    _refuse_imported(remove, "remove", imports, names)
    _refuse_imported(add, "add", imports, names)
    _refuse_imported(only, "only", imports, names)
    removed: list[bool] = []
    added: list[bool] = []
    only_these: list[bool] = []
    for function in range(len(names)):
        name = names[function]
        is_own = function >= len(imports)
        is_removed = remove.match(name)
        is_added = add.match(name)
        if is_removed and is_added:
            raise UsageError(f"{name} is found in the add-list and in the remove-list")
        removed.append(is_removed)
        added.append(is_added and is_own)
        only_these.append(is_own and only.match(name))
    suspending, missing = _resolve_imports(options, imports, removed)
    missing.extend([_nothing_matches(_REMOVE_LIST, entry) for entry in remove.unmatched()])
    missing.extend([_nothing_matches(_ADD_LIST, entry) for entry in add.unmatched()])
    missing.extend([_nothing_matches(_ONLY_LIST, entry) for entry in only.unmatched()])
    missing.extend(_unmatched_second_bodies(options, names[len(imports) :]))
    if missing and options.strict:
        more = f" (and {len(missing) - 1} more like this)" if len(missing) > 1 else ""
        raise UsageError(missing[0] + more)
    warnings.extend(missing)
    return Lists(
        imports=suspending + [False] * (len(names) - len(imports)),
        remove=removed,
        add=added,
        only=only_these,
        has_only=len(options.only_list) > 0,
        propagate_add=options.propagate_addlist,
        ignore_indirect=options.ignore_indirect,
    )


def _resolve_imports(options: Options, imports: list[str], removed: list[bool]) -> tuple[list[bool], list[str]]:
    """Return which imports may suspend, and warnings for the entries of the import list that match none."""
    patterns = PatternList(options.imports, imports)
    every_import = not options.imports and not options.ignore_imports
    suspending: list[bool] = []
    for function in range(len(imports)):
        listed = patterns.match(imports[function])
        # What the engine provides itself returns at once.
        by_default = every_import and not imports[function].startswith(BUILTIN_MODULES)
        # A pattern on the remove-list takes imports out too, as it does in Binaryen.
        suspending.append((listed or by_default) and not removed[function])
    missing = patterns.unmatched()
    hints = len(imports) <= _MOST_COMPARED
    return suspending, [
        f"{_IMPORT_LIST}: no imported function matches '{entry}'"
        + (_hint(entry, imports) if hints and place < _MOST_HINTS else "")
        for place, entry in enumerate(missing)
    ]


def _hint(entry: str, imports: list[str]) -> str:
    """Return which imports may be meant by an entry that matches none, which lacks its module or is misspelt.

    Names are compared without modules: what all share would make any two of them alike.
    """
    pieces = f"*.{entry}".split("*")
    close = [name for name in imports if _matches(pieces, name)]
    if not close:
        from difflib import get_close_matches

        fields = [_without_module(name) for name in imports]
        alike = get_close_matches(_without_module(entry), fields, _SHOWN)
        close = [name for field in alike for name in imports if _without_module(name) == field]
    shown: list[str] = []
    for name in close:
        if f"'{name}'" not in shown and len(shown) < _SHOWN:
            shown.append(f"'{name}'")
    return f"{_HINT_START}{' or '.join(shown)}?)" if shown else ""


def _without_module(name: str) -> str:
    return name.rpartition(".")[2]


def _unmatched_second_bodies(options: Options, names: list[str]) -> list[str]:
    """Return warnings for the entries of a list of functions with two bodies that match none."""
    if options.two_bodies in ("auto", "never", "all"):
        return []
    chosen = PatternList(read_list(options.two_bodies), names)
    for name in names:
        chosen.match(name)
    return [_nothing_matches(_TWO_BODIES_LIST, entry) for entry in chosen.unmatched()]


def _refuse_imported(entries: PatternList, designation: str, imports: list[str], names: list[str]) -> None:
    for function in range(len(imports)):
        for name in (names[function], imports[function]):
            if entries.has_name(name) and name not in names[len(imports) :]:
                raise UsageError(
                    f"Asyncify {designation}list contained an imported function name "
                    f"(use the import list for imports): {name}"
                )


def is_about_lists(warning: str) -> bool:
    """Tell whether a warning says of a list's entry that nothing matches it."""
    return warning.startswith(_HEADS)


def missing_everywhere(warnings: Sequence[Sequence[str]]) -> list[str]:
    """Return, of the warnings about each of several modules, those that say of an entry that it matches in none."""
    counts: dict[str, int] = {}
    hinting: dict[str, str] = {}
    for one in warnings:
        for warning in one:
            if is_about_lists(warning):
                head = warning.partition(_HINT_START)[0]
                counts[head] = counts.get(head, 0) + 1
                if len(warning) > len(hinting.get(head, "")):  # a hint names what one of the modules has
                    hinting[head] = warning
    return [hinting[head] for head in counts if counts[head] == len(warnings)]


def _nothing_matches(list_name: str, entry: str) -> str:
    """Return a warning in Binaryen's words."""
    what = "a non-matching pattern" if "*" in entry else "a non-existing function name"
    return f"{list_name} contained {what}: '{entry}'"
