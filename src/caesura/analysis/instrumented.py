"""Recognising modules that are instrumented already, also where nothing in them has a name any more.

Emscripten shortens the names of exports when it optimizes, Asyncify's among them. But the four functions are a few
instructions each that nobody writes by accident: one sets a global to 1 and another to its argument, one does the same
with 2, and two without an argument set the first global to 0; all compare what lies at the second one with what lies
behind it, themselves or in a function that they share. A module that exports four such functions, over the same two
globals, is an instrumented one.

The transformation refuses what is recognised here, and the asyncio host drives it as it is: so both look in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.abi import (
    CONTRACT_SECTION,
    GET_STATE,
    START_REWIND,
    START_UNWIND,
    STOP_REWIND,
    STOP_UNWIND,
    Fact,
    State,
)
from caesura.errors import UnsupportedModule, printable
from caesura.options import NO_PREEMPT, PREEMPT_FLAG, PREEMPT_FUEL
from caesura.wasm import types as t
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.instructions import NAMES
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module

# The parameters that the functions may have; none has results.
_POINTER: Final = ((t.I32,), (t.I64,))
_TYPES: Final = {START_UNWIND: _POINTER, STOP_UNWIND: ((),), START_REWIND: _POINTER, STOP_REWIND: ((),)}

# What they set the state to; an overflow is another one's affair.
_SET_STATES: Final = (State.NORMAL, State.UNWINDING, State.REWINDING)

# A state change of Binaryen's has 41 bytes at most, one of ours a few more.
_LONGEST: Final = 96

_ALLOWED: Final = frozenset(
    ("block", "br_if", "call", "else", "end", "global.get", "global.set", "i32.const", "i32.eq", "i32.gt_u")
    + (
        "i32.load",
        "i32.lt_u",
        "i64.gt_u",
        "i64.lt_u",
        "i64.load",
        "if",
        "local.get",
        "local.set",
        "local.tee",
        "unreachable",
    )
)


def refuse_instrumented(module: Module) -> None:
    """Raise UnsupportedModule if a module is instrumented already, or exports what only an instrumented one does."""
    found = asyncify_exports(module)
    taken = [item.name for item in module.exports if item.name in _TYPES or item.name == GET_STATE]
    if not found and not taken:
        return
    shortened = [f"{printable(name)} as {proper}" for proper, name in found.items() if name != proper]
    how = f"it exports {', '.join(shortened)}" if shortened else f"it exports {taken[0]}"
    raise UnsupportedModule(
        f"the module is instrumented already: {how}. Give the module as it was before that "
        "(Emscripten: link without -sASYNCIFY), or run this one as it is"
    )


def asyncify_exports(module: Module) -> dict[str, str]:
    """Return the names under which a module exports Asyncify's functions, by their proper names.

    Empty if the module is not instrumented for the plain ABI or with thunks. `asyncify_get_state` is optional.
    """
    functions = {item.name: FunctionIndex(item.index) for item in module.exports if item.kind == FUNCTION_KIND}
    if all(name in functions and _has_type(module, functions[name], kinds) for name, kinds in _TYPES.items()):
        names = {name: name for name in _TYPES}
        getter = module.function_type(functions[GET_STATE]) if GET_STATE in functions else None
        if getter is not None and not getter.params and getter.results == (t.I32,):
            names[GET_STATE] = GET_STATE
        return names
    shapes = {name: _state_change(module, index) for name, index in functions.items()}
    for name, shape in shapes.items():
        if shape is None or shape[0] != State.UNWINDING:
            continue
        _, state, data = shape
        rewinding = [other for other, found in shapes.items() if found == (State.REWINDING, state, data)]
        stopping = [other for other, found in shapes.items() if found == (State.NORMAL, state, data)]
        if rewinding and stopping:  # the two that stop do the same, and may have become one
            return {
                START_UNWIND: name,
                STOP_UNWIND: stopping[0],
                START_REWIND: rewinding[0],
                STOP_REWIND: stopping[-1],
            }
    return {}


def state_global(module: Module) -> int | None:
    """Return the global with the state of a module that is instrumented already; None if it cannot be told."""
    name = asyncify_exports(module).get(START_UNWIND, "")
    for item in module.exports:
        if item.name == name and item.kind == FUNCTION_KIND:
            change = _state_change(module, FunctionIndex(item.index))
            return None if change is None else change[1]
    return None


def preempt_of(module: Module) -> str:
    """Return what a module looks at where it pauses by itself, as the option `preempt` has it."""
    facts = facts_of(module)
    if facts & Fact.PAUSES_BY_FUEL:
        return PREEMPT_FUEL
    return PREEMPT_FLAG if facts & Fact.PAUSES_BY_REQUEST else NO_PREEMPT


def facts_of(module: Module) -> int:
    """Return the flags by which a module tells hosts of itself (`abi.Fact`); 0 if it does not."""
    section = module.custom_section(CONTRACT_SECTION)
    if section is None:
        return 0
    contract = module.data[section.payload : section.end]
    _, position = read_u32(contract, 0)
    facts, _ = read_u32(contract, position)
    return facts


def takes_pointer(module: Module, function: FunctionIndex) -> bool:
    """Tell whether a function takes a pointer and has no results."""
    return _has_type(module, function, _POINTER)


def _has_type(module: Module, function: FunctionIndex, params: tuple[tuple[int, ...], ...]) -> bool:
    kind = module.function_type(function)
    return not kind.results and kind.params in params


def _state_change(module: Module, function: FunctionIndex) -> tuple[int, int, int | None] | None:
    """Return what a function sets the state to, and the globals of state and data; None if it does something else."""
    change = _read_change(module, function)
    if change is None:
        return None
    half = change
    if change.callee is not None:
        # Ours leave the second half to a function that all four share.
        begin = _read_change(module, change.callee)
        if begin is None or begin.state is not None or begin.callee is not None:
            return None
        if change.pointer not in (None, begin.pointer):
            return None
        half = begin
    state, value, pointer = change.state, change.value, half.pointer
    if state is None or value is None or state == pointer or not half.compares:
        return None
    takes_data = bool(module.function_type(function).params)
    if value not in _SET_STATES or (value == State.NORMAL) == takes_data:
        return None
    return value, state, pointer


@dataclass(frozen=True)
class _Change:
    """What a function does that changes the state, or a half of it.

    `state` is the global that is set to a constant, `value` the constant, `pointer` the global that is set to the
    argument or whose value is the address of two loads, `callee` the function that is called with one of these at the
    end; `compares` tells whether what was loaded is compared at the end.
    """

    state: int | None
    value: int | None
    pointer: int | None
    callee: FunctionIndex | None
    compares: bool


def _read_change(module: Module, function: FunctionIndex) -> _Change | None:
    """Return what a function does, if it is no more than what a state change or the second half of one does."""
    own = module.own_of(function)
    if own < 0 or not _has_type(module, function, ((), *_POINTER)):
        return None
    if module.body_ends[own] - module.body_starts[own] > _LONGEST:
        return None
    takes_data = bool(module.function_type(function).params)
    data = module.data
    _, position = read_locals(data, module.body_starts[own])
    before, last = "", ""
    numbers: list[int] = [0]
    state: int | None = None
    value: int | None = None
    pointer: int | None = None
    callee: FunctionIndex | None = None
    offsets: set[int] = set()
    copies: set[int] = set()  # locals that hold the pointer, as older versions of Binaryen have it
    while position < module.body_ends[own]:
        code, position = read_opcode(data, position)
        name = NAMES[code]
        if name not in _ALLOWED:
            return None
        behind = numbers
        numbers, position = read_immediates(data, position, code)
        is_copy = (last == "local.get" or last == "local.tee") and behind[0] in copies
        is_argument = takes_data and last == "local.get" and behind[0] == 0
        is_pointer = last == "global.get" and pointer in (None, behind[0])
        if name == "global.set" and last == "i32.const" and state is None:
            state, value = numbers[0], behind[0]
        elif name == "global.set" and last == "i32.const" and numbers[0] == state and behind[0] == State.OVERFLOWED:
            pass  # where the two that are compared are in disorder
        elif name == "global.set" and (last.endswith(".load") or last == "local.tee"):
            pass  # where the frames begin
        elif name == "global.set" and is_argument and pointer is None:
            pointer = numbers[0]
        elif name == "global.set":
            return None
        elif (name == "local.tee" or name == "local.set") and is_pointer:
            pointer = behind[0]
            copies.add(numbers[0])
        elif name.endswith(".load") and (is_argument or is_pointer or is_copy):
            pointer = behind[0] if is_pointer else pointer
            offsets.add(numbers[2])
        elif name == "call" and (is_argument or is_pointer):
            pointer = behind[0] if is_pointer else pointer
            callee = FunctionIndex(numbers[0])
        before, last = last, name
    compares = before == "end" and last == "end" and len(offsets) == 2 and 0 in offsets
    if callee is not None and (offsets or before != "call"):
        return None
    return _Change(state, value, pointer, callee, compares)
