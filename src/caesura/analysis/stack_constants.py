"""Find code that compares the shadow stack's pointer with the ends of the guest's own stack.

The linker's symbols `__stack_low` and `__stack_high` are constants in the code. A program that looks whether it is
within its stack (by a check against overflow), or that goes through it from the pointer to its end (a collector that
looks for roots), has them there, and no host can change them with the stack. So such a program must not run on any
other stack.

Only functions that hold such a constant are followed (`stack_frames`); they are looked for by the constant's bytes, as
a linker writes it and as short as it can be, and what is found is then decoded.
"""

from __future__ import annotations

from bisect import bisect_right

from caesura.analysis.stack_frames import StackFrames
from caesura.analysis.stack_region import StackRegion
from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.indices import OwnFunction
from caesura.wasm.leb128 import encode_signed
from caesura.wasm.module import Module
from caesura.wasm.types import I32


def compares_with_ends(module: Module, stack_pointer: int, region: StackRegion) -> bool:
    """Tell whether a function compares a value that comes from the stack pointer with one of the stack's ends."""
    wide = module.globals[stack_pointer].type != I32
    ends = [end for end in (region.low, region.high) if end]
    candidates = [index == stack_pointer for index in range(len(module.globals))]
    frames = StackFrames(module, candidates, strict=True)
    for own in _holding(module, ends, wide=wide):
        try:
            frames.read(own)
        except (MalformedModule, IndexError):
            continue  # whoever needs the function will say so
        if any(end in frames.compared for end in ends):
            return True
    return False


def _holding(module: Module, values: list[int], *, wide: bool) -> list[OwnFunction]:
    """Return the module's own functions in which the bytes of one of these constants are, in order."""
    found: set[OwnFunction] = set()
    if not module.body_starts:
        return []
    data = module.data
    for value in values:
        bits = 64 if wide else 32
        number = value - (1 << bits) if value >> (bits - 1) else value
        short = encode_signed(number)
        for bytes_ in {short, _padded(short, number, 10 if wide else 5)}:
            constant = bytes([op.I64_CONST if wide else op.I32_CONST]) + bytes_
            position = data.find(constant, module.body_starts[0], module.body_ends[-1])
            while position >= 0:
                found.add(OwnFunction(bisect_right(module.body_starts, position) - 1))
                position = data.find(constant, position + 1, module.body_ends[-1])
    return sorted(found)


def _padded(short: bytes, number: int, size: int) -> bytes:
    """Return a LEB128 number as linkers write one that they may have to change: in its greatest length."""
    if len(short) >= size:
        return short
    sign = 0x7F if number < 0 else 0
    return short[:-1] + bytes([short[-1] | 0x80]) + bytes([sign | 0x80]) * (size - len(short) - 1) + bytes([sign])
