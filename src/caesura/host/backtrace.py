"""What became of a guest: the reason for a trap in a few words, and names for the frames of a backtrace.

Wasmtime keeps the innermost 20 frames, and its C API has no way to change that. What is cut off is marked.
"""

from __future__ import annotations

import re
from typing import Final

import wasmtime

from caesura.abi import (
    ADDED_ENTRY,
    ASSERT_PREFIX,
    ENTERED_FUNCTION,
    LEFT_OUT_FUNCTION,
    NOT_INSTRUMENTED_FUNCTION,
    OVERFLOW_FUNCTION,
    OWN_PREFIX,
    PAUSE_REFUSED_FUNCTION,
    TAIL_CALLED_FUNCTION,
)
from caesura.host import native
from caesura.host.description import Description
from caesura.host.errors import ASYNCIFY_OVERFLOW, MEMORY_OUT_OF_BOUNDS, PAUSE_REFUSED, STACK_OVERFLOW

_MOST_FRAMES: Final = 20

# Characters of a function's name: modules have names of megabytes if they like, for each frame.
_LONGEST_NAME: Final = 1000

# What Wasmtime says of an exception that nobody caught, which has no code.
_THROWN: Final = "thrown Wasm exception"

# By the names that wasmtime-py gives them; older versions do not have all.
_KINDS: Final = {
    "STACK_OVERFLOW": STACK_OVERFLOW,
    "MEMORY_OUT_OF_BOUNDS": MEMORY_OUT_OF_BOUNDS,
    "HEAP_MISALIGNED": "misaligned atomic access",
    "TABLE_OUT_OF_BOUNDS": "table out of bounds",
    "INDIRECT_CALL_TO_NULL": "indirect call to null",
    "BAD_SIGNATURE": "indirect call type mismatch",
    "INTEGER_OVERFLOW": "integer overflow",
    "INTEGER_DIVISION_BY_ZERO": "integer division by zero",
    "BAD_CONVERSION_TO_INTEGER": "invalid conversion to integer",
    "UNREACHABLE": "unreachable",
    "INTERRUPT": "interrupted",
    "OUT_OF_FUEL": "out of fuel",
    "NULL_REFERENCE": "null reference",
    "ARRAY_OUT_OF_BOUNDS": "array out of bounds",
    "ALLOCATION_TOO_LARGE": "allocation too large",
    "CAST_FAILURE": "cast failure",
    "UNCAUGHT_EXCEPTION": "uncaught exception",
}


def kind_of_trap(trap: wasmtime.Trap, description: Description, *, unwinding: bool) -> str:
    """Return WebAssembly's reason for a trap in a few words."""
    code = trap.trap_code
    frames = trap.frames
    innermost = _name(frames[0], description) if frames else ""
    if innermost == NOT_INSTRUMENTED_FUNCTION:
        return "the guest was to be suspended below functions that are not instrumented, since a list leaves them out"
    if innermost == LEFT_OUT_FUNCTION or innermost.startswith(ASSERT_PREFIX):
        return "the guest was suspended below a function that is not instrumented"
    if innermost == OVERFLOW_FUNCTION or (unwinding and code == wasmtime.TrapCode.UNREACHABLE):
        return ASYNCIFY_OVERFLOW
    if innermost == ENTERED_FUNCTION:
        return "a function that is not instrumented went on while the guest was being suspended"
    if innermost == PAUSE_REFUSED_FUNCTION:
        return PAUSE_REFUSED
    if innermost == TAIL_CALLED_FUNCTION:
        return "a function of another module was suspended below a tail call through a table or a reference"
    if code is None:
        cause = cause_of(trap)
        return _KINDS["UNCAUGHT_EXCEPTION"] if cause == _THROWN else cause
    return _KINDS.get(code.name, code.name.lower().replace("_", " "))


def refused_below(failure: object, description: Description) -> tuple[list[int], bool] | None:
    """Return the functions on the stack where a guest has refused to be suspended, since a list leaves out some of
    them, innermost first, and whether there are more, which Wasmtime does not keep; None if it failed otherwise.

    They end where what is on the stack counts anew: at the guest's own scheduler, or where the host has entered it.
    """
    frames = failure.frames if description.guarded and isinstance(failure, wasmtime.Trap) else []
    if not frames or _name(frames[0], description) != NOT_INSTRUMENTED_FUNCTION:
        return None
    functions: list[int] = []
    for frame in frames[1:]:
        function = frame.func_index
        if description.functions_told.kind(function) == ADDED_ENTRY:
            return functions, False
        functions.append(function)
    return functions, len(frames) >= _MOST_FRAMES


def cause_of(error: wasmtime.WasmtimeError | wasmtime.Trap) -> str:
    """Return why something failed, of a message that tells of frames and causes."""
    _, _, causes = str(error).partition("Caused by:")
    lines = (causes or str(error)).strip().splitlines()
    return re.sub(r"^\d+: ", "", lines[0].strip()) if lines else "unknown error"


def describe_frames(failure: wasmtime.Trap | wasmtime.WasmtimeError, description: Description) -> tuple[str, ...]:
    """Return the names of the guest's functions on the stack of a failure, innermost first; "..." if cut off."""
    frames = native.frames_of(failure)
    names: list[str] = []
    for frame in frames:
        name = _shown(frame, description)
        if not name.startswith(OWN_PREFIX):
            names.append(name)
    if len(frames) >= _MOST_FRAMES:
        names.append("...")
    return tuple(names)


def _shown(frame: wasmtime.Frame, description: Description) -> str:
    """Return what a frame is shown as: one that was added begins with OWN_PREFIX, but for copies of others."""
    told = description.functions_told
    if not told.is_told:
        return _name(frame, description)
    function = told.shown(frame.func_index)
    return OWN_PREFIX if function is None else _shortened(description.function_name(function))


def _name(frame: wasmtime.Frame, description: Description) -> str:
    return _shortened(frame.func_name or description.function_name(frame.func_index))


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
