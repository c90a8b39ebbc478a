"""Find the globals that tell a guest where its shadow stack begins and ends.

Guests that check their stack pointer keep the stack's two ends in mutable globals: compiler-rt's `__stack_end` and
`__stack_base`, which `emscripten_stack_get_end` and its kin read, and a second pair that Binaryen's stack check (behind
Emscripten's STACK_OVERFLOW_CHECK=2) adds and `__set_stack_limits` sets. A host that runs a call on another stack has to
change both pairs with the stack pointer, or the guest takes the call for an overflow.

They are known by their names or by the functions that read or set them, whose names say it; never by what code does
with them, since anything may be compared with a stack pointer. Limits that are constants in the code (the linker's
symbols `__stack_low` and `__stack_high`) or lie in memory (as in interpreters) cannot be switched by anybody.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import STACK_HIGH, STACK_LOW
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, GLOBAL_NAMES, Names

# The last of each is what the transformation exports them as.
_LOW_GLOBALS: Final = ("__stack_end", "__stack_low", "__stack_limit", STACK_LOW)
_HIGH_GLOBALS: Final = ("__stack_base", "__stack_high", STACK_HIGH)
_LOW_GETTERS: Final = ("emscripten_stack_get_end",)
_HIGH_GETTERS: Final = ("emscripten_stack_get_base",)
_SETTERS: Final = ("emscripten_stack_set_limits", "set_stack_limits")

# A getter or setter has at most five instructions.
_LONGEST: Final = 64


class StackLimits:
    """The indices of the globals with the lowest address of a module's shadow stack, and with the one behind it."""

    def __init__(self) -> None:
        self.low: list[int] = []
        self.high: list[int] = []

    def exports(self) -> list[tuple[str, int]]:
        """Return the globals under export names: the second of a kind has `:1` behind its name, and so on."""
        exports: list[tuple[str, int]] = []
        for name, indices in ((STACK_LOW, self.low), (STACK_HIGH, self.high)):
            exports += [(f"{name}:{place}" if place else name, index) for place, index in enumerate(indices)]
        return exports


def find_stack_limits(module: Module, stack_pointer: int | None) -> StackLimits:
    """Return the globals with the stack's limits; none where there is no stack pointer."""
    limits = StackLimits()
    if stack_pointer is None:
        return limits
    for index, name in _named(module, GLOBAL_KIND):
        # Names that were taken have got a number behind them.
        base = name.rstrip("0123456789").rstrip("_:") if name[-1:].isdigit() else name
        if base in _LOW_GLOBALS:
            _add(module, limits.low, index, stack_pointer)
        elif base in _HIGH_GLOBALS:
            _add(module, limits.high, index, stack_pointer)
    for index, name in _named(module, FUNCTION_KIND):
        base = name.lstrip("_")
        if base in _LOW_GETTERS:
            _add(module, limits.low, _read_global(module, FunctionIndex(index)), stack_pointer)
        elif base in _HIGH_GETTERS:
            _add(module, limits.high, _read_global(module, FunctionIndex(index)), stack_pointer)
        elif base in _SETTERS:
            high, low = _set_globals(module, FunctionIndex(index))
            _add(module, limits.high, high, stack_pointer)
            _add(module, limits.low, low, stack_pointer)
    return limits


def _named(module: Module, kind: int) -> list[tuple[int, str]]:
    """Return the functions or globals that have names: exports, imports, and those of the name section."""
    found = [(item.index, item.name) for item in module.exports if item.kind == kind]
    found += [(item.index, item.name) for item in module.imports if item.kind == kind]
    section = module.custom_section("name")
    if section is not None:
        names = Names(module.data[section.payload : section.end])
        found += list(names.maps[FUNCTION_NAMES if kind == FUNCTION_KIND else GLOBAL_NAMES].items())
    return found


def _add(module: Module, found: list[int], index: int | None, stack_pointer: int) -> None:
    """Add a global, if it is one that a limit can be in."""
    if index is None or index >= len(module.globals) or index == stack_pointer or index in found:
        return
    entry = module.globals[index]
    if entry.mutable and entry.type == module.globals[stack_pointer].type:
        found.append(index)


def _read_global(module: Module, function: FunctionIndex) -> int | None:
    """Return the global that a function returns, if it does nothing else."""
    code = _short_code(module, function)
    return code[0][1] if [item[0] for item in code] == [op.GLOBAL_GET, op.END] else None


def _set_globals(module: Module, function: FunctionIndex) -> tuple[int | None, int | None]:
    """Return the globals that a function sets to its first and second argument, if it does nothing else."""
    code = _short_code(module, function)
    if [item[0] for item in code] != [op.LOCAL_GET, op.GLOBAL_SET, op.LOCAL_GET, op.GLOBAL_SET, op.END]:
        return None, None
    first, second = (code[1][1], code[3][1]) if code[0][1] == 0 else (code[3][1], code[1][1])
    return (first, second) if {code[0][1], code[2][1]} == {0, 1} else (None, None)


def _short_code(module: Module, function: FunctionIndex) -> list[tuple[int, int]]:
    """Return a short function's instructions and first immediates (0 without any); nothing for any other function."""
    own = module.own_of(function)
    if not 0 <= own < len(module.body_starts) or module.body_ends[own] - module.body_starts[own] > _LONGEST:
        return []
    data = module.data
    _, position = read_locals(data, module.body_starts[own])
    code: list[tuple[int, int]] = []
    while position < module.body_ends[own]:
        opcode, position = read_opcode(data, position)
        numbers, position = read_immediates(data, position, opcode)
        code.append((opcode, numbers[0] if numbers else 0))
    return code
