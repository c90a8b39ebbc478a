"""Which functions each entry of a list names, in the meaning that lists have for the transformation."""

from __future__ import annotations

from collections.abc import Sequence

from caesura.analysis.lists import PatternList


class Entry:
    """An entry of a list: the list's name as an option, the entry as given, and the functions that it names."""

    def __init__(self, list_name: str, text: str, functions: list[int]) -> None:
        self.list_name = list_name
        self.text = text
        self.functions = functions


def match_entries(list_name: str, entries: Sequence[str], names: list[str], first: int) -> list[Entry]:
    """Return the entries of a list, each once, with the functions that they name; `names` are those from `first` on."""
    by_name: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_name.setdefault(name, []).append(first + place)
    found: list[Entry] = []
    for text in dict.fromkeys(entries):
        if "*" not in text or text in by_name:
            functions = by_name.get(text, [])
        else:
            pattern = PatternList((text,), [])
            functions = [first + place for place, name in enumerate(names) if pattern.match(name)]
        found.append(Entry(list_name, text, functions))
    return found
