"""Decoding and encoding of instructions: canonical forms come back the same, others in their shortest form."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caesura.errors import MalformedModule
from caesura.wasm import instructions as table
from caesura.wasm.decode import EMPTY_BLOCK, read_immediates, read_locals, read_opcode
from caesura.wasm.immediates import FORMS, skip_immediates
from caesura.wasm.types import ABSTRACT, F64, FUNCREF, I32, make_reference
from tests.support.encoding import encode_instruction

_U32 = st.integers(0, 2**32 - 1)
_HEAPS = st.one_of(st.sampled_from([ABSTRACT + byte for byte in range(0x69, 0x75)]), st.integers(0, 2**31 - 1))
_REFERENCES = st.builds(make_reference, _HEAPS, nullable=st.booleans())
_TYPES = st.one_of(st.integers(0x7B, 0x7F), _REFERENCES)
_BLOCKS = st.one_of(st.just(EMPTY_BLOCK), st.integers(0, 2**31 - 1), _TYPES.map(lambda one: -one))
_MEMARGS = st.tuples(st.integers(0, 63), _U32, st.integers(0, 2**64 - 1)).map(list)
_CLAUSES = st.tuples(st.integers(0, 3), _U32, _U32).map(
    lambda clause: [clause[0], clause[1] if clause[0] < 2 else -1, clause[2]]
)

_BY_KIND = {
    table.IMMEDIATE_NONE: st.just([]),
    table.IMMEDIATE_I32: st.tuples(st.integers(-(2**31), 2**31 - 1)).map(list),
    table.IMMEDIATE_I64: st.tuples(st.integers(-(2**63), 2**63 - 1)).map(list),
    table.IMMEDIATE_F32: st.tuples(_U32).map(list),
    table.IMMEDIATE_F64: st.tuples(st.integers(0, 2**64 - 1)).map(list),
    table.IMMEDIATE_V128: st.tuples(st.integers(0, 2**128 - 1)).map(list),
    table.IMMEDIATE_LANES16: st.tuples(st.integers(0, 2**128 - 1)).map(list),
    table.IMMEDIATE_LANE: st.tuples(st.integers(0, 255)).map(list),
    table.IMMEDIATE_BYTE: st.tuples(st.integers(0, 255)).map(list),
    table.IMMEDIATE_MEMARG: _MEMARGS,
    table.IMMEDIATE_MEMARG_LANE: st.tuples(_MEMARGS, st.integers(0, 255)).map(lambda pair: [*pair[0], pair[1]]),
    table.IMMEDIATE_BLOCK: st.tuples(_BLOCKS).map(list),
    table.IMMEDIATE_BLOCK_CATCHES: st.tuples(_BLOCKS, st.lists(_CLAUSES, max_size=5)).map(
        lambda pair: [pair[0], *[number for clause in pair[1] for number in clause]]
    ),
    table.IMMEDIATE_LABELS: st.lists(_U32, min_size=1, max_size=9),
    table.IMMEDIATE_TYPES: st.lists(_TYPES, max_size=3),
    table.IMMEDIATE_HEAP: st.tuples(_HEAPS).map(list),
    table.IMMEDIATE_CAST: st.tuples(st.integers(0, 3), _U32, _HEAPS, _HEAPS).map(list),
}


def _immediates(code: int) -> st.SearchStrategy[list[int]]:
    kind = table.IMMEDIATES[code]
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    count = 1 if kind < table.IMMEDIATE_TYPE_TABLE else 2
    return st.lists(_U32, min_size=count, max_size=count)


@given(st.sampled_from(table.ROWS).flatmap(lambda row: st.tuples(st.just(row.code), _immediates(row.code))))
def test_decode_is_the_inverse_of_encode(instruction: tuple[int, list[int]]) -> None:
    code, numbers = instruction
    encoded = encode_instruction(code, numbers)
    data = b"\xff" + encoded + b"\xff"
    found, position = read_opcode(data, 1)
    assert found == code
    assert skip_immediates(data, position, FORMS[code]) == 1 + len(encoded)
    assert read_immediates(data, position, found) == (numbers, 1 + len(encoded))


@given(st.sampled_from(table.ROWS).flatmap(lambda row: st.tuples(st.just(row.code), _immediates(row.code))))
def test_a_cut_off_instruction_is_refused(instruction: tuple[int, list[int]]) -> None:
    encoded = encode_instruction(*instruction)
    for size in range(len(encoded)):
        with pytest.raises(MalformedModule):
            _decode(encoded[:size])


@given(st.binary(max_size=20))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(MalformedModule):
        assert _decode(data) <= len(data)


def _decode(data: bytes) -> int:
    code, position = read_opcode(data, 0)
    return read_immediates(data, position, code)[1]


def test_padded_numbers_are_read() -> None:
    assert read_opcode(b"\xfc\x8a\x80\x00", 0) == (table.CODE_BY_NAME["memory.copy"], 4)
    assert read_immediates(b"\x80\x80\x80\x80\x00", 0, table.CODE_BY_NAME["call"]) == ([0], 5)


@pytest.mark.parametrize("encoded", ["", "17", "ff", "fb1f", "fc17", "fdff03", "fe4f", "fdffffffff0f"])
def test_unknown_opcodes_are_refused(encoded: str) -> None:
    with pytest.raises(MalformedModule):
        read_opcode(bytes.fromhex(encoded), 0)


def test_locals() -> None:
    data = bytes.fromhex("03 02 7f 01 7c 00 70 0b")
    assert read_locals(data, 0) == ([I32, I32, F64], 7)
    assert read_locals(bytes.fromhex("01 d086 03 70"), 0) == ([FUNCREF] * 50_000, 5)


def test_absurd_numbers_of_locals_are_refused_at_once() -> None:
    with pytest.raises(MalformedModule, match="more than 50000 locals"):
        read_locals(bytes.fromhex("02 01 7f ff ff ff ff 0f 7f"), 0)
