"""Adds suspension points to a module: calls of one more imported function at every entry and loop head.

So every call in a script suspends and resumes many times, also where the script's own modules import nothing. The
function is the last imported one; all others move, as where caesura itself renumbers a module.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import opcodes as op
from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.encoded import CALL
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.leb128 import encode_name, encode_unsigned, encode_vector
from caesura.wasm.module import Module
from caesura.wasm.renumber import _Renumbering, encode_import
from caesura.wasm.sections import SectionEdits, write_sections

POINTS_MODULE: Final = "points"
POINT: Final = "point"


def with_points(binary: bytes) -> bytes:
    """Return a module that calls `points.point` at the entry of every function and at every loop head."""
    point, binary = _with_import(binary)
    module = Module(binary)
    bodies = [
        _body_with_points(binary, module.body_starts[own], module.body_ends[own], CALL + encode_unsigned(point))
        for own in range(len(module.body_starts))
    ]
    edits = SectionEdits()
    if bodies:
        edits.replace[sec.CODE] = encode_vector([encode_unsigned(len(body)) + body for body in bodies])
    for section in module.sections:  # what lies in code lies elsewhere now
        if section.id == sec.CUSTOM and section.name.startswith(sec.CODE_METADATA):
            edits.custom[section.name] = None
    return write_sections(binary, module.sections, edits)


def _with_import(binary: bytes) -> tuple[int, bytes]:
    """Return the index of the added import and the module with it."""
    module = Module(binary)
    edits = SectionEdits()
    edits.append(sec.TYPE, b"\x60\x00\x00")
    imports = [encode_import(module, item) for item in module.imports]
    kind = bytes([FUNCTION_KIND]) + encode_unsigned(len(module.types))
    imports.append(encode_name(POINTS_MODULE) + encode_name(POINT) + kind)
    edits.replace[sec.IMPORT] = encode_vector(imports)
    unmoved = Module(write_sections(binary, module.sections, edits))
    point = module.imported_functions
    moved = [index + (index >= point) for index in range(len(module.function_types))]
    return point, _Renumbering(unmoved, moved, list(range(len(module.globals)))).write([], [])


def _body_with_points(binary: bytes, start: int, end: int, point: bytes) -> bytes:
    position = skip_locals(binary, start)
    out = [binary[start:position], point]
    while position < end:
        instruction = position
        code, _, position = read_instruction(binary, position)
        out.append(binary[instruction:position])
        if code == op.LOOP:
            out.append(point)
    return b"".join(out)
