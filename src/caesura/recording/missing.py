"""From what hosts and traps tell of functions that a list lacks to entries for that list.

Hosts tell entries; the JavaScript host, which cannot hash bodies, `#` and an index, which is completed here. A trap's
stack has indices of the instrumented module, or names; what is missing among its functions are those that were not
instrumented. Functions that are instrumented already are kept apart: if they are said to be missing, what ran was
another build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from caesura.instrument.api import body_entries
from caesura.recording.refusals import StackFrame
from caesura.report import FunctionReport, Instrumented
from caesura.wasm.module import Module

_INDEX: Final = re.compile(r"#(\d{1,10})")


@dataclass(frozen=True)
class MissingEntries:
    """`entries` are for the list; `instrumented` names functions that are said to be missing and are instrumented."""

    entries: tuple[str, ...]
    instrumented: tuple[str, ...]


class MissingFunctions:
    """Finds entries for what is missing in the list by which a module, as it was given, was instrumented."""

    def __init__(self, module: bytes, result: Instrumented) -> None:
        self._module = module
        self._functions = {function.index: function for function in result.functions}
        self._by_name = {function.name: function for function in result.functions}
        # Imports of the guest's own runtime are functions of the instrumented module: indices are lower there.
        self._removed = Module(module).imported_functions - Module(result.module).imported_functions

    def entries(self, told: Iterable[str], stacks: Iterable[Sequence[StackFrame]]) -> MissingEntries:
        """Return entries for what hosts have told is missing, and for what is on the stacks of traps."""
        entries: dict[str, None] = {}
        instrumented: dict[str, None] = {}
        for text in told:
            function = self._told(text)
            if function is None:
                entries[text] = None  # a list's reader says what matches nothing
            elif function.instrumented:
                instrumented[function.name] = None
            else:
                entries[self._entry(function)] = None
        for stack in stacks:
            for frame in stack:
                function = self._on_stack(frame)
                if function is not None and not function.instrumented:
                    entries[self._entry(function)] = None
        return MissingEntries(tuple(entries), tuple(instrumented))

    def _told(self, entry: str) -> FunctionReport | None:
        index = _INDEX.fullmatch(entry)
        if index is not None and entry not in self._by_name:
            return self._functions.get(int(index[1]))
        return self._by_name.get(entry)

    def _on_stack(self, frame: StackFrame) -> FunctionReport | None:
        """Return the function of a frame; None for what was added, and for functions of other modules."""
        if frame.index is None:
            return None if frame.name is None else self._by_name.get(frame.name)
        function = self._functions.get(frame.index + self._removed)
        if function is None or frame.name is None or _has_no_name(function):
            return function
        return function if frame.name.endswith(function.name) else None

    def _entry(self, function: FunctionReport) -> str:
        if not _has_no_name(function):
            return function.name
        (entry,) = body_entries(self._module, [function.index])
        return entry


def _has_no_name(function: FunctionReport) -> bool:
    return function.name == str(function.index)
