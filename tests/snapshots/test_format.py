"""Saved states as bytes: what is written is what is read, whole or as what changed, and always the same."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caesura.errors import SnapshotError, UsageError
from caesura.snapshots import container, differences, pages
from caesura.snapshots.base import Base
from caesura.snapshots.compression import DEFLATE, STORED, ZSTD
from caesura.snapshots.format import base_of, decode, digest_of, encode, encode_changes
from caesura.snapshots.state import CHUNK, CallRecord, GlobalState, MemoryState, State
from caesura.wasm import types as t
from tests.snapshots.states import content_of, memory_of, pairs, runs_of, state_of, states

_CODECS: Final = (STORED, ZSTD, DEFLATE)
_EXAMPLES: Final = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@_EXAMPLES
@given(states(), st.sampled_from(_CODECS))
def test_what_is_written_is_read(state: State, codec: int) -> None:
    data = encode(state, codec=codec)
    assert decode(data) == state
    assert encode(decode(data), codec=codec) == data
    assert base_of(data) is None


@_EXAMPLES
@given(pairs(), st.sampled_from(_CODECS))
def test_what_changed_is_read_with_what_it_is_a_change_of(pair: tuple[State, State], codec: int) -> None:
    before, now = pair
    change = encode(now, before, codec=codec)
    assert decode(change, before) == now
    assert base_of(change) == digest_of(before)
    assert (digest_of(before) == digest_of(now)) == (before == now)


@_EXAMPLES
@given(pairs())
def test_digests_of_later_states_are_made_of_earlier_ones(pair: tuple[State, State]) -> None:
    before, now = pair
    base = Base(before)
    old = {memory.index: memory for memory in before.memories}
    changes = {memory.index: differences.changed_runs(old.get(memory.index), memory) for memory in now.memories}
    assert base.after(now, changes).digest == digest_of(now)
    without = replace(now, memories=tuple(replace(memory, runs=()) for memory in now.memories))
    assert encode_changes(without, changes, base) == encode(now, before)


@_EXAMPLES
@given(pairs())
def test_memories_are_compared_where_they_lie(pair: tuple[State, State]) -> None:
    before, now = pair
    for old, new in zip(before.memories, now.memories, strict=False):
        content = content_of(new)
        address = pages.address_of(content)
        assert pages.split_runs(content) == runs_of(content) == new.runs
        assert pages.split_runs_at(address, len(content)) == new.runs
        initial = differences.initial_ranges(new)
        changed = differences.changed_runs_at(old, address, len(content), dull=initial)
        assert changed == differences.changed_runs(old, new)
        assert differences.with_changes(old, new.size, changed, initial) == new.runs
        known = [(first * CHUNK, first * CHUNK + len(part)) for first, part in new.runs]
        halves = [(start, min(end, start + CHUNK)) for start, end in known]
        rests = [(start + CHUNK, end) for start, end in known if end > start + CHUNK]
        for within in (known, sorted(halves + rests)):
            assert pages.split_runs_at(address, len(content), within) == new.runs
            assert differences.changed_runs_at(old, address, len(content), within, initial) == changed


@_EXAMPLES
@given(st.binary(max_size=9000), st.binary(max_size=9000))
def test_differences_are_of_words(content: bytes, base: bytes) -> None:
    difference = differences.less(content, base)
    assert differences.plus(difference, base) == content
    size = len(content)
    words = [data[:size].ljust(-(-size // 4) * 4, b"\0") for data in (content, base)]
    expected = b"".join(
        (
            (int.from_bytes(words[0][at : at + 4], "little") - int.from_bytes(words[1][at : at + 4], "little")) % 2**32
        ).to_bytes(4, "little")
        for at in range(0, size, 4)
    )
    assert difference == expected[:size]


def test_only_chunks_that_changed_are_in_a_change() -> None:
    content = bytearray(16 << 20)
    content[5 << 20 : 9 << 20] = b"some" * (1 << 20)
    before = state_of(bytes(content))
    content[6 << 20] = 1
    content[(7 << 20) - 1 : (7 << 20) + 1] = b"\1\1"
    content[8 << 20 : (8 << 20) + 4096] = bytes(4096)
    content[15 << 20] = 1
    now = state_of(bytes(content))
    changed = differences.changed_runs(before.memories[0], now.memories[0])
    assert [(first, len(part)) for first, part in changed] == [(1536, 4096), (1791, 8192), (2048, 4096), (3840, 4096)]
    assert len(encode(now, before)) < 400
    assert decode(encode(now, before), before) == now


def test_a_memory_that_grew_within_a_chunk() -> None:
    before, now = state_of(b"\1" * 4100), state_of(b"\1" * 4100 + bytes(5000) + b"\2")
    assert decode(encode(now, before), before) == now
    assert Base(before).after(now, {0: ((2, content_of(now.memories[0])[8192:]),)}).digest == digest_of(now)
    assert decode(encode(before, now), now) == before


def test_nothing_changed() -> None:
    state = state_of(bytes(range(256)) * 1000, embedded=b"\0asm" * 1000)
    assert len(encode(state, state)) < 120
    assert decode(encode(state, state), state) == state


def test_a_change_needs_its_own_base() -> None:
    before, now, other = state_of(b"\1" * 5000), state_of(b"\2" * 5000), state_of(b"\3" * 5000)
    change = encode(now, before)
    with pytest.raises(SnapshotError, match=f"since the state {digest_of(before).hex()}: that is needed, too"):
        decode(change)
    with pytest.raises(SnapshotError, match=f"not since {digest_of(other).hex()}"):
        decode(change, other)
    assert decode(encode(now), other) == now


def test_what_cannot_be_read_is_not_written() -> None:
    state = state_of(b"\1" * 5000)
    call = CallRecord(export="run", function="env.ask", arguments=(), frames=b"", mode="call")
    wrong: dict[str, dict[str, Any]] = {
        "globals.0.bits: 4294967296 has more than the 32 bits of i32": {
            "globals": (GlobalState(index=7, type=t.I32, bits=1 << 32),)
        },
        "globals.1: index 7 comes after 7": {"globals": (GlobalState(index=7, type=t.I32, bits=1),) * 2},
        "globals.0.type: 64 is none of i32, i64": {"globals": (GlobalState(index=0, type=64, bits=0),)},
        "calls.0.mode: 'never' is none of call, generate": {"calls": (replace(call, mode="never"),)},
        "calls.0.export: two halves of a character": {"calls": (replace(call, export="\ud83d\ude00"),)},
        "calls.0.frames: 'text' is not bytes": {"calls": (replace(call, frames=cast(bytes, "text")),)},
        "stacks.main: there is no call 0": {"stacks": replace(state.stacks, main=0)},
        "globals.0: there is no object 3": {"globals": (GlobalState(index=0, type=t.EXTERNREF, bits=3),)},
        "memories.0.size: 100 is not a multiple of the page size, 65536": {
            "memories": (MemoryState(index=0, size=100, page_size=65536, runs=()),)
        },
    }
    for message, fields in wrong.items():
        with pytest.raises(UsageError) as raised:
            encode(replace(state, **fields))
        assert message in str(raised.value)


def test_pieces_are_stored_where_compression_does_not_help() -> None:
    noise = random.Random(1).randbytes(5000)
    for content, codec in ((noise, STORED), (noise * 2, ZSTD)):
        assert container.read(encode(state_of(content)))[container.PAGES].codec == codec
    with pytest.raises(UsageError, match="no compression with the number 9"):
        encode(state_of(noise), codec=9)


@pytest.mark.parametrize(
    ("module", "late"),
    [
        ("caesura.host.guest", "caesura.snapshots.format"),
        ("caesura.snapshots.saving", "backports.zstd compression.zstd fsspec wasmtime"),
    ],
)
def test_nothing_is_imported_before_it_is_needed(module: str, late: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {*late.split()} & {*done.stdout.split()}


def test_memory_of_tests() -> None:
    assert content_of(memory_of(b"\1" * 9000)) == b"\1" * 9000
