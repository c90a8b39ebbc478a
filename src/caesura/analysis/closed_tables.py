"""Which functions a call through a table can reach, where that can be known.

A table is *closed* if all references in it come from the module's own element segments: it is neither imported nor
exported, nothing is put into it by `table.set`, `table.grow` or `table.fill`, `table.copy` copies only from closed
tables, and all items of its segments are functions of this module or null. A call through it of some type reaches
those of its functions that have the type, or traps. If besides the table is never written after instantiation, and
the offsets of its segments are constants, a call with a constant index reaches only what segments put there.

`table.set` and its like make a table open whatever they store: to follow references through locals, globals and
results would be a data-flow analysis, and compilers of C, C++, Rust and Zig do not use these instructions of their own
accord.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import ANY_INDEX, CallGraph
from caesura.wasm import opcodes as op
from caesura.wasm.constant import constant_number
from caesura.wasm.indices import FunctionIndex, TypeIndex
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.segments import ACTIVE, PASSIVE, ElementSegment, read_element_segments
from caesura.wasm.type_matching import same_types, with_supertypes

_NULL: Final = -1
_UNKNOWN: Final = -2
_ANYTHING: Final = -1


class TableCallees:
    """What calls through tables reach.

    Calls that reach the same share a number: `number_of[call]`, where the call is one of `CallGraph.table_calls`, by
    its own number. For each of these shared numbers, `tables` has the table, and `functions` what is reached;
    `is_open` tells that it may be anything.
    """

    def __init__(self) -> None:
        self.number_of: list[int] = []
        self.tables: list[int] = []
        self.functions: list[list[FunctionIndex]] = []
        self.is_open: list[bool] = []


def find_table_callees(module: Module, graph: CallGraph) -> TableCallees:
    """Return what calls through tables can reach; raises MalformedModule."""
    result = TableCallees()
    if not graph.table_calls:
        return result
    contents = _Contents(module, graph)
    numbers: dict[tuple[int, int, int], int] = {}
    for table, type_index, index in graph.table_calls:
        is_open = contents.is_open[table] or type_index >= len(module.types)
        key = (table, _ANYTHING, ANY_INDEX) if is_open else contents.simplify(table, TypeIndex(type_index), index)
        if key not in numbers:
            numbers[key] = len(numbers)
            result.tables.append(table)
            result.functions.append([] if is_open else contents.reached(key[0], TypeIndex(key[1]), key[2]))
            result.is_open.append(is_open)
        result.number_of.append(numbers[key])
    return result


def known_functions(module: Module, graph: CallGraph) -> list[dict[int, list[FunctionIndex]]]:
    """Return by table and type what segments put there, ascending; types are by `same_types`.

    In a table that is not closed there may be other functions, too.
    """
    contents = _Contents(module, graph)
    return [contents.by_type(table) for table in range(len(module.tables))]


class _Contents:
    """The functions that tables hold, by type, and, as far as known, by index."""

    def __init__(self, module: Module, graph: CallGraph) -> None:
        self._module = module
        self._globals = [_UNKNOWN] * module.imported_globals
        for item in module.globals[module.imported_globals :]:  # their initializers refer to earlier ones
            self._globals.append(_UNKNOWN if item.mutable else self._evaluate(item.init_start))
        self._segments = read_element_segments(module)
        self._items = [self._read_items(segment) for segment in self._segments]
        self._same = same_types(module)
        count = len(module.tables)
        self.is_open = [not private for private in graph.private_tables]
        self._functions: list[set[FunctionIndex]] = [set() for _ in range(count)]
        self._is_fixed = [True] * count
        for table in graph.changed_tables:
            self.is_open[table] = True
        for table in range(count):
            self._add_initializer(table)
        for number in range(len(self._segments)):
            segment = self._segments[number]
            if segment.mode == ACTIVE:
                self._add(segment.table, self._items[number])
        for table, number in graph.inits:
            self._is_fixed[table] = False
            if self._segments[number].mode == PASSIVE:
                self._add(table, self._items[number])
        self._copy(graph.copies)
        # The segments that are put into each table when the module is instantiated.
        self._active: list[list[int]] = [[] for _ in range(count)]
        for number in range(len(self._segments)):
            segment = self._segments[number]
            if segment.mode == ACTIVE:
                self._active[segment.table].append(number)
        self._by_type: list[dict[int, list[FunctionIndex]]] = [self._divide(functions) for functions in self._functions]
        self._by_index: dict[int, dict[int, set[int]]] = {}

    def by_type(self, table: int) -> dict[int, list[FunctionIndex]]:
        """Return the functions that segments put into a table, by type."""
        return self._by_type[table]

    def simplify(self, table: int, type_index: TypeIndex, index: int) -> tuple[int, int, int]:
        """Return table, type and index of a call through a closed table, the same for calls that reach the same."""
        if index != ANY_INDEX and self._is_fixed[table] and table not in self._by_index:
            self._by_index[table] = self._place(table)
        return table, self._same[type_index], index if self._is_fixed[table] else ANY_INDEX

    def reached(self, table: int, type_index: TypeIndex, index: int) -> list[FunctionIndex]:
        """Return the functions that a call can reach, given what `simplify` returns."""
        if index == ANY_INDEX:
            return self._by_type[table].get(type_index, [])
        there = self._by_index[table].get(index, set())
        functions = [FunctionIndex(item) for item in sorted(there) if item >= 0]
        return [function for function in functions if type_index in self._types_of(function)]

    def _types_of(self, function: FunctionIndex) -> list[int]:
        return with_supertypes(self._module, self._same, self._module.function_types[function])

    def _read_items(self, segment: ElementSegment) -> list[int]:
        if not segment.has_expressions:
            return segment.functions
        return [self._evaluate(start) for start, _ in segment.expressions]

    def _evaluate(self, position: int) -> int:
        """Return the function that a constant expression refers to, _NULL, or _UNKNOWN for references from outside."""
        data = self._module.data
        code = data[position]
        if code == op.REF_NULL:
            return _NULL
        if code != op.REF_FUNC and code != op.GLOBAL_GET:
            return _UNKNOWN
        index, end = read_u32(data, position + 1)
        if data[end] != op.END:
            return _UNKNOWN
        return index if code == op.REF_FUNC else self._globals[index]

    def _add(self, table: int, items: list[int]) -> None:
        for item in items:
            if item == _UNKNOWN:
                self.is_open[table] = True
            elif item != _NULL:
                self._functions[table].add(FunctionIndex(item))

    def _add_initializer(self, table: int) -> None:
        start = self._module.tables[table].init_start
        if start > 0:
            item = self._evaluate(start)
            self._add(table, [item])
            if item != _NULL:
                self._is_fixed[table] = False

    def _copy(self, copies: set[tuple[int, int]]) -> None:
        """Let tables hold what is copied into them, until nothing changes any more."""
        targets: list[list[int]] = [[] for _ in self._functions]
        for target, source in copies:
            self._is_fixed[target] = False
            targets[source].append(target)
        work = list(range(len(targets)))
        while work:
            source = work.pop()
            for target in targets[source]:
                count = len(self._functions[target])
                was_open = self.is_open[target]
                self._functions[target] |= self._functions[source]
                self.is_open[target] = was_open or self.is_open[source]
                if len(self._functions[target]) > count or self.is_open[target] != was_open:
                    work.append(target)

    def _divide(self, functions: set[FunctionIndex]) -> dict[int, list[FunctionIndex]]:
        """Divide functions by the types that a call may name to reach them."""
        by_type: dict[int, list[FunctionIndex]] = {}
        for function in sorted(functions):
            for one in self._types_of(function):
                if one not in by_type:
                    by_type[one] = []
                by_type[one].append(function)
        return by_type

    def _place(self, table: int) -> dict[int, set[int]]:
        """Return what segments put at each index; gives up (`_is_fixed`) where an offset is not a constant."""
        places: dict[int, set[int]] = {}
        for number in self._active[table]:
            segment = self._segments[number]
            offset = constant_number(self._module.data, segment.offset_start, segment.offset_end)
            if offset is None:
                self._is_fixed[table] = False
                return places
            place = offset
            for item in self._items[number]:
                if place not in places:
                    places[place] = set()
                places[place].add(item)
                place += 1
        return places
