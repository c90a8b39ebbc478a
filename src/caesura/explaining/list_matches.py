"""Which functions each entry of a list names, in the meaning that lists have for the transformation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caesura.analysis.demangling import DemangledNames, may_be_demangled
from caesura.analysis.lists import PatternList


class Entry:
    """An entry of a list: the list's name as an option, the entry as given, and the functions that it names."""

    def __init__(self, list_name: str, text: str, functions: list[int]) -> None:
        self.list_name = list_name
        self.text = text
        self.functions = functions


class Matching:
    """What entries name among some functions: `names` are those from `first` on. `demangled` is what they stand for, if
    entries may be that; `bodies` has the function that an entry means by its body.
    """

    def __init__(
        self, names: list[str], first: int, demangled: DemangledNames | None, bodies: Mapping[str, int]
    ) -> None:
        self._names = names
        self._first = first
        self._demangled = demangled
        self._bodies = bodies
        self._by_name: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            self._by_name.setdefault(name, []).append(first + place)

    def entries(self, list_name: str, entries: Sequence[str]) -> list[Entry]:
        """Return the entries of a list, each once, with the functions that they name."""
        return [Entry(list_name, text, self._functions(text)) for text in dict.fromkeys(entries)]

    def _functions(self, text: str) -> list[int]:
        if text in self._by_name:
            return self._by_name[text]
        if text in self._bodies:
            return [self._bodies[text]]
        functions = self._matching(PatternList((text,), [])) if "*" in text else []
        if not functions and self._demangled is not None and may_be_demangled(text):
            functions = self._matching(PatternList((text,), self._names, self._demangled))
        return functions

    def _matching(self, patterns: PatternList) -> list[int]:
        return [self._first + place for place, name in enumerate(self._names) if patterns.match(name)]
