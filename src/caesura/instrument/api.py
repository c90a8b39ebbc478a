"""The transformation as the library offers it.

Like `options` and `report`, which it takes and returns, this file is not compiled: compiled code has neither docstrings
nor signatures, so that `help(caesura.instrument)` and editors, which prefer a compiled module to the source next to it,
would have nothing to show. Stub files were rejected: they would say everything a second time, and `help` does not read
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from caesura.argument_kinds import BYTES, check_kind
from caesura.options import Options

if TYPE_CHECKING:
    from caesura.instrument.rewriting import Progress
    from caesura.report import Instrumented

_DEFAULT_OPTIONS: Final = Options()


def instrument(
    module: bytes | bytearray | memoryview, options: Options = _DEFAULT_OPTIONS, progress: Progress | None = None
) -> Instrumented:
    """Make a module's call stack pausable.

    `module` is the bytes of a module in the binary format, or of a component, whose core modules are instrumented.
    `progress` is called now and then with a step's name, the functions done and the functions to do. Raises
    MalformedModule, UnsupportedModule (what the transformation refuses, with the function and the byte offset) and
    UsageError (options that do not fit the module, a module that is not bytes).
    """
    check_kind("module", module, *BYTES)
    check_kind("options", options, Options)
    # Whoever runs programs from the cache imports this, and has no use for the transformation.
    from caesura.instrument.components import instrument_component
    from caesura.instrument.frames.pieces import AUTOMATIC
    from caesura.instrument.pipeline import instrument_as
    from caesura.wasm.component import is_component

    data = bytes(module)
    if is_component(data):
        return instrument_component(data, options, progress)
    return instrument_as(data, options, progress, AUTOMATIC, None)


def body_entries(module: bytes | bytearray | memoryview, functions: Sequence[int]) -> tuple[str, ...]:
    """Return entries of lists that mean functions of a module by their bodies, for modules without names.

    `functions` are indices of functions that are not imported. An entry is such as "#12@9f3c0a5b6d7e8f90"
    (docs/options.md). Raises MalformedModule, and UsageError for an index of no such function, and for a component.
    """
    check_kind("module", module, *BYTES)
    from caesura.analysis.body_entries import body_entry
    from caesura.errors import MalformedModule, UsageError
    from caesura.wasm.component import is_component
    from caesura.wasm.indices import FunctionIndex
    from caesura.wasm.module import Module

    data = bytes(module)
    if is_component(data):
        raise UsageError("entries by bodies are for core modules: take them out of the component first")
    try:
        parsed = Module(data)
        return tuple(body_entry(parsed, FunctionIndex(function)) for function in functions)
    except IndexError:
        raise MalformedModule("unexpected end of the module", len(data)) from None
