"""How sections are compressed: not at all, by zstd, or by deflate.

zstd is what this writes: of memories it leaves as much as deflate does in a tenth of the time. deflate is for whoever
has no zstd, above all JavaScript, whose engines come with deflate only. Which one it is stands with each section, so
that a file may have several, and what compression does not make smaller is stored as it is.

The bytes may be anybody's. They are unpacked piece by piece, each piece as long as somebody who knows what it is for
says that it may be, and never further than the section's size, which the reader has bounded before; a zstd window is
at most 8 MiB, which RFC 8878 asks decoders for. zstd is imported when it is first needed, as most programs never save.
"""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from caesura.errors import UsageError
from caesura.snapshots.container import SECTION_NAMES, Section, damaged

STORED: Final = 0
ZSTD: Final = 1
DEFLATE: Final = 2

# The binary logarithm of the largest window of zstd, in bytes: 8 MiB.
_WINDOW_LOG: Final = 23

# Up to which size, in bytes, which level is used, so that a change takes 3 ms, a mebibyte of memory 10 ms, 16 of them
# 40 ms: meanwhile nothing else runs. Of 96 KiB of a memory level 9 leaves 44.1 KB in 0.9 ms, 19 leaves 41.6 KB in 7.
_LEVELS: Final = ((64 << 10, 19), (1 << 20, 9), (4 << 20, 3))
_LAST_LEVEL: Final = 1

# In bytes: after how many zstd begins a block, with a code of its own, at the levels between. Code, text and pointers
# lie in different parts of a memory: of 288 KiB of QuickJS's level 9 leaves 106.2 KB by itself, which is 128 KiB, and
# 103.4 KB so, in the same time. The others gain nothing: level 19 finds such borders itself, and 1 is for what has to
# be fast.
_BLOCK: Final = 16 << 10
_WITH_BLOCKS: Final = (3, 9)

_DEFLATE_LEVEL: Final = 6
# Deflate without a header.
_RAW: Final = -15

# How much of a section is handed to zlib, or to zstd, at a time: what they have not used yet is copied.
_PORTION: Final = 8192
_ZSTD_PORTION: Final = 1 << 20

# In bytes: how much is unpacked at a time. Who copies bytes keeps the interpreter's lock, and with that event loops
# from running on.
_PIECE: Final = 1 << 20


def compress(kind: int, pieces: Sequence[bytes], codec: int = ZSTD) -> Section:
    """Return a section of what the pieces are together; it is stored if compressing it makes it no smaller."""
    size = sum(map(len, pieces))
    if codec == ZSTD:
        content = _zstd_compressed(pieces, size)
    elif codec == DEFLATE:
        content = _deflated(pieces)
    elif codec == STORED:
        return Section(kind, STORED, size, b"".join(pieces))
    else:
        raise UsageError(f"there is no compression with the number {codec}")
    if len(content) < size:
        return Section(kind, codec, size, content)
    return Section(kind, STORED, size, b"".join(pieces))


class Source(Protocol):
    """What unpacks: returns exactly that many bytes, or fewer where there are no more. `error` is what it may raise."""

    error: type[Exception]

    def read(self, size: int) -> bytes:
        """Return the next bytes."""

    def left_over(self) -> bool:
        """Tell, after reading all, whether there is more, or the end is not as it must be."""


class Unpacking:
    """What is in a section, unpacked as it is asked for.

    Raises SnapshotError if there is less in it, or more, than its size says.
    """

    def __init__(self, section: Section) -> None:
        self._section = section
        self._left = section.size
        self._source = _source(section)

    def read(self, size: int) -> bytes:
        """Return the next bytes, of which there must be so many."""
        if size > self._left:
            raise self._damaged(f"its size is {self._section.size} bytes, and more are needed")
        try:
            content = self._source.read(size) if size <= _PIECE else self._read_in_pieces(size)
        except self._source.error as error:
            raise self._damaged(f"it cannot be unpacked: {error}") from error
        if len(content) != size:
            raise self._damaged(f"it ends {self._left - len(content)} bytes too early")
        self._left -= size
        return content

    def _read_in_pieces(self, size: int) -> bytes:
        """Return the next bytes, or fewer where there are no more.

        There is room for what has been unpacked only: a size is what somebody says. `BytesIO` lets its bytes grow where
        they are, as large ones can without being copied, and hands them out as they are. What is joined is there twice.
        """
        whole = io.BytesIO()
        while size and (piece := self._source.read(min(size, _PIECE))):
            size -= whole.write(piece)
        return whole.getvalue()

    def read_all(self) -> bytes:
        """Return everything, after which there must be no more."""
        content = self.read(self._left)
        self.finish()
        return content

    def finish(self) -> None:
        """Check that everything has been read, and that nothing comes after it."""
        if self._left:
            raise self._damaged(f"{self._left} bytes of it belong to nothing")
        try:
            more = self._source.left_over()
        except self._source.error as error:
            raise self._damaged(f"it cannot be unpacked: {error}") from error
        if more:
            raise self._damaged(f"it does not end after the {self._section.size} bytes that are its size")

    def _damaged(self, reason: str) -> Exception:
        return damaged(f"the section {SECTION_NAMES[self._section.kind]}: {reason}", self._section.offset)


class _Stored:
    def __init__(self, stored: bytes | memoryview) -> None:
        self._stored = memoryview(stored)
        self.error: type[Exception] = zlib.error  # never

    def read(self, size: int) -> bytes:
        content, self._stored = self._stored[:size], self._stored[size:]
        return bytes(content)

    def left_over(self) -> bool:
        return len(self._stored) > 0


class _Zstd:
    def __init__(self, stored: bytes | memoryview) -> None:
        zstd = _zstd()
        self._stored = memoryview(stored)
        limits = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
        self.error: type[Exception] = zstd.ZstdError
        self._unpacker = zstd.ZstdDecompressor(options=limits)

    def read(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size and not self._unpacker.eof:
            given = self._next_portion()
            piece = self._unpacker.decompress(given, max_length=size)
            if not piece and not given and self._unpacker.needs_input:
                break
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def left_over(self) -> bool:
        while not self._unpacker.eof:
            given = self._next_portion()
            if self._unpacker.decompress(given, max_length=1) or (not given and self._unpacker.needs_input):
                return True
        return bool(self._unpacker.unused_data) or len(self._stored) > 0

    def _next_portion(self) -> memoryview:
        size = _ZSTD_PORTION if self._unpacker.needs_input else 0
        portion, self._stored = self._stored[:size], self._stored[size:]
        return portion


class _Deflate:
    def __init__(self, stored: bytes | memoryview) -> None:
        self._stored = memoryview(stored)
        self.error: type[Exception] = zlib.error
        self._unpacker = zlib.decompressobj(_RAW)

    def read(self, size: int) -> bytes:
        pieces: list[bytes] = []
        while size and not self._unpacker.eof:
            given = self._unpacker.unconsumed_tail or self._next_portion()
            piece = self._unpacker.decompress(given, size)
            if not piece and not given:
                break
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def left_over(self) -> bool:
        while not self._unpacker.eof:
            given = self._unpacker.unconsumed_tail or self._next_portion()
            if self._unpacker.decompress(given, 1) or not given:
                return True
        return bool(self._unpacker.unused_data) or len(self._stored) > 0

    def _next_portion(self) -> memoryview:
        portion, self._stored = self._stored[:_PORTION], self._stored[_PORTION:]
        return portion


def _source(section: Section) -> Source:
    if section.codec == STORED:
        return _Stored(section.stored)
    if section.codec == ZSTD:
        return _Zstd(section.stored)
    if section.codec == DEFLATE:
        return _Deflate(section.stored)
    raise damaged(f"a section is compressed in a way with the unknown number {section.codec}", section.offset)


def _zstd_compressed(pieces: Sequence[bytes], size: int) -> bytes:
    zstd = _zstd()
    level = next((level for most, level in _LEVELS if size <= most), _LAST_LEVEL)
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: level, parameter.window_log: min(_WINDOW_LOG, max(10, size.bit_length()))}
    compressor = zstd.ZstdCompressor(options=options)
    compressor.set_pledged_input_size(size)
    if level in _WITH_BLOCKS:
        content = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        blocks = [content[place : place + _BLOCK] for place in range(0, size, _BLOCK)]
        made = [compressor.compress(block, mode=compressor.FLUSH_BLOCK) for block in blocks[:-1]]
        made.append(compressor.compress(blocks[-1], mode=compressor.FLUSH_FRAME))
        return b"".join(made)
    made = [compressor.compress(piece) for piece in pieces[:-1]]
    made.append(compressor.compress(pieces[-1], mode=compressor.FLUSH_FRAME))
    return made[0] if len(made) == 1 else b"".join(made)  # what is large is not copied once more


def _deflated(pieces: Iterable[bytes]) -> bytes:
    compressor = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, _RAW)
    made = [compressor.compress(piece) for piece in pieces]
    made.append(compressor.flush())
    return b"".join(made)


def _zstd() -> Any:
    """Return the module for zstd. Raises UsageError if there is none."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise UsageError(
            "this Python has no zstd: install backports.zstd, or use saved states that are compressed in another way"
        ) from error
    return zstd
