"""The module of a saved state, made anew with the layouts of its frames, for backtraces of the state's calls."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from caesura.abi import STATE_SECTION
from caesura.analysis.instrumented import asyncify_exports
from caesura.errors import CaesuraError, SnapshotError, UsageError
from caesura.host.drivable import make_drivable
from caesura.host.sources import Source, read_source, source_of_saved
from caesura.host.text import assemble, is_text
from caesura.inspection.backtrace import Frame, backtrace
from caesura.inspection.program import Program
from caesura.inspection.walk import UNKNOWN
from caesura.instrument.api import instrument
from caesura.options import Options
from caesura.snapshots.section import read_section
from caesura.snapshots.state import NULL, CallRecord, State
from caesura.wasm.module import Module
from caesura.wasm.types import FUNCREF


def check_original(data: bytes, state: State) -> None:
    """Raise UsageError unless a binary module is the one that the guest of a state was made of: as it was before it was
    instrumented, or the instrumented one, which says so itself.
    """
    if hashlib.sha256(data).digest() == state.module.original:
        return
    if _instrumented_digest(Module(data)) != state.module.instrumented:
        raise UsageError("this is not the module of the saved state, or it has changed since")


def saved_program(data: bytes, state: State) -> Program:
    """Return what backtraces need to know of the module of a state, which is as `check_original` has found.

    Raises SnapshotError where this caesura instruments it in another way than the one that saved the state, and
    UnsupportedModule for a module that was instrumented elsewhere without layouts.
    """
    identity = state.module
    given = Module(data)
    if _instrumented_digest(given) == identity.instrumented:
        return Program(None, given)
    try:
        options = Options(**{**identity.options, "frame_layouts": True})
        elsewhere = Options(**{**identity.options, "frame_layouts": True, "snapshots": True})
    except TypeError as error:
        raise SnapshotError(f"the snapshot's module has options that there are not: {error}") from None
    before = None if asyncify_exports(given) else given
    made = make_drivable(given, identity.imports, options, accept_instrumented=True, preempt=options.preempt)
    if not made.state or read_section(made.state).instrumented == identity.instrumented:
        return Program(before, made.module)
    if before is not None:  # a command, or another host, has chosen the options
        for imports in (identity.imports, ()):
            instrumented = Module(instrument(data, replace(elsewhere, imports=imports)).module)
            if _instrumented_digest(instrumented) == identity.instrumented:
                return Program(before, instrumented)
    raise SnapshotError(
        "this caesura instruments the module otherwise than the one that saved the state did, so the frames cannot be "
        "read: give the instrumented module, if that was made with --frame-layouts"
    )


def embedded_program(state: State) -> Program:
    """Return the same of the instrumented module that a state brings along, which it does.

    Raises SnapshotError for one that is not the state's, and UnsupportedModule where it has no layouts.
    """
    assert state.embedded is not None, "it was asked for"
    module = Module(state.embedded)
    if _instrumented_digest(module) != state.module.instrumented:
        raise SnapshotError("the module that the snapshot brings along is another one than its guest was of")
    return Program(None, module)


def _instrumented_digest(module: Module) -> bytes | None:
    """Return the digest of an instrumented module, as it tells it itself; None if it does not."""
    section = module.custom_section(STATE_SECTION)
    return None if section is None else read_section(module.data[section.payload : section.end]).instrumented


def state_backtrace(program: Program, state: State, call: CallRecord) -> list[Frame]:
    """Return the frames of a suspended call of a state, innermost first. Raises what `backtrace` does."""
    tables = {table.index: table.elements for table in state.tables if table.type == FUNCREF}

    def element(table: int, index: int) -> int | None:
        elements = tables.get(table)
        if elements is None:
            return UNKNOWN
        found = int.from_bytes(elements[4 * index : 4 * index + 4], "little")
        return None if 4 * index >= len(elements) or found == NULL else found

    return backtrace(program, call.export, call.function, call.frames, element)


def state_backtraces(state: State, module: Source | None) -> list[list[Frame]]:
    """Return the backtraces of all suspended calls of a state, of whose module the place or the bytes are given.

    Without, it is the file that the state names or, where that has gone or changed, what the state brings along. Raises
    UsageError for a file that cannot be read, or is another module, and what `saved_program` and `backtrace` do.
    """
    try:
        data, _ = read_source(source_of_saved(module, None, state.module.path))
        data = assemble(data) if is_text(data) else data
        check_original(data, state)
        program = saved_program(data, state)
    except CaesuraError:
        if module is not None or state.embedded is None:
            raise
        program = embedded_program(state)
    return [state_backtrace(program, state, call) for call in state.calls]
