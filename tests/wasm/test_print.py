"""`caesura print`: text that reads back to an equal module, for every kind of definition and for real programs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from caesura.errors import MalformedModule
from caesura.wasm import sections as sec
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.print_module import print_module, write_text
from caesura.wasm.print_names import IdentifierSpace
from caesura.wasm.print_values import f32_text, f64_text, string_text
from tests.support.counting import executed_lines, interpreted_only

# One line each, and each comes back byte for byte.
_MODULES = [
    "(module)",
    "(module $named (func $f))",
    "(module (type (func (param i32 i64) (result f32 f64))) (type (func)))",
    '(module (import "a b" "\\00\\7f\\22\\5c\\c3\\a9" (func $f (param i32))))',
    '(module (import "m" "f" (func)) (import "m" "t" (table 1 2 funcref)) (import "m" "m" (memory 1)) '
    '(import "m" "g" (global (mut i64))) (import "m" "e" (tag (param i32))) (import "m" "h" (func (param f64))))',
    "(module (func (param i32) (param $x i64) (param f32 f32) (result i32) (local i32) (local $y f32) unreachable))",
    "(module (func (local i32 i32 i32 i64 i64 funcref externref v128)))",
    "(module (memory 1) (memory 2 3) (memory i64 1 0x1000000000000) (memory 1 2 shared))",
    "(module (memory 100 (pagesize 1)))",
    "(module (table 1 funcref) (table 1 2 externref) (table i64 3 anyref))",
    "(module (func $f) (table 3 (ref func) (ref.func $f)) (table 1 funcref ref.null func))",
    "(module (global i32 (i32.const -1)) (global (mut f64) (f64.const nan:0x123)) (global v128 v128.const i64x2 1 -2))",
    "(module (global $a i32 i32.const 1) (global i32 global.get $a i32.const 2 i32.add i32.const 3 i32.mul))",
    "(module (tag $t (param i32 i64)) (tag))",
    '(module (func $f) (memory 1) (table 1 funcref) (global i32 i32.const 0) (tag $t) (export "" (func $f)) '
    '(export "m" (memory 0)) (export "t" (table 0)) (export "g" (global 0)) (export "e" (tag $t)) '
    '(export "\\c3\\a9 \\22" (func $f)))',
    "(module (func $main) (start $main))",
    "(module (table 9 funcref) (func $f) (elem (i32.const 1) func $f $f) (elem (table 0) (i32.const 1) func $f))",
    "(module (table 9 funcref) (func $f) (elem func $f) (elem declare func $f) (elem func))",
    "(module (table 9 funcref) (func $f) (elem (i32.const 1) funcref (item ref.func $f) (item ref.null func)))",
    "(module (table 9 externref) (elem (table 0) (i32.const 1) externref (item ref.null extern)))",
    "(module (func $f) (elem funcref (item ref.func $f)) (elem declare (ref func) (item ref.func $f)))",
    "(module (table 1 funcref) (table 9 funcref) (func $f) (elem $e (table 1) (offset i32.const 1 i32.const 2 i32.add) "
    "func $f))",
    '(module (memory 1) (data (i32.const 1) "a\\00\\ff\\\\\\"z") (data "passive") (data $d ""))',
    '(module (memory 1) (memory 1) (data (memory 1) (offset i32.const 3 i32.const 4 i32.sub) "x"))',
    '(module (memory i64 1) (data (i64.const 1) "x") (data $d "y") (func data.drop $d))',
    # Types of structs and arrays.
    "(module (type (array (mut i8))) (type (array i16)) (type (struct)) "
    "(type $s (struct (field $x i32) (field (mut f64)))))",
    "(module (rec (type $a (struct (field (ref null $b)))) (type $b (struct (field (ref $a))))) (rec))",
    "(module (type $a (sub (struct))) (type $b (sub $a (struct (field i32)))) "
    "(type (sub final $b (struct (field i32)))))",
    "(module (type $f (func (param (ref null $f) (ref $f) nullref nullfuncref nullexternref exnref nullexnref))))",
    "(module (type $s (struct (field $x i32))) (func (param (ref $s)) (result i32) local.get 0 struct.get $s $x))",
    "(module (type $s (struct)) (global (ref $s) struct.new $s) (global (ref i31) i32.const 1 ref.i31))",
    # Code.
    "(module (type $t (func (param i32) (result i32))) (func i32.const 0 block (type $t) end loop (type $t) end drop))",
    "(module (func $f block $out loop $in br $out br $in br 2 end end))",
    "(module (func (param i32) block block local.get 0 br_table 0 1 2 1 0 end end))",
    "(module (func (param i32) local.get 0 if (result i32) i32.const 1 else i32.const 2 end drop))",
    "(module (tag $t) (func try $l nop catch $t rethrow $l catch_all end try $d try delegate $d end))",
    "(module (tag $t) (func block $h try_table (catch $t $h) (catch_all $h) nop end end))",
    "(module (memory 1) (func i32.const 0 i32.load offset=16 align=1 i32.const 0 i64.load align=8 drop drop))",
    "(module (memory 1) (memory $m 1) (func i32.const 0 v128.load8_lane $m offset=3 align=1 5 drop))",
    "(module (table 1 funcref) (table $t 1 funcref) (func i32.const 0 call_indirect $t (param i32)))",
    "(module (func f32.const nan f32.const -nan f32.const nan:0x200000 f32.const inf f64.const -inf unreachable))",
    "(module (func f32.const 0x1p-149 f32.const 0x1.fffffep127 f32.const -0 f32.const 0.1 unreachable))",
    "(module (func f64.const 0x1p-1074 f64.const 0x1.fffffffffffffp1023 f64.const -0 f64.const 0.1 unreachable))",
    "(module (func i32.const 0x80000000 i64.const 0x8000000000000000 i32.const -1 i64.const -1 unreachable))",
    "(module (func i32.const 0 i32.const 0 i32.const 0 select (result i32) drop))",
    # Custom sections, in their places.
    '(module (@custom "dylink.0" (before first) "\\01\\02") (type (func)) (@custom "a" (after type) "x") (func) '
    '(@custom "b" (after type) "y") (@custom "c" (after code) "") (@custom "d" (after code) "\\00"))',
    '(module (memory 1) (data $d "") (func data.drop $d) (@custom "before code" (before code) "x"))',
]


@pytest.mark.parametrize("text", _MODULES, ids=range(len(_MODULES)))
def test_definition_comes_back(text: str) -> None:
    binary = bytes(wasmtime.wat2wasm(text))
    assert bytes(wasmtime.wat2wasm(print_module(binary))) == binary


def test_how_it_looks() -> None:
    text = """(module $example
      (type $binary (func (param i32 i32) (result i32)))
      (import "env" "log" (func $log (param i32)))
      (memory 1)
      (global $count (mut i32) (i32.const 0))
      (func $add (type $binary) (param $left i32) (param i32) (result i32)
        (local $sum i32)
        block $done (result i32)
          local.get $left
          local.get 1
          i32.add
          local.tee $sum
          i32.const 0
          i32.load offset=8
          i32.const 1
          br_if $done
        end)
      (export "add" (func $add))
      (data (i32.const 8) "hi\\n"))"""
    assert (
        print_module(bytes(wasmtime.wat2wasm(text)))
        == """(module $example
  (type $binary (;0;) (func (param i32 i32) (result i32)))
  (type (;1;) (func (param i32)))
  (import "env" "log" (func $log (;0;) (type 1) (param i32)))
  (func $add (;1;) (type $binary) (param $left i32) (param i32) (result i32)
    (local $sum i32)
    block $done (result i32)
      local.get $left
      local.get 1
      i32.add
      local.tee $sum
      i32.const 0
      i32.load offset=8
      i32.const 1
      br_if $done
    end
  )
  (memory (;0;) 1)
  (global $count (;0;) (mut i32) (i32.const 0))
  (export "add" (func $add))
  (data (;0;) (offset i32.const 8) "hi\\0a")
)
"""
    )


def test_names_that_are_no_identifiers_are_made_some() -> None:
    binary = bytes(wasmtime.wat2wasm('(module (func $"std::map<int, char>::at(int)") (func $"a b") (func $a_b))'))
    text = print_module(binary)
    assert "$std::map<int__char>::at_int_" in text
    assert "(func $a_b (;1;)" in text
    assert "(func $a_b_1 (;2;)" in text
    wasmtime.wat2wasm(text)


def test_identifiers_stay_unique() -> None:
    space = IdentifierSpace()
    names = ["a", "a", "a_1", "a", "a b", "a_b", "a_b_1", "\u00e9", "(", ")"]
    found = [space.identifier(name) for name in names]
    assert len(set(found)) == len(found)


@interpreted_only
def test_many_equal_names_take_linear_work() -> None:
    def name(count: int) -> None:
        space = IdentifierSpace()
        for _ in range(count):
            space.identifier("f")

    assert executed_lines(lambda: name(8_000)) < 5 * executed_lines(lambda: name(2_000))


def test_a_broken_name_section_does_not_matter() -> None:
    binary = bytes(wasmtime.wat2wasm("(module (func))")) + b"\x00\x09\x04name\x01\x50\xff\xff"
    assert "(func (;0;) (type 0)" in print_module(binary)


def test_compact_imports_are_written_out() -> None:
    content = bytes.fromhex("01 016d 00 7f 02 0161 00 00 0162 00 00")
    binary = bytes(wasmtime.wat2wasm("(module (type (func)))")) + b"\x02" + encode_unsigned(len(content)) + content
    text = print_module(binary)
    assert '(import "m" "a" (func (;0;) (type 0)))' in text
    assert '(import "m" "b" (func (;1;) (type 0)))' in text


def _with_body(code: bytes) -> bytes:
    body = b"\x00" + code
    content = b"\x01" + encode_unsigned(len(body)) + body
    header = bytes.fromhex("0061736d 01000000 0104 01600000 0302 0100")
    return header + b"\x0a" + encode_unsigned(len(content)) + content


def test_deep_nesting_neither_recurses_nor_blows_up() -> None:
    text = print_module(_with_body(b"\x02\x40" * 100_000 + b"\x0b" * 100_001))
    assert text.count("block") == text.count("end") == 100_000
    assert len(text) < 200 * 100_000


def test_text_comes_in_pieces() -> None:
    pieces: list[str] = []
    write_text(bytes(wasmtime.wat2wasm("(module (func) (func) (func))")), pieces.append)
    assert len(pieces) >= 5
    assert max(len(piece) for piece in pieces) < 60


@pytest.mark.parametrize(
    "path",
    ["wa-sqlite/dist/wa-sqlite.wasm", "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm"],
)
def test_real_modules_come_back(path: str, real_module: Callable[[str], bytes]) -> None:
    binary = real_module(path)
    text = print_module(binary)
    again = bytes(wasmtime.wat2wasm(text))
    assert print_module(again) == text
    assert _contents(again) == _contents(binary)


def _contents(binary: bytes) -> list[tuple[int, str, bytes]]:
    """All sections but the data count, which text has exactly where an instruction needs one."""
    return [
        (section.id, section.name, binary[section.payload : section.end])
        for section in Module(binary).sections
        if section.id != sec.DATA_COUNT
    ]


@pytest.mark.parametrize(
    "code",
    [
        "2005 0b",
        "1009 0b",
        "0c05 0b",
        "2305 0b",
        "0b 0b",
        "05 0b",
        "19 0b",
        "0700 0b",
        "1800 0b",
        "00",
        "0240 0b",
        "2820 00 0b",
    ],
)
def test_broken_code_is_refused_with_its_offset(code: str) -> None:
    with pytest.raises(MalformedModule) as caught:
        print_module(_with_body(bytes.fromhex(code)))
    assert caught.value.offset > 20


@given(st.integers(0, 2**32 - 1))
def test_every_f32_comes_back(bits: int) -> None:
    binary = bytes(wasmtime.wat2wasm(f"(module (func f32.const {f32_text(bits)} drop))"))
    assert bits.to_bytes(4, "little") in binary


@given(st.integers(0, 2**64 - 1))
def test_every_f64_comes_back(bits: int) -> None:
    binary = bytes(wasmtime.wat2wasm(f"(module (func f64.const {f64_text(bits)} drop))"))
    assert bits.to_bytes(8, "little") in binary


@given(st.binary(max_size=300))
def test_every_string_comes_back(data: bytes) -> None:
    binary = bytes(wasmtime.wat2wasm(f"(module (data {string_text(data)}))"))
    assert binary.endswith(encode_unsigned(len(data)) + data)
