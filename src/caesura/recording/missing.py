"""From what hosts and traps tell of functions that a list lacks to entries for that list.

Hosts tell entries; the JavaScript host, which cannot hash bodies, `#` and an index, which is completed here. A trap's
stack has indices of the instrumented module, or names; what is missing among its functions are those that were not
instrumented. What is told may be anybody's words, and a `*` in a list would be all functions: so only what names a
function of the module becomes an entry. Functions that are instrumented already are kept apart: if they are said to be
missing, what ran was another build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from caesura.analysis.body_entries import body_entry, find_bodies
from caesura.analysis.demangling import DemangledNames
from caesura.analysis.list_text import can_be_named
from caesura.analysis.lists import PatternList
from caesura.recording.refusals import StackFrame
from caesura.report import FunctionReport, Instrumented
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

_INDEX: Final = re.compile(r"#(\d{1,10})(@[0-9a-f]{16})?")


@dataclass(frozen=True)
class MissingEntries:
    """`entries` are for the list. `instrumented` names functions that are said to be missing and are instrumented,
    `unknown` is what is said to be missing and is not in the module.
    """

    entries: tuple[str, ...]
    instrumented: tuple[str, ...]
    unknown: tuple[str, ...]


class MissingFunctions:
    """Finds entries for what is missing in the only-list by which a module, as it was given, was instrumented.

    A function that is on the list and calls only such as are not is not instrumented, but not missing either.
    """

    def __init__(self, module: bytes, only_list: Sequence[str], result: Instrumented) -> None:
        self._module = Module(module)
        names = [function.name for function in result.functions]
        bodies = find_bodies(self._module, only_list).functions
        self._list = PatternList(only_list, names, DemangledNames(names), bodies)
        self._functions = {function.index: function for function in result.functions}
        self._by_name = {function.name: function for function in result.functions}
        # Imports of the guest's own runtime are functions of the instrumented module: indices are lower there.
        self._removed = self._module.imported_functions - Module(result.module).imported_functions

    def entries(self, told: Iterable[str], stacks: Iterable[Sequence[StackFrame]]) -> MissingEntries:
        """Return entries for what hosts have told is missing, and for what is on the stacks of traps."""
        entries: dict[str, None] = {}
        instrumented: dict[str, None] = {}
        unknown: dict[str, None] = {}
        for text in told:
            function = self._told(text)
            if function is None:
                unknown[text] = None
            elif function.instrumented:
                instrumented[function.name] = None
            elif self._is_missing(function):
                entries[self._entry(function)] = None
        for stack in stacks:
            for frame in stack:
                function = self._on_stack(frame)
                if function is not None and self._is_missing(function):
                    entries[self._entry(function)] = None
        return MissingEntries(tuple(entries), tuple(instrumented), tuple(unknown))

    def _told(self, entry: str) -> FunctionReport | None:
        index = _INDEX.fullmatch(entry)
        if index is None or entry in self._by_name:
            return self._by_name.get(entry)
        function = self._functions.get(int(index[1]))
        if function is None or index[2] is None:
            return function
        return function if body_entry(self._module, FunctionIndex(function.index)) == entry else None

    def _on_stack(self, frame: StackFrame) -> FunctionReport | None:
        """Return the function of a frame; None for what was added, and for functions of other modules."""
        if frame.index is None:
            return None if frame.name is None else self._by_name.get(frame.name)
        function = self._functions.get(frame.index + self._removed)
        if function is None or frame.name is None or _has_no_name(function):
            return function
        return function if frame.name.endswith(function.name) else None

    def _is_missing(self, function: FunctionReport) -> bool:
        return not function.instrumented and not self._list.match(function.name, function.index)

    def _entry(self, function: FunctionReport) -> str:
        if not _has_no_name(function) and can_be_named(function.name):
            return function.name
        return body_entry(self._module, FunctionIndex(function.index))


def _has_no_name(function: FunctionReport) -> bool:
    return function.name == str(function.index)
