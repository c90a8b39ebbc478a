"""Bytes of strangers: whatever they say is refused, with its place, before it costs anything."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from caesura.errors import SnapshotError
from caesura.snapshots import container, pages
from caesura.snapshots.compression import DEFLATE, STORED, ZSTD, compress
from caesura.snapshots.container import BASE, BULK, DOCUMENT, MODULE, PAGES, Section
from caesura.snapshots.format import base_of, decode, encode
from caesura.snapshots.state import MemoryState
from tests.snapshots.forging import content_of_section, with_document, with_section, with_stored
from tests.snapshots.states import sample, sample_later, state_of
from tests.support.paths import REPOSITORY

_DATA: Final = encode(sample())
_CHANGE: Final = encode(sample_later(), sample())


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets a field of a document to a value, the last of these."""

    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for name in path[:-2]:
            place = place[name]
        place[path[-2]] = path[-1]

    return change


def _remove(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        place = document
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return change


_LIES: Final = [
    (_set("state", "memories", "0", "initial", [[2, 0]]), "memories.0.initial.0: 0 chunks from number 2 on are none"),
    (_set("state", "memories", "0", "initial", [[2, 1], [3, 1]]), "memories.0.initial.1: 1 chunks .* not beyond those"),
    (_set("state", "memories", "0", "initial", [[2, 47]]), "memories.0.initial.0: 47 chunks .* not in the memory"),
    (_set("state", "memories", "0", "initial", [[2, 2**40]]), "memories.0.initial.0.1: 1099511627776 is not within 0"),
    (_set("state", "memories", "0", "initial", [[2]]), "memories.0.initial.0: 1 items, and there must be 2"),
    (_set("state", "memories", "0", "initial", [[18, 1]]), "runs.0: some of these chunks are as the module makes them"),
    (_set("state", "calls", "0", "mode", "never"), "state.calls.0.mode: 'never' is none of call, generate"),
    (_set("state", "calls", "0", "kept", "neighbour", 2), "calls.0.kept.neighbour: there is no such other call as 2"),
    (_set("state", "calls", "0", "kept", "neighbour", 0), "calls.0.kept.neighbour: there is no such other call as 0"),
    (_set("state", "calls", "0", "kept", "low", 5000), "calls.0.kept.low: 5000 lies above high, 2048"),
    (_set("state", "calls", "0", "waited", 0), "calls.0.waited: this is the value of which nothing is written"),
    (_set("state", "calls", "0", "waited", -1), "calls.0.waited: -1 is not within 0"),
    (_set("state", "calls", "0", "waited", 2**60), "calls.0.waited: 1152921504606846976 is a number, and must be text"),
    (_set("state", "calls", "0", "waited", "5"), "calls.0.waited: 5 is text, and must be a number"),
    (_set("state", "calls", "0", "waited", "5x"), "calls.0.waited: '5x' is not an integer"),
    (_set("state", "calls", "0", "waited", "\u0661" * 20), "calls.0.waited: '\u0661\u0661"),
    (_set("state", "calls", "0", "waited", "9" * 5000), "calls.0.waited: '999"),
    (
        _set("state", "calls", "0", "waited", "018446744073709551615"),
        "waited: '018446744073709551615' is not an integer",
    ),
    (_set("state", "calls", "0", "waited", []), "calls.0.waited: a list is not an integer"),
    (_set("state", "calls", "0", "arguments", 0, ["i32", "18446744073709551616"]), "calls.0.arguments.0.bits"),
    (_set("state", "calls", "0", "arguments", 0, ["i33", 0]), "calls.0.arguments.0.0: 'i33' is none of i32, i64"),
    (_set("state", "calls", "0", "arguments", 0, ["i32"]), "calls.0.arguments.0: 1 items, and there must be 2"),
    (_set("state", "calls", "0", "arguments", 0, ["externref", 2]), "calls.0.arguments: there is no object 2"),
    (_set("state", "calls", "0", "frames", 1 << 50), "calls.0.frames: 1125899906842624 bytes of bulk are more"),
    (_set("state", "calls", "0", "frames", 1), "bytes of bulk belong to nothing"),
    (_set("state", "calls", "0", "further", 1), "calls.0.further: there is no such field"),
    (_set("state", "calls", "0", "export", "\ud83d"), None),
    (_set("state", "calls", "0", "export", "x" * (1 << 21)), "calls.0.export: 2097152 characters are more"),
    (_set("state", "calls", "7", {}), "calls: there are 3 items, but none with the number 2"),
    (_set("state", "calls", []), "state.calls: a list is not an object"),
    (_remove("state", "calls", "0", "function"), "calls.0.function: this is missing"),
    (_set("state", "stacks", "main", 2), "stacks.main: there is no call 2"),
    (_set("state", "stacks", "settled", 0), "stacks.settled: 0 is neither true nor false"),
    (_set("state", "area", [5, 4]), "area: 5 lies above the end, 4"),
    (_set("state", "globals", "4", "bits", 1 << 32), "globals.4.bits: 4294967296 has more than the 32 bits of funcref"),
    (_set("state", "globals", "04", {"type": "i32", "bits": 0}), "globals.'04': a number of 32 bits must stand here"),
    (_set("state", "globals", "-1", {"type": "i32", "bits": 0}), "globals.'-1': a number of 32 bits must stand here"),
    (_set("state", "globals", "4294967296", {"type": "i32", "bits": 0}), "a number of 32 bits must stand here"),
    (_set("state", "globals", "4", "index", 4), "globals.4.index: this is what its key says already"),
    (_set("state", "globals", "4", 7), "globals.4: 7 is not an object"),
    (_set("state", "tables", "0", "type", "i32"), "tables.0.type: 'i32' is none of funcref, externref"),
    (_set("state", "tables", "0", "type", "externref"), "tables.0: there is no object"),
    (_set("state", "tables", "0", "type", "exnref"), "tables.0: there is no exception"),
    (_set("state", "globals", "4", {"type": "anyref", "bits": 1 << 31}), "globals.4: 2147483648 is neither null nor"),
    (_set("state", "globals", "4", {"type": "exnref", "bits": 0}), "globals.4: there is no exception 0"),
    (_set("state", "calls", "0", "arguments", 0, ["exnref", 4294967295]), "arguments.0.0: 'exnref' is none of i32"),
    (_set("state", "exceptions", [{"tag": 1 << 32}]), "exceptions.0.tag: 4294967296 is not within 0"),
    (_set("state", "exceptions", [{"tag": 0, "values": [["i32", 1 << 32]]}]), "exceptions.0.values.0.bits: 4294967296"),
    (_set("state", "exceptions", [{"tag": 0, "values": [["funcref", 1]]}]), "values.0.0: 'funcref' is none of i32"),
    (
        _set("state", "exceptions", [{"tag": 0, "values": []}]),
        "exceptions.0.values: this is the value of which nothing",
    ),
    (_set("state", "tables", "0", "elements", 27), "tables.0.elements: 27 bytes are not 4 for each element"),
    (_set("state", "dropped_data", [2, 0]), "dropped_data: these are not ascending"),
    (_set("state", "dropped_data", [2, 2]), "dropped_data: these are not ascending"),
    (_set("state", "memories", "0", "size", (1 << 48) + 65536), "memories.0.size: 281474976776192 is not within 0"),
    (_set("state", "memories", "0", "page_size", 3), "memories.0.page_size: 3 is not a power of two"),
    (_set("state", "memories", "0", "page_size", 0), "memories.0.page_size: 0 is not within 1 and 65536"),
    (_set("state", "memories", "1", "page_size", 8), "memories.1.size: 4100 is not a multiple of the page size, 8"),
    (_set("state", "memories", "0", "size", 0), "runs.0: 1 chunks from number 0 on are none"),
    (_set("state", "module", "original", "00"), "module.original: '00' is not a digest"),
    (_set("state", "module", "original", "AB" * 32), "is not a digest"),
    (_set("state", "module", "contract", 0), "module.contract: 0 is not within 1"),
    (_set("state", "module", "options", "x", {}), "module.options.x: a dict is not the value of an option"),
    (_set("state", "module", "options", "x", 1.5), "it is not canonical JSON|1.5 is not the value of an option"),
    (_set("state", "module", "options", "X y", 1), "module.options.'X y': this is not the name of an option"),
    (_set("state", "module", "options", "x", [1]), "module.options.x: 1 is not the value of an option"),
    (_set("state", "module", "path", None), "module.path: a NoneType is not text"),
    (_set("state", "wasi", "environment", [["A", "1"], ["A", "2"]]), "wasi.environment: a name stands twice"),
    (_set("state", "wasi", "descriptors", "3", "kind", "socket"), "wasi.descriptors.3.kind: 'socket' is none of"),
    (_set("state", "wasi", "descriptors", "3", "below", -2), "wasi.descriptors.3.below: -2 is not within -1"),
    (_set("state", "wasi", "highest", -1), "wasi.highest: -1 is not within 0"),
    (_set("state", []), "state: a list is not an object"),
    (_remove("state"), "state: a NoneType is not an object"),
    (_set("embedded", "00"), "embedded: this is not the digest of the module that is there"),
    (_remove("embedded"), "embedded: there is a section with a module, and no word of it"),
    (_set("more", 1), "more: there is no such field"),
    (_remove("runs"), "runs: this is not an object"),
    (_set("runs", {"0": [0, 1, 17, 5]}), "other than the section pages has"),
    (_set("runs", "0", [0, 1, 17]), "runs.0: this is not an array of integers, two for each run"),
    (_set("runs", "0", []), "runs.0: this is not an array of integers, two for each run"),
    (_set("runs", "0", [0, "1"]), "runs.0: this is not an array of integers, two for each run"),
    (_set("runs", "0", [0, True]), "runs.0: this is not an array of integers, two for each run"),
    (_set("runs", "0", [17, 5, 0, 1]), "runs.0: 1 chunks from number 0 on are none, or not beyond those before"),
    (_set("runs", "0", [0, 1, 1, 5]), "runs.0: 5 chunks from number 1 on are none, or not beyond those before"),
    (_set("runs", "0", [0, 0, 17, 6]), "runs.0: 0 chunks from number 0 on are none"),
    (_set("runs", "0", [-1, 6]), "runs.0: 6 chunks from number -1 on are none"),
    (_set("runs", "0", [40, 9]), "runs.0: 9 chunks from number 40 on are none, .* or not in the memory"),
    (_set("runs", "0", [0, 2**60]), "runs.0: "),
    (_set("runs", "7", [0, 1]), "runs.'7': there is no such memory"),
    (_set("runs", "00", [0, 1]), "runs.'00': there is no such memory"),
]


@pytest.mark.parametrize(("lie", "message"), _LIES, ids=[str(number) for number in range(len(_LIES))])
def test_every_field_is_checked(lie: Callable[[dict[str, Any]], None], message: str | None) -> None:
    data = with_document(_DATA, lie)
    if message is None:
        assert encode(decode(data)) != _DATA
        return
    with pytest.raises(
        SnapshotError, match=r"the saved state is damaged at byte offset [45][0-9] .*: the document: "
    ) as error:
        decode(data)
    assert re.search(message, str(error.value).replace("[", "(")), str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "state: a NoneType is not an object|bytes of bulk are more than there are"),
        (b"[]", "it is not an object"),
        (b"\xff", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b'{"a":1} ', "it is not canonical JSON from its byte 7 on"),
        (b'{"b":1,"a":2}', "it is not canonical JSON from its byte 2 on"),
        (b'{"a":1,"a":1}', "it is not canonical JSON"),
        (b'{"a":1e3}', "it is not canonical JSON"),
        (b'{"a":"\\u0041"}', "it is not canonical JSON"),
        (b'{"a":"\\/"}', "it is not canonical JSON"),
        (b'{"a":NaN}', "it is not JSON"),
        (b'{"a":Infinity}', "it is not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "it is not JSON"),
        (b'{"a":' + b"[" * 1_000_000, "it is nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 400 + b"1" + b"}" * 400, "there is no such field"),
    ],
)
def test_what_is_not_the_json_of_the_format(content: bytes, message: str) -> None:
    for data in (_DATA, _CHANGE):
        with pytest.raises(SnapshotError, match=message):
            decode(with_stored(data, DOCUMENT, content), sample())


def test_checksums_come_first() -> None:
    for place in range(len(_DATA)):
        damaged = bytearray(_DATA)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(SnapshotError, match=r"is damaged: its checksum|of version|not a saved state"):
            decode(bytes(damaged))
    for size in range(len(_DATA)):
        with pytest.raises(SnapshotError, match=r"is damaged: its checksum|ends after|not a saved state"):
            decode(_DATA[:size])


def _file(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return b"\0caesura\1\0\0\0" + hashlib.sha256(body).digest() + body


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((), "it has no section document"),
        ((b"\2",), "at byte offset 44 .*: the file ends within the head of a section"),
        ((b"\2\0",), "the file ends within a number"),
        ((b"\2\0\x80",), "the file ends within a number"),
        ((b"\2\0\x81\0\1x",), "a number is not in the shortest form of LEB128"),
        ((b"\2\0" + b"\xff" * 9 + b"\1",), "not in the shortest form of LEB128, or too large"),
        ((b"\2\0\5\5abcd",), "the section document has 5 bytes, and 4 are left"),
        ((b"\2\0\0\0",), "the section document is empty"),
        ((b"\0\0\1\1x",), "a section of kind 0, which version 1 does not have"),
        ((b"\6\0\1\1x",), "a section of kind 6, which version 1 does not have"),
        ((b"\2\0\1\1x", b"\2\0\1\1x"), "at byte offset 49 .*: the section document stands twice or too late"),
        ((b"\3\0\1\1x", b"\2\0\1\1x"), "the section document stands twice or too late"),
        ((b"\2\3\1\1x",), "compressed in a way with the unknown number 3"),
        ((b"\2\0\1\2x",), "the section document: it ends 1 bytes too early"),
        ((b"\2\0\2\1xy",), "the section document: it does not end after the 1 bytes that are its size"),
        ((b"\2\1\4\4abcd",), "the section document: it cannot be unpacked"),
        ((b"\2\2\4\4\xff\xff\xff\xff",), "the section document: it cannot be unpacked"),
        ((b"\2\0\1" + b"\xff" * 8 + b"\x7fx",), "the document has 9223372036854775807 bytes, more than"),
        ((b"\1\0\1\1x", b"\2\0\2\2{}"), "the section base is not a digest"),
        ((b"\1\1\x20\x20" + bytes(32), b"\2\0\2\2{}"), "the section base is not a digest"),
    ],
)
def test_sections_are_as_they_must_be(parts: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(SnapshotError, match=message):
        decode(_file(*parts))


@pytest.mark.parametrize("codec", [STORED, ZSTD, DEFLATE])
def test_sections_have_exactly_what_they_say(codec: int) -> None:
    data = encode(sample(), codec=codec)
    for kind in (DOCUMENT, BULK, PAGES, MODULE):
        content = content_of_section(data, kind)
        for wrong in (content[:-1], content + b"x", content + bytes(100_000)):
            packed = compress(kind, [wrong], codec)
            lie = Section(kind, packed.codec, len(content), packed.stored)
            with pytest.raises(SnapshotError, match=r"too early|does not end after|cannot be unpacked"):
                decode(with_section(data, lie))
        packed = compress(kind, [content * 50], codec)  # such as does not end up as stored
        for stored in (bytes(packed.stored) + b"x", bytes(packed.stored)[:-1]):
            with pytest.raises(SnapshotError):
                decode(with_section(data, Section(kind, packed.codec, packed.size, stored)))


def test_windows_of_zstd_have_8_mib_at_most() -> None:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    content = content_of_section(_DATA, DOCUMENT)
    for log, error in ((23, None), (24, "cannot be unpacked"), (27, "cannot be unpacked")):
        compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
        stored = compressor.compress(content, mode=zstd.ZstdCompressor.FLUSH_BLOCK) + compressor.flush()
        data = with_section(_DATA, Section(DOCUMENT, ZSTD, len(content), stored))
        if error is None:
            assert decode(data) == sample()
        else:
            with pytest.raises(SnapshotError, match=error):
                decode(data)


def test_a_change_is_bounded_by_its_base_and_itself() -> None:
    for lie, message in (
        (_set("state", "memories", {"0": {"size": 65536}}), "runs.0: 1 chunks from number 18 on|chunks from number"),
        (_set("state", "memories", {"0": None}), "runs.'0': there is no such memory"),
        (_set("state", "stacks", {"main": 1}), "state.stacks.main: there is no call 1"),
        (_set("state", None), "state|a NoneType is not an object"),
        (_set("embedded", None), None),
    ):
        data = with_document(_CHANGE, lie)
        if message is None:
            assert decode(data, sample()).embedded is None
            continue
        with pytest.raises(SnapshotError, match=message):
            decode(data, sample())
    assert base_of(with_stored(_CHANGE, BASE, bytes(32))) == bytes(32)


# What reading takes besides what is told: the interpreter has a little on its own, too.
_READER: Final = """
import resource, sys
from caesura.errors import ResourceError, SnapshotError
from caesura.snapshots.compression import _zstd
from caesura.snapshots.format import decode
_zstd()
data = sys.stdin.buffer.read()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]), -1))
try:
    decode(data, limit=int(sys.argv[1]))
    print("read")
except (ResourceError, SnapshotError) as error:
    print(error)
"""


def _read_within(data: bytes, limit: int, most: int) -> str:
    """Return what becomes of bytes in a process that may take so many bytes more."""
    command = [sys.executable, "-c", _READER, str(limit), str(most)]
    done = subprocess.run(command, input=data, capture_output=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="how much memory a process has is told by Linux only"
)
def test_bombs_are_not_unpacked() -> None:
    zeros = bytes(64 << 20)
    small = encode(state_of(b"\1" * 9000))
    bombs = {
        "too early|does not end": with_section(
            small, Section(PAGES, ZSTD, content_size(small), compress(PAGES, [zeros]).stored)
        ),
        "holds [0-9]+ bytes, more than the limit": with_section(small, compress(PAGES, [zeros])),
        "does not end": with_section(
            small, Section(PAGES, DEFLATE, content_size(small), compress(PAGES, [zeros], DEFLATE).stored)
        ),
        "the document has 67108864 bytes": with_section(small, compress(DOCUMENT, [zeros])),
        "other than the section pages": with_section(small, compress(PAGES, [bytes(8 << 20)])),
        "bytes of bulk belong to nothing": with_section(small, compress(BULK, [bytes(8 << 20)])),
    }
    for message, data in bombs.items():
        assert re.search(message, _read_within(data, 16 << 20, 48 << 20)), message


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="how much memory a process has is told by Linux only"
)
@pytest.mark.parametrize("codec", [ZSTD, DEFLATE])
@pytest.mark.parametrize("kind", [PAGES, MODULE])
def test_a_size_that_is_a_lie_takes_no_memory(codec: int, kind: int) -> None:
    content = b"\1" * (256 << 20)
    memory = MemoryState(index=0, size=len(content), page_size=1, runs=((0, content),))
    data = encode(state_of(memories=(memory,)) if kind == PAGES else replace(state_of(), embedded=content))
    lie = Section(kind, codec, len(content), compress(kind, [content[:9000]], codec).stored)
    assert re.search("ends [0-9]+ bytes too early", _read_within(with_section(data, lie), 1 << 30, 32 << 20))


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="how much memory a process has is told by Linux only"
)
def test_reading_takes_no_more_than_is_told() -> None:
    content = bytes(range(1, 256)) * 250_000
    memory = MemoryState(index=0, size=len(content), page_size=1, runs=pages.split_runs(content))
    data = encode(state_of(memories=(memory,)))
    assert _read_within(data, len(content) + 1000, 2 * len(content) + len(data) + (32 << 20)) == "read\n"
    assert "not enough memory for what" in _read_within(data, 1 << 30, 32 << 20)
    lists = b'{"a":[' + b",".join([b"[]"] * 5_500_000) + b"]}"
    assert len(lists) < 16 << 20
    said = _read_within(with_section(data, compress(DOCUMENT, [lists])), 1 << 30, 512 << 20)
    assert "there is no such field" in said or "runs" in said


def content_size(data: bytes) -> int:
    """Return how many bytes the section pages has, unpacked."""
    return container.read(data)[PAGES].size
