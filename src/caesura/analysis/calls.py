"""The calls of a module: which function calls which, and which calls through tables or references.

One pass over every function body. It looks at calls and at the nesting of control instructions and skips the rest, so
it is also the pass that refuses malformed code: unknown opcodes, branches to labels that do not exist, bodies whose
final `end` is not where their size says. Callees are kept once per caller, as lists of ints: the number of distinct
edges is what grows with a program, and a set per function was twice the memory.

Calls that cannot be reached do not count: from an instruction that never goes on to the next one up to the `end`,
`else` or catch clause of the construct it stands in, code is read, and refused if it is malformed, but not noted.

A call through a table that only the module itself can change is noted with the table, the type and, where an
`i32.const` stands right before it, the index; with what changes tables, `closed_tables` makes functions of that.
Remembering the instruction before each call would slow down the loop over all instructions. So the loop looks only at
the bytes before a call. Where they could be an `i32.const`, but may as well be the end of another instruction, the body
is read a second time, up to its last such call.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.definitions import TABLE_KIND
from caesura.wasm.immediates import (
    FORM_BLOCK,
    FORM_BYTES_8,
    FORM_LABELS,
    FORM_LEB,
    FORM_MEMARG,
    FORM_NONE,
    FORM_TRY_TABLE,
    FORM_TWO_LEBS,
    FORM_UNKNOWN,
    FORMS,
    read_instruction,
    read_prefixed,
    skip_immediates,
    skip_leb,
    skip_locals,
    unknown_opcode,
)
from caesura.wasm.indices import FunctionIndex, OwnFunction, TypeIndex
from caesura.wasm.leb128 import read_count, read_s32, read_u32
from caesura.wasm.module import Module

# Forms of what this pass looks at; all other instructions have the form of their immediates.
_CONTROL: Final = 32
_CONTROL_LEB: Final = 33
_TABLE_CALL: Final = 34
_TABLE_CHANGE: Final = 35
_TABLE_COPY: Final = 36
_TABLE_INIT: Final = 37

# What the forms of immediates become where an instruction is looked at.
_OWN_FORM_OF: Final = {FORM_NONE: _CONTROL, FORM_LEB: _CONTROL_LEB, FORM_TWO_LEBS: _TABLE_CALL}

# No function has called this one so far.
_NOBODY: Final = -1

# Stands for the depth of code that cannot be reached where code can be.
_REACHABLE: Final = -1

# An index that is not known before the program runs.
ANY_INDEX: Final = -1

# In place of the table of a call through a reference.
NO_TABLE: Final = -1


def _own_forms() -> list[int]:
    forms = list(FORMS)
    for code in range(table.CODES):
        if _is_looked_at(code):
            forms[code] = _OWN_FORM_OF.get(forms[code], forms[code])
        kind = table.IMMEDIATES[code]
        if kind == table.IMMEDIATE_TABLE and table.EFFECTS[code] == table.EFFECT:
            forms[code] = _TABLE_CHANGE
        elif kind == table.IMMEDIATE_TABLE_TABLE:
            forms[code] = _TABLE_COPY
        elif kind == table.IMMEDIATE_ELEM_TABLE:
            forms[code] = _TABLE_INIT
    return forms


def _is_looked_at(code: int) -> bool:
    """Tell whether an instruction takes part in control flow, calls, or refers to a function."""
    is_control = table.FLOWS[code] != table.FLOW_NEXT or table.EFFECTS[code] == table.CALL
    return is_control or table.IMMEDIATES[code] == table.IMMEDIATE_FUNC


_FORMS: Final[list[int]] = _own_forms()


class CallGraph:
    """Calls of each of the module's own functions, by own index (function index minus imported functions).

    `callees[k]` holds the distinct function indices that function k calls by name; `indirect[k]` tells whether it
    calls through a reference or a table that is not private; `largest_tables[k]` is the number of targets of its
    largest `br_table`.

    `open_calls` has what these are, by own index: (table, type), or (NO_TABLE, type) for a call through a reference.

    `private_tables` tells for each table whether no other module and no host can reach it. `table_calls` numbers
    the different calls through these: (table, type, index), where the index is that of an `i32.const` right before the
    call, or ANY_INDEX; `table_callees` has, by own index, the numbers of those that a function makes.
    `changed_tables` are the tables that get references by `table.set`, `table.grow` or `table.fill`; `copies` has
    (target, source) of each `table.copy`, `inits` (table, element segment) of each `table.init`. `referring` are the
    own functions, ascending, that make references of imported functions, also in code that cannot be reached;
    `tail_calling` those that make tail calls, and `catching` those with catch clauses of old-form tries.
    `has_try_table` tells whether there are new-form tries.
    """

    def __init__(self, own_functions: int, private_tables: list[bool]) -> None:
        self.private_tables = private_tables
        self.callees: list[list[FunctionIndex]] = [[] for _ in range(own_functions)]
        self.indirect: list[bool] = [False] * own_functions
        self.open_calls: dict[OwnFunction, set[tuple[int, int]]] = {}
        self.largest_tables: list[int] = [0] * own_functions
        self.table_calls: dict[tuple[int, int, int], int] = {}
        self.table_callees: dict[OwnFunction, set[int]] = {}
        self.changed_tables: set[int] = set()
        self.copies: set[tuple[int, int]] = set()
        self.inits: set[tuple[int, int]] = set()
        self.referring: list[OwnFunction] = []
        self.tail_calling: list[OwnFunction] = []
        self.catching: list[OwnFunction] = []
        self.has_try_table = False

    def add_tail_call(self, caller: OwnFunction) -> None:
        """Note that an own function makes a tail call; functions come in their order."""
        if not self.tail_calling or self.tail_calling[-1] != caller:
            self.tail_calling.append(caller)

    def add_open_call(self, caller: OwnFunction, table: int, type_index: TypeIndex) -> None:
        """Note that an own function calls through a reference, or through a table that others can change."""
        self.indirect[caller] = True
        if caller not in self.open_calls:
            self.open_calls[caller] = set()
        self.open_calls[caller].add((table, type_index))

    def add_table_call(self, caller: OwnFunction, table: int, type_index: TypeIndex, index: int) -> None:
        """Note that an own function makes a call through a table that only the module can change."""
        key = (table, type_index, index)
        number = self.table_calls.setdefault(key, len(self.table_calls))
        if caller not in self.table_callees:
            self.table_callees[caller] = set()
        self.table_callees[caller].add(number)


def read_calls(module: Module) -> CallGraph:
    """Return the call graph of a module; raises MalformedModule with the function and the byte offset."""
    own = len(module.body_starts)
    graph = CallGraph(own, private_tables(module))
    functions = len(module.function_types)
    last_caller = [_NOBODY] * functions
    for number in range(own):
        caller = OwnFunction(number)
        try:
            _read_body(module, caller, graph, last_caller)
        except IndexError:
            raise MalformedModule(
                "unexpected end of the module inside a function body",
                len(module.data),
                f"function {module.function_of(caller)}",
            ) from None
        except MalformedModule as error:
            raise MalformedModule(error.reason, error.offset, f"function {module.function_of(caller)}") from None
    return graph


def private_tables(module: Module) -> list[bool]:
    """Tell for each table whether no other module and no host can reach it."""
    private = [True] * len(module.tables)
    for item in module.imports:
        if item.kind == TABLE_KIND:
            private[item.index] = False
    for export in module.exports:
        if export.kind == TABLE_KIND:
            private[export.index] = False
    return private


def _read_body(module: Module, caller: OwnFunction, graph: CallGraph, last_caller: list[int]) -> None:
    data = module.data
    end = module.body_ends[caller]
    forms = _FORMS
    flows = table.FLOWS
    functions = len(last_caller)
    callees = graph.callees[caller]
    private = graph.private_tables
    perhaps_constant: list[int] = []
    depth = 0
    dead = _REACHABLE  # how many constructs are open around code that cannot be reached
    position = skip_locals(data, module.body_starts[caller])
    while position < end:
        opcode = position
        code = data[position]
        position += 1
        if code >= 0xFB and code != 0xFF:
            code, position = read_prefixed(data, opcode)
        form = forms[code]
        if form == FORM_LEB:
            if data[position] < 0x80:
                position += 1
            else:
                position = skip_leb(data, position, 5)
        elif form == FORM_NONE:
            continue
        elif form == FORM_MEMARG:
            if data[position] < 0x40 and data[position + 1] < 0x80:
                position += 2
            else:
                position = skip_immediates(data, position, form)
        elif form == _CONTROL_LEB:
            value, position = read_u32(data, position)
            if code == op.CALL or code == op.RETURN_CALL:
                if value >= functions:
                    raise MalformedModule(f"call of function {value}, but the module has {functions}", opcode)
                if last_caller[value] != caller and dead == _REACHABLE:
                    last_caller[value] = caller
                    callees.append(FunctionIndex(value))
            elif code == op.BR_IF or code == op.BR:
                if value > depth:
                    raise _bad_label(value, depth, opcode)
            elif code == op.CALL_REF or code == op.RETURN_CALL_REF:
                if dead == _REACHABLE:
                    graph.add_open_call(caller, NO_TABLE, TypeIndex(value))
            elif flows[code] == table.FLOW_BRANCH_ON:
                if value > depth:
                    raise _bad_label(value, depth, opcode)
            elif code == op.DELEGATE:
                depth -= 1
                if depth < 0 or value > depth:
                    raise _bad_label(value, depth, opcode)
                if depth < dead:
                    dead = _REACHABLE
            elif code == op.CATCH:
                _note_last(graph.catching, caller)
                if depth == dead:
                    dead = _REACHABLE
            elif code == op.REF_FUNC and value < module.imported_functions:
                _note_last(graph.referring, caller)
            if dead == _REACHABLE and flows[code] >= table.FLOW_BRANCH:
                dead = depth
                if code == op.RETURN_CALL or code == op.RETURN_CALL_REF:
                    graph.add_tail_call(caller)
        elif form == _CONTROL:
            if code == op.END:
                depth -= 1
                if depth < dead:
                    dead = _REACHABLE
                if depth < 0:
                    break
            elif code == op.ELSE or code == op.CATCH_ALL:
                if code == op.CATCH_ALL:
                    _note_last(graph.catching, caller)
                if depth == dead:
                    dead = _REACHABLE
            elif dead == _REACHABLE:
                dead = depth
        elif form == FORM_BLOCK:
            depth += 1
            if data[position] < 0x80 and data[position] != 0x63 and data[position] != 0x64:
                position += 1
            else:
                position = skip_immediates(data, position, form)
        elif form == FORM_BYTES_8:
            position += 8
        elif form == FORM_LABELS:
            count, _ = read_u32(data, position)
            if count >= graph.largest_tables[caller]:
                graph.largest_tables[caller] = count + 1
            position = _read_labels(data, position, depth)
            if dead == _REACHABLE:
                dead = depth
        elif form == _TABLE_CALL:
            type_index, position = read_u32(data, position)
            table_index, position = read_u32(data, position)
            if dead == _REACHABLE:
                if table_index >= len(private) or not private[table_index]:
                    graph.add_open_call(caller, table_index, TypeIndex(type_index))
                elif _may_follow_constant(data, opcode):
                    perhaps_constant.append(opcode)
                else:
                    graph.add_table_call(caller, table_index, TypeIndex(type_index), ANY_INDEX)
                if code == op.RETURN_CALL_INDIRECT:
                    dead = depth
                    graph.add_tail_call(caller)
        elif form == FORM_TRY_TABLE:
            graph.has_try_table = True
            depth += 1
            position = skip_immediates(data, position, form)
        elif form == FORM_UNKNOWN:
            raise unknown_opcode(code, opcode)
        elif form >= _TABLE_CHANGE:
            position = _read_change(data, position, form, graph)
        else:
            position = skip_immediates(data, position, form)
    if depth >= 0 or position != end:
        raise MalformedModule(f"function body should end at byte offset {end} with its final `end`", min(position, end))
    if perhaps_constant:
        _read_constant_calls(data, module.body_starts[caller], perhaps_constant, caller, graph)


def _note_last(functions: list[OwnFunction], function: OwnFunction) -> None:
    """Add a function to those that were noted before it, once."""
    if not functions or functions[-1] != function:
        functions.append(function)


def _read_change(data: bytes, position: int, form: int, graph: CallGraph) -> int:
    """Note an instruction that puts references into a table; return the position behind it."""
    first, position = read_u32(data, position)
    if form == _TABLE_CHANGE:
        graph.changed_tables.add(first)
        return position
    second, position = read_u32(data, position)
    if form == _TABLE_COPY:
        graph.copies.add((first, second))
    else:
        graph.inits.add((second, first))
    return position


def _may_follow_constant(data: bytes, opcode: int) -> bool:
    """Tell whether the bytes before an instruction look like an `i32.const`."""
    if data[opcode - 1] >= 0x80:
        return False
    for start in range(opcode - 2, opcode - 7, -1):
        if data[start] == op.I32_CONST:
            return True
        if data[start] < 0x80:
            return False
    return False


def _read_constant_calls(data: bytes, start: int, calls: list[int], caller: OwnFunction, graph: CallGraph) -> None:
    """Note calls through tables, given by their positions, with the index where it is a constant."""
    position = skip_locals(data, start)
    for call in calls:
        before = position
        while position < call:
            before = position
            position = read_instruction(data, before)[2]
        index = constant_index(data, before) if data[before] == op.I32_CONST else ANY_INDEX
        type_index, after = read_u32(data, call + 1)
        graph.add_table_call(caller, read_u32(data, after)[0], TypeIndex(type_index), index)


def constant_index(data: bytes, position: int) -> int:
    """Return the table index that the `i32.const` at a position stands for."""
    return read_s32(data, position + 1)[0] & 0xFFFF_FFFF


def _read_labels(data: bytes, position: int, depth: int) -> int:
    start = position
    count, position = read_count(data, position, "br_table", "labels")
    for _ in range(count + 1):
        label, position = read_u32(data, position)
        if label > depth:
            raise _bad_label(label, depth, start - 1)
    return position


def _bad_label(label: int, depth: int, offset: int) -> MalformedModule:
    return MalformedModule(f"branch to label {label}, but only {depth + 1} are open", offset)
