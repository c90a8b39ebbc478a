"""Value types: binary encoding and text, there and back."""

from __future__ import annotations

import pytest

from caesura.errors import MalformedModule
from caesura.wasm import types as t
from caesura.wasm.hierarchies import top_of
from caesura.wasm.module import Module
from caesura.wasm.type_matching import are_subtypes

_ENCODED = {
    t.I32: ("7f", "i32"),
    t.I64: ("7e", "i64"),
    t.F32: ("7d", "f32"),
    t.F64: ("7c", "f64"),
    t.V128: ("7b", "v128"),
    t.I8: ("78", "i8"),
    t.I16: ("77", "i16"),
    t.FUNCREF: ("70", "funcref"),
    t.EXTERNREF: ("6f", "externref"),
    t.EXNREF: ("69", "exnref"),
    t.make_reference(t.NOFUNC, nullable=True): ("73", "nullfuncref"),
    t.make_reference(t.EQ, nullable=False): ("646d", "(ref eq)"),
    t.make_reference(0, nullable=True): ("6300", "(ref null 0)"),
    t.make_reference(64, nullable=False): ("64c000", "(ref 64)"),
    t.make_reference(1_000_000, nullable=False): ("64c0843d", "(ref 1000000)"),
}


@pytest.mark.parametrize(("value_type", "encoded", "text"), [(one, *pair) for one, pair in _ENCODED.items()])
def test_value_type(value_type: int, encoded: str, text: str) -> None:
    raw = bytes.fromhex(encoded)
    assert t.encode_value_type(value_type) == raw
    assert t.read_storage_type(b"\xff" + raw + b"\xff", 1) == (value_type, 1 + len(raw))
    assert t.type_name(value_type) == text


def test_long_form_of_a_nullable_abstract_reference_is_the_short_one() -> None:
    assert t.read_storage_type(b"\x63\x70", 0) == (t.FUNCREF, 2)


def test_parts_of_a_reference() -> None:
    reference = t.make_reference(7, nullable=False)
    assert t.is_reference(reference)
    assert not t.is_nullable(reference)
    assert t.heap_of(reference) == 7
    assert not t.is_abstract(7)
    assert t.nullable(reference) == t.make_reference(7, nullable=True)
    assert t.non_null(t.nullable(reference)) == reference
    assert t.heap_of(t.ANYREF) == t.ANY
    assert t.is_abstract(t.ANY)


def test_a_number_type_is_no_reference() -> None:
    assert not t.is_reference(t.V128)
    assert not t.is_nullable(t.V128)


@pytest.mark.parametrize("encoded", ["", "00", "40", "63", "6340", "64ffffffff7f", "64ffffffffff7f", "7a", "ff"])
def test_what_is_no_type_is_refused(encoded: str) -> None:
    with pytest.raises(MalformedModule) as caught:
        t.read_storage_type(bytes.fromhex(encoded), 0)
    assert caught.value.offset >= 0


def test_a_number_type_is_not_read_as_a_reference_type() -> None:
    with pytest.raises(MalformedModule, match="unknown reference type 0x7f"):
        t.read_reference_type(b"\x7f", 0)


def _abstract_references() -> list[int]:
    """Return the nullable references to all abstract heap types that there are: those of one byte."""
    found = []
    for byte in range(0x40, 0x80):  # as numbers these are negative: they name no type of the module
        try:
            found.append(t.make_reference(t.read_heap_type(bytes([byte]), 0)[0], nullable=True))
        except MalformedModule:
            continue
    return found


@pytest.mark.parametrize("reference", [pytest.param(one, id=t.type_name(one)) for one in _abstract_references()])
def test_every_abstract_heap_type_lies_below_the_top_of_its_hierarchy_and_no_other(reference: int) -> None:
    module = Module(b"\0asm\1\0\0\0")
    top = top_of(module, reference)
    for other in {top_of(module, one) for one in _abstract_references()}:
        above = t.make_reference(other, nullable=True)
        assert are_subtypes(module, [], (reference,), (above,)) == (other == top)
