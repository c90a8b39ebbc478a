"""Bytes put together from very many pieces.

`bytes.join` needs 80 bytes for each piece while it works, which is more than most pieces take: joining the pieces of a
function with two million calls took a gigabyte. So small pieces are joined some thousands at a time, and the results
then.
"""

from __future__ import annotations

from typing import Final

_AT_ONCE: Final = 4_096
_SMALL: Final = 80


def join_pieces(pieces: list[bytes]) -> bytes:
    """Return all pieces, one behind the other."""
    count = len(pieces)
    if count <= _AT_ONCE or sum([len(piece) for piece in pieces]) > _SMALL * count:
        return b"".join(pieces)
    return b"".join([b"".join(pieces[start : start + _AT_ONCE]) for start in range(0, count, _AT_ONCE)])
