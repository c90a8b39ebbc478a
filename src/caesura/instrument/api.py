"""The transformation as the library offers it.

Like `options` and `report`, which it takes and returns, this file is not compiled: compiled code has neither docstrings
nor signatures, so that `help(caesura.instrument)` and editors, which prefer a compiled module to the source next to it,
would have nothing to show. Stub files were rejected: they would say everything a second time, and `help` does not read
them.
"""

from __future__ import annotations

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
