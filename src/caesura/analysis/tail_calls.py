"""Tail calls that may suspend: which functions can leave by one, and which can be entered by one.

A function that leaves by a tail call is not on the stack any more when what it called is suspended. So it is no call
site, and saves nothing; but its caller enters it again in a rewind, and it then has to get to the function that took
its place (see `instrument.abi.tail_dispatch`). For that both are counted here: all functions that contain such a tail
call, and all that one can reach: by name, through a closed table what that holds of the type, else whatever of the
module's own a reference of the type may be of. Too many of the latter do no harm but for a few bytes each.

Imports, and functions of the guest's own runtime, have no frames, so that nothing on the asyncify stack would tell of
them. Those that one can reach are counted apart: for each a function is added that calls it, and has a frame (see
`instrument.framing`).
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.analysis.calls import ANY_INDEX, CallGraph, constant_index
from caesura.analysis.closed_tables import TableCallees, find_table_callees
from caesura.analysis.decoder import Decoder
from caesura.analysis.entries import may_be_referenced
from caesura.analysis.foreign_functions import shares_references
from caesura.analysis.suspension import Suspension
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex, TypeIndex
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.type_matching import same_types, with_supertypes


class TailCalls:
    """By function index: `leaving` are the instrumented functions that contain a tail call that may suspend, `entered`
    those that one can reach, and `unframed` what one can reach that may suspend but is not instrumented. `are_open`
    tells whether one can reach functions of other instances.
    """

    def __init__(self) -> None:
        self.leaving: set[FunctionIndex] = set()
        self.entered: set[FunctionIndex] = set()
        self.unframed: set[FunctionIndex] = set()
        self.are_open = False

    def concern(self, function: FunctionIndex) -> bool:
        """Tell whether a function can leave, or be entered, by a tail call that may suspend."""
        return function in self.leaving or function in self.entered


def find_tail_calls(module: Module, graph: CallGraph, suspension: Suspension, decoder: Decoder) -> TailCalls:
    """Return what can leave or be entered by tail calls that may suspend."""
    search = _Search(module, graph, suspension)
    for own in graph.tail_calling:
        function = module.function_of(own)
        if not suspension.instrumented[function]:
            continue
        try:
            body = decoder.look_at(function)
            search.add(function, body)
        except (MalformedModule, UnsupportedModule, IndexError, KeyError):
            continue  # refused, with its place, when it is rewritten
    search.result.are_open = search.enters_any and shares_references(module)
    return search.result


class _Search:
    def __init__(self, module: Module, graph: CallGraph, suspension: Suspension) -> None:
        self._module = module
        self._graph = graph
        self._suspension = suspension
        self._table_callees: TableCallees | None = None
        # What a reference of each type may be of, by the first index of the type; empty until it is asked for.
        self._referenced: dict[int, list[FunctionIndex]] = {}
        self._same: list[int] = []
        # Whether there is one that enters whatever a reference is of.
        self.enters_any = False
        # Types, tables and indices that were looked at.
        self._known: set[tuple[int, int, int]] = set()
        self.result = TailCalls()

    def add(self, function: FunctionIndex, body: Body) -> None:
        """Add the tail calls of a function."""
        data = self._module.data
        if body.tail_calls:
            self.result.leaving.add(function)
        for call in body.tail_calls:
            code = body.codes[call]
            if code == op.RETURN_CALL:
                self._enter([FunctionIndex(body.immediates[call])])
            elif code == op.RETURN_CALL_REF:
                self._enter_any(TypeIndex(body.immediates[call]))
            else:
                _, position = read_u32(data, body.positions[call] + 1)
                table = read_u32(data, position)[0]
                index = ANY_INDEX
                if call > 0 and body.codes[call - 1] == op.I32_CONST:
                    index = constant_index(data, body.positions[call - 1])
                self._enter_through(table, TypeIndex(body.immediates[call]), index)

    def _enter(self, functions: list[FunctionIndex]) -> None:
        for function in functions:
            if self._suspension.instrumented[function]:
                self.result.entered.add(function)
            elif self._suspension.may_suspend(function):
                self.result.unframed.add(function)

    def _enter_through(self, table: int, type_index: TypeIndex, index: int) -> None:
        key = (table, type_index, index)
        if key in self._known:
            return
        self._known.add(key)
        if key in self._graph.table_calls:
            if self._table_callees is None:
                self._table_callees = find_table_callees(self._module, self._graph)
            callees = self._table_callees
            number = callees.number_of[self._graph.table_calls[key]]
            if not callees.is_open[number]:
                self._enter(callees.functions[number])
                return
        self._enter_any(type_index)

    def _enter_any(self, type_index: TypeIndex) -> None:
        self.enters_any = True
        self._enter(self._of_type(type_index))

    def _of_type(self, type_index: TypeIndex) -> list[FunctionIndex]:
        """Return the functions of a type, or of one below it, that references may be of."""
        module = self._module
        if not self._same:
            self._same = same_types(module)
            referenced = may_be_referenced(module)
            for place in range(len(referenced)):
                if referenced[place]:
                    function = FunctionIndex(place)
                    for one in with_supertypes(module, self._same, module.function_types[function]):
                        self._referenced.setdefault(one, []).append(function)
        return self._referenced.get(self._same[type_index], [])
