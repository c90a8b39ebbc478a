"""Copies of a module that do the same but whose machine code lies at other addresses.

How well a processor predicts indirect calls depends on where the code lies. The byte code machine among the C programs
takes 5.4 ms as it is, and 9 ms with the very same instructions moved by a few bytes. So does each instrumented form,
and which of them is lucky as it stands says nothing about its code. So a program is measured in several placements, and
the best one counts, for originals and instrumented programs alike.

In a copy every function that contains a loop begins with some stores to new globals: few bytes, run seldom. Functions
that are called often mostly contain none, and stay as they are.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import sections as sec
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections

# How many stores of 4 and of 8 bytes, whose machine code differs in length, each copy has.
_STORES: Final = tuple((few, total - few) for total in range(3) for few in range(total + 1))
PLACEMENTS: Final = len(_STORES)

_LOOP: Final = 0x03
_GLOBALS: Final = (b"\x7f\x01\x41\x00\x0b", b"\x7e\x01\x42\x00\x0b")
_ZEROS: Final = (b"\x41\x00", b"\x42\x00")


def placed(binary: bytes) -> list[bytes]:
    """Return the module itself and its copies, PLACEMENTS modules in all."""
    module = Module(binary)
    return [_copy(module, stores) if any(stores) else binary for stores in _STORES]


def _copy(module: Module, stores: tuple[int, int]) -> bytes:
    edits = SectionEdits()
    code = b""
    for kind in range(2):
        edits.append(sec.GLOBAL, _GLOBALS[kind])
        code += (_ZEROS[kind] + b"\x24" + encode_unsigned(len(module.globals) + kind)) * stores[kind]
    bodies = [encode_unsigned(len(module.body_starts))]
    for start, end in zip(module.body_starts, module.body_ends, strict=True):
        _, first = read_locals(module.data, start)
        padding = code if _has_loop(module.data, first, end) else b""
        body = module.data[start:first] + padding + module.data[first:end]
        bodies.append(encode_unsigned(len(body)) + body)
    edits.replace[sec.CODE] = b"".join(bodies)
    return write_sections(module.data, module.sections, edits)


def _has_loop(data: bytes, position: int, end: int) -> bool:
    while position < end:
        code, position = read_opcode(data, position)
        if code == _LOOP:
            return True
        _, position = read_immediates(data, position, code)
    return False
