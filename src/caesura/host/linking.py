"""From what a user hands over, a module and imports, to a program from which guests are made; nothing runs yet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from caesura.argument_kinds import check_kind
from caesura.errors import SnapshotError, UsageError
from caesura.host.compiling import WASI, GuestModule, Provided, Recipe, make_guest_module
from caesura.host.connect import Connections, Imports
from caesura.host.description import CHOSEN_OPTIONS, Description
from caesura.host.engines import EngineSettings, default_reservation
from caesura.host.imports import EXTERNAL
from caesura.host.memory import PAGE_SIZE
from caesura.host.obtaining import link, obtain_compiled, obtain_compiled_now
from caesura.host.program import CompiledModule, LinkedProgram
from caesura.host.settings import DEFAULT_OPTIONS, ProgramSettings
from caesura.host.sources import Source, check_source, read_source, source_of_saved
from caesura.host.text import assemble, is_text
from caesura.host.wasi.wasi import Wasi
from caesura.options import DEFAULT_SECONDARY_MAXIMUM, NO_PREEMPT, PREEMPT_FLAG, Options
from caesura.snapshots.state import State
from caesura.wasm.external_kinds import FUNCTION_KIND

if TYPE_CHECKING:
    from caesura.inspection.program import Program

_PREEMPT: Final = "preempt"
_PROFILE: Final = "profile"
_RECORD: Final = "record"

_WASI_HINT: Final = " (True is for compile; a guest gets an object of its own, such as caesura.Wasi())"


class Origin(NamedTuple):
    """What a program was made of, so that a snapshot of its guests can say it. `imports` are those that may suspend."""

    source: Source
    imports: tuple[str, ...]
    settings: ProgramSettings

    @property
    def path(self) -> str:
        """The module's file, from the root on; "" if it was given as bytes."""
        if isinstance(self.source, bytes | bytearray | memoryview):
            return ""
        return os.path.abspath(os.fspath(self.source))

    def added(self, description: Description, connections: Connections) -> list[str]:
        """Return the functions among a module's imports that may suspend now, and could not when it was compiled."""
        functions = [item for item in description.imports if item.kind == FUNCTION_KIND]
        never = {functions[number] for number in description.unsuspended}
        wanted = {
            f"{item.module}.{item.name}"
            for item in functions
            if not (item in never and connections.has_blocking(item.module, item.name))
        }
        return sorted(wanted & set(connections.import_list) - set(self.imports))


async def obtain_program(
    source: Source, connections: Connections, settings: ProgramSettings, *, wasi: bool
) -> LinkedProgram:
    """Return a program for guests that are given such imports; `wasi`: and Wasmtime's WASI."""
    compiled = await obtain_compiled_for(source, connections, settings, wasi=wasi)
    return await link(compiled, Provided(connections.provided, wasi=wasi))


async def obtain_saved_program(
    state: State, module: Source | None, connections: Connections, settings: ProgramSettings, *, wasi: bool
) -> tuple[LinkedProgram, Origin]:
    """Return the program that a state was saved from, made of `module`, or of what the state brings or names.

    Its options, and what may suspend in it, are the state's. Raises UsageError for other options, for a file that
    cannot be read and for functions that may suspend now only, and what instrumenting and compiling raise.
    """
    origin = _origin_of(state, module, settings)
    compiled = await obtain_compiled_as(origin, connections, wasi=wasi)
    added = origin.added(compiled.description, connections)
    if added:
        raise UsageError(f"{', '.join(added)} may suspend now, and could not in the guest that was saved")
    return await link(compiled, Provided(connections.provided, wasi=wasi)), origin


def module_of_state(state: State, module: Source | None) -> bytes:
    """Return the instrumented module that a state was saved from, made of `module`, or of what the state brings or
    names; where it is made, that stops the thread meanwhile. Raises what `obtain_saved_program` does.
    """
    from caesura.host.drivable import make_drivable  # the transformation, which snapshots with their module do without
    from caesura.wasm.module import Module

    if module is None and state.embedded is not None:
        return state.embedded
    origin = _origin_of(state, module, ProgramSettings())
    check_source(origin.source)
    data, _ = read_source(origin.source)
    data = assemble(data) if is_text(data) else data
    settings = origin.settings
    drivable = make_drivable(
        Module(data), origin.imports, settings.options, accept_instrumented=True, preempt=settings.preempt
    )
    return drivable.saved


def _origin_of(state: State, module: Source | None, settings: ProgramSettings) -> Origin:
    """Return what the program of a state is made of."""
    identity = state.module
    source = source_of_saved(module, state.embedded, identity.path)
    options = _options_of(identity.options, settings.options)
    settings = replace(settings, options=options, preempt=identity.options.get(_PREEMPT, NO_PREEMPT))
    return Origin(source, identity.imports, settings)


def _options_of(told: Mapping[str, Any], given: Options) -> Options:
    """Return the options that a state tells, as the user gave them: code in the cache is found by these.

    Raises UsageError for `given` ones that are others; the default ones count as not given.
    """
    chosen = {*CHOSEN_OPTIONS, "ignore_imports", _PREEMPT}
    wanted = {name: value for name, value in told.items() if name not in chosen}
    if given != DEFAULT_OPTIONS:
        given = replace(given, record=bool(told.get(_RECORD)))
        has = {name: value for name, value in given.identity().items() if name not in chosen}
        different = sorted(
            name for name in {**wanted, **has} if _comparable(wanted.get(name)) != _comparable(has.get(name))
        )
        if different:
            raise UsageError(f"the guest was loaded with other options ({', '.join(different)}): give those, or none")
        return given
    if _PROFILE in wanted:
        raise UsageError("the guest was loaded with a profile, which the snapshot only names: give its options, too")
    try:
        return Options(**wanted)
    except TypeError as error:
        raise SnapshotError(f"the snapshot's module has options that there are not: {error}") from None


def _comparable(value: object) -> object:
    """Return an option's value in one form: what was read from a state may have lists as tuples."""
    return tuple(value) if isinstance(value, list) else value


def instrumented_module(origin: Origin, program: LinkedProgram) -> bytes:
    """Return the instrumented module that a program was made of; makes it anew, which stops the thread meanwhile.

    It tells what its frames hold: where a state brings it along nobody may have the original any more, and that is
    several times as large. Raises UsageError for a file that cannot be read any more, or that has changed.
    """
    return _make_with_layouts(origin, program).saved


def inspected_program(origin: Origin, program: LinkedProgram) -> Program:
    """Return what backtraces need to know of the module that a program was made of.

    The module is made anew, this time with the layouts of its frames, which stops the thread meanwhile: the others, who
    never look, have neither the bytes nor the time. Raises UsageError for a file that cannot be read any more, or that
    has changed, UnsupportedModule for a module that somebody else instrumented without layouts.
    """
    from caesura.analysis.instrumented import asyncify_exports
    from caesura.inspection.program import Program
    from caesura.wasm.module import Module

    made = _make_with_layouts(origin, program)
    original = Module(made.original)
    return Program(None if asyncify_exports(original) else original, Module(made.saved))  # which has the names


def _make_with_layouts(origin: Origin, program: LinkedProgram) -> GuestModule:
    """Make the module of a program anew; where it was instrumented elsewhere, it has the layouts already or not."""
    settings = replace(origin.settings, options=replace(origin.settings.options, frame_layouts=True))
    data, _ = read_source(origin.source)
    data = assemble(data) if is_text(data) else data
    made = make_guest_module(data, _recipe(origin.imports, settings), program.provided)
    before, now = program.description.state(), made.description.state()
    if before is not None and (now is None or before.instrumented != now.instrumented):
        raise UsageError(f"the file '{origin.path}' has changed since the guest was loaded from it")
    return made


def obtain_program_now(
    source: Source, imports: Imports, wasi: Wasi, settings: ProgramSettings
) -> tuple[LinkedProgram, Connections]:
    """Return a program for a guest that never suspends, and its imports; stops the thread meanwhile."""
    connections = Connections(imports, {WASI: wasi.functions_unsaved()}, {})
    provided = Provided(connections.provided, wasi=True)
    recipe = _recipe(connections.import_list, settings)
    compiled = obtain_compiled_now(source, recipe, provided, use_cache=settings.cache)
    return compiled.program(provided), connections


async def obtain_compiled_for(
    source: Source, connections: Connections, settings: ProgramSettings, *, wasi: bool
) -> CompiledModule:
    """Return the compiled module of a source whose guests get such imports; `wasi`: and Wasmtime's WASI."""
    return await obtain_compiled_as(Origin(source, connections.import_list, settings), connections, wasi=wasi)


async def obtain_compiled_as(origin: Origin, connections: Connections, *, wasi: bool) -> CompiledModule:
    """Return the compiled module of an origin, whatever may suspend among the imports."""
    check_loop()
    check_source(origin.source)
    settings = origin.settings
    provided = Provided(connections.provided, wasi=wasi)
    return await obtain_compiled(origin.source, _recipe(origin.imports, settings), provided, use_cache=settings.cache)


def connect(
    imports: Imports | None, wasi: Wasi | None, external: Sequence[str] = (), state: State | None = None
) -> Connections:
    """Return the imports that guests are given; `external` are functions without a body, `state` what they were saved
    as. Raises UsageError for what is none.
    """
    check_kind("imports", imports, Mapping, NoneType)
    if external:
        imports = _with_external(imports or {}, external)
    if wasi is None:
        if state is not None and state.wasi is not None:
            raise UsageError("the guest had WASI when it was saved: say what it sees now (wasi=caesura.Wasi(...))")
        return Connections(imports or {}, {}, {})
    if not isinstance(wasi, Wasi):
        raise UsageError(f"wasi is {wasi!r}: expected a caesura.Wasi object{_WASI_HINT if wasi is True else ''}")
    functions = wasi.functions() if state is None else wasi.functions_again(_waiting_in_wasi(state))
    return Connections(imports or {}, {WASI: functions}, {WASI: wasi.blocking()}, {WASI: wasi.forwarding()})


def _waiting_in_wasi(state: State) -> list[str]:
    """Return the functions of WASI in which calls of a saved guest are suspended."""
    return [name for module, _, name in (call.function.rpartition(".") for call in state.calls) if module == WASI]


def _with_external(imports: Imports, external: Sequence[str]) -> Imports:
    """Return imports with functions without a body among them, by their names, "module.name"."""
    if isinstance(external, str | bytes) or not isinstance(external, Sequence):
        raise UsageError(f"external is {external!r:.100}: expected a sequence of names, such as ['env.ask']")
    together: dict[str, dict[str, Any]] = {module: dict(items) for module, items in imports.items()}
    for name in external:
        module, dot, inner = name.partition(".") if isinstance(name, str) else ("", "", "")
        if not dot:
            raise UsageError(f"external has {name!r:.100}: expected a name such as 'env.ask'")
        together.setdefault(module, {})[inner] = EXTERNAL
    return together


def check_loop() -> None:
    """Raise UsageError where asyncio does not run, as under trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "guests are loaded under asyncio, and no asyncio event loop is running here: use asyncio.run, the asyncio "
            "backend of anyio, or trio-asyncio under trio"
        ) from None


def _recipe(import_list: tuple[str, ...], settings: ProgramSettings) -> Recipe:
    reservation = settings.memory_reservation or default_reservation()
    engine = EngineSettings(settings.interruptible, reservation, settings.native_stack_size)
    return Recipe(import_list, _with_a_memory_that_stays(settings, reservation), engine)


def _with_a_memory_that_stays(settings: ProgramSettings, reservation: int) -> ProgramSettings:
    """Return settings with which the memory for frames never moves, where another thread writes to it."""
    options = settings.options
    pages = reservation // PAGE_SIZE
    if settings.preempt != PREEMPT_FLAG or options.secondary_memory_maximum or pages >= DEFAULT_SECONDARY_MAXIMUM:
        return settings
    most = max(pages, options.secondary_memory_size)
    return replace(settings, options=replace(options, secondary_memory_maximum=most))
