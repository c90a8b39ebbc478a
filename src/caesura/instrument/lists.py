"""The user's lists: Binaryen's syntax, matching with `*`, and what the entries mean in one module.

Text becomes entries in `read_list`: a list is divided at commas outside brackets (`foo(int, char),bar` has two
entries), or at line ends if it has any; `@file` stands for the file's text. A `PatternList` matches names against
entries and remembers which entries never matched, because a name that matches nothing is nearly always a typing
error that would otherwise show as a guest that cannot resume. `resolve_lists` applies the lists of an `Options` to a
module's names. Patterns are not compiled to regular expressions: prefix, suffix and `str.find` for the pieces
between stars are as fast, and linear for every pattern. Blanks around an entry and carriage returns are dropped,
where Binaryen would look for a function of that name.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.suspension import Lists
from caesura.errors import UsageError
from caesura.instrument.options import Options

_OPENING: Final = "(<[{"
_CLOSING: Final = ")>]}"


def read_list(text: str) -> tuple[str, ...]:
    """Return the entries of a list given as text, on the command line or (`@file`) in a file."""
    if text.startswith("@"):
        text = _read_file(text[1:])
    text = text.strip(" \t\r\n\v\f\0")
    parts = text.split("\n") if "\n" in text else _split_at_commas(text)
    return tuple([part.strip() for part in parts if part.strip()])


def _read_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the list file '{path}': {reason}") from error


def _split_at_commas(text: str) -> list[str]:
    parts: list[str] = []
    nesting = 0
    start = 0
    for position, character in enumerate(text):
        if character in _OPENING:
            nesting += 1
        elif character in _CLOSING:
            nesting -= 1
        elif character == "," and nesting == 0:
            parts.append(text[start:position])
            start = position + 1
    if nesting != 0:
        raise UsageError(
            f"the brackets in the list '{text}' do not match: put such names in a file, one on a line, and give @file"
        )
    parts.append(text[start:])
    return parts


class PatternList:
    """The entries of one list, ready for matching; `*` in an entry stands for any characters, none included."""

    def __init__(self, entries: tuple[str, ...]) -> None:
        self._matched: dict[str, bool] = {}
        self._patterns: list[tuple[str, list[str]]] = []
        for entry in entries:
            if entry not in self._matched:
                self._matched[entry] = False
                if "*" in entry:
                    self._patterns.append((entry, entry.split("*")))

    def match(self, name: str) -> bool:
        """Tell whether an entry matches the name, and mark every entry that does."""
        found = False
        if name in self._matched and "*" not in name:
            self._matched[name] = True
            found = True
        for entry, pieces in self._patterns:
            if (not found or not self._matched[entry]) and _matches(pieces, name):
                self._matched[entry] = True
                found = True
        return found

    def has_name(self, name: str) -> bool:
        """Tell whether the name is itself an entry (not one that a pattern matches)."""
        return name in self._matched and "*" not in name

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
    result = Lists(len(names))
    result.has_only = len(options.only_list) > 0
    result.propagate_add = options.propagate_addlist
    result.ignore_indirect = options.ignore_indirect
    remove = PatternList(options.remove_list)
    add = PatternList(options.add_list)
    only = PatternList(options.only_list)
    _refuse_imported(remove, "remove-list", imports, names)
    _refuse_imported(add, "add-list", imports, names)
    _refuse_imported(only, "only-list", imports, names)
    for function in range(len(names)):
        name = names[function]
        removed = remove.match(name)
        added = add.match(name)
        if removed and added:
            raise UsageError(f"function '{name}' is on both the add-list and the remove-list")
        result.remove[function] = removed
        if function >= len(imports):
            result.add[function] = added
            result.only[function] = only.match(name)
    missing = _resolve_imports(options, imports, result)
    missing.extend([f"remove-list: {_nothing_matches(entry)}" for entry in remove.unmatched()])
    missing.extend([f"add-list: {_nothing_matches(entry)}" for entry in add.unmatched()])
    missing.extend([f"only-list: {_nothing_matches(entry)}" for entry in only.unmatched()])
    missing.extend(_unmatched_second_bodies(options, names[len(imports) :]))
    if missing and options.strict:
        more = f" (and {len(missing) - 1} more like this)" if len(missing) > 1 else ""
        raise UsageError(missing[0] + more)
    warnings.extend(missing)
    return result


def _resolve_imports(options: Options, imports: list[str], result: Lists) -> list[str]:
    """Mark the imports that may suspend; return warnings for the entries of the import list that match none."""
    suspending = PatternList(options.imports)
    every_import = not options.imports and not options.ignore_imports
    for function in range(len(imports)):
        listed = suspending.match(imports[function])
        # A pattern on the remove-list takes imports out too, as it does in Binaryen.
        result.imports[function] = (listed or every_import) and not result.remove[function]
    return [f"import list: no imported function matches '{entry}'" for entry in suspending.unmatched()]


def _unmatched_second_bodies(options: Options, names: list[str]) -> list[str]:
    """Return warnings for the entries of a list of functions with two bodies that match none."""
    if options.two_bodies in ("auto", "never", "all"):
        return []
    chosen = PatternList(read_list(options.two_bodies))
    for name in names:
        chosen.match(name)
    return [f"two-bodies: {_nothing_matches(entry)}" for entry in chosen.unmatched()]


def _refuse_imported(entries: PatternList, list_name: str, imports: list[str], names: list[str]) -> None:
    for function in range(len(imports)):
        for name in (names[function], imports[function]):
            if entries.has_name(name) and name not in names[len(imports) :]:
                raise UsageError(
                    f"the {list_name} has the imported function '{name}': imports belong on the import list"
                )


def _nothing_matches(entry: str) -> str:
    return f"no function matches '{entry}'" if "*" in entry else f"no function is named '{entry}'"
