"""From a module to compiled code and its description: what takes time, and needs nothing of the process it is done in.

It is done in a worker process for large modules and in a thread for small ones (see `compile_queue`), so everything
that goes in and comes out can be sent: data, not objects of Wasmtime.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import wasmtime

from caesura.abi import ASYNCIFY_MODULE
from caesura.errors import InternalError, UnsupportedModule, UsageError, printable
from caesura.host.description import Description, ImportShape
from caesura.host.engines import EngineSettings, new_engine
from caesura.host.settings import ProgramSettings
from caesura.host.text import one_line

if TYPE_CHECKING:
    from caesura.wasm.definitions import Import

WASI: Final = "wasi_snapshot_preview1"

# How many missing imports an error names.
_MOST_NAMES: Final = 20

# What Wasmtime says of a module with more of something than engines take.
_LIMIT_WORDS: Final = ("exceeds the limit", "too large", "too many")

# What the operating system says, and Wasmtime repeats.
_NO_MEMORY: Final = os.strerror(errno.ENOMEM)


class Recipe(NamedTuple):
    """How a module becomes compiled code: what may suspend, what the user has set, and for which engine."""

    import_list: tuple[str, ...]
    settings: ProgramSettings
    engine: EngineSettings


class Provided(NamedTuple):
    """What there is for a module's imports: `names` ("module.name") that the host implements, and Wasmtime's WASI."""

    names: frozenset[str]
    wasi: bool

    def check(self, imports: Iterable[Import | ImportShape]) -> None:
        """Raise UsageError, before anything takes time, if a module imports what nobody provides."""
        wanted = dict.fromkeys((item.module, f"{item.module}.{item.name}") for item in imports)
        missing = [name for module, name in wanted if name not in self.names and not (self.wasi and module == WASI)]
        if missing:
            hint = ""
            if any(name.startswith(f"{WASI}.") for name in missing):
                hint = "; the functions of a WASI program come with wasi=caesura.Wasi()"
            raise UsageError(f"the module imports what it is not given: {_listed(missing)}{hint}")


def _listed(names: list[str]) -> str:
    names = [printable(name) for name in names]
    more = len(names) - _MOST_NAMES
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:_MOST_NAMES])}, and {more} more"


class CompiledCode(NamedTuple):
    """A description, as `Description.to_json` writes it, and Wasmtime's code for the engine of the recipe."""

    description: bytes
    code: bytes


class GuestModule(NamedTuple):
    """A binary module as it was given (`original`), what Wasmtime is to compile instead, and its description.

    `saved` is what snapshots bring along: whoever takes that makes the same of it.
    """

    original: bytes
    module: bytes
    description: Description
    saved: bytes


def compile_module(data: bytes, recipe: Recipe, provided: Provided, *, parallel: bool) -> CompiledCode:
    """Instrument and compile a binary module; `parallel` uses all processors, and must not be used before a `fork`.

    Raises ModuleError for what is malformed or not supported, UsageError for imports or options that do not fit it.
    """
    return compile_guest_module(make_guest_module(data, recipe, provided), recipe, parallel=parallel)


def make_guest_module(data: bytes, recipe: Recipe, provided: Provided) -> GuestModule:
    """Instrument a binary module. Raises what `compile_module` raises."""
    # The transformation, which programs from the cache do without.
    from caesura.host.describing import describe
    from caesura.host.drivable import make_drivable
    from caesura.wasm.module import Module

    module = Module(data)
    provided.check(item for item in module.imports if item.module != ASYNCIFY_MODULE)
    settings = recipe.settings
    drivable = make_drivable(
        module,
        recipe.import_list,
        settings.options,
        accept_instrumented=settings.accept_instrumented,
        preempt=settings.preempt,
    )
    return GuestModule(data, drivable.module.data, describe(drivable), drivable.saved)


def compile_guest_module(guest: GuestModule, recipe: Recipe, *, parallel: bool) -> CompiledCode:
    """Compile an instrumented module. Raises UnsupportedModule if Wasmtime refuses it, MemoryError."""
    engine = new_engine(recipe.engine, parallel=parallel)
    try:
        compiled = wasmtime.Module(engine, guest.module)
    except wasmtime.WasmtimeError as error:
        if _NO_MEMORY in str(error):
            raise MemoryError from error
        try:
            wasmtime.Module(engine, _uninstrumented(guest.original))
        except wasmtime.WasmtimeError as original:
            raise UnsupportedModule(f"Wasmtime refuses the module: {one_line(original)}") from error
        if any(words in str(error) for words in _LIMIT_WORDS):
            raise UnsupportedModule(
                f"instrumented, the module has more than Wasmtime takes: {one_line(error)}"
            ) from error
        raise InternalError(f"Wasmtime refuses the instrumented module: {one_line(error)}") from error
    return CompiledCode(guest.description.to_json(), bytes(compiled.serialize()))


def _uninstrumented(data: bytes) -> bytes:
    """Return a module as it would run here if it were not instrumented: with exceptions in their new form."""
    from caesura.instrument.exceptions.translate import translate_to_exnref
    from caesura.wasm.module import Module

    return translate_to_exnref(Module(data)).module.data
