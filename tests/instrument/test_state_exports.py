"""What a module exports so that its state can be saved does what docs/abi.md says, in Wasmtime and in Node.

Where a test gives steps, both engines do them and must give the same; see `tests.support.stateful`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import caesura
from benchmarks.running.inputs import C_PROGRAMS, c_program
from caesura.abi import (
    CONTRACT_SECTION,
    START_FUNCTION,
    STATE_DIGEST,
    STATE_FUNCTIONS,
    STATE_PREFIX,
    STATE_SECTION,
)
from caesura.errors import UnsupportedModule, UsageError
from caesura.instrument.state_exports.exports import add_state_exports
from caesura.instrument.state_exports.guest_state import Origin, no_bounds
from caesura.instrument.state_exports.section import digest_without_custom
from caesura.snapshots.section import StateSection, StateTag, read_section
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from caesura.wasm.types import ANYREF, EXNREF, EXTERNREF, F32, F64, FUNCREF, I32, I64, V128
from tests.instrument.building import Part, assert_valid, bodies, part, parts
from tests.support.engine import assemble
from tests.support.guests import c_guest
from tests.support.node import newer_node, run_driver
from tests.support.paths import npm_file
from tests.support.stateful import Step, in_node, in_wasmtime

PLAIN: Final = caesura.Options(snapshots=True)
HOST: Final = caesura.Options(snapshots=True, thunks=True, in_secondary_memory=True)

# A quiet and a signalling NaN with payloads, as bits.
NAN32: Final = 0x7FA0_0001
NAN64: Final = "9219994337134247937"  # 0x7ff4000000000001


def saved(text: str, options: caesura.Options = PLAIN) -> bytes:
    return caesura.instrument(assemble(text), options).module


def section_of(module: bytes) -> StateSection:
    return read_section(part(module, STATE_SECTION).payload)


def state_names(module: bytes) -> list[str]:
    """Return the names of the exports for the state, without their prefix."""
    names = [item.name for item in Module(module).exports]
    return [name.removeprefix(STATE_PREFIX) for name in names if name.startswith(STATE_PREFIX)]


def both(module: bytes, steps: list[Step], folder: Path) -> list[Any]:
    """Do steps in both engines, and return what they gave."""
    there = in_node(module, steps, folder)
    here = in_wasmtime(module, steps)
    assert here == there
    return here


NUMBERS: Final = """(module
  (memory (export "memory") 1)
  (global $a (mut i32) (i32.const 5))
  (global $b (mut i64) (i64.const -1))
  (global $f (mut f32) (f32.const 1))
  (global $d (mut f64) (f64.const 1))
  (global $v (mut v128) (v128.const i64x2 1 2))
  (global $constant f32 (f32.const 3))
  (func (export "f") (result i32) (i32.reinterpret_f32 (global.get $f)))
  (func (export "d") (result i64) (i64.reinterpret_f64 (global.get $d)))
  (func (export "low") (result i64) (i64x2.extract_lane 0 (global.get $v)))
  (func (export "high") (result i64) (i64x2.extract_lane 1 (global.get $v))))"""


def test_globals_keep_their_bits(tmp_path: Path) -> None:
    module = saved(NUMBERS)
    steps: list[Step] = [
        ["call", "asyncify_state:get:2"],
        ["call", "asyncify_state:get:3"],
        ["call", "asyncify_state:get:4"],
        ["call", "asyncify_state:get_high:4"],
        ["call", "asyncify_state:set:2", NAN32],
        ["call", "asyncify_state:set:3", NAN64],
        ["call", "asyncify_state:set:4", "81985529216486895", "9223372036854775807"],
        ["write", "asyncify_state:global:0", 77],
        ["write", "asyncify_state:global:1", "1311768467463790320"],
        ["call", "asyncify_state:get:2"],
        ["call", "asyncify_state:get:3"],
        ["call", "asyncify_state:get:4"],
        ["call", "asyncify_state:get_high:4"],
        ["call", "f"],
        ["call", "d"],
        ["call", "low"],
        ["call", "high"],
        ["read", "asyncify_state:global:0"],
        ["read", "asyncify_state:global:1"],
    ]
    bits = [NAN32, NAN64, "81985529216486895", "9223372036854775807"]
    before = [0x3F80_0000, "4607182418800017408", "1", "2"]
    assert both(module, steps, tmp_path) == [*before, *[None] * 5, *bits, *bits, 77, "1311768467463790320"]
    types = [(item.index, item.type, item.imported) for item in section_of(module).globals]
    assert types == [(0, I32, False), (1, I64, False), (2, F32, False), (3, F64, False), (4, V128, False)]


SEGMENTS: Final = """(module
  (memory (export "memory") {address} 1)
  (table $t (export "t") 4 funcref)
  (func $f)
  (data $dropped "abc")
  (data $kept "abc")
  (data $empty "")
  (data (offset ({address}.const 16)) "active")
  (elem $functions func $f)
  (elem $nulls externref (ref.null extern))
  (elem $kept_elements func $f)
  (elem $none func)
  (elem declare func $f)
  (func (export "init") (memory.init $dropped ({address}.const 8) (i32.const 0) (i32.const 3)))
  (func (export "drop") (data.drop $dropped) (data.drop $empty) (data.drop 3))
  (func (export "drop_elements") (elem.drop $functions) (elem.drop $nulls) (elem.drop $none)))"""


@pytest.mark.parametrize("address", ["i32", "i64"])
@pytest.mark.parametrize("by", ["guest", "host"])
def test_segments_are_probed_and_dropped(address: str, by: str, tmp_path: Path) -> None:
    module = saved(SEGMENTS.format(address=address))
    section = section_of(module)
    assert (section.data, section.elements, section.added_tables) == ((0,), (0, 1), 2)
    probes: list[Step] = [
        ["call", f"{STATE_PREFIX}{name}"] for name in ("probe_data:0", "probe_elements:0", "probe_elements:1")
    ]
    drops: list[Step] = [
        ["call", f"{STATE_PREFIX}{name}"] for name in ("drop_data:0", "drop_elements:0", "drop_elements:1")
    ]
    if by == "guest":
        drops = [["call", "drop"], ["call", "drop_elements"], ["byte", "memory", 16]]
    steps = [*probes, *probes, ["call", "init"], *drops, *probes, ["call", "init"], ["byte", "memory", 8]]
    found = both(module, steps, tmp_path)
    assert found[:7] == [None] * 7
    assert found[10:] == ["trap"] * 4 + [ord("a")]


def test_data_of_a_module_without_a_memory(tmp_path: Path) -> None:
    text = """(module (type $bytes (array i8)) (data $d "abc")
      (func (export "first") (result i32)
        (array.get_u $bytes (array.new_data $bytes $d (i32.const 0) (i32.const 1)) (i32.const 0)))
      (func (export "drop") (data.drop $d)))"""
    given = Module(assemble(text))
    module = add_state_exports(given, Origin(given.data, [], {}), no_bounds(given))
    probe: Step = ["call", "asyncify_state:probe_data:0"]
    steps: list[Step] = [probe, ["call", "first"], ["call", "drop"], probe, ["call", "first"]]
    assert both(module, steps, tmp_path) == [None, ord("a"), None, "trap", "trap"]


FUNCTIONS: Final = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 1)
  (table $t (export "t") 6 funcref)
  (table $private 2 funcref)
  (global $held (mut funcref) (ref.func $one))
  (global $fixed funcref (ref.func $two))
  (type $number (func (result i32)))
  (elem (table $private) (i32.const 0) func $three)
  (elem $passive func $four $ask)
  (func $nobody (result i32) (i32.const 0))
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func $three (result i32) (i32.const 3))
  (func $four (result i32) (i32.const 4))
  (func $exported (export "exported") (result i32) (call $nobody))
  (func (export "fill")
    (table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 2))
    (table.set $t (i32.const 2) (global.get $held))
    (table.set $t (i32.const 3) (global.get $fixed))
    (table.copy $t $private (i32.const 4) (i32.const 0) (i32.const 1)))
  (func (export "call") (param i32) (result i32) (call_indirect $t (type $number) (local.get 0))))"""


@pytest.mark.parametrize("options", [PLAIN, HOST], ids=["plain", "thunks"])
def test_functions_are_listed_and_found(options: caesura.Options, tmp_path: Path) -> None:
    module = saved(FUNCTIONS, options)
    section = section_of(module)
    tables = [(table.index, table.type) for table in section.tables]
    assert tables == [(0, FUNCREF)]
    listed = len(section.functions)
    steps: list[Step] = [
        ["sizes", STATE_FUNCTIONS],
        ["call", "fill"],
        ["count"],
        ["count"],
        *[["find", "asyncify_state:table:0", place] for place in range(6)],
        *[["put", "asyncify_state:table:0", 5, place] for place in range(listed)],
    ]
    found = both(module, steps, tmp_path)
    assert found[:4] == [0, None, listed, listed]
    places = found[4:9]
    assert -1 not in places and len(set(places)) == 5
    assert found[9] == -1
    # By index: the functions of the module that was given stand where they stood, behind its one import.
    four, ask, one, two, three = [section.functions[place] for place in places]
    assert (one, two, three, four) == (2, 3, 4, 5)
    assert ask == (0 if options is PLAIN else max(section.functions))
    assert 1 not in section.functions  # of `nobody` nobody can make a reference
    # What is put back is what was there.
    calls: list[Step] = [["put", "asyncify_state:table:0", 5, place] for place in (places[0], places[2], places[4])]
    steps = [step for put in calls for step in (put, ["call", "call", 5])]
    assert both(module, steps, tmp_path)[1::2] == [4, 1, 3]


def test_functions_of_tables_that_cannot_change_are_not_listed() -> None:
    module = saved("""(module (memory (export "memory") 1) (table 2 funcref) (func $f) (elem (i32.const 0) func $f)
      (func (export "g") (call_indirect (i32.const 0))))""")
    section = section_of(module)
    assert (section.tables, section.functions, section.added_tables) == ((), (), 0)
    assert state_names(module) == ["memory:0"]


@pytest.mark.parametrize(
    "instruction",
    [
        "(table.set $t (i32.const 0) (ref.null func))",
        "(drop (table.grow $t (ref.null func) (i32.const 1)))",
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))",
        "(table.copy $t $other (i32.const 0) (i32.const 0) (i32.const 1))",
        "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))",
    ],
)
def test_tables_that_code_writes_are_state(instruction: str) -> None:
    module = saved(f"""(module (memory (export "memory") 1) (table $other 2 funcref) (table $t 2 externref)
      (func $f) (elem $e externref (ref.null extern))
      (func (i64.store offset=0x26 (i32.const 38) (i64.const 0x2626262626)))
      (func {instruction.replace("$other", "$t").replace("null func", "null extern")}))""")
    assert [(table.index, table.type) for table in section_of(module).tables] == [(1, EXTERNREF)]


def test_a_table_of_many_is_found_by_its_padded_index() -> None:
    """Linkers pad numbers so that they can patch them."""
    tables = "(table 1 externref)" * 20
    text = f'(module (memory (export "memory") 1) {tables} (func (table.set 19 (i32.const 0) (ref.null extern))))'
    assert [table.index for table in section_of(saved(text)).tables] == [19]
    binary = assemble(text.replace(tables, "(table 1 externref)").replace("19", "0"))
    set_to_null = b"\x41\x00\xd0\x6f\x26"
    padded = binary.replace(set_to_null + b"\x00", set_to_null + b"\x80\x80\x80\x80\x00")
    padded = padded.replace(b"\x0a\x0a\x01\x08\x00", b"\x0a\x0e\x01\x0c\x00")
    options = caesura.Options(snapshots=True, keep_padding=True)
    assert [table.index for table in section_of(caesura.instrument(padded, options).module).tables] == [0]


def test_sizes_of_bodies_are_no_code() -> None:
    """A body of 38 bytes without locals begins with what looks like `table.set 0`."""
    nops = "(nop)" * 36
    module = assemble(f'(module (memory (export "memory") 1) (table 1 externref) (func) (func {nops}) (func {nops}))')
    assert module.count(b"\x26\x00") == 2
    assert section_of(caesura.instrument(module, PLAIN).module).tables == ()


@pytest.mark.parametrize("options", [PLAIN, HOST], ids=["plain", "thunks"])
def test_a_start_function_runs_when_it_is_called(options: caesura.Options, tmp_path: Path) -> None:
    module = saved(
        """(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 1)) (start $s)
          (func $s (global.set $g (i32.mul (global.get $g) (i32.const 5)))))""",
        options,
    )
    read: Step = ["read", "asyncify_state:global:0"]
    assert both(module, [read, ["call", START_FUNCTION], read], tmp_path) == [1, None, 5]
    assert section_of(module).starts
    assert part(module, CONTRACT_SECTION).payload[0] == section_of(module).contract == 2


def test_where_references_of_frames_lie_is_state(tmp_path: Path) -> None:
    text = """(module (import "env" "ask" (func $ask (param i32) (result i32))) (memory (export "memory") 1)
      (func (export "f") (param externref) (result externref)
        (drop (call $ask (i32.const 1))) (local.get 0)))"""
    module = saved(text, HOST)
    section = section_of(module)
    assert [(table.index, table.type) for table in section.tables] == [(0, EXTERNREF)]
    assert [item.type for item in section.globals] == [I32] * 4
    names = state_names(module)
    assert [name for name in names if name.startswith("memory:")] == ["memory:0"]
    assert both(module, [["sizes", "asyncify_state:table:0"]], tmp_path) == [0]


def test_the_globals_of_the_abi_are_not_state() -> None:
    text = """(module (import "env" "g" (global (mut i32))) (import "env" "ask" (func $ask (param i32) (result i32)))
      (memory (export "memory") 1) (global (mut i64) (i64.const 1))
      (func (export "f") (result i32) (call $ask (i32.const 1))))"""
    cases: list[dict[str, Any]] = [{}, {"thunks": True}, {"export_globals": True}, {"import_globals": True}]
    for more in cases:
        section = section_of(saved(text, replace(PLAIN, **more)))
        expected = [(I32, True), (I64, False)]
        assert [(item.type, item.imported) for item in section.globals] == expected, more
        assert section.options == more
        assert section.imports == ("env.ask",)


@pytest.mark.parametrize("third", ["1 3 shared", "1 3"])
def test_memories_are_told_with_their_kinds(third: str, tmp_path: Path) -> None:
    text = f"""(module (memory (export "memory") 1) (memory $b i64 2) (memory $c {third})
      (func (export "store") (i64.store8 $b (i64.const 9) (i64.const 200))))"""
    module = saved(text, caesura.Options(snapshots=True, in_secondary_memory=True))
    memories = section_of(module).memories
    assert [(item.index, item.page_size, item.imported) for item in memories] == [(at, 65536, False) for at in range(3)]
    is_shared = third.endswith("shared")
    assert [(item.wide, item.shared) for item in memories] == [(False, False), (True, False), (False, is_shared)]
    steps: list[Step] = [["call", "store"], ["byte", "asyncify_state:memory:1", 9]]
    assert in_node(module, steps, tmp_path) == [None, 200]
    if is_shared:  # for which engines of wasmtime-py have no setting
        assert_valid(module)
    else:
        assert in_wasmtime(module, steps) == [None, 200]


def test_a_memory_that_was_added_is_not_state() -> None:
    module = saved('(module (import "env" "ask" (func $ask)) (func (export "f") (call $ask)))')
    assert section_of(module).memories == ()


def test_exports_that_javascript_cannot_call_again_are_named() -> None:
    text = """
      (module
        (type $typed (func))
        (import "env" "ask" (func $ask))
        (func (export "plain") (param i32 i64 f32 f64 funcref externref) (call $ask))
        (func (export "typed") (param (ref null $typed)) (call $ask))
        (func (export "any") (param (ref func)) (call $ask))
        (func (export "vector") (param v128) (call $ask)))"""
    for options in (PLAIN, HOST):
        content = json_of(saved(text, options))
        assert content["uncallable"] == ["typed", "vector"]
    assert "uncallable" not in json_of(
        saved('(module (import "env" "ask" (func)) (func (export "plain") (param i32)))')
    )


def json_of(module: bytes) -> dict[str, Any]:
    """Return the text of the section, as it stands there."""
    payload = part(module, STATE_SECTION).payload
    size, start = read_u32(payload, 1 + 2 * STATE_DIGEST)
    content: dict[str, Any] = json.loads(payload[start : start + size])
    return content


def test_what_hosts_cannot_be_shown_is_reached_by_functions(tmp_path: Path) -> None:
    module = saved("""(module (memory (export "memory") 1) (type $f (func)) (type $s (struct (field i32)))
      (global (mut anyref) (ref.null any)) (global (mut (ref null $f)) (ref.null $f))
      (global (ref null $s) (ref.null $s))
      (tag (param i32 v128)) (tag (param externref))
      (table (export "t") 1 (ref null $f)) (table 3 anyref) (table 1 i31ref) (table i64 1 exnref)
      (func (export "g") (table.set 1 (i32.const 2) (ref.i31 (i32.const 1))) (table.set 3 (i64.const 0) (ref.null exn)))
      (func (export "h") (global.set 0 (ref.i31 (i32.const 1)))))""")
    section = section_of(module)
    assert section.unsaved == ()
    assert [(item.index, item.type, item.declared) for item in section.globals] == [
        (0, ANYREF, "anyref"),
        (1, FUNCREF, "(ref null 0)"),
    ]
    assert [(item.index, item.type, item.declared, item.wide) for item in section.tables] == [
        (0, FUNCREF, "(ref null 0)", False),
        (1, ANYREF, "anyref", False),
        (3, EXNREF, "exnref", True),
    ]
    assert section.tags == (StateTag((I32, V128)), StateTag((), "carries references"))
    assert section.added_tables == 2  # for functions, and for an exception that is looked into
    steps: list[Step] = [
        *[["call", f"asyncify_state:find:{name}", 0] for name in ("table:0", "table:1", "global:0", "table:3")],
        ["call", "g"],
        ["call", "h"],
        *[["call", f"asyncify_state:find:{name}", place] for name in ("table:1", "global:0") for place in (0, 2, 3)],
        ["call", "asyncify_state:clear:table:1", 5],
        ["call", "asyncify_state:clear:global:0", 1],
        *[["call", f"asyncify_state:find:{name}", 0] for name in ("table:1", "global:0")],
        *[["call", f"asyncify_state:size:{name}"] for name in ("table:0", "table:1", "table:3", "global:0")],
    ]
    none = 0xFFFF_FFFF
    places = [none, none, none, none, None, None, 2, 2, none, 0, none, none]
    assert both(module, steps, tmp_path) == [*places, 1, 1, none, none, 1, 5, 1, 1]


def test_objects_that_never_change_are_made_again() -> None:
    module = saved("""(module (type $s (struct (field i32))) (type $a (array i8)) (memory (export "memory") 1)
      (type $l (struct (field (ref null $l)) (field (ref $a))))
      (global $made (ref $s) (struct.new $s (i32.const 1)))
      (global $list (ref $l) (struct.new $l (ref.null $l) (array.new_fixed $a 2 (i32.const 1) (i32.const 2))))
      (table 1 (ref null $s) (struct.new $s (i32.const 1)))
      (elem (ref $s) (struct.new $s (i32.const 4)))
      (func (export "g") (result i32) (struct.get $s 0 (global.get $made))))""")
    assert (section_of(module).unsaved, section_of(module).globals) == ((), ())


def test_objects_whose_fields_may_change_are_named_wherever_they_are() -> None:
    """A global, a table or a segment that nobody changes can lead to them."""
    module = saved("""(module (type $s (struct (field (mut i32)))) (memory (export "memory") 1)
      (global $made (ref $s) (struct.new $s (i32.const 1)))
      (global $again (ref $s) (global.get $made))
      (global $null (ref null $s) (ref.null $s))
      (global $number i31ref (ref.i31 (i32.const 5)))
      (table 2 (ref $s) (struct.new $s (i32.const 2)))
      (table $filled 2 (ref null $s)) (elem (table $filled) (i32.const 0) (ref $s) (struct.new $s (i32.const 3)))
      (table $empty 2 (ref null $s))
      (elem $passive (ref $s) (struct.new $s (i32.const 4)))
      (type $list (struct (field (ref null $s)) (field (mut i32))))
      (global $node (ref $list) (struct.new $list (ref.null $s) (i32.const 1)))
      (global $hidden externref (extern.convert_any (struct.new $s (i32.const 1))))
      (global $none externref (ref.null extern))
      (table 1 externref (extern.convert_any (struct.new $s (i32.const 1))))
      (table 1 externref (ref.null extern))
      (func (export "g") (result i32) (struct.set $s 0 (global.get $made) (i32.const 9)) (i32.const 0)))""")
    assert section_of(module).unsaved == (
        "global 0, of type (ref 0)",
        "global 4, of type (ref 1)",
        "global 5, of type externref",
        "table 0, of type (ref 0)",
        "table 1, of type (ref null 0)",
        "table 3, of type externref",
        "element segment 1, of type (ref 0)",
    )


def test_the_section_tells_which_module_it_is() -> None:
    given = assemble(NUMBERS)
    module = caesura.instrument(given, PLAIN).module
    payload = part(module, STATE_SECTION).payload
    section = section_of(module)
    assert section.original == hashlib.sha256(given).digest()
    assert section.instrumented == digest_without_custom(module)
    plain = b"".join([module[:8], *[item.raw for item in parts(module) if item.number]])
    assert section.instrumented == hashlib.sha256(plain).digest()
    assert payload[1 : 1 + 2 * STATE_DIGEST] == section.original + section.instrumented
    assert caesura.instrument(given, PLAIN).module == module


def test_texts_are_any_names() -> None:
    module = saved(
        """(module (import "\\"a\\\\" "\\u{1F600}\\00" (func $ask)) (memory (export "memory") 1)
          (func (export "f") (call $ask)))"""
    )
    assert section_of(module).imports == ('"a\\.\U0001f600\0',)


@pytest.mark.parametrize(
    "change",
    [
        *("version", "cut", "no JSON", "no object", "no list", "order", "type", "number", "options", "held", "tags"),
        *("no text", "no number", "too deep", "too long"),
    ],
)
def test_a_section_that_is_none_is_refused(change: str) -> None:
    payload = part(saved(NUMBERS), STATE_SECTION).payload
    head, size = 1 + 2 * STATE_DIGEST, 2
    content = json.loads(payload[head + size :])

    def with_content(value: object) -> bytes:
        text = json.dumps(value).encode()
        return payload[:head] + bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) + text

    assert read_section(with_content(content)) == read_section(payload)
    changed = {
        "version": b"\x03" + payload[1:],
        "held": with_content({**content, "globals": [{**content["globals"][0], "type": "exnref"}]}),
        "tags": with_content({**content, "tags": [{"types": ["funcref"]}]}),
        "cut": payload[:100],
        "no JSON": payload[:head] + b"\x03{,}",
        "no object": with_content([1]),
        "no list": with_content({**content, "globals": {}}),
        "order": with_content({**content, "data": [3, 1]}),
        "type": with_content({**content, "globals": [{"index": 0, "type": "i8", "imported": False}]}),
        "number": with_content({**content, "memories": [{**content["memories"][0], "index": True}]}),
        "options": with_content({**content, "options": []}),
        "no text": with_content({**content, "imports": ["\ud800"]}),
        "no number": with_content({**content, "options": {"memory": float("nan")}}),
        "too deep": payload[:head] + b"\x80\x80\x04" + b"[" * 0x10000,
        "too long": payload[:head] + b"\x80\x40" + b"1" * 0x2000,
    }
    with pytest.raises(UnsupportedModule, match=r"asyncify\.state"):
        read_section(changed[change])


def test_names_that_are_taken_are_refused() -> None:
    for name in ("asyncify_state:memory:0", START_FUNCTION):
        text = f"""(module (memory (export "memory") 1) (func (export "{name}")) (func $s) (start $s))"""
        with pytest.raises(UnsupportedModule, match=f"exports {name} already"):
            saved(text)


def test_components_are_refused() -> None:
    component = bytes.fromhex("0061736d0d000100")
    with pytest.raises(UsageError, match="snapshots"):
        caesura.instrument(component, PLAIN)


C_GUESTS: Final = ("recursion", "pointers", "varargs", "machine", "numbers", "chains", "heap")
LARGE: Final = {
    "sqlite": "wa-sqlite/dist/wa-sqlite.wasm",
    "quickjs": "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm",
}


@pytest.mark.parametrize("name", [*C_GUESTS, *C_PROGRAMS, *LARGE])
def test_programs_stay_the_same_but_for_exports(name: str, tmp_path: Path) -> None:
    """Function bodies, and all sections but those of exports and for hosts, are the same bytes."""
    if name in LARGE:
        given = npm_file(LARGE[name]).read_bytes()
    else:
        given = c_guest(name) if name in C_GUESTS else c_program(name).path.read_bytes()
    without = caesura.instrument(given, replace(HOST, snapshots=False)).module
    module = caesura.instrument(given, HOST).module
    new = bodies(module)
    assert new[: len(bodies(without))] == bodies(without)
    section = section_of(module)
    # Among what stays are elements: engines look at all of them with every instance.
    differing = {7, 8, *((1, 3, 4, 10) if section.functions else ())}
    assert [item.raw for item in parts(module) if not _may_differ(item, differing)] == [
        item.raw for item in parts(without) if not _may_differ(item, differing)
    ]
    assert bool(section.functions) == (name == "sqlite")  # whose table Emscripten exports
    exports = [item.name for item in Module(without).exports]
    assert [item.name for item in Module(module).exports][: len(exports)] == exports
    file = tmp_path / "module.wasm"
    file.write_bytes(module)
    assert run_driver("valid.mjs", file, node=newer_node()) is True


def _may_differ(item: Part, numbers: set[int]) -> bool:
    return item.number in numbers or item.title in (STATE_SECTION, CONTRACT_SECTION)
