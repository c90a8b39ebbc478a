"""Backtraces of the suspended calls of a guest in this process.

What a frame holds only the transformation knows (`inspection.layouts`), so the module is made anew when somebody asks
for the first time. What was found out is kept for the last few modules.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from caesura.host.call import Call
from caesura.host.linking import Origin, inspected_program
from caesura.host.program import LinkedProgram
from caesura.host.saving.held import Held
from caesura.host.saving.references import ReferenceSaver
from caesura.host.saving.tables import read_function
from caesura.host.state import CallState
from caesura.inspection.backtrace import Frame, backtrace
from caesura.inspection.program import Program
from caesura.inspection.walk import UNKNOWN
from caesura.wasm.types import FUNCREF

_MOST_PROGRAMS: Final = 4

_programs: Final[OrderedDict[tuple[bytes, bytes], Program]] = OrderedDict()


def backtrace_of(origin: Origin, call: CallState) -> list[Frame]:
    """Return the frames of a suspended call, innermost first. Raises what `inspected_program` and `backtrace` do."""
    assert isinstance(call, Call), "calls are"
    instance = call.instance
    unwinder = instance.unwinder
    function = call.pending
    if unwinder is None or function is None:
        return []
    program = _program(origin, instance.program)
    state = instance.description.state()
    tables = {} if state is None else {item.index: item for item in state.tables if item.type == FUNCREF}
    references = ReferenceSaver(instance, None)

    def element(table: int, index: int) -> int | None:
        if table not in tables:
            return UNKNOWN
        if tables[table].declared:
            return Held(instance, tables[table]).function_at(index, references)
        return read_function(instance, table, index, references)

    return backtrace(program, call.export.name, function.name, unwinder.area.frames_of(call), element)


def _program(origin: Origin, program: LinkedProgram) -> Program:
    state = program.description.state()
    if state is None:
        return inspected_program(origin, program)
    key = state.original, state.instrumented
    if key not in _programs:
        _programs[key] = inspected_program(origin, program)
        if len(_programs) > _MOST_PROGRAMS:
            _programs.popitem(last=False)
    _programs.move_to_end(key)
    return _programs[key]
