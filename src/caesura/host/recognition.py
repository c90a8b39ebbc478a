"""Recognising modules that were instrumented elsewhere, also where nothing in them has a name any more.

Emscripten shortens the names of exports when it optimizes, Asyncify's among them. But the four functions are a few
instructions each that nobody writes by accident: one sets a global to 1 and another to its argument, one does the same
with 2, and two without an argument set the first global to 0; all compare what lies at the second one with what lies
behind it. A module that exports four such functions, over the same two globals, is an instrumented one.

The shadow stack pointer is harder to find after the transformation than before: functions then begin with restoring
themselves, and what was one expression may go through locals. So values are followed through each function, without
regard to branches: the pointer is the global that most functions set to its own value less the size of a C frame, which
is a multiple of 16. Taking any global that is both read and written was rejected: every counter is.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import types as t
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.instructions import NAMES
from caesura.wasm.module import FUNCTION_KIND, Module

START_UNWIND: Final = "asyncify_start_unwind"
STOP_UNWIND: Final = "asyncify_stop_unwind"
START_REWIND: Final = "asyncify_start_rewind"
STOP_REWIND: Final = "asyncify_stop_rewind"
GET_STATE: Final = "asyncify_get_state"

# The parameters that the functions may have; none has results.
_POINTER: Final = ((t.I32,), (t.I64,))
_TYPES: Final = {START_UNWIND: _POINTER, STOP_UNWIND: ((),), START_REWIND: _POINTER, STOP_REWIND: ((),)}

# A state change of Binaryen's has 41 bytes at most, one of ours a few more.
_LONGEST: Final = 96

_ALLOWED: Final = frozenset(
    ("block", "br_if", "call", "else", "end", "global.get", "global.set", "i32.const", "i32.eq", "i32.gt_u")
    + ("i32.load", "i64.gt_u", "i64.load", "if", "local.get", "local.set", "local.tee", "unreachable")
)
_FRAME_ALIGNMENT: Final = 16

# A value that is followed: nothing known, a constant, a global's value, or that less a frame.
_Value = tuple[str, int]
_UNKNOWN: Final[_Value] = ("unknown", 0)


def asyncify_exports(module: Module) -> dict[str, str]:
    """Return the names under which a module exports Asyncify's functions, by their proper names.

    Empty if the module is not instrumented for the plain ABI or with thunks. `asyncify_get_state` is optional.
    """
    functions = {item.name: item.index for item in module.exports if item.kind == FUNCTION_KIND}
    if all(name in functions and _has_type(module, functions[name], kinds) for name, kinds in _TYPES.items()):
        names = {name: name for name in _TYPES}
        getter = module.function_type(functions[GET_STATE]) if GET_STATE in functions else None
        if getter is not None and not getter.params and getter.results == (t.I32,):
            names[GET_STATE] = GET_STATE
        return names
    shapes = {name: _state_change(module, index) for name, index in functions.items()}
    for name, shape in shapes.items():
        if shape is None or shape[0] != 1:
            continue
        _, state, data = shape
        rewinding = [other for other, found in shapes.items() if found == (2, state, data)]
        stopping = [other for other, found in shapes.items() if found == (0, state, data)]
        if rewinding and stopping:  # the two that stop do the same, and may have become one
            return {
                START_UNWIND: name,
                STOP_UNWIND: stopping[0],
                START_REWIND: rewinding[0],
                STOP_REWIND: stopping[-1],
            }
    return {}


def takes_pointer(module: Module, function: int) -> bool:
    """Tell whether a function takes a pointer and has no results."""
    return _has_type(module, function, _POINTER)


def _has_type(module: Module, function: int, params: tuple[tuple[int, ...], ...]) -> bool:
    kind = module.function_type(function)
    return not kind.results and kind.params in params


def _state_change(module: Module, function: int) -> tuple[int, int, int] | None:
    """Return what a function sets the state to, and the globals of state and data; None if it does something else."""
    own = function - module.imported_functions
    kind = module.function_type(function)
    if own < 0 or not _has_type(module, function, ((), *_POINTER)):
        return None
    if module.body_ends[own] - module.body_starts[own] > _LONGEST:
        return None
    before, last = ("", [0]), ("", [0])
    state, data, value = -1, -1, -1
    offsets: set[int] = set()
    for name, numbers in _instructions(module, own):
        if name not in _ALLOWED:
            return None
        if name == "global.set" and last[0] == "i32.const" and state < 0:
            state, value = numbers[0], last[1][0]
        elif name == "global.set" and last == ("local.get", [0]) and kind.params and data < 0:
            data = numbers[0]
        elif name == "global.set":
            return None
        elif name.endswith(".load") and last[0] == "global.get" and data in (-1, last[1][0]):
            data = last[1][0]
            offsets.add(numbers[2])
        elif name.endswith(".load") and last == ("local.get", [0]) and kind.params:
            offsets.add(numbers[2])
        before, last = last, (name, numbers)
    complete = before[0] == "end" and last[0] == "end" and len(offsets) == 2 and 0 in offsets
    if not complete or state in (-1, data) or value not in (0, 1, 2) or (value == 0) != (not kind.params):
        return None
    return value, state, data


def find_moved_stack_pointer(module: Module) -> int:
    """Return the shadow stack pointer's global in a module that was instrumented elsewhere, or -1."""
    votes = [0] * len(module.globals)
    for own in range(len(module.body_starts)):
        for found in _opened_frames(module, own):
            votes[found] += 1
    for place, item in enumerate(module.globals):
        if not item.mutable or item.type not in (t.I32, t.I64):
            votes[place] = 0
    most = max(votes, default=0)
    return votes.index(most) if most else -1


def _opened_frames(module: Module, own: int) -> set[int]:
    """Return the globals that a function sets to their own value less a frame."""
    found: set[int] = set()
    locals_: dict[int, _Value] = {}
    stack: list[_Value] = []
    for name, numbers in _instructions(module, own):
        if name in ("i32.const", "i64.const"):
            stack.append(("constant", numbers[0]))
        elif name == "global.get":
            stack.append(("global", numbers[0]))
        elif name == "local.get":
            stack.append(locals_.get(numbers[0], _UNKNOWN))
        elif name in ("local.set", "local.tee"):
            locals_[numbers[0]] = stack[-1] if stack else _UNKNOWN
            if name == "local.set" and stack:
                stack.pop()
        elif name in ("i32.sub", "i64.sub") and len(stack) > 1:
            size, base = stack.pop(), stack.pop()
            is_frame = base[0] == "global" and size[0] == "constant" and size[1] > 0 and not size[1] % _FRAME_ALIGNMENT
            stack.append(("frame", base[1]) if is_frame else _UNKNOWN)
        elif name == "global.set":
            if stack and stack.pop() == ("frame", numbers[0]):
                found.add(numbers[0])
        else:
            stack.clear()  # whatever it takes and leaves, it is not followed
    return found


def _instructions(module: Module, own: int) -> list[tuple[str, list[int]]]:
    """Return the instructions of one of the module's own functions, with their immediates."""
    data = module.data
    _, position = read_locals(data, module.body_starts[own])
    instructions: list[tuple[str, list[int]]] = []
    while position < module.body_ends[own]:
        code, position = read_opcode(data, position)
        numbers, position = read_immediates(data, position, code)
        instructions.append((NAMES[code], numbers))
    return instructions
