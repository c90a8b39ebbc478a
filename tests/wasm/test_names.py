"""The name section: read, extended, and left alone where it is broken."""

from __future__ import annotations

import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import (
    DATA_NAMES,
    ELEMENT_NAMES,
    FIELD_NAMES,
    FUNCTION_NAMES,
    GLOBAL_NAMES,
    LABEL_NAMES,
    LOCAL_NAMES,
    MEMORY_NAMES,
    TABLE_NAMES,
    TAG_NAMES,
    TYPE_NAMES,
    Names,
    NewNames,
    extend_names,
)

_TEXT = """(module $all
  (type $struct (struct (field $x i32) (field i32) (field $y i32)))
  (table $table 1 funcref) (memory $memory 1) (global $global i32 (i32.const 0)) (tag $tag)
  (elem $elem func $f) (data $data "")
  (func $f (param $p i32) (local i32) (local $q i32) (block $outer (block $inner)))
  (func (param i32))
  (func $"a b" (param $r i32)))"""


def _name_payload(text: str = _TEXT) -> bytes:
    binary = bytes(wasmtime.wat2wasm(text))
    section = Module(binary).custom_section("name")
    assert section is not None
    return binary[section.payload : section.end]


def _subsection(number: int, content: bytes) -> bytes:
    return bytes([number]) + encode_unsigned(len(content)) + content


def test_every_subsection_is_read() -> None:
    names = Names(_name_payload())
    assert names.module == "all"
    assert names.maps[FUNCTION_NAMES] == {0: "f", 2: "a b"}
    assert names.maps[TYPE_NAMES] == {0: "struct"}
    assert names.maps[TABLE_NAMES] == {0: "table"}
    assert names.maps[MEMORY_NAMES] == {0: "memory"}
    assert names.maps[GLOBAL_NAMES] == {0: "global"}
    assert names.maps[ELEMENT_NAMES] == {0: "elem"}
    assert names.maps[DATA_NAMES] == {0: "data"}
    assert names.maps[TAG_NAMES] == {0: "tag"}
    assert names.inner(LOCAL_NAMES, 0) == {0: "p", 2: "q"}
    assert names.inner(LOCAL_NAMES, 1) == {}
    assert names.inner(LOCAL_NAMES, 2) == {0: "r"}
    assert names.inner(LABEL_NAMES, 0) == {0: "outer", 1: "inner"}
    assert names.inner(FIELD_NAMES, 0) == {0: "x", 2: "y"}


def test_nothing_new_changes_nothing() -> None:
    assert extend_names(_name_payload(), NewNames()) == _name_payload()


def test_names_are_added_and_the_rest_is_kept() -> None:
    unknown = _subsection(99, b"\x01\x02\x03")
    payload = _name_payload() + unknown
    new = NewNames()
    new.add(FUNCTION_NAMES, 3, "push")
    new.add(GLOBAL_NAMES, 1, "state")
    new.add_inner(LOCAL_NAMES, 0, 3, "saved")
    new.add_inner(LOCAL_NAMES, 1, 1, "index")
    new.add_inner(LOCAL_NAMES, 3, 0, "value")
    extended = extend_names(payload, new)
    assert extended.endswith(unknown)
    names = Names(extended)
    assert names.module == "all"
    assert names.maps[FUNCTION_NAMES] == {0: "f", 2: "a b", 3: "push"}
    assert names.maps[GLOBAL_NAMES] == {0: "global", 1: "state"}
    assert names.inner(LOCAL_NAMES, 0) == {0: "p", 2: "q", 3: "saved"}
    assert names.inner(LOCAL_NAMES, 1) == {1: "index"}
    assert names.inner(LOCAL_NAMES, 2) == {0: "r"}
    assert names.inner(LOCAL_NAMES, 3) == {0: "value"}
    assert names.inner(LABEL_NAMES, 0) == {0: "outer", 1: "inner"}
    for kept in (TYPE_NAMES, TABLE_NAMES, MEMORY_NAMES, TAG_NAMES):
        assert names.maps[kept] == Names(payload).maps[kept]


def test_a_missing_subsection_is_inserted_in_order() -> None:
    payload = _name_payload("(module $m (func $f) (memory $memory 1))")
    new = NewNames()
    new.add_inner(LOCAL_NAMES, 0, 0, "x")
    new.add(GLOBAL_NAMES, 0, "g")
    extended = extend_names(payload, new)
    order = []
    position = 0
    while position < len(extended):
        order.append(extended[position])
        position += 2 + extended[position + 1]
    assert order == [0, 1, 2, 6, 7]


def test_a_section_can_be_started() -> None:
    new = NewNames()
    new.add(FUNCTION_NAMES, 0, "f")
    new.add(MEMORY_NAMES, 1, "stack")
    names = Names(extend_names(b"", new))
    assert names.maps[FUNCTION_NAMES] == {0: "f"}
    assert names.maps[MEMORY_NAMES] == {1: "stack"}


def test_a_new_name_replaces_an_old_one() -> None:
    new = NewNames()
    new.add(FUNCTION_NAMES, 0, "renamed")
    assert Names(extend_names(_name_payload(), new)).maps[FUNCTION_NAMES] == {0: "renamed", 2: "a b"}


def test_a_broken_subsection_is_kept_and_the_others_are_extended() -> None:
    broken = _subsection(FUNCTION_NAMES, b"\x05\x00\x01a")
    payload = broken + _subsection(GLOBAL_NAMES, b"\x01\x00" + encode_name("g"))
    new = NewNames()
    new.add(FUNCTION_NAMES, 9, "lost")
    new.add(GLOBAL_NAMES, 1, "h")
    extended = extend_names(payload, new)
    assert extended.startswith(broken)
    assert Names(extended).maps[GLOBAL_NAMES] == {0: "g", 1: "h"}
    assert Names(extended).maps[FUNCTION_NAMES] == {0: "a"}


def test_what_is_no_sequence_of_subsections_is_kept() -> None:
    new = NewNames()
    new.add(FUNCTION_NAMES, 0, "f")
    for payload in (b"\x01", b"\x01\x7f\x00", b"\x01\xff\xff\xff\xff\xff\xff", _name_payload() + b"\x01\x05"):
        assert extend_names(payload, new) == payload


def test_names_that_are_not_utf8_do_not_matter() -> None:
    payload = _subsection(FUNCTION_NAMES, b"\x02\x00\x02\xff\xfe\x01\x01b")
    assert Names(payload).maps[FUNCTION_NAMES][1] == "b"


@given(st.binary(max_size=40))
def test_any_payload_is_taken(payload: bytes) -> None:
    new = NewNames()
    new.add(FUNCTION_NAMES, 5, "f")
    new.add_inner(LOCAL_NAMES, 5, 0, "x")
    names = Names(payload)
    for subsection in (LOCAL_NAMES, LABEL_NAMES, FIELD_NAMES):
        names.inner(subsection, 0)
    extend_names(payload, new)
