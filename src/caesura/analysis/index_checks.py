"""That code, initializers and segments refer to nothing that the module does not have.

An engine refuses such a module. But instrumenting adds memories, globals, tables and functions behind the module's own,
so an index that was out of range would be one of these: a load in a module without a memory would read the asyncify
stack. So all of them are checked before anything is added, in one pass over the module that only looks at
instructions which have indices; what else makes a module invalid stays so, and is left to the engine. Locals are not
looked at: functions that get more of them are decoded, and checked then. Nor are the types of locals, of `select` and
of casts: a type that is added gives access to nothing.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm.decode import MEMORY_FLAG, NO_TAG, read_immediates
from caesura.wasm.immediates import (
    FORM_MEMARG,
    FORM_NONE,
    FORM_TRY_TABLE,
    FORM_UNKNOWN,
    FORMS,
    read_prefixed,
    skip_immediates,
    skip_locals,
    unknown_opcode,
)
from caesura.wasm.leb128 import read_s33, read_u32
from caesura.wasm.module import Module
from caesura.wasm.segments import ACTIVE, read_data_segments, read_element_segments

# Index spaces, as positions in lists of their sizes.
_FUNCTIONS: Final = 0
_TABLES: Final = 1
_MEMORIES: Final = 2
_GLOBALS: Final = 3
_TAGS: Final = 4
_TYPES: Final = 5
_DATA: Final = 6
_ELEMENTS: Final = 7
_NO_SPACE: Final = 8  # of the second immediate where there is none

_NAMES: Final = ("function", "table", "memory", "global", "tag", "type", "data segment", "element segment")

# By kind of immediates, the spaces of the first and the second index.
_SPACES: Final[dict[int, tuple[int, int]]] = {
    table.IMMEDIATE_GLOBAL: (_GLOBALS, _NO_SPACE),
    table.IMMEDIATE_FUNC: (_FUNCTIONS, _NO_SPACE),
    table.IMMEDIATE_TYPE: (_TYPES, _NO_SPACE),
    table.IMMEDIATE_TABLE: (_TABLES, _NO_SPACE),
    table.IMMEDIATE_MEMORY: (_MEMORIES, _NO_SPACE),
    table.IMMEDIATE_TAG: (_TAGS, _NO_SPACE),
    table.IMMEDIATE_DATA: (_DATA, _NO_SPACE),
    table.IMMEDIATE_ELEM: (_ELEMENTS, _NO_SPACE),
    table.IMMEDIATE_TYPE_TABLE: (_TYPES, _TABLES),
    table.IMMEDIATE_TYPE_FIELD: (_TYPES, _NO_SPACE),
    table.IMMEDIATE_TYPE_U32: (_TYPES, _NO_SPACE),
    table.IMMEDIATE_TYPE_TYPE: (_TYPES, _TYPES),
    table.IMMEDIATE_TYPE_DATA: (_TYPES, _DATA),
    table.IMMEDIATE_TYPE_ELEM: (_TYPES, _ELEMENTS),
    table.IMMEDIATE_ELEM_TABLE: (_ELEMENTS, _TABLES),
    table.IMMEDIATE_TABLE_TABLE: (_TABLES, _TABLES),
    table.IMMEDIATE_DATA_MEMORY: (_DATA, _MEMORIES),
    table.IMMEDIATE_MEMORY_MEMORY: (_MEMORIES, _MEMORIES),
}
# What is done with an instruction: nothing, or one of these.
_SKIPPED: Final = 0
_INDEXED: Final = 1
_OF_MEMORY: Final = 2
_HEAP: Final = 3
_BLOCK: Final = 4


def _actions() -> list[int]:
    actions = [_SKIPPED] * table.CODES
    for code in range(table.CODES):
        kind = table.IMMEDIATES[code]
        if kind in _SPACES:
            actions[code] = _INDEXED
        elif kind == table.IMMEDIATE_MEMARG or kind == table.IMMEDIATE_MEMARG_LANE:
            actions[code] = _OF_MEMORY
        elif kind == table.IMMEDIATE_HEAP:
            actions[code] = _HEAP
        elif kind == table.IMMEDIATE_BLOCK or kind == table.IMMEDIATE_BLOCK_CATCHES:
            actions[code] = _BLOCK
    return actions


_ACTIONS: Final[list[int]] = _actions()
_NON_NULL_REFERENCE: Final = 0x64
_NULL_REFERENCE: Final = 0x63


def check_indices(module: Module) -> None:
    """Raise MalformedModule, with the function and the byte offset, for an index of something that there is not."""
    checks = _Checks(module)
    checks.check_sections()
    for own in range(len(module.body_starts)):
        start = module.body_starts[own]
        try:
            checks.check_code(skip_locals(module.data, start), module.body_ends[own])
        except IndexError:
            error = MalformedModule("unexpected end of the module inside a function body", len(module.data))
        except MalformedModule as reason:
            error = reason
        else:
            continue
        function = f"function {module.imported_functions + own}"
        raise MalformedModule(error.reason, error.offset, function) from None


class _Checks:
    """`_sizes` has the number of entities by index space."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._data = module.data
        self._elements = read_element_segments(module)
        self._segments = read_data_segments(module)
        self._sizes = [
            len(module.function_types),
            len(module.tables),
            len(module.memories),
            len(module.globals),
            len(module.tags),
            len(module.types),
            len(self._segments),
            len(self._elements),
        ]

    def check_sections(self) -> None:
        """Check initializers and segments; what exports and the start function are, `Module` has checked."""
        module = self._module
        for entry in module.globals:
            self.check_code(entry.init_start, entry.init_end)
        for own in module.tables:
            self.check_code(own.init_start, own.init_end)
        for data in self._segments:
            if data.mode == ACTIVE:
                self._check(_MEMORIES, data.memory, data.offset_start)
            self.check_code(data.offset_start, data.offset_end)
        for elements in self._elements:
            if elements.mode == ACTIVE:
                self._check(_TABLES, elements.table, elements.start)
            self.check_code(elements.offset_start, elements.offset_end)
            for function in elements.functions:
                self._check(_FUNCTIONS, function, elements.start)
            for start, end in elements.expressions:
                self.check_code(start, end)

    def check_code(self, position: int, end: int) -> None:
        """Check the indices in the code between two positions."""
        data = self._data
        actions = _ACTIONS
        forms = FORMS
        has_memory = self._sizes[_MEMORIES] > 0
        while position < end:
            opcode = position
            code = data[position]
            position += 1
            if code >= 0xFB and code != 0xFF:
                code, position = read_prefixed(data, opcode)
            form = forms[code]
            action = actions[code]
            if action == _SKIPPED:
                if form == FORM_UNKNOWN:
                    raise unknown_opcode(code, opcode)
                if form != FORM_NONE:
                    position = skip_immediates(data, position, form)
            elif action == _OF_MEMORY:
                if not has_memory or data[position] >= MEMORY_FLAG:
                    self._check_memory(code, position, opcode)
                if form == FORM_MEMARG and data[position] < MEMORY_FLAG and data[position + 1] < 0x80:
                    position += 2
                else:
                    position = skip_immediates(data, position, form)
            else:
                if action == _INDEXED:
                    self._check_indexed(code, position, opcode)
                elif action == _HEAP:
                    self._check_type(position, opcode)
                elif data[position] == _NULL_REFERENCE or data[position] == _NON_NULL_REFERENCE:
                    self._check_type(position + 1, opcode)
                else:
                    self._check_type(position, opcode)
                if form == FORM_TRY_TABLE:
                    self._check_tags(code, position, opcode)
                position = skip_immediates(data, position, form)

    def _check_indexed(self, code: int, position: int, opcode: int) -> None:
        first, second = _SPACES[table.IMMEDIATES[code]]
        index, position = read_u32(self._data, position)
        self._check(first, index, opcode)
        if second != _NO_SPACE:
            self._check(second, read_u32(self._data, position)[0], opcode)

    def _check_memory(self, code: int, position: int, opcode: int) -> None:
        """Check the memory of an instruction that loads or stores."""
        self._check(_MEMORIES, read_immediates(self._data, position, code)[0][1], opcode)

    def _check_tags(self, code: int, position: int, opcode: int) -> None:
        """Check the tags of the catch clauses of a `try_table`."""
        numbers = read_immediates(self._data, position, code)[0]
        for place in range(2, len(numbers), 3):
            if numbers[place] != NO_TAG:
                self._check(_TAGS, numbers[place], opcode)

    def _check_type(self, position: int, opcode: int) -> None:
        """Check a heap type or a block type: a signed number, which is no index where it is negative."""
        index = read_s33(self._data, position)[0]
        if index >= 0:
            self._check(_TYPES, index, opcode)

    def _check(self, space: int, index: int, offset: int) -> None:
        if index >= self._sizes[space]:
            count = self._sizes[space]
            raise MalformedModule(f"{_NAMES[space]} index {index} is out of range; the module has {count}", offset)
