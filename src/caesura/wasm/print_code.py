"""Print function bodies and constant expressions as text, in the flat form: one instruction a line.

The printer walks the bytes once, with nothing but a list of open labels, so deep nesting costs neither recursion nor
(the indentation being capped) more than linear size. Instructions without immediates, more than half of a typical
module, are printed without being decoded further.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.alignment import NATURAL_ALIGNMENT
from caesura.wasm.decode import EMPTY_BLOCK, NO_TAG, read_immediates, read_locals, read_opcode
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.print_names import TextNames, references
from caesura.wasm.print_values import f32_text, f64_text, lanes_text, v128_text

_DEEPEST_INDENTATION: Final = 40
_INDENTATIONS: Final[list[str]] = ["  " * depth for depth in range(_DEEPEST_INDENTATION + 1)]

# Effects that need a function around them, so that a constant expression with them has no text.
_NEVER_CONSTANT: Final = (table.LOCAL, table.CALL, table.CONTROL)

_CATCH_CLAUSES: Final = ["catch", "catch_ref", "catch_all", "catch_all_ref"]


class CodePrinter:
    """Prints the code of one module."""

    def __init__(self, module: Module, names: TextNames) -> None:
        self.module = module
        self.names = names
        self._local_references: list[str] = []
        # Labels of the open blocks, the innermost last: an identifier, or nothing.
        self._labels: list[str] = []
        self._label_identifiers: dict[int, str] = {}
        self._blocks = 0
        self._offset = 0  # of the instruction in hand, for error messages

    def expression(self, start: int, end: int) -> str:
        """Return a constant expression: in parentheses if it is one instruction, else one after another."""
        texts: list[str] = []
        position = start
        while position < end:
            self._offset = position
            code, position = read_opcode(self.module.data, position)
            immediates, position = read_immediates(self.module.data, position, code)
            if code == op.END:
                break
            if table.EFFECTS[code] in _NEVER_CONSTANT:
                raise MalformedModule(f"{table.NAMES[code]} in a constant expression", self._offset)
            operand = self._operand(code, immediates)
            texts.append(f"{table.NAMES[code]} {operand}" if operand else table.NAMES[code])
        return f"({texts[0]})" if len(texts) == 1 else " ".join(texts)

    def function(self, function: FunctionIndex, header: str) -> list[str]:
        """Return the lines of a function that the module defines; `header` is its text up to the type."""
        module = self.module
        own = module.own_of(function)
        definition = module.function_type(function)
        local_types, position = read_locals(module.data, module.body_starts[own])
        params = len(definition.params)
        identifiers = self.names.locals_of(function, params + len(local_types))
        self._local_references = references(identifiers)
        self._labels = []
        self._label_identifiers = self.names.labels_of(function)
        self._blocks = 0
        text = self.names.type_text
        header += declarations("param", [text(one) for one in definition.params], identifiers[:params])
        header += declarations("result", [text(one) for one in definition.results], [])
        lines = [header]
        if local_types:
            declared = declarations("local", [text(one) for one in local_types], identifiers[params:])
            lines.append("   " + declared)
        self._body(lines, position, module.body_ends[own])
        lines.append("  )")
        return lines

    def _body(self, lines: list[str], position: int, end: int) -> None:
        data = self.module.data
        labels = self._labels
        depth = 2
        while True:
            if position >= end:
                raise MalformedModule("function body has no end", end)
            self._offset = position
            code, position = read_opcode(data, position)
            name = table.NAMES[code]
            if table.IMMEDIATES[code] == table.IMMEDIATE_NONE:
                indentation = depth
                if code == op.END:
                    if depth == 2:
                        break
                    labels.pop()
                    depth -= 1
                    indentation = depth
                elif code == op.ELSE or code == op.CATCH_ALL:
                    self._check_inside(depth, name)
                    indentation = depth - 1
                lines.append(_INDENTATIONS[min(indentation, _DEEPEST_INDENTATION)] + name)
                continue
            immediates, position = read_immediates(data, position, code)
            margin = _INDENTATIONS[min(depth, _DEEPEST_INDENTATION)]
            if table.FLOW_BLOCK <= table.FLOWS[code] <= table.FLOW_TRY:
                operand = self._block_operand(immediates)
                label = self._label_identifiers.get(self._blocks, "")
                self._blocks += 1
                labels.append(label)
                depth += 1
                if label:
                    operand = f"{label} {operand}" if operand else label
            elif code == op.CATCH or code == op.DELEGATE:
                self._check_inside(depth, name)
                margin = _INDENTATIONS[min(depth - 1, _DEEPEST_INDENTATION)]
                if code == op.DELEGATE:
                    labels.pop()
                    depth -= 1
                operand = self._operand(code, immediates)
            else:
                operand = self._operand(code, immediates)
            lines.append(f"{margin}{name} {operand}" if operand else margin + name)
        if position != end:
            raise MalformedModule("code behind the end of the function", position)

    def _check_inside(self, depth: int, name: str) -> None:
        if depth == 2:
            raise MalformedModule(f"{name} outside of its block", self._offset)

    def _operand(self, code: int, numbers: list[int]) -> str:
        """Return the text of an instruction's immediates; the empty string where there is nothing to print."""
        kind = table.IMMEDIATES[code]
        names = self.names
        if kind == table.IMMEDIATE_NONE:
            return ""
        if kind == table.IMMEDIATE_LOCAL:
            return self._refer(self._local_references, numbers[0], "local")
        if kind == table.IMMEDIATE_I32 or kind == table.IMMEDIATE_I64:
            return str(numbers[0])
        if kind == table.IMMEDIATE_MEMARG or kind == table.IMMEDIATE_MEMARG_LANE:
            return self._memarg(code, numbers)
        if kind == table.IMMEDIATE_LABEL or kind == table.IMMEDIATE_LABELS:
            return " ".join([self._label(number) for number in numbers])
        if kind == table.IMMEDIATE_FUNC:
            return self._refer(names.function_references, numbers[0], "function")
        if kind == table.IMMEDIATE_GLOBAL:
            return self._refer(names.global_references, numbers[0], "global")
        if kind == table.IMMEDIATE_F64:
            return f64_text(numbers[0])
        if kind == table.IMMEDIATE_F32:
            return f32_text(numbers[0])
        if kind == table.IMMEDIATE_V128:
            return v128_text(numbers[0])
        if kind == table.IMMEDIATE_LANES16:
            return lanes_text(numbers[0])
        if kind == table.IMMEDIATE_LANE:
            return str(numbers[0])
        if kind == table.IMMEDIATE_TYPES:
            return declarations("result", [names.type_text(one) for one in numbers], [])[1:]
        if kind == table.IMMEDIATE_HEAP:
            if code == op.REF_NULL:
                return names.heap_text(numbers[0])
            return names.reference_text(numbers[0], is_nullable=code == op.REF_TEST_NULL or code == op.REF_CAST_NULL)
        if kind == table.IMMEDIATE_CAST:
            source = names.reference_text(numbers[2], is_nullable=numbers[0] & 1 != 0)
            target = names.reference_text(numbers[3], is_nullable=numbers[0] & 2 != 0)
            return f"{self._label(numbers[1])} {source} {target}"
        if kind == table.IMMEDIATE_BYTE:
            return ""  # atomic.fence: reserved, always 0
        return self._indices(kind, numbers)

    def _indices(self, kind: int, numbers: list[int]) -> str:
        """Return the text of one or two indices that are no locals, globals or functions."""
        names = self.names
        first = numbers[0]
        if kind == table.IMMEDIATE_TABLE:
            return self._unless_zero(names.table_references, first, "table")
        if kind == table.IMMEDIATE_MEMORY:
            return self._unless_zero(names.memory_references, first, "memory")
        if kind == table.IMMEDIATE_TAG:
            return self._refer(names.tag_references, first, "tag")
        if kind == table.IMMEDIATE_DATA:
            return self._refer(names.data_references, first, "data")
        if kind == table.IMMEDIATE_ELEM:
            return self._refer(names.element_references, first, "element")
        if kind == table.IMMEDIATE_TYPE:
            return self._refer(names.type_references, first, "type")
        second = numbers[1]
        if kind == table.IMMEDIATE_TYPE_TABLE:
            text = f"(type {self._refer(names.type_references, first, 'type')})"
            return join(self._unless_zero(names.table_references, second, "table"), text)
        if kind == table.IMMEDIATE_MEMORY_MEMORY or kind == table.IMMEDIATE_TABLE_TABLE:
            if first == 0 and second == 0:
                return ""
            space = names.memory_references if kind == table.IMMEDIATE_MEMORY_MEMORY else names.table_references
            return f"{self._refer(space, first, 'memory or table')} {self._refer(space, second, 'memory or table')}"
        if kind == table.IMMEDIATE_DATA_MEMORY:
            data = self._refer(names.data_references, first, "data")
            return join(self._unless_zero(names.memory_references, second, "memory"), data)
        if kind == table.IMMEDIATE_ELEM_TABLE:
            element = self._refer(names.element_references, first, "element")
            return join(self._unless_zero(names.table_references, second, "table"), element)
        own = self._refer(names.type_references, first, "type")
        if kind == table.IMMEDIATE_TYPE_FIELD:
            return f"{own} {self._refer(names.field_references[first], second, 'field')}"
        if kind == table.IMMEDIATE_TYPE_TYPE:
            return f"{own} {self._refer(names.type_references, second, 'type')}"
        if kind == table.IMMEDIATE_TYPE_DATA:
            return f"{own} {self._refer(names.data_references, second, 'data')}"
        if kind == table.IMMEDIATE_TYPE_ELEM:
            return f"{own} {self._refer(names.element_references, second, 'element')}"
        return f"{own} {second}"  # array.new_fixed

    def _block_operand(self, numbers: list[int]) -> str:
        block_type = numbers[0]
        out: list[str] = []
        if block_type >= 0:
            out.append(f"(type {self._refer(self.names.type_references, block_type, 'type')})")
        elif block_type != EMPTY_BLOCK:
            out.append(f"(result {self.names.type_text(-block_type)})")
        for clause in range(1, len(numbers), 3):
            parts = [_CATCH_CLAUSES[numbers[clause]]]
            if numbers[clause + 1] != NO_TAG:
                parts.append(self._refer(self.names.tag_references, numbers[clause + 1], "tag"))
            parts.append(self._label(numbers[clause + 2]))
            out.append(f"({' '.join(parts)})")
        return " ".join(out)

    def _memarg(self, code: int, numbers: list[int]) -> str:
        text = self._unless_zero(self.names.memory_references, numbers[1], "memory")
        if numbers[2]:
            text = join(text, f"offset={numbers[2]}")
        if numbers[0] != NATURAL_ALIGNMENT[code]:
            if numbers[0] >= 32:
                raise MalformedModule(f"alignment 2 to the power of {numbers[0]} is too large", self._offset)
            text = join(text, f"align={1 << numbers[0]}")
        if len(numbers) == 4:
            text = join(text, str(numbers[3]))
        return text

    def _label(self, depth: int) -> str:
        place = len(self._labels) - 1 - depth
        if place < -1:
            raise MalformedModule(f"label {depth} is out of range; there are {len(self._labels) + 1}", self._offset)
        label = self._labels[place] if place >= 0 else ""
        return label or str(depth)

    def _unless_zero(self, space: list[str], index: int, what: str) -> str:
        return self._refer(space, index, what) if index else ""

    def _refer(self, space: list[str], index: int, what: str) -> str:
        if index >= len(space):
            raise MalformedModule(f"{what} index {index} is out of range; there are {len(space)}", self._offset)
        return space[index]


def join(first: str, second: str) -> str:
    """Join two texts with a space, unless the first is empty."""
    return f"{first} {second}" if first else second


def declarations(keyword: str, types: list[str], identifiers: list[str]) -> str:
    """Return parameters, results or locals, each group with a space in front: the unnamed share parentheses."""
    out: list[str] = []
    unnamed: list[str] = []
    for place in range(len(types)):
        identifier = identifiers[place] if place < len(identifiers) else ""
        if not identifier:
            unnamed.append(types[place])
            continue
        if unnamed:
            out.append(f" ({keyword} {' '.join(unnamed)})")
            unnamed = []
        out.append(f" ({keyword} {identifier} {types[place]})")
    if unnamed:
        out.append(f" ({keyword} {' '.join(unnamed)})")
    return "".join(out)
