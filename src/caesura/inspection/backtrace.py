"""A suspended call as a debugger shows it: its functions, where each stands, and what their locals hold.

Locals are those of the function as it was given. A frame saves what the program still needs behind the call, so other
locals are missing; those of the names section have their names. DWARF could name variables of the source, but those of
unoptimized programs lie in memory, and those of optimized ones move from local to local: that is left to debuggers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from caesura.errors import SnapshotError
from caesura.inspection.layouts import SavedValue
from caesura.inspection.program import Program
from caesura.inspection.walk import UNKNOWN, Activation, Callees, walk
from caesura.wasm.types import F32, F64, I32, I64, V128, is_reference, type_name

# Gives the function in a table at an index, of the state: None for null, UNKNOWN if nobody knows.
Elements = Callable[[int, int], int | None]

_FORMATS: Final = {I32: "<i", I64: "<q", F32: "<f", F64: "<d"}


@dataclass(frozen=True)
class Reference:
    """A reference in a frame: that of a function, by its index and name, or another, of which nothing is known."""

    index: int | None = None
    function: str = ""


@dataclass(frozen=True)
class Variable:
    """A parameter or a local: its index among the function's locals, its name ("" if it has none), its type as in the
    text format, and its value: an int (signed), a float, 16 bytes of a vector, or a Reference, None for null.
    """

    index: int
    name: str
    type: str
    value: Any
    is_parameter: bool


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A function on the stack of a suspended call.

    `function` is its name, `index` its function index, and `offset` where the call instruction stands at which it
    waits, in bytes, all in the module as it was before it was instrumented. `file`, `line` and `column` are those of
    the source if the module has debug information (DWARF); else "" and 0. `variables` are the parameters and locals
    that the frame holds. It is `certain` unless other functions would fit the stack's bytes as well.
    """

    function: str
    index: int
    offset: int
    file: str
    line: int
    column: int
    variables: tuple[Variable, ...]
    certain: bool

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file else f"+{self.offset:#x}"
        shown = ", ".join(f"{one.name or one.index}={shown_value(one.value)}" for one in self.variables)
        return f"{self.function} ({where}){'' if self.certain else ' ?'} {shown}".rstrip()


def backtrace(program: Program, export: str, function: str, stack: bytes, elements: Elements) -> list[Frame]:
    """Return the frames of a call of an export that is suspended in an import, innermost first.

    `stack` are the bytes of its frames. Raises SnapshotError where these are no frames of the program.
    """
    outermost = program.export(export)
    if outermost is None:
        raise SnapshotError(f"the call is one of {export}, which the module does not export")
    if not stack:
        return []
    reader = _Reader(program, stack, elements)
    callees = Callees(
        lambda index: program.is_import(index, function), reader.element, reader.referenced, program.functions_of_type
    )
    return [reader.frame(one) for one in walk(program.layouts, stack, outermost, callees) if program.is_given(one)]


class _Reader:
    def __init__(self, program: Program, stack: bytes, elements: Elements) -> None:
        self._program = program
        self._stack = stack
        self._elements = elements
        size = program.layouts.runs_size
        self._runs = stack[len(stack) - size :] if size else b""

    def element(self, table: int, index: int) -> int | None:
        """Return the function in a table at an index."""
        found = self._elements(table, index)
        return self._program.element(table, index) if found == UNKNOWN else found

    def referenced(self, value_type: int, handle: int, runs: bytes) -> int | None:
        """Return the function that a frame's reference is of."""
        if handle == 0:
            return None
        place = self._program.table_of(value_type)
        if place is None:
            return UNKNOWN
        begin = int.from_bytes(runs[8 * place : 8 * place + 4], "little") if runs else 0
        return self._elements(self._program.layouts.tables[place], begin + handle - 1)

    def frame(self, activation: Activation) -> Frame:
        """Return what there is to say of an activation."""
        program = self._program
        layout = activation.layout
        call = activation.call
        line = program.line(call.offset)
        return Frame(
            function=program.name(layout.index),
            index=program.index(layout.index),
            offset=call.offset,
            file="" if line is None else line.file,
            line=0 if line is None else line.line,
            column=0 if line is None else line.column,
            variables=tuple(self._variables(activation)),
            certain=activation.certain,
        )

    def _variables(self, activation: Activation) -> list[Variable]:
        layout = activation.layout
        if activation.start is None:
            return []
        dead = layout.dead[activation.site] if layout.dead else frozenset()
        parameters = self._program.parameters(layout.index)
        names = self._program.local_names(layout.index)
        found: list[Variable] = []
        for place, value in enumerate(layout.values):
            local = value.local
            if local is not None and place not in dead:
                shown = self._value(activation.start + value.offset, value)
                name = names.get(local, "")
                found.append(Variable(local, name, type_name(value.type), shown, local < parameters))
        return sorted(found, key=lambda one: one.index)

    def _value(self, offset: int, value: SavedValue) -> Any:
        if value.type == V128:
            return self._stack[offset : offset + 16]
        if not is_reference(value.type):
            return struct.unpack_from(_FORMATS[value.type], self._stack, offset)[0]
        handle = int.from_bytes(self._stack[offset : offset + 4], "little")
        if handle == 0:
            return None
        function = self.referenced(value.type, handle, self._runs) if self._program.is_function(value.type) else UNKNOWN
        if function is None or function == UNKNOWN:
            return Reference()
        return Reference(self._program.index(function), self._program.name(function))


def shown_value(value: Any) -> str:
    """Return a value as text."""
    if value is None:
        return "null"
    if isinstance(value, bytes):
        return f"0x{value[::-1].hex()}"
    if isinstance(value, Reference):
        return value.function or "a reference"
    return repr(value)
