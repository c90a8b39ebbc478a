"""The code with which a function pushes and pops its frames: calls of helpers for pieces of it, or all of it inline.

Both write the same bytes to the same places. Inline, the room is checked once for the whole frame, and the stack
pointer is changed once; that costs some 60 bytes for both ways, and 5 more for each value and way, but no calls, which
are most of the time that a frame takes. `frames.pieces` decides. Where the tools that read the output lack the
multi-value feature there is a third form: a shared function releases the frame's bytes, and its values are loaded
inline.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from caesura.instrument.abi.chunks import POPPED_AT_ONCE, PUSHED_AT_ONCE, Shape, chunks_of, frame_places, parts_of
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.reference_tables import MOVED_AT_ONCE, STORED_AT_ONCE
from caesura.instrument.abi.stack_code import NOT_SHARED, StackCode
from caesura.instrument.frames.added_locals import AddedLocals
from caesura.instrument.frames.frame import Frame
from caesura.wasm import encoded as c
from caesura.wasm.indices import LocalIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.types import I32

# The place of the call site number, which is on the operand stack already, among the values of a frame.
_NUMBER: Final = -1


class Moves(NamedTuple):
    """How a function moves its frames.

    `pushed` and `popped` are the pieces that helpers move, or nothing where the function does it itself; then `room`
    and `release` are the shared functions that make room and free it, or NOT_SHARED.
    """

    pushed: list[Shape]
    popped: list[Shape]
    room: int = NOT_SHARED
    release: int = NOT_SHARED


MOVED_INLINE: Final = Moves([], [])


def move_in_chunks(shape: Shape, helpers: FrameHelpers, *, is_for_size: bool) -> Moves:
    """Return how a function of a large module moves its frames.

    Where not only size counts helpers move less at once, so that their calls take less of the native stack.
    """
    chunks = chunks_of(shape)
    pointer_size = helpers.stack.pointer_size
    pushed = chunks if is_for_size else parts_of(chunks, PUSHED_AT_ONCE, pointer_size)
    if helpers.loads_inline:
        return Moves(pushed, [])
    return Moves(pushed, chunks if is_for_size else parts_of(chunks, POPPED_AT_ONCE, pointer_size))


class FrameCode:
    """Writes the code that moves the frames of one function. `added` are the function's added locals."""

    def __init__(self, helpers: FrameHelpers, frame: Frame, moves: Moves, added: AddedLocals) -> None:
        self.added = added
        self._helpers = helpers
        self._stack = helpers.stack
        self._frame = frame
        self._moves = moves

    def push(self, number: int | None) -> bytes:
        """Return the code that pushes a frame with this call site number; None: the number is on the operand stack."""
        constant = b"" if number is None else c.CONST_I32 + encode_signed(number)
        if self._moves.pushed:
            return constant + self._push_pieces()
        code = b""
        if number is None:
            place = encode_unsigned(self.added.number())
            code = c.LOCAL_SET + place
            constant = c.LOCAL_GET + place
        address = encode_unsigned(self.added.address(self._stack.pointer))
        shape = self._frame.shape
        getters, rest = self._inline_getters(address)
        return code + push_inline(self._stack, shape, address, constant, getters, self._moves.room, rest)

    def pop(self, *, wants_number: bool) -> bytes:
        """Return the code that pops a frame, sets the locals, and leaves the call site number on the operand stack.

        Where that is not wanted, `leaves_number` tells whether it is there all the same.
        """
        if self._moves.popped:
            return self._pop_pieces()
        frame = self._frame
        address = encode_unsigned(self.added.address(self._stack.pointer))
        setters = self._inline_setters()
        release = self._stack.release() if self._helpers.loads_inline else self._moves.release
        return pop_inline(self._stack, frame.shape, address, setters, release, wants_number=wants_number)

    def leaves_number(self, *, wants_number: bool) -> bool:
        """Tell whether `pop` leaves the number of the call site on the operand stack."""
        return wants_number or bool(self._moves.popped)

    def _getter(self, local: LocalIndex) -> bytes:
        """Return the code that gives what a frame holds for a local."""
        code = c.LOCAL_GET + encode_unsigned(local)
        references = self._frame.references
        return code + self._helpers.references.saved(references[local]) if local in references else code

    def _setter(self, local: LocalIndex) -> bytes:
        """Return the code with which the cold arm takes a local's value from the operand stack."""
        frame = self._frame
        if local in frame.late.setters:
            return frame.late.setters[local]
        code = c.LOCAL_SET + encode_unsigned(local)
        return self._helpers.references.loaded(frame.references[local]) + code if local in frame.references else code

    def _references_from(self, place: int, count: int, behind: int) -> list[int]:
        """Return the types of as many references from a place on and before another one; none if not all are some."""
        types: list[int] = []
        if place >= 0 and place + count <= behind:
            for local in self._frame.values[place : place + count]:
                if local in self._frame.references:
                    types.append(self._frame.references[local])
        return types if len(types) == count else []

    def _are_moved_together(self, place: int, behind: int) -> bool:
        """Tell whether one call can move the two values from a place on and before another one."""
        types = self._references_from(place, MOVED_AT_ONCE, behind)
        return len(types) > 0 and self._helpers.references.are_moved_together(types)

    def _inline_getters(self, address: bytes) -> tuple[list[bytes], bytes]:
        """Return the code that gives each value, or nothing for those that the other code stores."""
        references = self._helpers.references
        values = self._frame.values
        offsets = frame_places(self._frame.shape, self._stack.pointer_size)[0]
        getters: list[bytes] = []
        rest = b""
        while len(getters) < len(values):
            place = len(getters)
            together = 1
            for count in STORED_AT_ONCE:
                types = self._references_from(place, count, len(values))
                if together == 1 and types and references.are_stored_together(types):
                    is_gapless = offsets[place + count] - offsets[place + 1] == 4 * (count - 1)
                    together = count if is_gapless else 1
            if together == 1:
                getters.append(self._getter(values[place]))
                continue
            rest += self._stack.address_of(address, offsets[place + 1])
            for local in values[place : place + together]:
                rest += c.LOCAL_GET + encode_unsigned(local)
            rest += references.stored_several(self._frame.references[values[place]], together)
            getters += [b""] * together
        return getters, rest

    def _inline_setters(self) -> list[bytes]:
        """Return the code that takes each value, or leaves it on the operand stack for what takes the next one."""
        values = self._frame.values
        setters: list[bytes] = []
        while len(setters) < len(values):
            place = len(setters)
            if self._are_moved_together(place, len(values)):
                setters += [b"", self._set_two(place)]
            else:
                setters.append(self._setter(values[place]))
        return setters

    def _set_two(self, place: int) -> bytes:
        """Return the code that takes the handles of two references from the operand stack and sets their locals."""
        references = self._helpers.references
        code = references.loaded_two(self._frame.references[self._frame.values[place]])
        for local in (self._frame.values[place + 1], self._frame.values[place]):
            code += references.narrowed(self._frame.references[local]) + c.LOCAL_SET + encode_unsigned(local)
        return code

    def _push_pieces(self) -> bytes:
        code: list[bytes] = []
        values = self._frame.values
        end = _NUMBER
        for piece in self._moves.pushed:
            place = max(end, 0)
            end += len(piece)
            while place < end:
                if self._are_moved_together(place, end):
                    first, second = values[place], values[place + 1]
                    code.append(c.LOCAL_GET + encode_unsigned(first) + c.LOCAL_GET + encode_unsigned(second))
                    code.append(self._helpers.references.saved_two(self._frame.references[first]))
                    place += MOVED_AT_ONCE
                else:
                    code.append(self._getter(values[place]))
                    place += 1
            code.append(c.CALL + encode_unsigned(self._helpers.push(piece)))
        return b"".join(code)

    def _pop_pieces(self) -> bytes:
        """Return the calls that pop the frame, last piece first, and leave the site number on the stack."""
        code: list[bytes] = []
        frame = self._frame
        pieces = self._moves.popped
        end = len(frame.shape)
        for number in range(len(pieces) - 1, -1, -1):
            code.append(c.CALL + encode_unsigned(self._helpers.pop(pieces[number])))
            start = end - len(pieces[number])
            place = end - 1  # of the value that is on top of the operand stack
            while place >= max(start, 1):
                if place > max(start, 1) and self._are_moved_together(place - MOVED_AT_ONCE, place):
                    code.append(self._set_two(place - MOVED_AT_ONCE))
                    place -= MOVED_AT_ONCE
                else:
                    code.append(self._setter(frame.values[place - 1]))
                    place -= 1
            end = start
        return b"".join(code)


def push_inline(
    stack: StackCode, shape: Shape, address: bytes, number: bytes, values: list[bytes], room: int, rest: bytes
) -> bytes:
    """Return the code that pushes a frame, given what gives its values, a local for the address, and its number's code.

    `room` is the shared function that makes room, or NOT_SHARED; `rest` stores the values that nothing is given for.
    """
    offsets, size = frame_places(shape, stack.pointer_size)
    return stack.push_values(shape, offsets, size, address, [number, *values], room, rest)


def pop_inline(
    stack: StackCode, shape: Shape, address: bytes, setters: list[bytes], release: int, *, wants_number: bool
) -> bytes:
    """Return the code that pops a frame, given what takes its values from the stack and a local for the address.

    `release` is the shared function that frees its bytes, or NOT_SHARED.
    """
    offsets, size = frame_places(shape, stack.pointer_size)
    loads = [c.load(shape[place], stack.memory, offsets[place]) + setters[place - 1] for place in range(1, len(shape))]
    if wants_number:
        loads.append(c.load(I32, stack.memory, 0))
    return stack.pop_values(loads, size, address, release)
