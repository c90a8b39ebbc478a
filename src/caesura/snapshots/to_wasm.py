"""A saved state as one module that any engine runs, and that goes on when its export `resume` is called.

The instrumented module stays as it is, code and indices; its memories, globals, tables and segments begin with what the
state says (`initial`), and functions are added that go on with its suspended calls (`resumption`). What the module
imports it imports still.
"""

from __future__ import annotations

from caesura.abi import STATE_SECTION
from caesura.analysis.index_checks import check_indices
from caesura.errors import SnapshotError, UnsupportedModule
from caesura.snapshots.initial import InitialState
from caesura.snapshots.initial_memory import complete
from caesura.snapshots.resumption import Resumption
from caesura.snapshots.section import read_section
from caesura.snapshots.state import State
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.segments import read_data_segments


def to_wasm(state: State, instrumented: bytes) -> bytes:
    """Return a module that begins where a state is; `instrumented` is the instrumented module that the state is of.

    `resume:0`, `resume:1` and so on go on with the suspended calls, in their order, and `resume` with the only one:
    they take what the import returns in which the call waits, and return what its export returns. `resume_call`, with
    numbers too, calls that import again instead, with the arguments that it had. Each call goes on once.

    Raises SnapshotError for a state that does not fit the module, and for what a module cannot begin with; ModuleError
    for bytes that are no module.
    """
    module = Module(instrumented)
    check_indices(module)  # what is added would come where an index out of range points
    section = module.custom_section(STATE_SECTION)
    if section is None:
        raise SnapshotError("the module does not tell what its state is: it is not the instrumented one")
    try:
        told = read_section(module.data[section.payload : section.end])
    except UnsupportedModule as error:
        raise SnapshotError(f"the module does not tell what its state is: {error}") from None
    if told.instrumented != state.module.instrumented:
        raise SnapshotError("the snapshot is of another module, or of one that was instrumented otherwise")
    state = complete(state, module)
    resumption = Resumption(module, state)
    initial = InitialState(module, told, state, resumption.minimums(), resumption.values(), resumption.answering)
    added = resumption.globals()
    edits = SectionEdits()
    first = len(read_data_segments(module))
    exports = resumption.write(edits, first)
    initial.write(edits, resumption.data(), added, exports)
    return write_sections(module.data, module.sections, edits)
