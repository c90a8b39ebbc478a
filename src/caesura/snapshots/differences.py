"""What of a memory changed since an earlier state: found, written against what was there, and put together again.

A change has whole chunks, in which most bytes are as before. So what is written of them is their exclusive or with the
earlier ones: nearly all zeros, of which compression leaves nearly nothing, where a chunk as it is takes a kilobyte. A
compression with the earlier state as its dictionary does the same, but JavaScript has none that can.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    content: bytes | None = None


def changed_runs(before: MemoryState | None, now: MemoryState) -> tuple[Run, ...]:
    """Return the chunks of a memory that differ from what they were: zero, where there were none."""
    changed = _changed_parts(_spans(before, now.size), _spans(now, now.size))
    return tuple([(start // CHUNK, pages.read(now.runs, start, end)) for start, end in changed])


def changed_runs_at(
    before: MemoryState | None, address: int, size: int, within: Ranges | None = None
) -> tuple[Run, ...]:
    """Return the same of a memory of this size that lies at an address of this process, and copy nothing else.

    `within` is as for `pages.split_runs_at`.
    """
    parts = ((0, size),) if within is None else within
    now = [_Span(start, end, address + start) for start, end in parts if end > start]
    changed = _changed_parts(_spans(before, size), now)
    if not changed:
        return ()
    view = pages.view_of(address, size)
    return tuple([(start // CHUNK, bytes(view[start:end])) for start, end in changed])


def with_changes(before: MemoryState | None, size: int, changes: tuple[Run, ...]) -> tuple[Run, ...]:
    """Return the runs of a memory, now of this size, of which some chunks changed to what is given."""
    pieces: list[tuple[int, memoryview]] = []
    spans = _spans(before, size)
    place = 0
    for first, content in changes:
        _keep(spans, place, first * CHUNK, pieces)
        for start, end in pages.used_parts(pages.address_of(content), len(content)):
            pieces.append((first * CHUNK + start, memoryview(content)[start:end]))
        place = first * CHUNK + len(content)
    _keep(spans, place, size, pieces)
    return tuple(_joined(pieces))


def against(before: MemoryState | None, run: Run) -> Iterator[bytes]:
    """Yield the exclusive or of a run with what was there before, in pieces: neither is needed as a whole for that."""
    first, content = run
    old = () if before is None else before.runs
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        place = first * CHUNK + start
        yield exclusive_or(piece, pages.read(old, place, place + len(piece)))


def pieces_of(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a range into such pieces."""
    for place in range(start, end, _PIECE):
        yield place, min(place + _PIECE, end)


def exclusive_or(one: bytes, other: bytes) -> bytes:
    """Return the exclusive or of bytes of the same length."""
    number = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return number.to_bytes(len(one), "little")


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
        if span.content is not None:
            pieces.append((first, memoryview(span.content)[first - span.start : last - span.start]))


def _joined(pieces: list[tuple[int, memoryview]]) -> Iterator[Run]:
    """Yield runs of pieces, of which those that touch become one."""
    start = behind = -1
    together: list[memoryview] = []
    for place, piece in pieces:
        if place != behind:
            if together:
                yield start // CHUNK, b"".join(together)
            start, together = place, []
        together.append(piece)
        behind = place + len(piece)
    if together:
        yield start // CHUNK, b"".join(together)
