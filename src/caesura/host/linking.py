"""From what a user hands over, a module and imports, to a program from which guests are made; nothing runs yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import NoneType
from typing import Final

from caesura.argument_kinds import check_kind
from caesura.errors import UsageError
from caesura.host.compiling import WASI, Provided, Recipe
from caesura.host.connect import Connections, Imports
from caesura.host.engines import EngineSettings, default_reservation
from caesura.host.obtaining import link, obtain_compiled, obtain_compiled_now
from caesura.host.program import CompiledModule, LinkedProgram
from caesura.host.settings import ProgramSettings
from caesura.host.sources import Source, check_source
from caesura.host.wasi import Wasi

_WASI_HINT: Final = " (True is for compile; a guest gets an object of its own, such as caesura.Wasi())"


async def obtain_program(
    source: Source, imports: Imports | None, wasi: Wasi | None, settings: ProgramSettings
) -> tuple[LinkedProgram, Connections]:
    """Return a program, and the imports for its guests."""
    connections = connect(imports, wasi)
    compiled = await obtain_compiled_for(source, connections, settings, wasi=wasi is not None)
    return await link(compiled, Provided(connections.provided, wasi=wasi is not None)), connections


def obtain_program_now(
    source: Source, imports: Imports, wasi: Wasi, settings: ProgramSettings
) -> tuple[LinkedProgram, Connections]:
    """Return a program for a guest that never suspends, and its imports; stops the thread meanwhile."""
    connections = Connections(imports, {WASI: {**wasi.functions(), **wasi.blocking()}}, {})
    provided = Provided(connections.provided, wasi=True)
    compiled = obtain_compiled_now(source, _recipe(connections, settings), provided, use_cache=settings.cache)
    return compiled.program(provided), connections


async def obtain_compiled_for(
    source: Source, connections: Connections, settings: ProgramSettings, *, wasi: bool
) -> CompiledModule:
    """Return the compiled module of a source whose guests get such imports; `wasi`: and Wasmtime's WASI."""
    check_loop()
    check_source(source)
    provided = Provided(connections.provided, wasi=wasi)
    return await obtain_compiled(source, _recipe(connections, settings), provided, use_cache=settings.cache)


def connect(imports: Imports | None, wasi: Wasi | None) -> Connections:
    """Return the imports that guests are given. Raises UsageError for what is none."""
    check_kind("imports", imports, Mapping, NoneType)
    if wasi is None:
        return Connections(imports or {}, {}, {})
    if not isinstance(wasi, Wasi):
        raise UsageError(f"wasi is {wasi!r}: expected a caesura.Wasi object{_WASI_HINT if wasi is True else ''}")
    return Connections(imports or {}, {WASI: wasi.functions()}, {WASI: wasi.blocking()})


def check_loop() -> None:
    """Raise UsageError where asyncio does not run, as under trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "guests are loaded under asyncio, and no asyncio event loop is running here: use asyncio.run, the asyncio "
            "backend of anyio, or trio-asyncio under trio"
        ) from None


def _recipe(connections: Connections, settings: ProgramSettings) -> Recipe:
    reservation = settings.memory_reservation or default_reservation()
    engine = EngineSettings(settings.interruptible, reservation, settings.native_stack_size)
    return Recipe(connections.import_list, settings, engine)
