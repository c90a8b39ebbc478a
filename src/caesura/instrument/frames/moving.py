"""The code with which a function pushes and pops its frames: calls of helpers for pieces of it, or all of it inline.

Both write the same bytes to the same places. Inline, the room is checked once for the whole frame, and the stack
pointer is changed once; that costs some 60 bytes for both ways, and 5 more for each value and way, but no calls, which
are most of the time that a frame takes. `frames.pieces` decides. Where the tools that read the output lack the
multi-value feature there is a third form: a shared function releases the frame's bytes, and its values are loaded
inline.
"""

from __future__ import annotations

from caesura.instrument.abi.chunks import Shape, frame_places
from caesura.instrument.abi.runtime import Runtime
from caesura.instrument.frames.frame import Frame
from caesura.wasm import code as c
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32


def push_frame(runtime: Runtime, frame: Frame, number: int) -> bytes:
    """Return the code that pushes a frame with this call site number; -1: the number is on the operand stack."""
    constant = b"" if number < 0 else c.CONST_I32 + encode_signed(number)
    if frame.pushed:
        return constant + _push_pieces(runtime, frame)
    code = b""
    if number < 0:
        place = encode_unsigned(frame.number_local())
        code = c.LOCAL_SET + place
        constant = c.LOCAL_GET + place
    address = encode_unsigned(frame.address_local(runtime.pointer))
    return code + push_inline(runtime, frame.shape, address, constant, frame.values, frame.room)


def pop_frame(runtime: Runtime, frame: Frame, wants_number: bool) -> bytes:
    """Return the code that pops a frame, sets the locals, and leaves the call site number on the operand stack.

    Where that is not wanted, `leaves_number` tells whether it is there all the same.
    """
    if frame.popped:
        return _pop_pieces(runtime, frame)
    address = encode_unsigned(frame.address_local(runtime.pointer))
    setters = [frame.setter(local) for local in frame.values]
    release = runtime.release() if runtime.shares_release else frame.release
    return pop_inline(runtime, frame.shape, address, setters, wants_number, release)


def leaves_number(frame: Frame, wants_number: bool) -> bool:
    """Tell whether `pop_frame` leaves the number of the call site on the operand stack."""
    return wants_number or bool(frame.popped)


def push_inline(runtime: Runtime, shape: Shape, address: bytes, number: bytes, values: list[int], room: int) -> bytes:
    """Return the code that pushes a frame, given its locals, one for the address, and the code of its number.

    `room` is the shared function that makes room, or NOT_SHARED.
    """
    offsets, size = frame_places(shape, runtime.pointer_size)
    getters = [number] + [c.LOCAL_GET + encode_unsigned(value) for value in values]
    return runtime.push_values(shape, offsets, size, address, getters, room)


def pop_inline(
    runtime: Runtime, shape: Shape, address: bytes, setters: list[bytes], wants_number: bool, release: int
) -> bytes:
    """Return the code that pops a frame, given what takes its values from the stack and a local for the address.

    `release` is the shared function that frees its bytes, or NOT_SHARED.
    """
    offsets, size = frame_places(shape, runtime.pointer_size)
    loads = [
        c.load(shape[place], runtime.memory, offsets[place]) + setters[place - 1] for place in range(1, len(shape))
    ]
    if wants_number:
        loads.append(c.load(I32, runtime.memory, 0))
    return runtime.pop_values(loads, size, address, release)


def _push_pieces(runtime: Runtime, frame: Frame) -> bytes:
    code: list[bytes] = []
    place = -1  # the site number, which is on the stack already
    for piece in frame.pushed:
        for _ in piece:
            if place >= 0:
                code.append(c.LOCAL_GET + encode_unsigned(frame.values[place]))
            place += 1
        code.append(c.CALL + encode_unsigned(runtime.push(piece)))
    return b"".join(code)


def _pop_pieces(runtime: Runtime, frame: Frame) -> bytes:
    """Return the calls that pop the frame, last piece first, and leave the site number on the stack."""
    code: list[bytes] = []
    end = len(frame.shape)
    for number in range(len(frame.popped) - 1, -1, -1):
        piece = frame.popped[number]
        code.append(c.CALL + encode_unsigned(runtime.pop(piece)))
        start = end - len(piece)
        for place in range(end - 1, max(start, 1) - 1, -1):
            code.append(frame.setter(frame.values[place - 1]))
        end = start
    return b"".join(code)
