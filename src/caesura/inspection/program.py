"""A module as backtraces need it: the layouts of its frames, names, types, what its tables hold at first, source lines.

Two modules make it: the instrumented one, which has the layouts and whose indices are those of states, and the one that
was given, which has the names and the debug information. Of a module that somebody else instrumented only the former is
there, which has names, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from caesura.abi import STATE_PREFIX
from caesura.analysis.debug_lines import DebugLines, SourceLine, read_debug_lines
from caesura.analysis.state_changes import find_state_changes
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.inspection.layouts import layouts_of
from caesura.inspection.walk import UNKNOWN, Activation
from caesura.instrument.abi.naming import FunctionNames
from caesura.wasm import opcodes as op
from caesura.wasm.constant import constant_number
from caesura.wasm.definitions import FUNCTION_KIND, TABLE_KIND
from caesura.wasm.hierarchies import top_of
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import LOCAL_NAMES, Names
from caesura.wasm.segments import ACTIVE, ElementSegment, read_element_segments
from caesura.wasm.types import FUNC, is_reference


class Program:
    """What is known of a module. `why_no_lines` says what is wrong with its debug information, if anything is.

    Raises UnsupportedModule where the instrumented module does not tell what its frames hold.
    """

    def __init__(self, original: Module | None, instrumented: Module) -> None:
        layouts = layouts_of(instrumented)
        if layouts is None:
            raise UnsupportedModule(
                "the module does not tell what its frames hold: instrument the original with --frame-layouts, or give "
                "the original itself"
            )
        self.layouts: Final = layouts
        self.why_no_lines = ""
        self._original = original
        self._instrumented = instrumented
        named = original or instrumented
        self._shift = 0 if original is None else layouts.shift
        self._names = FunctionNames(named)
        section = named.custom_section("name")
        self._local_names = Names(named.data[section.payload : section.end] if section is not None else b"")
        self._exports = {item.name: item.index for item in instrumented.exports if item.kind == FUNCTION_KIND}
        imports = instrumented.function_imports()
        self._imports = {item.index: f"{item.module}.{item.name}" for item in imports}
        self._tables: Mapping[int, Mapping[int, int]] | None = None
        self._lines: DebugLines | None = None
        self._has_lines = False
        self._by_type: dict[int, list[int]] = {}

    def export(self, name: str) -> int | None:
        """Return the function that is exported under a name."""
        return self._exports.get(name)

    def is_import(self, function: int, name: str) -> bool:
        """Tell whether a function is an import of a name ("module.name"), or may be what stands for it in tables."""
        if function in self._imports:
            return self._imports[function] == name
        return function >= self.layouts.given and function not in self.layouts.functions

    def is_given(self, activation: Activation) -> bool:
        """Tell whether a function is one of the original's."""
        return activation.layout.index < self.layouts.given

    def index(self, function: int) -> int:
        """Return the index that a function has in the original; that of an import may be another one."""
        is_own = function >= self._instrumented.imported_functions
        return function + (self.layouts.shift if is_own else 0)

    def name(self, function: int) -> str:
        """Return what a function is called: its name, or what it is exported as, or its index."""
        original = function + (self._shift if function >= self._instrumented.imported_functions else 0)
        names = self._names.names
        return names[original] if original < len(names) and function < self.layouts.given else f"function {function}"

    def parameters(self, function: int) -> int:
        """Return how many of a function's locals are its parameters."""
        return len(self._instrumented.function_type(FunctionIndex(function)).params)

    def local_names(self, function: int) -> Mapping[int, str]:
        """Return the names of a function's locals."""
        return self._local_names.inner(LOCAL_NAMES, function + self._shift)

    def line(self, offset: int) -> SourceLine | None:
        """Return the source line of the instruction at a byte offset in the original."""
        if not self._has_lines and self._original is not None:
            self._has_lines = True
            try:
                self._lines = read_debug_lines(self._original)
            except MalformedModule as error:
                self.why_no_lines = str(error)
        return None if self._lines is None else self._lines.at(offset)

    def functions_of_type(self, type_index: int) -> Sequence[int]:
        """Return the functions of a type that can be on the stack, or where it ends."""
        module = self._instrumented
        if type_index not in self._by_type:
            wanted = module.types[type_index] if type_index < len(module.types) else None
            self._by_type[type_index] = [
                function
                for function in range(len(module.function_types))
                if wanted is not None
                and (function in self.layouts.functions or function in self._imports)
                and (own := module.function_type(FunctionIndex(function))).params == wanted.params
                and own.results == wanted.results
            ]
        return self._by_type[type_index]

    def is_function(self, value_type: int) -> bool:
        """Tell whether references of a type are those of functions."""
        return is_reference(value_type) and top_of(self._instrumented, value_type) == FUNC

    def table_of(self, value_type: int) -> int | None:
        """Return which of the tables with references of frames has those of a type."""
        top = top_of(self._instrumented, value_type)
        for place, table in enumerate(self.layouts.tables):
            if table < len(self._instrumented.tables):
                if top_of(self._instrumented, self._instrumented.tables[table].element) == top:
                    return place
        return None

    def element(self, table: int, index: int) -> int | None:
        """Return the function in a table that nobody writes: None for null, UNKNOWN for another table."""
        if self._tables is None:
            self._tables = _initial_tables(self._instrumented)
        return self._tables.get(table, {}).get(index, UNKNOWN)


def _initial_tables(module: Module) -> Mapping[int, Mapping[int, int]]:
    """Return what active segments put into tables that only the module reaches, and that none of its code writes."""
    changing = find_state_changes(module, tables=True, segments=False).tables
    changing.update([item.index for item in module.imports if item.kind == TABLE_KIND])
    exported = [item for item in module.exports if item.kind == TABLE_KIND and not item.name.startswith(STATE_PREFIX)]
    changing.update([item.index for item in exported])
    tables: dict[int, dict[int, int]] = {}
    for segment in read_element_segments(module):
        if segment.mode != ACTIVE or segment.table in changing:
            continue
        offset = constant_number(module.data, segment.offset_start, segment.offset_end)
        if offset is None:
            changing.add(segment.table)
            continue
        elements = tables.setdefault(segment.table, {})
        for place, function in enumerate(_functions(module, segment)):
            elements[offset + place] = function
    return {table: elements for table, elements in tables.items() if table not in changing}


def _functions(module: Module, segment: ElementSegment) -> list[int]:
    functions = list(segment.functions)
    for start, _ in segment.expressions:
        is_function = module.data[start] == op.REF_FUNC
        functions.append(read_u32(module.data, start + 1)[0] if is_function else UNKNOWN)
    return functions
