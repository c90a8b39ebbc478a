"""What the user's lists mean in one module: matching with `*`, and what is said of entries that match nothing.

A `PatternList` matches names against entries (`list_text` reads them) and remembers which entries never matched,
because a name that matches nothing is nearly always a typing error that would otherwise show as a guest that cannot
resume. An entry that is exactly a name of the module is that name and no pattern, whatever stars it has: `pick(int*)`
is an overload of `pick(int, long*)`, not a pattern that takes it along. An entry that matches no name as it stands is
tried against what mangled names stand for (`demangling`), by the same rules, and one that has the form of
`body_entries` means a function by its body; Binaryen knows neither, and options can turn both off. `resolve_lists`
applies the lists of an `Options` to a module's names; what it says about them is in Binaryen's words, which build
systems look for. Patterns are not compiled to regular expressions: prefix, suffix and `str.find` for the pieces between
stars are as fast, and linear for every pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from caesura.abi import BUILTIN_MODULES
from caesura.analysis.body_entries import BodyEntries
from caesura.analysis.demangling import EXTRA, DemangledNames, looks_demangled, may_be_demangled
from caesura.analysis.list_text import read_list
from caesura.analysis.suspension import Lists
from caesura.errors import UsageError
from caesura.options import WORDS_FOR_TWO_BODIES, Options

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
_EXTRA_START: Final = " (names in this module are mangled"
_BODY_START: Final = " (by its body: "
_STARTS: Final = (_HINT_START, _EXTRA_START, _BODY_START)


class PatternList:
    """The entries of one list, ready for matching the names of a module.

    `*` in an entry stands for any characters, none included, unless the entry is one of the names. `demangled` is what
    the names stand for, if entries may be that; `bodies` has the function that an entry means by its body.
    """

    def __init__(
        self,
        entries: Sequence[str],
        names: list[str],
        demangled: DemangledNames | None = None,
        bodies: dict[str, int] | None = None,
    ) -> None:
        self._matched: dict[str, bool] = {}
        self._patterns: list[tuple[str, list[str]]] = []
        self._is_pattern: set[str] = set()
        # Which entries a name matches as what it stands for, and which names are entries so, and not by a pattern.
        self._by_demangled: dict[str, list[str]] = {}
        self._is_demangled: set[str] = set()
        # Which entries a function matches by its body.
        self._by_body: dict[int, list[str]] = {}
        exact = set(names) if "*" in "".join(entries) else set()
        for entry in entries:
            if entry not in self._matched:
                self._matched[entry] = False
                if "*" in entry and entry not in exact:
                    self._patterns.append((entry, entry.split("*")))
                    self._is_pattern.add(entry)
        if bodies:
            self._add_bodies(bodies, set(names))
        self._demangled = demangled
        if demangled is not None:
            self._add_demangled(names, demangled)

    def _add_bodies(self, bodies: dict[str, int], names: set[str]) -> None:
        for entry, function in bodies.items():
            if entry in self._matched and entry not in names:
                self._by_body.setdefault(function, []).append(entry)

    def _add_demangled(self, names: list[str], demangled: DemangledNames) -> None:
        """Look up what names stand for, for entries that match none as it stands."""
        entries = [entry for entry in self._matched if may_be_demangled(entry)]
        if not entries:
            return
        known = set(names)
        left: list[str] = []
        for entry in entries:
            if entry in self._is_pattern:
                pieces = entry.split("*")
                is_known = False
                for name in names:
                    if _matches(pieces, name):
                        is_known = True
                        break
            else:
                is_known = entry in known
            if not is_known:
                left.append(entry)
        if not left:
            return
        pairs = demangled.pairs()
        names_of: dict[str, list[str]] = {}
        for form, name in pairs:
            names_of.setdefault(form, []).append(name)
        for entry in left:
            if entry in names_of:
                matching = names_of[entry]
                self._is_demangled.update(matching)
            elif "*" in entry:
                pieces = entry.split("*")
                matching = [name for form, name in pairs if _matches(pieces, form)]
            else:
                continue
            for name in matching:
                self._by_demangled.setdefault(name, []).append(entry)

    def match(self, name: str, function: int = -1) -> bool:
        """Tell whether an entry matches the name, or the function by its body, and mark every entry that does."""
        found = False
        if name in self._matched and name not in self._is_pattern:
            self._matched[name] = True
            found = True
        for entry, pieces in self._patterns:
            if (not found or not self._matched[entry]) and _matches(pieces, name):
                self._matched[entry] = True
                found = True
        for entry in self._by_demangled.get(name, ()):
            self._matched[entry] = True
            found = True
        for entry in self._by_body.get(function, ()):
            self._matched[entry] = True
            found = True
        return found

    def has_name(self, name: str) -> bool:
        """Tell whether the name, or what it stands for, is itself an entry (not one that a pattern matches)."""
        return (name in self._matched and name not in self._is_pattern) or name in self._is_demangled

    def lacks_extra(self) -> bool:
        """Tell whether entries were to be tried against mangled names, and there is nothing to demangle them."""
        return self._demangled is not None and self._demangled.needs_extra

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


def resolve_lists(
    options: Options, imports: list[str], names: list[str], warnings: list[str], bodies: BodyEntries | None = None
) -> Lists:
    """Return what the lists mean in a module.

    `imports` has `module.name` for every imported function, `names` the name of every function, imported ones first,
    `bodies` what entries by bodies mean, by the same indices as `names`. Entries that match nothing are added to
    `warnings`, or raise a `UsageError` if the options are strict.
    """
    demangled = None if options.plain_lists else DemangledNames(names)
    bodies = bodies or BodyEntries()
    remove = PatternList(options.remove_list, names, demangled, bodies.functions)
    add = PatternList(options.add_list, names, demangled, bodies.functions)
    only = PatternList(options.only_list, names, demangled, bodies.functions)
    _refuse_imported(remove, "remove", imports, names)
    _refuse_imported(add, "add", imports, names)
    _refuse_imported(only, "only", imports, names)
    removed: list[bool] = []
    added: list[bool] = []
    only_these: list[bool] = []
    for function in range(len(names)):
        name = names[function]
        is_own = function >= len(imports)
        is_removed = remove.match(name, function)
        is_added = add.match(name, function)
        if is_removed and is_added:
            raise UsageError(f"{name} is found in the add-list and in the remove-list")
        removed.append(is_removed)
        added.append(is_added and is_own)
        only_these.append(is_own and only.match(name, function))
    suspending, missing = _resolve_imports(options, imports, removed)
    second = PatternList((), names)
    if options.two_bodies not in WORDS_FOR_TWO_BODIES:
        second = two_bodies_list(options, names, len(imports), bodies)
        for function in range(len(imports), len(names)):
            second.match(names[function], function)
    missing.extend(_nothing_matches(_REMOVE_LIST, remove, bodies))
    missing.extend(_nothing_matches(_ADD_LIST, add, bodies))
    missing.extend(_nothing_matches(_ONLY_LIST, only, bodies))
    missing.extend(_nothing_matches(_TWO_BODIES_LIST, second, bodies))
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


def without_lists(options: Options, imports: list[str], functions: int) -> Lists:
    """Return what there is without lists of functions: the imports that may suspend, as `resolve_lists` has them."""
    suspending, _ = _resolve_imports(options, imports, [False] * len(imports))
    nothing = [False] * functions
    suspending += nothing[len(imports) :]
    return Lists(imports=suspending, remove=nothing, add=nothing, only=nothing)


def two_bodies_list(options: Options, names: list[str], imported: int, bodies: BodyEntries) -> PatternList:
    """Return the list of functions with two bodies, if it is one; `imported` is how many functions are imported."""
    entries = read_list(options.two_bodies) if isinstance(options.two_bodies, str) else options.two_bodies
    own = names[imported:]
    return PatternList(entries, own, None if options.plain_lists else DemangledNames(own), bodies.functions)


def listed_entries(options: Options) -> list[str]:
    """Return the entries of all lists of functions."""
    entries = [*options.remove_list, *options.add_list, *options.only_list]
    if options.two_bodies not in WORDS_FOR_TWO_BODIES:
        entries += read_list(options.two_bodies) if isinstance(options.two_bodies, str) else options.two_bodies
    return entries


def _resolve_imports(options: Options, imports: list[str], removed: list[bool]) -> tuple[list[bool], list[str]]:
    """Return which imports may suspend, and warnings for the entries of the import list that match none."""
    patterns = PatternList(options.imports, imports, None if options.plain_lists else DemangledNames(imports))
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
        + (_extra(entry, patterns) or (_hint(entry, imports) if hints and place < _MOST_HINTS else ""))
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
                head = warning
                for start in _STARTS:
                    head = head.partition(start)[0]
                counts[head] = counts.get(head, 0) + 1
                if len(warning) > len(hinting.get(head, "")):  # a hint names what one of the modules has
                    hinting[head] = warning
    return [hinting[head] for head in counts if counts[head] == len(warnings)]


def _nothing_matches(list_name: str, patterns: PatternList, bodies: BodyEntries) -> list[str]:
    """Return a warning in Binaryen's words for each entry that matched nothing, and behind it what is known besides."""
    warnings: list[str] = []
    for entry in patterns.unmatched():
        what = "a non-matching pattern" if "*" in entry else "a non-existing function name"
        more = f"{_BODY_START}{bodies.unmatched[entry]})" if entry in bodies.unmatched else _extra(entry, patterns)
        warnings.append(f"{list_name} contained {what}: '{entry}'{more}")
    return warnings


def _extra(entry: str, patterns: PatternList) -> str:
    """Return what would let an entry match that looks like a name in a source, if anything."""
    if not patterns.lacks_extra() or not looks_demangled(entry):
        return ""
    return f"{_EXTRA_START}: to name them as in the source, install {EXTRA})"
