"""Saved states that somebody changed: bytes, sections, sizes, and what the document says, with right checksums.

Each case reads many, in a process that may take little memory beside what a reader is told to expect. What is read must
be a state that can be written and read again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import random
import resource
from typing import Any, Final

from caesura.errors import SnapshotError
from caesura.snapshots import container
from caesura.snapshots.compression import DEFLATE, STORED, ZSTD, Unpacking, compress
from caesura.snapshots.container import DOCUMENT, HEADER_SIZE, Section
from caesura.snapshots.format import decode, encode
from tests.snapshots.forging import canonical, document_of, with_section, with_stored
from tests.snapshots.states import sample_with_initial as sample
from tests.snapshots.states import sample_with_initial_later as sample_later

# How many mutated states are one case: a process for each would mostly measure processes.
EACH: Final = 20

_LIMIT: Final = 1 << 20
# Twice the limit, and what the interpreter takes for itself; in bytes.
_MOST_MEMORY: Final = 64 << 20

_CODECS: Final = (STORED, ZSTD, DEFLATE)
_LIES: Final[tuple[Any, ...]] = (
    *(0, 1, -1, 2, 4095, 4096, 65536, 2**31, 2**32 - 1, 2**32, 2**53, 2**64, 10**30),
    *("", "0", "-1", str(2**53), str(2**64 - 1), str(2**64), "i32", "v128", "externref", "call", "x" * 1000, "\udc80"),
    *(None, True, False, 1.5, [], {}, [[]], [0, 1], {"0": {}}, "ab" * 32),
)


def case(seed: int) -> str:
    """Read states that are mutated as the seed says; return whether any could be read."""
    source = random.Random(seed)
    mutated = [_mutated(source) for _ in range(EACH)]
    base = sample()
    _bound_memory()
    read = 0
    for data in mutated:
        try:
            state = decode(data, base, limit=_LIMIT)
        except SnapshotError:
            continue
        read += 1
        again = decode(encode(state))
        if again != state:
            raise AssertionError(f"{state} was written, and {again} read")
    return "read" if read else "refused"


def _mutated(source: random.Random) -> bytes:
    data = source.choice(_originals())
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        # What was changed before may leave nothing to change in this way, or say that there is more than memory has:
        # only `decode` compares that with its limit.
        with contextlib.suppress(SnapshotError, ValueError, RecursionError, LookupError, MemoryError):
            data = source.choice(_MUTATIONS)(data, source)
    return data


@functools.cache
def _originals() -> tuple[bytes, ...]:
    whole = [encode(sample(), codec=codec) for codec in _CODECS]
    return (*whole, *[encode(sample_later(), sample(), codec=codec) for codec in _CODECS])


def _bound_memory() -> None:
    if not os.path.exists("/proc/self/statm"):  # no other system than Linux tells what a process has
        return
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_MEMORY, resource.RLIM_INFINITY))


def _flip(data: bytes, source: random.Random) -> bytes:
    """Change bytes anywhere, and give it a right checksum most of the time."""
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 2, 10))):
        place = source.randrange(len(changed))
        changed[place] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
    return _summed(bytes(changed)) if source.random() < 0.9 else bytes(changed)


def _cut(data: bytes, source: random.Random) -> bytes:
    """Leave out, repeat or insert a piece."""
    start, end = sorted(source.randrange(len(data)) for _ in range(2))
    piece = source.choice((b"", data[start:end] * 2, source.randbytes(source.randrange(9))))
    return _summed(data[:start] + piece + data[end:])


def _summed(data: bytes) -> bytes:
    start = data[: HEADER_SIZE - 32].ljust(HEADER_SIZE - 32, b"\0")
    return start + hashlib.sha256(data[HEADER_SIZE:]).digest() + data[HEADER_SIZE:]


def _sections(data: bytes, source: random.Random) -> bytes:
    """Change how a section is packed, what it says of its size, or which sections there are."""
    sections = list(container.read(data).values())
    place = source.randrange(len(sections))
    section = sections[place]
    size = source.choice((section.size, section.size + 1, section.size - 1, 0, 1 << 62, source.randrange(1 << 20)))
    what = source.randrange(5)
    if what == 0:
        sections[place] = Section(section.kind, section.codec, size, section.stored)
    elif what == 1:
        sections[place] = Section(section.kind, source.randrange(4), section.size, section.stored)
    elif what == 2:
        sections[place] = Section(source.randrange(7), section.codec, section.size, section.stored)
    elif what == 3:
        sections.insert(source.randrange(len(sections) + 1), sections.pop(place))
    else:
        del sections[place]
    return container.write(sections)


def _contents(data: bytes, source: random.Random) -> bytes:
    """Change what is in a section, and pack it in any way; also such that it becomes very large."""
    section = source.choice(list(container.read(data).values()))
    content = bytearray(Unpacking(section).read_all())
    what = source.randrange(4)
    if what == 0:
        content[source.randrange(len(content))] ^= 1 << source.randrange(8)
    elif what == 1:
        del content[source.randrange(len(content)) :]
    elif what == 2:
        content += bytes(source.choice((1, 4096, 30 << 20)))
    packed = compress(section.kind, [bytes(content)], source.choice(_CODECS))
    if source.random() < 0.3:
        packed = Section(packed.kind, packed.codec, section.size, packed.stored)
    return with_section(data, packed)


def _documents(data: bytes, source: random.Random) -> bytes:
    """Change something somewhere in the document."""
    document = document_of(data)
    places = list(_places(document))
    inside, key = source.choice(places)
    what = source.randrange(5)
    if what == 0:
        del inside[key]
    elif what == 1:
        other, name = source.choice(places)
        inside[key] = json.loads(json.dumps(other[name]))
    elif what == 2 and isinstance(inside, dict):
        inside[source.choice((*map(str, range(4)), key + "x", "type", "00"))] = inside[key]
    elif what == 3 and type(inside[key]) is int:
        inside[key] += source.choice((-1, 1, 4096, -4096, 1 << 32))
    else:
        inside[key] = source.choice(_LIES)
    return with_stored(data, DOCUMENT, canonical(document))


def _texts(data: bytes, source: random.Random) -> bytes:
    """Change the document as text."""
    content = canonical(document_of(data))
    place = source.randrange(len(content))
    piece = source.choice((b"", b" ", b"0", b"-", b"1e9", b"[" * 3000, b'"', b"\\u0000", b"\xff", b"null,", b"{"))
    return with_stored(data, DOCUMENT, content[:place] + piece + content[place + source.randrange(2) :])


def _places(value: Any) -> Any:
    """Yield all containers and keys within a value."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


_MUTATIONS: Final = (_flip, _cut, _sections, _contents, _documents, _documents, _documents, _texts)
