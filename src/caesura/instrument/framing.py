"""Functions that are added to give a frame to what has none, where a tail call can reach it.

A function that leaves by a tail call finds out in a rewind, from the frame on top of the asyncify stack, what took its
place (see `abi.tail_dispatch`). An import leaves no frame, nor does a function of the guest's own runtime. So for each
that may suspend and that a tail call can reach, a function is added to the module that does nothing but call it:

    (func $framing (param i32 i64) (result i64)  local.get 0  local.get 1  call $import)

It is instrumented as any other, restores the real arguments itself, and takes the import's place in tail calls, and,
since it cannot be seen what a tail call through a reference reaches, in references and exports.

To make such a tail call an ordinary one followed by a return was rejected: in a `try` the import's exceptions would be
caught that must not be, and through a table or a reference it cannot be told what is called.
"""

from __future__ import annotations

from dataclasses import replace

from caesura.instrument.abi.naming import FunctionNames
from caesura.instrument.given import Given
from caesura.wasm import sections as sec
from caesura.wasm.encoded import CALL, END, LOCAL_GET
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import FUNCTION_NAMES, NewNames, extend_names
from caesura.wasm.sections import SectionEdits, write_sections


def add_framing(given: Given, functions: list[FunctionIndex]) -> Given:
    """Return the module with a function at its end for each of some functions, which calls that one."""
    module = given.module
    edits = SectionEdits()
    new_names = NewNames()
    framing: dict[FunctionIndex, FunctionIndex] = {}
    names = given.names.names.copy()
    for function in functions:
        framing[function] = FunctionIndex(len(names))
        name = f"asyncify_frame:{names[function]}"
        new_names.add(FUNCTION_NAMES, len(names), name)
        names.append(name)
        code = b"\0"
        for place in range(len(module.function_type(function).params)):
            code += LOCAL_GET + encode_unsigned(place)
        code += CALL + encode_unsigned(function) + END
        edits.append(sec.FUNCTION, encode_unsigned(module.function_types[function]))
        edits.append(sec.CODE, encode_unsigned(len(code)) + code)
    section = module.custom_section("name")
    if section is not None:
        edits.custom["name"] = extend_names(module.data[section.payload : section.end], new_names)
    framed = Module(write_sections(module.data, module.sections, edits))
    framed_names = FunctionNames(framed)
    framed_names.names = names
    return replace(
        given,
        module=framed,
        renumbered=replace(given.renumbered, module=framed),
        names=framed_names,
        framing=framing,
    )
