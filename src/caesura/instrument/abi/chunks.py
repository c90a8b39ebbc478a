"""Where the values of a frame lie in the asyncify stack.

The layout is that of *chunks*: the number of the call site and the first values in one chunk, of at most six
altogether, then further chunks. In large modules a chunk is what one call of a helper moves, which is why there are
chunks: with more values in them, the helpers for all their shapes cost more than the calls saved (SQLite and QuickJS
are smallest at six and seven; whole frames cost SQLite 14 KB more). Where not only size counts, a call moves less:
what calls pass and return takes room in the native frame of the function that makes them, also where nothing is ever
suspended, and with whole chunks recursion through C was little more than half as deep as with the engine's own way to
suspend. Two values are returned in registers; for each further one V8's second compiler keeps eight bytes, its first
one twelve. So pops move two. For what is passed the first compiler keeps four bytes for a value, the second none: so
pushes move half a chunk, in fewer calls.

Where frames are moved in another way (`frames.pieces`) the layout is the same: it depends on nothing but the types
of the values.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm.encoded import value_size
from caesura.wasm.types import I64

CHUNK: Final = 6

# The most values of a chunk that one call moves where not only size counts.
PUSHED_AT_ONCE: Final = 3
POPPED_AT_ONCE: Final = 2

Shape = tuple[int, ...]


def chunks_of(values: Shape) -> list[Shape]:
    """Cut the types of a frame's values (site index first, ordered by type) into the shapes of its chunks.

    Floats and vectors start a chunk of their own: frames with both are rare, and would need many shapes.
    """
    shapes: list[Shape] = []
    start = 0
    for place in range(1, len(values) + 1):
        if place == len(values) or place - start == CHUNK or (values[place] < I64 <= values[place - 1]):
            shapes.append(values[start:place])
            start = place
    return shapes


def parts_of(chunks: list[Shape], most: int, pointer_size: int) -> list[Shape]:
    """Cut chunks into pieces of at most so many values.

    A piece ends where the next one's values have the alignment that they have in the chunk.
    """
    pieces: list[Shape] = []
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            end = min(start + most, len(chunk))
            while end < len(chunk) and not _ends_aligned(chunk[start:end], pointer_size):
                end -= 1
            pieces.append(chunk[start:end])
            start = end
    return pieces


def _ends_aligned(piece: Shape, pointer_size: int) -> bool:
    """Tell whether what follows a piece without a gap is aligned as pointers are."""
    offsets, _ = chunk_places(piece, pointer_size)
    return (offsets[-1] + value_size(piece[-1])) % pointer_size == 0


def chunk_places(shape: Shape, pointer_size: int) -> tuple[list[int], int]:
    """Return the offset of each value in a chunk, and the chunk's size in bytes.

    Pointers are aligned, since conservative collectors scan the asyncify stack for them: values take whole 4-byte
    words, and with 64-bit addresses those of 8 bytes and more are 8-aligned.
    """
    offsets: list[int] = []
    end = 0
    for value_type in shape:
        size = value_size(value_type)
        if size >= pointer_size:
            end = -(-end // pointer_size) * pointer_size
        offsets.append(end)
        end += size
    return offsets, -(-end // pointer_size) * pointer_size


def frame_places(shape: Shape, pointer_size: int) -> tuple[list[int], int]:
    """Return the offset of each value in a frame, and the frame's size in bytes."""
    offsets: list[int] = []
    size = 0
    for chunk in chunks_of(shape):
        places, chunk_size = chunk_places(chunk, pointer_size)
        offsets += [size + place for place in places]
        size += chunk_size
    return offsets, size
