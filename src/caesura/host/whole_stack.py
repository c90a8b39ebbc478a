"""The whole stack of a running guest: what is on it, and whether it can be suspended there.

Wasmtime keeps 20 frames of a backtrace and has no function that describes a running stack. Its profiler sees all of
it: a profile with a single sample is the stack. That takes 0.2 ms for a small module, more for a very large one, and
is done only for guests loaded with options that keep functions from being instrumented. Asking with a trap was
rejected: interpreters are deeper than 20 frames, and a function that is overlooked runs on while the guest unwinds.

The profile has names instead of indices, and names are not unique. So such a module has no name section (`drivable`):
Wasmtime then counts its functions.
"""

from __future__ import annotations

import json
import re
from typing import Final

import wasmtime

from caesura.errors import InternalError, UsageError
from caesura.host import native
from caesura.host.description import Description

_COUNTED: Final = re.compile(r"<wasm function (\d+)>")


class WholeStack:
    """Checks that a guest can be suspended where it is."""

    def __init__(self, store: wasmtime.Store, module: wasmtime.Module, description: Description) -> None:
        self._store = store
        self._module = module
        self._description = description
        self._imported = description.imported_functions
        self._uninstrumented = frozenset(description.uninstrumented)
        self._entries = frozenset(description.entries.values())

    def check(self, waiting: str) -> None:
        """Raise UsageError if a function on the stack is not instrumented; `waiting` is the host function."""
        for function in self._functions():
            if function in self._entries:
                return
            if function in self._uninstrumented:
                raise UsageError(
                    f"host function {waiting} has to wait, but {self._description.function_name(function)} is on the "
                    "guest's stack and is not instrumented: the options leave it out"
                )

    def _functions(self) -> list[int]:
        """Return the indices of the functions on the stack, innermost first."""
        thread = json.loads(native.profile(self._store, self._module))["threads"][0]
        names: list[str] = thread["stringArray"]
        named: list[int] = thread["funcTable"]["name"]
        function_of: list[int] = thread["frameTable"]["func"]
        outer: list[int | None] = thread["stackTable"]["prefix"]
        frame_of: list[int] = thread["stackTable"]["frame"]
        functions: list[int] = []
        place: int | None = thread["samples"]["stack"][0]
        while place is not None:
            name = names[named[function_of[frame_of[place]]]]
            counted = _COUNTED.fullmatch(name)
            if counted is None:
                raise InternalError(f"Wasmtime's profile has a function named '{name}' where names were taken away")
            functions.append(self._imported + int(counted[1]))
            place = outer[place]
        return functions
