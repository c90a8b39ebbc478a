"""Functions that call one that an engine provides, and count first for how long that may take.

No host sees such a call, so the count has to say what it took (`analysis.builtins`). A call of `wasm:js-string.equals`
becomes one of

    (func (param externref externref) (result i32) (local $n i64)
      (local.set $n (i64.add (length of the first string, or 0) (length of the second)))
      (global.set $fuel (i64.sub (global.get $fuel) (local.get $n)))
      (call $equals (local.get 0) (local.get 1)))

behind which stands a look, as behind each call of the host (`analysis.unlooked_ways`). The lengths are told by
`wasm:js-string.length`, where the module imports it: to import it besides would give every function another index, and
who gives the functions himself may not have it. Where it is not imported, and of functions that are not known, a call
counts for so much that no portion of a slice of 8 ms is left: behind each the host looks at its clock.

In place of the import stands this function wherever the module refers to it, but in its exports: what a host gets
there, it calls itself.

Code at each call was rejected: it takes 60 bytes and more, and locals for the operands.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.builtins import (
    CONCATENATION,
    CONCATENATION_SHIFT,
    NOT_IMPORTED,
    length_function,
    long_builtins,
    strings_of,
    takes_part_of_array,
)
from caesura.instrument.copied_code import CopiedCode
from caesura.instrument.copied_module import CopiedModule, NewBody, unchanged, write_copied
from caesura.wasm import encoded as c
from caesura.wasm import sections as sec
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import OwnFunction
from caesura.wasm.instructions import IMMEDIATE_FUNC, IMMEDIATES
from caesura.wasm.leb128 import encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.renumber import redirect_references
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.types import I32, I64, encode_value_type

# What a call counts for that may take any time: more than what FASTEST of the JavaScript host lets a portion have.
UNKNOWN_UNITS: Final = 1 << 20

_I64_ADD: Final = b"\x7c"
_I64_SUB: Final = b"\x7d"
_I64_SHR_U: Final = b"\x88"
_I64_EXTEND_I32_U: Final = b"\xad"


def put_counting_functions(module: Module, fuel: int) -> CopiedModule:
    """Return the module with such functions, the last ones of its own; `fuel` is the global that will count."""
    builtins = long_builtins(module)
    if not builtins:
        return unchanged(module)
    redirected = {function: len(module.function_types) + place for place, function in enumerate(builtins)}
    bodies: dict[int, NewBody] = {}
    for own in module.own_functions():
        new = _redirected(module, own, redirected)
        if new is not None:
            bodies[own] = new
    copied = write_copied(module, bodies, SectionEdits(), [])
    edits = SectionEdits()
    redirect_references(copied.module, redirected, edits)
    edits.replace.pop(sec.EXPORT, None)
    for function in builtins:
        edits.append(sec.FUNCTION, encode_unsigned(module.function_types[function]))
        body = _counting(module, function, fuel)
        edits.append(sec.CODE, encode_unsigned(len(body)) + body)
    added = Module(write_sections(copied.module.data, copied.module.sections, edits))
    return CopiedModule(module, added, copied.places)


def _counting(module: Module, function: int, fuel: int) -> bytes:
    """Return the body, without size field, of a function that counts and calls an import."""
    definition = module.types[module.function_types[function]]
    params = len(definition.params)
    arguments = b"".join([c.LOCAL_GET + encode_unsigned(param) for param in range(params)])
    local = encode_unsigned(params)
    counter = encode_unsigned(fuel)
    code = _units(module, function) + c.LOCAL_SET + local
    code += c.GLOBAL_GET + counter + c.LOCAL_GET + local + _I64_SUB + c.GLOBAL_SET + counter
    locals_ = b"\x01\x01" + encode_value_type(I64)
    return locals_ + code + arguments + c.CALL + encode_unsigned(function) + c.END


def _units(module: Module, function: int) -> bytes:
    """Return the code that computes what a call of an import counts for."""
    if takes_part_of_array(module, function):
        return c.LOCAL_GET + b"\x02" + c.LOCAL_GET + b"\x01" + c.I32_SUB + _I64_EXTEND_I32_U
    length = length_function(module)
    strings = strings_of(module, function)
    if length == NOT_IMPORTED or not strings:
        return c.constant(I64, UNKNOWN_UNITS)
    code = b""
    for place, param in enumerate(strings):
        string = c.LOCAL_GET + encode_unsigned(param)
        code += string + c.REF_IS_NULL + c.IF + encode_value_type(I32) + c.ZERO[I32]
        code += c.ELSE + string + c.CALL + encode_unsigned(length) + c.END + _I64_EXTEND_I32_U
        if place:
            code += _I64_ADD
    if module.function_imports()[function].name == CONCATENATION:
        code += c.constant(I64, CONCATENATION_SHIFT) + _I64_SHR_U
    return code


def _redirected(module: Module, own: OwnFunction, redirected: dict[int, int]) -> NewBody | None:
    """Return the new body of a function that refers to one of these; None for others."""
    data = module.data
    start = module.body_starts[own]
    end = module.body_ends[own]
    position = code_start = skip_locals(data, start)
    copy = CopiedCode(data, start, code_start)
    is_changed = False
    while position < end:
        code, immediates, position = read_instruction(data, position)
        if IMMEDIATES[code] == IMMEDIATE_FUNC:
            function = read_u32(data, immediates)[0]
            if function in redirected:
                copy.replace(immediates, encode_unsigned(redirected[function]), position)
                is_changed = True
    if not is_changed:
        return None
    return NewBody(copy.finish(end, data[start:code_start]), copy.places)
