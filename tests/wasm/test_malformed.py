"""Broken modules are refused by a worded error, whatever is broken and whoever looks: no other exception escapes."""

from __future__ import annotations

import contextlib

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from caesura.errors import MalformedModule
from caesura.wasm import sections as sec
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.print_module import print_module
from caesura.wasm.sections import SectionEdits, write_sections
from caesura.wasm.segments import read_data_segments, read_element_segments
from caesura.wasm.stack_typing import check_function

_TEXT = """(module
  (type $pair (struct (field $first (mut i32)) (field (mut i8))))
  (type $numbers (array (mut i32)))
  (import "m" "f" (func $imported (param i32) (result i32)))
  (memory 1) (memory i64 1 2)
  (table 3 funcref)
  (tag $tag (param i32))
  (global $global (mut i32) (i32.const 7))
  (export "run" (func $run))
  (elem (i32.const 0) func $run $imported)
  (elem $passive funcref (item ref.func $run) (item ref.null func))
  (data (i32.const 8) "active")
  (data $data "passive")
  (func $run (param $x i32) (param f64) (result i32) (local i64 funcref)
    block $out (result i32)
      loop $again
        local.get $x
        if (result i32) i32.const 1 else global.get $global end
        local.get $x
        br_if $out
        br_table $again $again $again
      end
      try_table (result i32) (catch $tag $out) local.get $x call $imported end
      struct.new_default $pair struct.get_u $pair 1 i32.add
      i32.const 3 i32.const 4 array.new $numbers i32.const 0 array.get $numbers i32.add
    end
    i64.const 9 i64.load 1 offset=65536 i32.wrap_i64 i32.add
    v128.const i64x2 1 2 i8x16.extract_lane_s 3 i32.add
    i32.const 0 i32.const 0 i32.const 0 memory.init $data
    i32.const 0 call_indirect (param i32) (result i32)))"""
_BINARY = bytes(wasmtime.wat2wasm(_TEXT))


def _look_at_everything(binary: bytes) -> None:
    with contextlib.suppress(MalformedModule):
        print_module(binary)
    with contextlib.suppress(MalformedModule):
        module = Module(binary)
        for function in range(module.imported_functions, len(module.function_types)):
            check_function(module, FunctionIndex(function))


def test_the_whole_module_is_fine() -> None:
    module = Module(_BINARY)
    check_function(module, FunctionIndex(1))
    assert bytes(wasmtime.wat2wasm(print_module(_BINARY))) == _BINARY


@given(st.integers(8, len(_BINARY) - 1), st.integers(0, 255))
@settings(max_examples=1000)
def test_one_byte_changed(place: int, value: int) -> None:
    _look_at_everything(_BINARY[:place] + bytes([value]) + _BINARY[place + 1 :])


def test_cut_off_anywhere() -> None:
    for size in range(len(_BINARY)):
        _look_at_everything(_BINARY[:size])


@given(st.integers(0, len(_BINARY)), st.binary(max_size=6), st.integers(0, 6))
@settings(max_examples=500)
def test_bytes_replaced(place: int, inserted: bytes, removed: int) -> None:
    _look_at_everything(_BINARY[:place] + inserted + _BINARY[place + removed :])


def _with_section(section: int, content: str) -> Module:
    edits = SectionEdits()
    edits.replace[section] = bytes.fromhex(content)
    binary = bytes(wasmtime.wat2wasm("(module (memory 1) (table 1 funcref))"))
    return Module(write_sections(binary, Module(binary).sections, edits))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("01 08", "flags 8"),
        ("01 01 01 00", "element kind 1"),
        ("01 05 7f 00", "reference type 0x7f"),
        ("01 01 00 05 00", "claims 5 items"),
        ("01 01 00 00 00", "should end"),
        ("01 00 41 00", "no end"),
    ],
)
def test_broken_element_segments(content: str, message: str) -> None:
    with pytest.raises(MalformedModule, match=message):
        read_element_segments(_with_section(sec.ELEMENT, content))


@pytest.mark.parametrize(
    ("content", "message"),
    [("01 03", "flags 3"), ("01 01 05 00", "reaches beyond"), ("01 01 01 00 00", "should end")],
)
def test_broken_data_segments(content: str, message: str) -> None:
    with pytest.raises(MalformedModule, match=message):
        read_data_segments(_with_section(sec.DATA, content))


@pytest.mark.parametrize("packed", [0x78, 0x77])
@pytest.mark.parametrize(
    ("section", "content"), [(sec.GLOBAL, "01 {0:02x} 00 41 00 0b"), (sec.TYPE, "01 60 01 {0:02x} 00")]
)
def test_packed_types_are_no_values(section: int, content: str, packed: int) -> None:
    """Only fields of structures and arrays are so small."""
    with pytest.raises(MalformedModule, match=r"i(8|16) is a type of fields only"):
        _ = _with_section(section, content.format(packed)).globals


def test_a_reference_to_a_type_that_there_is_not() -> None:
    """`array.new 1` becomes `ref.null 6`, and there are fewer types; it shows where the null is taken for an array."""
    changed = Module(_BINARY.replace(bytes.fromhex("fb0601"), bytes.fromhex("d00601")))
    with pytest.raises(MalformedModule, match="a reference to type 6, and the module has"):
        check_function(changed, FunctionIndex(1))
