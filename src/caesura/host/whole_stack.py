"""The whole stack of a running guest: which of its functions are on it.

Wasmtime keeps 20 frames of a backtrace and has no function that describes a running stack. Its profiler sees all of
it: a profile with a single sample is the stack. That takes 0.2 ms for a small module, more for a very large one, so it
is done only where a suspension is refused, for the names. Asking with a trap was rejected: interpreters are deeper than
20 frames.

The profile has names instead of indices, and names are not unique. So such a module has no name section (`drivable`):
Wasmtime then counts its functions.
"""

from __future__ import annotations

import json
import re
from typing import Final

import wasmtime

from caesura.abi import ADDED_GUARD, ADDED_SECOND_BODY
from caesura.errors import InternalError
from caesura.host import native
from caesura.host.description import Description
from caesura.host.guard_section import ORIGINAL, UNKNOWN

# In place of a function where nothing was called.
_NOTHING: Final = -1

_COUNTED: Final = re.compile(r"<wasm function (\d+)>")


def functions_on_stack(store: wasmtime.Store, module: wasmtime.Module, imported: int) -> list[int]:
    """Return the indices of the functions on a guest's stack, innermost first; `imported` is how many it imports."""
    thread = json.loads(native.profile(store, module))["threads"][0]
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
        functions.append(imported + int(counted[1]))
        place = outer[place]
    return functions


def of_one_entry(functions: list[int], entered: int, description: Description) -> list[int]:
    """Return, of the functions on a stack, those of the present entry into the guest, where that is not the only one:
    up to what the host has called.

    That is a function that was added, an entry thunk or what stands before an export, which the guest itself does not
    call; but exports that are left out are called as they are. Where the guest has called one of these itself, too, its
    innermost activation passes for the one that the host has called: nothing tells them apart.
    """
    outermost = {entered, *description.entries.values()}
    ends = [place for place, function in enumerate(functions) if function in outermost]
    return functions[: ends[0] + 1] if ends else functions


def missing_among(functions: list[int], description: Description) -> list[int]:
    """Return which functions on a stack keep the guest from being suspended, each once, innermost first.

    Those are the ones that are not instrumented, and those that are, but make a call that is none of their call sites:
    between them and what they have called stands a function of the guard. Other functions that were added stand there
    as well, which say nothing; a second body stands for the function that it is of, which has called it. Where a module
    does not tell them apart all count as the guard's.
    """
    uninstrumented = frozenset(description.uninstrumented)
    told = description.functions_told
    missing: dict[int, None] = {}
    called, called_by_that = _NOTHING, _NOTHING
    for function in functions:
        kind = told.kind(function)
        if kind == ADDED_SECOND_BODY:
            continue
        is_left_out = function in uninstrumented
        if not is_left_out and kind == ORIGINAL and called_by_that != _NOTHING:
            is_left_out = told.kind(called) in (ADDED_GUARD, UNKNOWN)
        if is_left_out:
            missing[function] = None
        called, called_by_that = function, called
    return list(missing)
