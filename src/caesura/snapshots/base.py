"""What another state is a change of: a state, with what is made of it for that, once, however many changes there are.

A change names the state that it belongs to by a digest, which is the state's and not a file's: packed by another
version of zstd, or by JavaScript, it is the same base. It is made of the digests of all chunks of the memories, so
that for a state that differs in a hundred of 16,000 chunks a hundred are looked at.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from functools import cached_property

from caesura.snapshots import document as documents
from caesura.snapshots.document import Object
from caesura.snapshots.pages import Run
from caesura.snapshots.schema import STATE
from caesura.snapshots.state import CHUNK, State

# By the index of the memory and the number of the chunk.
Digests = dict[int, dict[int, bytes]]

_ZEROS = bytes(CHUNK)


class Base:
    """A state, its document without the runs, its bulk, and its digest.

    Raises `fields.Mistake` if the state is not as `state` says.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.document, self.bulk = described(state)
        self._known: Digests | None = None

    def after(self, state: State, changes: Mapping[int, tuple[Run, ...]]) -> Base:
        """Return a later state as a base, whose memories differ in these chunks (`differences.changed_runs`) only, but
        for those that are as the module makes them.
        """
        made = Base(state)
        digests = {}
        for memory in state.memories:
            chunks = dict(self.digests.get(memory.index, {}))
            _note(chunks, changes.get(memory.index, ()))
            last = -(-memory.size // CHUNK)
            digests[memory.index] = {
                number: chunks[number] for number in chunks if number < last and not _is_in(memory.initial, number)
            }
        made._known = digests
        return made

    @cached_property
    def digests(self) -> Digests:
        """The digests of all chunks that are not zero, and not as the module makes them."""
        if self._known is not None:
            return self._known
        digests: Digests = {}
        for memory in self.state.memories:
            digests[memory.index] = {}
            _note(digests[memory.index], memory.runs)
        return digests

    @cached_property
    def digest(self) -> bytes:
        """The digest of the state: SHA-256 of those of its document, its bulk, and its chunks in their order."""
        document = documents.write({**self.document, "runs": runs_of_memories(self.state)})
        whole = hashlib.sha256(hashlib.sha256(document).digest())
        whole.update(hashlib.sha256(self.bulk).digest())
        for _, chunks in sorted(self.digests.items()):
            whole.update(b"".join([chunks[number] for number in sorted(chunks)]))
        return whole.digest()


def described(state: State) -> tuple[Object, bytes]:
    """Return the document of a state, without the runs, and its bulk. Raises Mistake."""
    bulk: list[bytes] = []
    document: Object = {"state": STATE.write(state, bulk)}
    if state.embedded is not None:
        document["embedded"] = hashlib.sha256(state.embedded).hexdigest()
    return document, b"".join(bulk)


def runs_of_memories(state: State) -> Object:
    """Return where the runs of a state's memories lie, as `runs_of` does."""
    return runs_of({memory.index: memory.runs for memory in state.memories})


def runs_of(runs: Mapping[int, tuple[Run, ...]]) -> Object:
    """Return where runs lie, as the document has it: for each memory, the number of the first chunk and how many."""
    return {
        str(index): [number for first, content in parts for number in (first, -(-len(content) // CHUNK))]
        for index, parts in runs.items()
        if parts
    }


def _is_in(parts: tuple[tuple[int, int], ...], number: int) -> bool:
    """Tell whether a number lies in one of some parts, which ascend: each its first number, and how many."""
    place = bisect_right(parts, number, key=_first) - 1
    return place >= 0 and number < sum(parts[place])


def _first(part: tuple[int, int]) -> int:
    return part[0]


def _note(chunks: dict[int, bytes], runs: tuple[Run, ...]) -> None:
    """Put the digests of chunks where they belong, and take those of chunks away that are zero."""
    make = hashlib.sha256
    for first, content in runs:
        view = memoryview(content)
        for place in range(0, len(content), CHUNK):
            chunk = view[place : place + CHUNK]
            if len(chunk) < CHUNK:  # the end of a memory within a chunk: as if it went on
                chunk = memoryview(bytes(chunk).ljust(CHUNK, b"\0"))
            digest = make(chunk).digest()
            if digest != _DIGEST_OF_ZEROS:
                chunks[first + place // CHUNK] = digest
            else:
                chunks.pop(first + place // CHUNK, None)


_DIGEST_OF_ZEROS = hashlib.sha256(_ZEROS).digest()
