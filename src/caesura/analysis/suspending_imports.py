"""In which of its imports a module that is instrumented already can be suspended.

Whoever instruments a module may say that only some imports suspend, and the module does not keep what was said (Ruby's
build for WASI has been told so of all). A suspension anywhere else is lost: the function that called the import does
not look at the state and runs on. But whether it looks can be seen, since both Binaryen and we write the same right
behind a call that may suspend: results go to locals, a call site's number to the stack, and the state's global is
read.

A function that only passes a suspension on has no such look, neither ours nor Binaryen's; its callers have. Where
nobody calls it by name, or an import is reached through tables only, nothing is known, and it counts as one that can
suspend. Deciding by the functions that call the import alone was rejected: those are often instrumented for another
call.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import read_calls
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module

# What may stand between a call and the look at the state.
_BETWEEN: Final = frozenset((op.LOCAL_GET, op.LOCAL_SET, op.LOCAL_TEE, op.DROP, op.I32_CONST))

# What a function does with a suspension of something that it calls.
_LOSES: Final = 0
_PASSES_ON: Final = 1
_SAVES: Final = 2


def suspending_imports(module: Module, state: int) -> list[bool]:
    """Tell for each imported function whether an instrumented module can be suspended in it; `state` is its global."""
    callers: dict[FunctionIndex, list[OwnFunction]] = {}
    for own, callees in enumerate(read_calls(module).callees):
        for callee in callees:
            callers.setdefault(callee, []).append(OwnFunction(own))
    behind_calls: dict[OwnFunction, dict[FunctionIndex, int]] = {}
    imported = [FunctionIndex(function) for function in range(module.imported_functions)]
    return [_saves(module, state, function, callers, behind_calls) for function in imported]


def _saves(
    module: Module,
    state: int,
    function: FunctionIndex,
    callers: dict[FunctionIndex, list[OwnFunction]],
    behind_calls: dict[OwnFunction, dict[FunctionIndex, int]],
) -> bool:
    """Tell whether some function saves its frame when this one is suspended.

    `behind_calls` has what is known of the module's own functions, and is added to.
    """
    passing = [function]
    seen = {function}
    while passing:
        callee = passing.pop()
        if callee not in callers:
            return True
        for own in callers[callee]:
            if own not in behind_calls:
                behind_calls[own] = _read_behind_calls(module, state, own)
            behind = behind_calls[own].get(callee, _LOSES)
            if behind == _SAVES:
                return True
            caller = module.function_of(own)
            if behind == _PASSES_ON and caller not in seen:
                seen.add(caller)
                passing.append(caller)
    return False


def _read_behind_calls(module: Module, state: int, own: OwnFunction) -> dict[FunctionIndex, int]:
    """Return what one of the module's own functions does behind its calls, by callee: the best of all calls."""
    data = module.data
    end = module.body_ends[own]
    _, position = read_locals(data, module.body_starts[own])
    best: dict[FunctionIndex, int] = {}
    callee: FunctionIndex | None = None  # whose call is not far behind
    while position < end:
        code, position = read_opcode(data, position)
        numbers, position = read_immediates(data, position, code)
        if code == op.CALL:
            callee = FunctionIndex(numbers[0])
        elif callee is not None and code not in _BETWEEN:
            found = _LOSES
            if code == op.GLOBAL_GET and numbers[0] == state:
                found = _SAVES
            elif code == op.END and position == end:
                found = _PASSES_ON
            best[callee] = max(best.get(callee, _LOSES), found)
            callee = None
    return best
