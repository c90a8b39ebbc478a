"""Compiled modules that there are already: in this process, or in the cache on the disk.

They are kept in memory for as long as anybody uses them and found again by their content, so that the second `load` of
a module costs an instantiation (60 us), not a compilation.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

import wasmtime
from wasmtime import _ffi as ffi

from caesura.host import cache, native
from caesura.host.compiling import CompiledCode, Recipe
from caesura.host.description import Description
from caesura.host.engines import EngineSettings, engine_of
from caesura.host.fork_locks import inside
from caesura.host.memory_file import memory_file
from caesura.host.program import CompiledModule

# Code that is mapped although it is in memory already, bytes: making a file of less costs more than a copy.
_MAPPED: Final = 1 << 20

# Whether Wasmtime maps code, and a guest's data with it, where it lies in a file.
_MAPS_FILES: Final = sys.platform != "win32"

# A module's digest and how it was compiled.
Key = tuple[bytes, Recipe]

_compiled: Final[WeakValueDictionary[Key, CompiledModule]] = WeakValueDictionary()


def find_compiled(key: Key) -> CompiledModule | None:
    """Return a compiled module that is in memory."""
    return _compiled.get(key)


def keep_compiled(key: Key, made: CompiledModule) -> CompiledModule:
    """Let others find a compiled module for as long as anybody uses it; return what they find."""
    return _compiled.setdefault(key, made)


def find_cached(place: Path, key: Key) -> CompiledModule | None:
    """Return a compiled module that is in the cache folder, and from now on in memory."""
    recipe = key[1]
    with cache.opened(place, entry_name(key)) as entry:
        if entry is None:
            return None
        try:
            description = Description.from_json(entry.description)
            with inside.mapping:
                engine = engine_of(recipe.engine)
                module = wasmtime.Module.deserialize_file(engine, entry.path)
            made = CompiledModule(module, description, recipe.engine, mapped=_MAPS_FILES)
        except (wasmtime.WasmtimeError, ValueError, KeyError, TypeError):
            return None  # damaged, or another Wasmtime's
    return keep_compiled(key, made)


def load_code(made: CompiledCode, settings: EngineSettings) -> CompiledModule:
    """Make a module of compiled code in memory. Raises WasmtimeError for code of another Wasmtime."""
    engine = engine_of(settings)
    mapped = _map_code(engine, made.code) if len(made.code) >= _MAPPED else None
    module = mapped or _copy_code(engine, made.code)
    return CompiledModule(module, Description.from_json(made.description), settings, mapped=mapped is not None)


def _map_code(engine: wasmtime.Engine, code: bytes) -> wasmtime.Module | None:
    """Return a module whose code and data are mapped; None where that is not possible."""
    with memory_file(code) as path:
        if path is None:
            return None
        try:
            return wasmtime.Module.deserialize_file(engine, path)
        except wasmtime.WasmtimeError:
            return None  # whether it is the file or the code shows when it is copied


def _copy_code(engine: wasmtime.Engine, code: bytes) -> wasmtime.Module:
    pointer = ctypes.POINTER(ffi.wasmtime_module_t)()
    error = native.deserialize(native.address_of(engine.ptr()), code, len(code), ctypes.addressof(pointer))
    if error:
        raise native.error_from(error)
    module: wasmtime.Module = wasmtime.Module._from_ptr(pointer)
    return module


def entry_name(key: Key) -> str:
    """Return the name of a module's entry in the cache."""
    digest, recipe = key
    return cache.key_of(digest, repr(recipe.import_list), repr(recipe.settings), repr(recipe.engine))
