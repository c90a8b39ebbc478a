"""What is said where a guest has to wait and cannot be suspended, since a list leaves functions on its stack out.

The text is for people and for programs: it has a line with all that is missing as a JSON array, in the form in which
lists name functions, so that `caesura fix` finds it in whatever a test runner prints; and the whole stack. A function
without a name goes by its index and a hash of its body, for which the module that was given is read again; where that
is another one now, or was instrumented elsewhere, by its index alone. What is missing is noted in a recording, if the
environment asks for one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final

from caesura.errors import UsageError, printable
from caesura.host.description import Description
from caesura.host.guard_section import OTHER
from caesura.host.warning import warn
from caesura.recording.lines import note_missing
from caesura.recording.place import recording_path
from caesura.recording.refusals import MISSING

# Returns the entries of functions by their bodies, by index, as far as they can be known.
EntriesOf = Callable[[Sequence[int]], dict[int, str]]

# How many lines of a stack are shown, as many from each end: a cycle of two functions may be on it ten thousand times.
_MOST_LINES: Final = 100

# Characters of a name there, and of one that is named in full; a module may have names of megabytes.
_LONGEST_SHOWN: Final = 1000
_LONGEST_NAME: Final = 10_000

_WHY: Final = {
    "only-list": "the only-list leaves {them} out",
    "remove-list": "the remove-list takes {them} out, or all in which {they} could suspend",
    "ignore_indirect": "ignore_indirect leaves calls through tables and references out",
    "": "the list leaves {them} out",
}
# What stands before the names: only an only-list can lack them, and only it is completed by `caesura fix`.
_HEADS: Final = {
    "only-list": MISSING,
    "remove-list": "Not instrumented: ",
    "ignore_indirect": "Not instrumented: ",
    "": MISSING,
}
_WHAT_TO_DO: Final = {
    "only-list": "Add {them} to the only-list and instrument the module again; `caesura fix` does both.",
    "remove-list": "Take what of {them} is on the remove-list off it and instrument the module again.",
    "ignore_indirect": "Put {them} on the add-list, or leave ignore_indirect out, and instrument the module again.",
    "": "Add {them} to the only-list (`caesura fix` does), or take what of {them} is on the remove-list off it, and "
    "instrument the module again.",
}


class Unsuspendable:
    """What stands in the way of a suspension: `waiting` is the host function that has to wait, `stack` the functions
    of the present entry, innermost first, and `missing` those of them that a suspension cannot pass. `is_cut_off` says
    that there may be more of both.
    """

    def __init__(
        self,
        waiting: str,
        stack: list[int],
        missing: list[int],
        description: Description,
        entries_of: EntriesOf,
        *,
        is_cut_off: bool = False,
    ) -> None:
        self._is_cut_off = is_cut_off
        self._waiting = waiting
        self._stack = stack
        self._missing = missing
        self._description = description
        self._told = description.functions_told
        names = {function: description.names.get(function, "") for function in missing}
        unnamed = [function for function, name in names.items() if not 0 < len(name) <= _LONGEST_NAME]
        # As the original has it: that is what lists are made of.
        known = entries_of([self._told.original(function) for function in unnamed]) if unnamed else {}
        found = {function: known.get(self._told.original(function), self._index(function)) for function in unnamed}
        self.entries = [found.get(function, name) for function, name in names.items()]

    def note(self) -> None:
        """Append what is missing to the recording, if there is one; that it cannot be written is a warning."""
        path = recording_path()
        if path is None or not self.entries:
            return
        try:
            note_missing(path, self.entries)
        except UsageError as error:
            warn(str(error), RuntimeWarning)

    def describe(self) -> str:
        """Return why the guest cannot be suspended: what is missing, the stack, and what to do."""
        count = len(self.entries)
        lists = self._told.lists
        marked = "missing" if _HEADS[lists] == MISSING else "not instrumented"
        stack = [f"The stack, innermost first; * marks what is {marked}:", *_shortened(self._lines())]
        if not self.entries:
            why = "what the lists leave out has left the stack by a tail call, or they take the import itself out"
            head = f"{self._waiting} has to wait, but the guest cannot be suspended here: {why}."
            return "\n".join([head, *stack, "Change the lists and instrument the module again."])
        them = "it" if count == 1 else "them"
        why = _WHY[lists].format(them=them, they="it" if count == 1 else "they")
        functions = "1 function on the stack is" if count == 1 else f"{count} functions on the stack are"
        lines = [
            f"{self._waiting} has to wait, but {functions} not instrumented, since {why}. "
            f"{_HEADS[lists]}{json.dumps(self.entries, separators=(',', ':'))}",
            *stack,
            _WHAT_TO_DO[lists].format(them=them),
        ]
        return "\n".join(lines)

    def _index(self, function: int) -> str:
        """Return what a function without a name goes by."""
        return f"#{self._told.original(function)}"

    def _shown(self) -> list[int]:
        """Return the functions that the stack is shown with. What calls itself through a function of no importance has
        marked where it was entered: that is one activation.
        """
        stack: list[int] = []
        is_marking = False
        for function in self._stack:
            shown = self._told.shown(function)
            if shown is None:
                is_marking = self._told.kind(function) == OTHER
                continue
            if not is_marking or stack[-1:] != [shown]:
                stack.append(shown)
            is_marking = False
        return stack

    def _lines(self) -> list[str]:
        """Return a line for each function on the stack; what follows itself, as in a recursion, has one."""
        missing = frozenset(self._missing)
        lines = [f"    {self._waiting}"]
        times = 1
        names = self._description.names
        stack = self._shown()
        for place, function in enumerate(stack):
            name = printable((names.get(function) or self._index(function))[:_LONGEST_SHOWN])
            if stack[place + 1 : place + 2] == [function]:
                times += 1
                continue
            often = f" ({times} times)" if times > 1 else ""
            lines.append(f"  {'*' if function in missing else ' '} {name}{often}")
            times = 1
        return [*lines, "    ..."] if self._is_cut_off else lines


def _shortened(lines: list[str]) -> list[str]:
    left_out = len(lines) - _MOST_LINES
    if left_out <= 0:
        return lines
    half = _MOST_LINES // 2
    return [*lines[:half], f"    ... {left_out} more ...", *lines[-half:]]
