"""How long Wasmtime will take to compile a module, estimated, so that only what is quick is compiled in a thread.

Its time is mostly in proportion to the code. But where many values live across many calls, as they do in instrumented
code, in which every local is saved and restored at every call site, it grows with the square of locals times call
sites: three hundred calls whose results all stay on the stack are a kilobyte, and take ten seconds. Nothing can stop a
thread half-way.

The size alone was rejected for that reason, and so was a look at the module before it is instrumented: what becomes a
local is known afterwards.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.module import Module

# Call, call_indirect, return_call, return_call_indirect, call_ref, return_call_ref.
_CALLS: Final = frozenset(range(0x10, 0x16))


def compiling_effort(module: Module) -> int:
    """Return how long compiling takes beyond what goes with the size, in nanoseconds; it is right within a factor of 3.

    Raises MalformedModule.
    """
    return sum(_of_function(module, number) ** 2 for number in range(len(module.body_starts)))


def _of_function(module: Module, number: int) -> int:
    """Return the product of a function's call sites and locals."""
    data, end = module.data, module.body_ends[number]
    locals_, position = read_locals(data, module.body_starts[number])
    calls = 0
    while position < end:
        code, position = read_opcode(data, position)
        _, position = read_immediates(data, position, code)
        calls += code in _CALLS
    params = module.function_type(module.imported_functions + number).params
    return calls * (len(locals_) + len(params))
