"""Whether the references of a state fit its module, as far as that tells: seen before an instance is made.

What is left for later are the types of functions: the module puts each one into its place by a cast.
"""

from __future__ import annotations

from collections.abc import Iterator

from caesura.errors import SnapshotError
from caesura.snapshots.schema import numbers_of
from caesura.snapshots.section import StateGlobal, StateSection, StateTable
from caesura.snapshots.state import MOST_NUMBER, NULL, GlobalState, State, TableState
from caesura.wasm import types as t


def check_references(state: State, section: StateSection) -> None:
    """Raise SnapshotError for exceptions whose tag is none, or which carry something else than it says; for functions
    of which the module makes no references; for globals and tables that are others than the module's; and for segments
    that would have been dropped before the state could be saved.
    """
    for index in section.undropped:
        if index not in state.dropped_elements:
            raise SnapshotError(f"the snapshot has element segment {index}, which cannot be saved before it is dropped")
    for number, exception in enumerate(state.exceptions):
        what = f"exception {number} of the snapshot"
        if exception.tag >= len(section.tags):
            raise SnapshotError(f"{what} has tag {exception.tag}, and the module {len(section.tags)} that can be saved")
        tag = section.tags[exception.tag]
        if tag.unsaved:
            raise SnapshotError(f"{what} has tag {exception.tag}, which {tag.unsaved}")
        if tuple(kind for kind, _ in exception.values) != tag.types:
            raise SnapshotError(f"{what} carries something else than its tag, {exception.tag}, says")
    functions = frozenset(section.functions)
    for item, known, numbers in _places(state, section):
        what = f"{_kind_of(item)} {item.index} of the snapshot"
        if item.type != known.type:
            differs = "holds something else" if isinstance(item, TableState) else "is of another type"
            raise SnapshotError(f"{what} {differs} than that of the module")
        if item.type == t.FUNCREF:
            for number in numbers - functions - {NULL}:
                raise SnapshotError(f"{what} refers to function {number}, of which the module makes no references")
        if item.type == t.EXNREF and any(number != NULL and number >= len(state.exceptions) for number in numbers):
            raise SnapshotError(f"{what} refers to an exception that the snapshot does not have")
        if known.declared and NULL in numbers and not is_nullable(known):
            raise SnapshotError(f"{what} holds null, and that of the module, of type {known.declared}, never does")
        if item.type == t.ANYREF and any(number != NULL and number > MOST_NUMBER for number in numbers):
            raise SnapshotError(f"{what} holds what is neither null nor a number of 31 bits")


def is_nullable(known: StateGlobal | StateTable) -> bool:
    """Tell whether a global or a table can hold null."""
    return not known.declared.startswith("(ref ") or known.declared.startswith("(ref null ")


def _places(
    state: State, section: StateSection
) -> Iterator[tuple[GlobalState | TableState, StateGlobal | StateTable, set[int]]]:
    """Yield what holds references, with what the module says of it and the numbers in it."""
    globals_ = {item.index: item for item in section.globals}
    for variable in state.globals:
        if variable.index not in globals_:
            raise SnapshotError("the snapshot has other globals than the module")
        if t.is_reference(variable.type):
            yield variable, globals_[variable.index], {variable.bits}
    tables = {item.index: item for item in section.tables}
    for table in state.tables:
        if table.index not in tables:
            raise SnapshotError("the snapshot has other tables than the module")
        whole = len(table.elements) & -4  # who puts the elements back sees the rest
        yield table, tables[table.index], {*numbers_of(table.elements[:whole])}


def _kind_of(item: GlobalState | TableState) -> str:
    return "table" if isinstance(item, TableState) else "global"
