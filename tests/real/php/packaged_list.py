"""The list of functions that npm's own build of PHP with Asyncify was made by: those that look at the state.

Prints a list for the build that npm ships for JSPI: the functions of these names that it has.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.instrumented import asyncify_exports, state_global
from caesura.analysis.list_text import entry_line
from caesura.instrument.abi.naming import FunctionNames
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.indices import OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.opcodes import GLOBAL_GET
from tests.real.php.build import PACKAGE, SOURCE

PACKAGED: Final = PACKAGE.parent / "asyncify" / "8_3_33" / "php_8_3.wasm"


def looks_at(module: Module, own: OwnFunction, index: int) -> bool:
    """Tell whether a function reads a global."""
    _, position = read_locals(module.data, module.body_starts[own])
    while position < module.body_ends[own]:
        code, position = read_opcode(module.data, position)
        immediates, position = read_immediates(module.data, position, code)
        if code == GLOBAL_GET and immediates == [index]:
            return True
    return False


def packaged_list() -> list[str]:
    """Return the names, sorted."""
    module = Module(PACKAGED.read_bytes())
    state = state_global(module)
    assert state is not None
    helpers = set(asyncify_exports(module))
    names = FunctionNames(module).names
    here = set(FunctionNames(Module(SOURCE.read_bytes())).names)
    listed = {names[module.function_of(own)] for own in module.own_functions() if looks_at(module, own, state)}
    return sorted((listed & here) - helpers)


if __name__ == "__main__":
    print("# The functions that npm's build of PHP with Asyncify has instrumented.")
    for name in packaged_list():
        print(entry_line(name))
