"""Saved states as bytes, whole or as what changed since another one: written by `encode`, read by `decode`.

docs/snapshots.md is the contract. A file has sections (`container`), each packed by itself (`compression`): a document
in JSON with everything that is small (`document`, whose fields are told by `schema`), the bulk of tables and suspended
calls, and the chunks of the memories (`pages`) that are not as the module itself makes them. A change has a merge patch
for a document, and of bulk and of those chunks that are others the difference (`differences`) from what its base has
(`base`).

Bytes to read are anybody's. First comes the checksum, then sizes, all of which are bounded before anything is unpacked,
and then each field. JSON for everything was rejected for its size, a binary form of our own for all fields because
nobody could read it, and pickle because it runs what it reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from caesura.errors import ResourceError, SnapshotError, UsageError
from caesura.snapshots import container, differences, pages
from caesura.snapshots import document as documents
from caesura.snapshots.base import Base, described, runs_of, runs_of_memories
from caesura.snapshots.compression import STORED, ZSTD, Unpacking, compress
from caesura.snapshots.container import BASE, BULK, DOCUMENT, MODULE, PAGES, SECTION_NAMES, Section, damaged
from caesura.snapshots.fields import Bulk, Json, Mistake, shown
from caesura.snapshots.pages import Run
from caesura.snapshots.schema import STATE
from caesura.snapshots.state import CHUNK, MemoryState, State

# In bytes: how much a saved state may hold, unpacked, unless the caller says something else.
LIMIT: Final = 4 << 30

_DIGEST_SIZE: Final = 32
# The version from which on chunks that are as the module makes them are left out.
_WITH_INITIAL: Final = 2
_KEYS: Final = {"embedded", "runs", "state"}


def encode(state: State, base: State | Base | None = None, *, codec: int = ZSTD) -> bytes:
    """Return a state as bytes; with a base, what differs from it, for `decode` with the same base.

    `codec` is one of `compression`'s. The same state gives the same bytes, by the same version of zstd. Raises
    UsageError if the state is not as `caesura.snapshots.state` says, or if zstd is not there.
    """
    try:
        if base is None:
            return _encode_whole(Base(state), codec)
        known = base if isinstance(base, Base) else Base(base)
        changes = {
            memory.index: differences.changed_runs(_memory(known.state, memory.index), memory)
            for memory in state.memories
        }
        return encode_changes(state, changes, known, codec=codec)
    except Mistake as mistake:
        raise _unwritable(mistake) from None


def encode_changes(state: State, changes: Mapping[int, tuple[Run, ...]], base: Base, *, codec: int = ZSTD) -> bytes:
    """Return what differs from a base, when it is known already which chunks of the memories do.

    `changes` has for each memory, by its index, the chunks that differ, as `differences.changed_runs` and
    `changed_runs_at` return them. What the memories of the state itself hold is not looked at. Raises UsageError as
    `encode` does.
    """
    try:
        now, bulk = described(state)
        document = documents.write({**documents.difference(base.document, now), "runs": runs_of(changes)})
    except Mistake as mistake:
        raise _unwritable(mistake) from None
    contents: list[bytes] = []
    for memory in state.memories:
        before = _memory(base.state, memory.index)
        for run in changes.get(memory.index, ()):
            contents += differences.less_what_was(before, run)
    module = [state.embedded] if state.embedded is not None and state.embedded != base.state.embedded else []
    sections = {
        DOCUMENT: [document],
        BULK: [differences.less(bulk, base.bulk)],
        PAGES: contents,
        MODULE: module,
    }
    return container.write([Section(BASE, STORED, _DIGEST_SIZE, base.digest), *_packed(sections, codec)])


def decode(data: bytes, base: State | Base | None = None, *, limit: int = LIMIT) -> State:
    """Return the state that bytes hold. A base is needed for those that hold what changed since it.

    Raises SnapshotError if they are damaged, of another version, lack their base, or hold, unpacked, more than `limit`
    bytes; ResourceError if there is not enough memory. At no time are there more than these bytes twice, beside the
    base, and half a gigabyte for the document.
    """
    try:
        return _decode(data, base, limit)
    except MemoryError:
        raise ResourceError("there is not enough memory for what the saved state holds") from None


def unpacked_size(data: bytes) -> int:
    """Return how many bytes a saved state holds, unpacked, as it says itself; raises SnapshotError."""
    return sum(section.size for section in container.read(data).values())


def base_of(data: bytes) -> bytes | None:
    """Return the digest of the state that bytes hold changes of, or None; raises SnapshotError."""
    return _base_digest(container.read(data))


def digest_of(state: State) -> bytes:
    """Return the digest by which changes name a state, 32 bytes. Raises UsageError as `encode` does."""
    try:
        return Base(state).digest
    except Mistake as mistake:
        raise _unwritable(mistake) from None


def _encode_whole(known: Base, codec: int) -> bytes:
    state = known.state
    sections = {
        DOCUMENT: [documents.write({**known.document, "runs": runs_of_memories(state)})],
        BULK: [known.bulk],
        PAGES: [content for memory in state.memories for _, content in memory.runs],
        MODULE: [state.embedded] if state.embedded is not None else [],
    }
    return container.write(_packed(sections, codec))


def _packed(sections: Mapping[int, list[bytes]], codec: int) -> list[Section]:
    return [compress(kind, pieces, codec) for kind, pieces in sections.items() if any(pieces)]


def _decode(data: bytes, base: State | Base | None, limit: int) -> State:
    sections = container.read(data)
    _check_sizes(sections, limit)
    digest = _base_digest(sections)
    if digest is None:
        return _read(sections, None, container.version_of(data))
    try:
        known = base if isinstance(base, Base) or base is None else Base(base)
    except Mistake as mistake:
        raise UsageError(f"the base is not a state: {mistake}") from None
    if known is None:
        raise SnapshotError(f"the saved state holds what changed since the state {digest.hex()}: that is needed, too")
    if known.digest != digest:
        raise SnapshotError(
            f"the saved state holds what changed since the state {digest.hex()}, not since {known.digest.hex()}"
        )
    return _read(sections, known, container.version_of(data))


def _read(sections: Mapping[int, Section], base: Base | None, version: int) -> State:
    section = sections[DOCUMENT]
    document_bytes = Unpacking(section).read_all()
    bulk = _unpacked(sections, BULK)
    try:
        document = documents.read(document_bytes)
        unknown = document.keys() - _KEYS
        if unknown:
            raise Mistake("there is no such field", min(unknown))
        found = document.pop("runs", None)
        if base is not None:
            document = documents.merged(base.document, document)
            bulk = differences.plus(bulk, base.bulk)
        content = Bulk(bulk)
        state = _read_state(document.get("state"), content)
        if content.left():
            raise Mistake(f"{content.left()} bytes of bulk belong to nothing")
        if version < _WITH_INITIAL and any(memory.initial for memory in state.memories):
            raise Mistake(f"version {version} has no such field", "state", "memories", "initial")
        runs = _read_runs(found, state)
        needed = sum(end - start for parts in runs.values() for start, end in parts)
        if needed != (sections[PAGES].size if PAGES in sections else 0):
            raise Mistake(f"these are {needed} bytes, other than the section pages has", "runs")
        embedded = _read_embedded(document.get("embedded"), _unpacked(sections, MODULE), base)
    except RecursionError:
        raise damaged("the document is nested too deeply", section.offset) from None
    except Mistake as mistake:
        raise damaged(f"the document: {mistake}", section.offset) from None
    return replace(state, memories=_read_pages(sections, state, runs, base), embedded=embedded)


def _read_state(value: Json, bulk: Bulk) -> State:
    try:
        state: State = STATE.read(value, bulk)
    except Mistake as mistake:
        raise mistake.within("state") from None
    return state


Ranges = dict[int, list[tuple[int, int]]]


def _read_runs(value: Json, state: State) -> Ranges:
    """Return where runs begin and end, in bytes, by memory. Raises Mistake."""
    if type(value) is not dict:
        raise Mistake("this is not an object", "runs")
    found: Ranges = {}
    for memory in state.memories:
        numbers = value.get(str(memory.index))
        if numbers is not None:
            found[memory.index] = _read_ranges(numbers, memory)
    if len(found) != len(value):
        raise Mistake("there is no such memory", "runs", shown(min(value.keys() - {str(index) for index in found})))
    return found


def _read_ranges(numbers: Json, memory: MemoryState) -> list[tuple[int, int]]:
    name = str(memory.index)
    if type(numbers) is not list or not numbers or len(numbers) % 2 or any(type(item) is not int for item in numbers):
        raise Mistake("this is not an array of integers, two for each run", "runs", name)
    found: list[tuple[int, int]] = []
    chunks = -(-memory.size // CHUNK)
    free = 0
    for first, count in zip(numbers[::2], numbers[1::2], strict=True):
        if first < free or count < 1 or first + count > chunks:
            raise Mistake(
                f"{count} chunks from number {first} on are none, or not beyond those before, or not in the memory",
                "runs",
                name,
            )
        free = first + count + 1
        found.append((first * CHUNK, min((first + count) * CHUNK, memory.size)))
    if pages.outside(found, differences.initial_ranges(memory)) != found:
        raise Mistake("some of these chunks are as the module makes them, the state says", "runs", name)
    return found


def _read_pages(
    sections: Mapping[int, Section], state: State, ranges: Ranges, base: Base | None
) -> tuple[MemoryState, ...]:
    unpacking = Unpacking(sections[PAGES]) if PAGES in sections else None
    memories: list[MemoryState] = []
    for memory in state.memories:
        before = None if base is None else _memory(base.state, memory.index)
        runs: list[Run] = []
        for start, end in ranges.get(memory.index, ()):
            assert unpacking is not None, "there are as many bytes as the runs have"
            if base is None:
                runs.append((start // CHUNK, unpacking.read(end - start)))
                continue
            for place, behind in differences.pieces_of(start, end):
                difference = unpacking.read(behind - place)
                runs.append(differences.plus_what_was(before, place // CHUNK, difference))
        made = tuple(runs)
        if base is not None:
            made = differences.with_changes(before, memory.size, made, differences.initial_ranges(memory))
        memories.append(replace(memory, runs=made))
    if unpacking is not None:
        unpacking.finish()
    return tuple(memories)


def _read_embedded(digits: Json, module: bytes, base: Base | None) -> bytes | None:
    """Return the module in the state, which may be the base's. Raises Mistake."""
    if digits is None:
        if module:
            raise Mistake("there is a section with a module, and no word of it", "embedded")
        return None
    found = module or (b"" if base is None else base.state.embedded or b"")
    if digits != hashlib.sha256(found).hexdigest():
        raise Mistake("this is not the digest of the module that is there", "embedded")
    return found


def _check_sizes(sections: Mapping[int, Section], limit: int) -> None:
    """Raise SnapshotError if something is missing, or takes more than it may."""
    if DOCUMENT not in sections:
        raise SnapshotError("the saved state is damaged: it has no section document")
    document = sections[DOCUMENT]
    if document.size > documents.LONGEST:
        raise damaged(f"the document has {document.size} bytes, more than {documents.LONGEST}", document.offset)
    size = sum(section.size for section in sections.values())
    if size > limit:
        raise SnapshotError(f"the saved state holds {size} bytes, more than the limit of {limit}")


def _base_digest(sections: Mapping[int, Section]) -> bytes | None:
    section = sections.get(BASE)
    if section is None:
        return None
    if section.codec != STORED or section.size != _DIGEST_SIZE or len(section.stored) != _DIGEST_SIZE:
        raise damaged(f"the section {SECTION_NAMES[BASE]} is not a digest of {_DIGEST_SIZE} bytes", section.offset)
    return bytes(section.stored)


def _unpacked(sections: Mapping[int, Section], kind: int) -> bytes:
    return Unpacking(sections[kind]).read_all() if kind in sections else b""


def _memory(state: State, index: int) -> MemoryState | None:
    return next((memory for memory in state.memories if memory.index == index), None)


def _unwritable(mistake: Mistake) -> UsageError:
    return UsageError(f"the state cannot be written: {mistake}")
