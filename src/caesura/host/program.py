"""A program: a module prepared, compiled and linked, from which any number of guests are made.

Programs are kept for as long as a guest of theirs lives and found again by their content, so that the second
`load` of a file costs an instantiation (60 us), not a compilation. Imported functions are linked by number,
without the Python functions behind them: guests with different host functions share one program.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import wasmtime
from wasmtime._exportable import AsExtern

from caesura.errors import InternalError, UnsupportedModule, UsageError
from caesura.host import cache, native
from caesura.host.description import ASYNCIFY_MODULE, Description, ImportShape
from caesura.host.preparing import prepare
from caesura.host.settings import ProgramSettings
from caesura.host.text import assemble, is_text
from caesura.wasm.module import FUNCTION_KIND, Import, Module

WASI: Final = "wasi_snapshot_preview1"

# Address space for each memory. A 32-bit memory then never moves, and the host may keep addresses in it.
_RESERVATION: Final = 1 << 32


@once
def _shared_engine() -> wasmtime.Engine:
    return _new_engine(False)


def _new_engine(interruptible: bool) -> wasmtime.Engine:
    """Return an engine; in an interruptible one, guests look in every loop whether they are to stop."""
    config = wasmtime.Config()
    config.wasm_multi_memory = True
    config.wasm_memory64 = True
    config.wasm_tail_call = True
    config.wasm_exceptions = True
    config.wasm_function_references = True
    config.wasm_gc = True
    config.memory_reservation = _RESERVATION
    config.epoch_interruption = interruptible
    return wasmtime.Engine(config)


class Program:
    """A compiled module and how to make instances of it.

    `provided` has the imports that the host implements, as "module.name"; Wasmtime's WASI has the others.
    """

    def __init__(
        self,
        module: wasmtime.Module,
        description: Description,
        provided: frozenset[str],
        wasi: bool,
        owner: wasmtime.Engine,
        interruptible: bool,
    ) -> None:
        self.description = description
        self.engine = owner
        self.interruptible = interruptible
        self.module = module
        self._provided = provided
        self._wasi = wasi
        self._linked: wasmtime.InstancePre | None = None
        if all(item.kind == FUNCTION_KIND for item in description.imports):
            self._linked = self._linker().instantiate_pre(module)

    def instantiate(self, store: wasmtime.Store, items: list[tuple[str, str, AsExtern]]) -> wasmtime.Instance:
        """Make an instance; `items` are the memories, tables and globals that the module imports."""
        if self._linked is not None:
            return self._linked.instantiate(store)
        linker = self._linker()
        for module, name, item in items:
            linker.define(store, module, name, item)
        return linker.instantiate(store, self.module)

    def interrupt(self) -> None:
        """Let a guest's code trap, at once or when it runs next, if the program is interruptible; from any thread."""
        self.engine.increment_epoch()

    def _linker(self) -> wasmtime.Linker:
        linker = wasmtime.Linker(self.engine)
        linker.allow_shadowing = True
        if self._wasi:
            linker.define_wasi()
        number = 0
        for shape, item in zip(self.description.imports, self.module.imports, strict=True):
            if shape.kind != FUNCTION_KIND:
                continue
            if f"{shape.module}.{shape.name}" in self._provided:
                kind = item.type
                if not isinstance(kind, wasmtime.FuncType):
                    raise InternalError(f"Wasmtime and the reader disagree on import {shape.module}.{shape.name}")
                native.define_import(linker, number, shape.module, shape.name, kind)
            number += 1
        return linker


def read_source(source: str | os.PathLike[str] | bytes) -> bytes:
    """Return the binary module of a source: bytes, or a path; either may hold the text format.

    Raises UsageError for a file that cannot be read, MalformedModule for text that cannot be assembled.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        try:
            data = Path(source).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"cannot read '{os.fspath(source)}': {reason}") from error
    return assemble(data) if is_text(data) else data


@dataclass(frozen=True)
class Recipe:
    """Everything that a program is made from. `provided` and `wasi` are those of `Program`."""

    data: bytes
    import_list: tuple[str, ...]
    provided: frozenset[str]
    wasi: bool
    settings: ProgramSettings

    def key(self) -> tuple[object, ...]:
        """Return what tells programs apart in this process."""
        digest = hashlib.sha256(self.data).digest()
        return digest, self.import_list, self.provided, self.wasi, self.settings


_programs: Final[WeakValueDictionary[tuple[object, ...], Program]] = WeakValueDictionary()


def find_program(recipe: Recipe) -> Program | None:
    """Return a program that is in memory already.

    An interruptible one never is: it has an engine of its own, since an interruption stops all guests of an engine.
    """
    return None if recipe.settings.interruptible else _programs.get(recipe.key())


def make_program(recipe: Recipe) -> Program:
    """Return a program, from memory, from the disk, or made anew; one thread at a time may do so (see `making`)."""
    found = find_program(recipe)
    if found is not None:
        return found
    owner = _new_engine(True) if recipe.settings.interruptible else _shared_engine()
    module, description = _compiled(recipe, owner)
    made = Program(module, description, recipe.provided, recipe.wasi, owner, recipe.settings.interruptible)
    if not recipe.settings.interruptible:
        _programs[recipe.key()] = made
    return made


def _compiled(recipe: Recipe, owner: wasmtime.Engine) -> tuple[wasmtime.Module, Description]:
    if not recipe.settings.cache:
        return _compile(recipe, owner)
    choices = (repr(recipe.import_list), repr(recipe.settings))
    key = cache.key_of(recipe.data, *choices)
    entry = cache.read(key)
    if entry is not None:
        try:
            module, description = wasmtime.Module.deserialize(owner, entry[1]), Description.from_json(entry[0])
        except (wasmtime.WasmtimeError, ValueError, KeyError, TypeError):
            pass  # damaged, or another Wasmtime's
        else:
            _check_imports(recipe, description.imports)
            return module, description
    module, description = _compile(recipe, owner)
    cache.write(key, description.to_json(), bytes(module.serialize()))
    return module, description


def _compile(recipe: Recipe, owner: wasmtime.Engine) -> tuple[wasmtime.Module, Description]:
    module = Module(recipe.data)
    _check_imports(recipe, [item for item in module.imports if item.module != ASYNCIFY_MODULE])
    prepared, description = prepare(
        module, recipe.import_list, recipe.settings.options, recipe.settings.accept_instrumented
    )
    try:
        return wasmtime.Module(owner, prepared), description
    except wasmtime.WasmtimeError as error:
        try:
            wasmtime.Module(owner, recipe.data)
        except wasmtime.WasmtimeError as original:
            raise UnsupportedModule(f"Wasmtime refuses the module: {original}") from error
        raise InternalError(f"Wasmtime refuses the instrumented module: {error}") from error


def _check_imports(recipe: Recipe, imports: Iterable[Import | ImportShape]) -> None:
    """Raise, before anything takes time, if the module imports what nobody provides."""
    missing = [
        f"{item.module}.{item.name}"
        for item in imports
        if f"{item.module}.{item.name}" not in recipe.provided and not (recipe.wasi and item.module == WASI)
    ]
    if missing:
        hint = ""
        if any(name.startswith(f"{WASI}.") for name in missing):
            hint = "; the functions of a WASI program come with wasi=caesura.Wasi()"
        raise UsageError(f"the module imports what it is not given: {', '.join(missing)}{hint}")
