"""What of a memory changed since an earlier state: found, written as a difference, and put together again.

A change has whole chunks, in which most bytes are as before. So what is written of them is the difference from what was
there, taken of words of 32 bits: nearly all zeros, and the same number wherever pointers moved by the same. Of a pause
of MicroPython compression then leaves two thirds of what it leaves of the exclusive or, and a fifth of what it leaves
of the chunks. A compression with the earlier state as its dictionary gains as much, but JavaScript has none that can.
To list the words that differ takes a fifth less again, and long where all do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from caesura.snapshots import pages
from caesura.snapshots.pages import Ranges, Run
from caesura.snapshots.state import CHUNK, MemoryState

# In bytes; whole chunks.
_PIECE: Final = 1 << 20


@dataclass(frozen=True)
class _Span:
    """A part of a memory, from one place to another, and where its bytes lie; `content` keeps them alive."""

    start: int
    end: int
    address: int
    content: bytes | memoryview | None = None

    def part(self, start: int, end: int) -> _Span:
        """Return what of it lies between two places."""
        low, high = start - self.start, end - self.start
        content = None if self.content is None else memoryview(self.content)[low:high]
        return _Span(start, end, self.address + low, content)


def changed_runs(before: MemoryState | None, now: MemoryState) -> tuple[Run, ...]:
    """Return the chunks of a memory that differ from what they were: zero, where there were none.

    Chunks that are as the module makes them are none of these, and those that were count as zero: what is in them only
    the module tells.
    """
    dull = initial_ranges(now)
    changed = _changed_parts(_cut(_spans(before, now.size), dull), _spans(now, now.size))
    return tuple([(start // CHUNK, pages.read(now.runs, start, end)) for start, end in changed])


def changed_runs_at(
    before: MemoryState | None, address: int, size: int, within: Ranges | None = None, dull: Ranges = ()
) -> tuple[Run, ...]:
    """Return the same of a memory of this size that lies at an address of this process, and copy nothing else.

    `within` is as for `pages.split_runs_at`; what lies in `dull`, ranges of the same kind, is known not to differ, or
    to be as the module makes it.
    """
    parts = pages.outside(((0, size),) if within is None else within, dull)
    now = [_Span(start, end, address + start) for start, end in parts if end > start]
    changed = _changed_parts(_cut(_spans(before, size), dull), now)
    if not changed:
        return ()
    view = pages.view_of(address, size)
    return tuple([(start // CHUNK, bytes(view[start:end])) for start, end in changed])


def initial_ranges(memory: MemoryState) -> list[tuple[int, int]]:
    """Return the parts of a memory that are as the module makes them, in bytes."""
    return [(first * CHUNK, min((first + count) * CHUNK, memory.size)) for first, count in memory.initial]


def with_changes(
    before: MemoryState | None, size: int, changes: tuple[Run, ...], initial: Ranges = ()
) -> tuple[Run, ...]:
    """Return the runs of a memory, now of this size, of which some chunks changed to what is given.

    Ranges of chunks in `initial`, in bytes, are as the module makes them now, so that they are in no run.
    """
    pieces: list[tuple[int, memoryview]] = []
    spans = _cut(_spans(before, size), initial)
    place = 0
    for first, content in changes:
        _keep(spans, place, first * CHUNK, pieces)
        for start, end in pages.used_parts(pages.address_of(content), len(content)):
            pieces.append((first * CHUNK + start, memoryview(content)[start:end]))
        place = first * CHUNK + len(content)
    _keep(spans, place, size, pieces)
    return tuple(_joined(pieces))


def less_what_was(before: MemoryState | None, run: Run) -> Iterator[bytes]:
    """Yield the difference of a run from what was there before, in pieces: neither is needed as a whole for that."""
    first, content = run
    for place, behind in pieces_of(0, len(content)):
        yield less(content[place:behind], _old(before, first * CHUNK + place, behind - place))


def plus_what_was(before: MemoryState | None, first: int, difference: bytes) -> Run:
    """Return the run from a chunk on whose difference from what was there before is given."""
    return first, plus(difference, _old(before, first * CHUNK, len(difference)))


def _old(before: MemoryState | None, start: int, size: int) -> bytes:
    return pages.read(() if before is None else before.runs, start, start + size)


def pieces_of(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a range into pieces that are small enough to be there several times."""
    for place in range(start, end, _PIECE):
        yield place, min(place + _PIECE, end)


def less(content: bytes, base: bytes) -> bytes:
    """Return the difference of each word of 32 bits, little endian, from that of the base, modulo 2 ** 32.

    The base is cut off, or goes on with zeros; so does a word at the end.
    """
    return _by_words(content, base, _difference)


def plus(difference: bytes, base: bytes) -> bytes:
    """Return the bytes whose difference from a base `less` returned."""
    return _by_words(difference, base, _sum)


# Many words at once, in one integer: the highest bit of each is kept apart, so that none carries into the next.
_HIGH: Final = int.from_bytes(b"\0\0\0\x80" * (CHUNK // 4), "little")
_LOW: Final = (1 << 8 * CHUNK) - 1 - _HIGH


def _difference(one: int, other: int) -> int:
    return (one | _HIGH) - (other & _LOW) ^ (one ^ other ^ _HIGH) & _HIGH


def _sum(one: int, other: int) -> int:
    return (one & _LOW) + (other & _LOW) ^ (one ^ other) & _HIGH


def _by_words(content: bytes, base: bytes, calculate: Callable[[int, int], int]) -> bytes:
    made: list[bytes] = []
    size = len(content)
    for place in range(0, size, CHUNK):
        one = int.from_bytes(content[place : place + CHUNK], "little")
        other = int.from_bytes(base[place : min(place + CHUNK, size)], "little")
        made.append(calculate(one, other).to_bytes(CHUNK, "little"))
    return b"".join(made)[:size]


def _spans(memory: MemoryState | None, size: int) -> list[_Span]:
    """Return the runs of a memory as if it were of another size: cut off, or its last chunk filled up with zeros."""
    spans: list[_Span] = []
    for first, content in () if memory is None else memory.runs:
        start = first * CHUNK
        end = min(start + -(-len(content) // CHUNK) * CHUNK, size)
        if end <= start:
            break
        if end - start > len(content):
            content = content.ljust(end - start, b"\0")
        spans.append(_Span(start, end, pages.address_of(content), content))
    return spans


def _cut(spans: list[_Span], dull: Ranges) -> list[_Span]:
    """Return what of some spans lies outside of ranges."""
    if not dull:
        return spans
    cut: list[_Span] = []
    index = 0
    for start, end in pages.outside([(span.start, span.end) for span in spans], dull):
        while spans[index].end <= start:
            index += 1
        cut.append(spans[index].part(start, end))
    return cut


def _changed_parts(old: list[_Span], new: list[_Span]) -> list[tuple[int, int]]:
    changed: list[tuple[int, int]] = []
    for start, end, before, now in _aligned(old, new):
        if before == now:
            continue  # the very same bytes
        if before and now:
            parts = pages.different_parts(before, now, end - start)
        else:
            parts = pages.used_parts(before or now, end - start)
        for first, last in parts:
            pages.append_range(changed, start + first, start + last)
    return changed


def _aligned(old: list[_Span], new: list[_Span]) -> Iterator[tuple[int, int, int, int]]:
    """Cut both where either begins or ends; yield start, end, and the two addresses, 0 where there is nothing."""
    borders = sorted({place for span in (*old, *new) for place in (span.start, span.end)})
    left = right = 0
    for start, end in pairwise(borders):
        left = _index_at(old, left, start)
        right = _index_at(new, right, start)
        before, now = _address_at(old, left, start), _address_at(new, right, start)
        if before or now:
            yield start, end, before, now


def _index_at(spans: list[_Span], index: int, place: int) -> int:
    while index < len(spans) and spans[index].end <= place:
        index += 1
    return index


def _address_at(spans: list[_Span], index: int, place: int) -> int:
    if index == len(spans) or spans[index].start > place:
        return 0
    return spans[index].address + place - spans[index].start


def _keep(spans: list[_Span], start: int, end: int, pieces: list[tuple[int, memoryview]]) -> None:
    """Append what lies between two places, and leave out the spans that end before."""
    while spans and spans[0].end <= start:
        spans.pop(0)
    for span in spans:
        if span.start >= end:
            break
        first, last = max(span.start, start), min(span.end, end)
        content = span.part(first, last).content
        if content is not None:
            pieces.append((first, memoryview(content)))


def _joined(pieces: list[tuple[int, memoryview]]) -> Iterator[Run]:
    """Yield runs of pieces, of which those that touch become one."""
    start = behind = -1
    together: list[memoryview] = []
    for place, piece in pieces:
        if place != behind:
            if together:
                yield start // CHUNK, _one(together)
            start, together = place, []
        together.append(piece)
        behind = place + len(piece)
    if together:
        yield start // CHUNK, _one(together)


def _one(pieces: list[memoryview]) -> bytes:
    """Return pieces as one, which is not copied if it is all that there was."""
    whole = pieces[0].obj
    if len(pieces) == 1 and isinstance(whole, bytes) and len(whole) == len(pieces[0]):
        return whole
    return b"".join(pieces)
