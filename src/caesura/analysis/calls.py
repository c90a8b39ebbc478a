"""The calls of a module: which function calls which, and which calls through tables or references.

One pass over every function body. It looks at calls and at the nesting of control instructions and skips the rest, so
it is also the pass that refuses malformed code: unknown opcodes, branches to labels that do not exist, bodies whose
final `end` is not where their size says. Callees are kept once per caller, as lists of ints: the number of distinct
edges is what grows with a program, and a set per function was twice the memory.
"""

from __future__ import annotations

from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import (
    FORM_BLOCK,
    FORM_BYTES_8,
    FORM_LABELS,
    FORM_LEB,
    FORM_MEMARG,
    FORM_NONE,
    FORM_TRY_TABLE,
    FORM_TWO_LEBS,
    FORMS,
    read_prefixed,
    skip_immediates,
    skip_leb,
    skip_locals,
    unknown_opcode,
)
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module


class CallGraph:
    """Calls of each of the module's own functions, by own index (function index minus imported functions).

    `callees[k]` holds the distinct function indices that function k calls by name; `indirect[k]` tells whether it
    calls through a table or a reference; `largest_tables[k]` is the number of targets of its largest `br_table`.
    """

    def __init__(self, own_functions: int) -> None:
        self.callees: list[list[int]] = [[] for _ in range(own_functions)]
        self.indirect: list[bool] = [False] * own_functions
        self.largest_tables: list[int] = [0] * own_functions


def read_calls(module: Module) -> CallGraph:
    """Return the call graph of a module; raises MalformedModule with the function and the byte offset."""
    own = len(module.body_starts)
    graph = CallGraph(own)
    functions = len(module.function_types)
    last_caller = [-1] * functions
    for caller in range(own):
        try:
            _read_body(module.data, module.body_starts[caller], module.body_ends[caller], caller, graph, last_caller)
        except IndexError:
            raise MalformedModule(
                "unexpected end of the module inside a function body",
                len(module.data),
                f"function {module.imported_functions + caller}",
            ) from None
        except MalformedModule as error:
            raise MalformedModule(
                error.reason, error.offset, f"function {module.imported_functions + caller}"
            ) from None
    return graph


def _read_body(data: bytes, start: int, end: int, caller: int, graph: CallGraph, last_caller: list[int]) -> None:
    forms = FORMS
    functions = len(last_caller)
    callees = graph.callees[caller]
    depth = 0
    position = skip_locals(data, start)
    while position < end:
        opcode = position
        code = data[position]
        position += 1
        if code >= 0xFB and code != 0xFF:
            code, position = read_prefixed(data, opcode)
        form = forms[code]
        if form == FORM_LEB:
            if data[position] < 0x80 and (code >= 0x20 or code < op.BR):
                position += 1
                continue
            value, position = _read_leb(data, position, code)
            if code == op.CALL or code == op.RETURN_CALL:
                if value >= functions:
                    raise MalformedModule(f"call of function {value}, but the module has {functions}", opcode)
                if last_caller[value] != caller:
                    last_caller[value] = caller
                    callees.append(value)
            elif code == op.BR or code == op.BR_IF:
                if value > depth:
                    raise _bad_label(value, depth, opcode)
            elif code == op.CALL_REF or code == op.RETURN_CALL_REF:
                graph.indirect[caller] = True
            elif code == op.DELEGATE:
                depth -= 1
                if depth < 0 or value > depth:
                    raise _bad_label(value, depth, opcode)
        elif form == FORM_NONE:
            if code == op.END:
                depth -= 1
                if depth < 0:
                    break
        elif form == FORM_MEMARG:
            if data[position] < 0x40 and data[position + 1] < 0x80:
                position += 2
            else:
                position = skip_immediates(data, position, form)
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
        elif form == FORM_TRY_TABLE:
            depth += 1
            position = skip_immediates(data, position, form)
        elif form < 0:
            raise unknown_opcode(code, opcode)
        else:
            if form == FORM_TWO_LEBS and (code == op.CALL_INDIRECT or code == op.RETURN_CALL_INDIRECT):
                graph.indirect[caller] = True
            position = skip_immediates(data, position, form)
    if depth >= 0 or position != end:
        raise MalformedModule(f"function body should end at byte offset {end} with its final `end`", min(position, end))


def _read_leb(data: bytes, position: int, code: int) -> tuple[int, int]:
    """Return the value (where it is an index that matters here) and the position behind a LEB128 number."""
    if code < 0x20:
        return read_u32(data, position)
    return 0, skip_leb(data, position, 5)


def _read_labels(data: bytes, position: int, depth: int) -> int:
    start = position
    count, position = read_u32(data, position)
    if count > len(data) - position:
        raise MalformedModule(f"br_table claims {count} labels, more than the module has bytes left", start)
    for _ in range(count + 1):
        label, position = read_u32(data, position)
        if label > depth:
            raise _bad_label(label, depth, start - 1)
    return position


def _bad_label(label: int, depth: int, offset: int) -> MalformedModule:
    return MalformedModule(f"branch to label {label}, but only {depth + 1} are open", offset)
