"""Finding the shadow stack pointer of a module that was instrumented elsewhere.

That is harder after the transformation than before: functions then begin with restoring themselves, and what was one
expression may go through locals. So values are followed through each function, without regard to branches: the pointer
is the global that most functions set to its own value less the size of a C frame, which is a multiple of 16. Taking any
global that is both read and written was rejected: every counter is.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import types as t
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.instructions import NAMES
from caesura.wasm.module import Module

_FRAME_ALIGNMENT: Final = 16

# A value that is followed: nothing known, a constant, a global's value, or that less a frame.
_Value = tuple[str, int]
_UNKNOWN: Final[_Value] = ("unknown", 0)


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
