"""The functions that push and pop frames, or pieces of them: one pair for each shape of a piece.

With them an instrumented function pays a `local.get` and a `local.set` for a saved value instead of a store and a load.

A pop returns several values, which tools without the multi-value feature refuse. For these, functions in large modules
load their values themselves, from the address that `StackCode.release` gives; that takes five bytes more for each, and
is no faster.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.abi.chunks import Shape, chunk_places
from caesura.instrument.abi.references import References
from caesura.instrument.abi.runtime import Runtime
from caesura.instrument.abi.stack_code import NOT_SHARED
from caesura.wasm.encoded import END, IF_EMPTY, LOCAL_GET, RETURN, load, zero
from caesura.wasm.leb128 import encode_unsigned

_LETTERS: Final = {0x7F: "i", 0x7E: "I", 0x7D: "f", 0x7C: "F", 0x7B: "v"}


class FrameHelpers:
    """Adds these functions to a module when they are asked for.

    They get room and give it back by the shared functions `room` and `release`, or by code of their own where these
    are NOT_SHARED. With `loads_inline` functions load the values of their frames themselves, from the address that a
    shared function gives. With `pops_check` they need not look at the state before they pop a frame, since pops return
    zeros while unwinding.
    """

    def __init__(
        self,
        runtime: Runtime,
        references: References,
        *,
        loads_inline: bool,
        pops_check: bool,
        room: int = NOT_SHARED,
        release: int = NOT_SHARED,
    ) -> None:
        self.runtime = runtime
        self.references = references
        self.stack = runtime.stack
        self.loads_inline = loads_inline
        self.pops_check = pops_check
        self._room = room
        self._release = release
        self._pushes: dict[Shape, int] = {}
        self._pops: dict[Shape, int] = {}

    def sharing(self, room: int, release: int) -> FrameHelpers:
        """Return helpers that share these functions, but for those that are there already."""
        helpers = FrameHelpers(
            self.runtime,
            self.references,
            loads_inline=self.loads_inline,
            pops_check=self.pops_check,
            room=room,
            release=release,
        )
        helpers._pushes.update(self._pushes)
        helpers._pops.update(self._pops)
        return helpers

    def push(self, piece: Shape) -> int:
        """Return the index of the function that pushes values of these types."""
        if piece not in self._pushes:
            name = f"asyncify_push_{_shape_name(piece)}"
            code = self.push_code(piece, self._room)
            self._pushes[piece] = self.stack.functions.add(name, piece, (), self._locals_of(piece, self._room), code)
        return self._pushes[piece]

    def pop(self, piece: Shape) -> int:
        """Return the index of the function that pops values of these types and returns them."""
        if piece not in self._pops:
            name = f"asyncify_pop_{_shape_name(piece)}"
            code = self.pop_code(piece, self._release)
            self._pops[piece] = self.stack.functions.add(name, (), piece, self._locals_of(piece, self._release), code)
        return self._pops[piece]

    def push_code(self, piece: Shape, room: int) -> bytes:
        """Return the code of the function that pushes a piece; `room` is the shared function that makes room."""
        offsets, size = chunk_places(piece, self.stack.pointer_size)
        values = [LOCAL_GET + encode_unsigned(place) for place in range(len(piece))]
        return self.stack.push_values(piece, offsets, size, encode_unsigned(len(piece)), values, room, b"")

    def pop_code(self, piece: Shape, release: int) -> bytes:
        """Return the code of the function that pops a piece; `release` is the shared function that frees its bytes."""
        offsets, size = chunk_places(piece, self.stack.pointer_size)
        code = b""
        if self.pops_check:
            code += self.runtime.is_unwinding() + IF_EMPTY
            for value_type in piece:
                code += zero(value_type)
            code += RETURN + END
        loads = [load(piece[place], self.stack.memory, offsets[place]) for place in range(len(piece))]
        return code + self.stack.pop_values(loads, size, b"\0", release)

    def _locals_of(self, piece: Shape, shared: int) -> list[int]:
        """Return the types of the locals of a function that moves a piece: one for the address, if it is used again."""
        return [] if shared != NOT_SHARED and len(piece) == 1 else [self.stack.pointer]


def _shape_name(shape: Shape) -> str:
    return "".join([_LETTERS[value_type] for value_type in shape])
