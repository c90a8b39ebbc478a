"""Calls through the host: some of a module's calls become calls of imports, which call the guest for it.

The imports are like Emscripten's `invoke_*`. Their functions, in JavaScript, call an export of the guest (`dynCall_*`)
or a function out of a table, and some catch exceptions. They are passed when the guest is suspended, and called again
when it is resumed. As JavaScript does not hand on values of all types as they are, these go through globals: a function
that is called instead of the original one sets them, calls the import, and takes the results; another one, which the
host calls, takes them, calls the original one, and leaves the results. How the host does it stands in the import's name
(`node_server.mjs`): `invoke_`, the way, whether it catches, and a number.
"""

from __future__ import annotations

import random
from typing import Final

from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.encoded import zero_constant
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_name, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.names import renumber_names
from caesura.wasm.renumber import _Renumbering
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.types import encode_value_type
from tests.oracle.world import ALL_TYPES, EXTERNREF, FUNCREF

TYPES: Final = (*ALL_TYPES, EXTERNREF, FUNCREF)
"""Of which there is a value that a global can begin with."""

MOST: Final = 10
_END: Final = b"\x0b"


def with_hops(binary: bytes, source: random.Random) -> bytes:
    """Return a module in which some functions are called through the host."""
    module = Module(binary)
    own = range(module.imported_functions, len(module.function_types))
    entries = {export.index for export in module.exports}
    usable = [function for function in own if function not in entries and _can_pass(module, function)]
    chosen = sorted(source.sample(usable, min(len(usable), source.randint(1, MOST))))
    if not chosen:
        return binary
    made = Module(_with_functions(module, chosen, source))
    first = len(module.function_types) + len(chosen)
    hops = {function + len(chosen): first + 2 * place for place, function in enumerate(chosen)}
    edits = SectionEdits()
    bodies: list[bytes] = []
    for number in range(len(made.body_starts)):
        body = made.data[made.body_starts[number] : made.body_ends[number]]
        if number < len(module.body_starts):  # not those that were added
            body = _redirected(body, hops, source)
        bodies.append(encode_unsigned(len(body)) + body)
    edits.replace[sec.CODE] = encode_vector(bodies)
    return write_sections(made.data, made.sections, edits)


def _can_pass(module: Module, function: int) -> bool:
    definition = module.function_type(FunctionIndex(function))
    return all(one in TYPES for one in (*definition.params, *definition.results))


def _redirected(body: bytes, hops: dict[int, int], source: random.Random) -> bytes:
    """Return a body in which most calls of some functions are calls of others."""
    out = b""
    copied = 0
    position = skip_locals(body, 0)
    while position < len(body):
        opcode = position
        code, immediates, position = read_instruction(body, opcode)
        if code == op.CALL and read_u32(body, immediates)[0] in hops and source.random() < 0.9:
            out += body[copied:opcode] + b"\x10" + encode_unsigned(hops[read_u32(body, immediates)[0]])
            copied = position
    return out + body[copied:]


def _with_functions(module: Module, chosen: list[int], source: random.Random) -> bytes:
    """Return the module with the imports behind its own ones, and two functions for each of those that are chosen."""
    count = len(chosen)
    functions = [
        index + (count if index >= module.imported_functions else 0) for index in range(len(module.function_types))
    ]
    renumbering = _Renumbering(module, functions, list(range(len(module.globals))))
    edits = SectionEdits()
    renumbering._write_code(edits)
    renumbering.write_initializers(edits)
    renumbering.write_segments(edits)
    renumbering.write_exports(edits)
    if module.start is not None:
        edits.replace[sec.START] = encode_unsigned(functions[module.start])
    section = module.custom_section("name")
    if section is not None:
        payload = module.data[section.payload : section.end]
        edits.custom["name"] = renumber_names(payload, functions, list(range(len(module.globals))))
    nothing = encode_unsigned(len(module.types))
    edits.append(sec.TYPE, b"\x60\0\0")
    first = len(module.function_types) + count
    free = len(module.globals)
    called: list[bytes] = []
    for place, function in enumerate(chosen):
        way = source.choice(("dynCall", "dynCall", "table")) + source.choice(("", "_catching"))
        edits.append(sec.IMPORT, encode_name("env") + encode_name(f"invoke_{way}_{place}") + b"\0" + nothing)
        definition = module.function_type(FunctionIndex(function))
        values = (*definition.params, *definition.results)
        for one in values:
            edits.append(sec.GLOBAL, encode_value_type(one) + b"\1" + zero_constant(one) + _END)
        params = [encode_unsigned(free + one) for one in range(len(definition.params))]
        results = [encode_unsigned(free + one) for one in range(len(definition.params), len(values))]
        free += len(values)
        hop = b"".join(b"\x20" + encode_unsigned(one) + b"\x24" + cell for one, cell in enumerate(params))
        hop += b"\x10" + encode_unsigned(module.imported_functions + place)
        hop += b"".join(b"\x23" + cell for cell in results)
        inner = b"".join(b"\x23" + cell for cell in params) + b"\x10" + encode_unsigned(functions[function])
        inner += b"".join(b"\x24" + cell for cell in reversed(results))
        for kind, code in ((encode_unsigned(module.function_types[function]), hop), (nothing, inner)):
            body = b"\0" + code + _END
            edits.append(sec.FUNCTION, kind)
            edits.append(sec.CODE, encode_unsigned(len(body)) + body)
        edits.append(sec.EXPORT, encode_name(f"hop_{place}") + b"\0" + encode_unsigned(first + 2 * place))
        called.append(encode_unsigned(first + 2 * place + 1))
        edits.append(sec.EXPORT, encode_name(f"dynCall_{place}") + b"\0" + called[-1])
    table = encode_unsigned(len(module.tables))
    edits.append(sec.TABLE, b"\x70\0" + encode_unsigned(count))
    edits.append(sec.ELEMENT, b"\2" + table + b"\x41\0\x0b\0" + encode_vector(called))
    edits.append(sec.EXPORT, encode_name("hops") + b"\1" + table)
    return write_sections(module.data, module.sections, edits)
