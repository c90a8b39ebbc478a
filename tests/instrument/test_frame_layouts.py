"""The section that tells what frames hold: every call site stands where a call is in the file that was given."""

from __future__ import annotations

from pathlib import Path

import pytest

import caesura
from caesura.abi import CALLS_FUNCTION, CALLS_TABLE, FRAMES_SECTION, FRAMES_VERSION, SOURCE_UNKNOWN
from caesura.inspection.layouts import Layouts, layouts_of, read_layouts
from caesura.wasm import opcodes as op
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module
from tests.support.engine import assemble
from tests.support.guests import cpp_guest
from tests.support.paths import npm_file

QUICKJS = "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm"
SQLITE = "wa-sqlite/dist/wa-sqlite.wasm"


def layouts(data: bytes, options: caesura.Options) -> Layouts:
    found = layouts_of(Module(caesura.instrument(data, options).module))
    assert found is not None
    return found


def assert_sites_are_calls(data: bytes, found: Layouts) -> int:
    """Compare all call sites with the instructions in the original; return how many there are."""
    original = Module(data)
    imported = original.imported_functions - found.shift
    count = 0
    for layout in found.functions.values():
        if layout.index >= found.given:
            continue
        own = layout.index - imported
        for site in layout.sites:
            count += 1
            assert original.body_starts[own] < site.offset < original.body_ends[own]
            code = data[site.offset]
            first, position = read_u32(data, site.offset + 1)
            if site.kind == CALLS_FUNCTION:
                assert code in (op.CALL, op.RETURN_CALL)
                assert first == site.target + (found.shift if site.target >= imported else 0)
            else:
                assert code == (op.CALL_INDIRECT if site.kind == CALLS_TABLE else op.CALL_REF)
                assert first == site.target
                assert site.kind != CALLS_TABLE or read_u32(data, position)[0] == site.table
    return count


@pytest.mark.parametrize("optimize", ["size", "balanced"])
@pytest.mark.parametrize("program", [QUICKJS, SQLITE])
def test_all_call_sites_of_programs(program: str, optimize: str) -> None:
    data = Path(npm_file(program)).read_bytes()
    options = caesura.Options(thunks=True, in_secondary_memory=True, optimize=optimize, frame_layouts=True)
    done = caesura.instrument(data, options)
    found = layouts_of(Module(done.module))
    assert found is not None
    assert assert_sites_are_calls(data, found) == sum(item.sites for item in done.functions)
    assert {item.index for item in done.functions if item.sites} == set(found.functions)
    sites = [site for layout in found.functions.values() for site in layout.sites]
    through_tables = [site for site in sites if site.kind == CALLS_TABLE]
    assert len(through_tables) > 400
    assert not [site for site in through_tables if site.source == SOURCE_UNKNOWN]


@pytest.mark.parametrize("translate", [False, True])
def test_call_sites_in_catch_clauses_that_move(translate: bool) -> None:
    data = cpp_guest("exceptions", "-O2")
    options = caesura.Options(frame_layouts=True, translate_to_exnref=translate)
    assert assert_sites_are_calls(data, layouts(data, options)) > 20


def test_padded_numbers_and_the_guests_own_runtime() -> None:
    """Imports of the runtime go away, so indices change; offsets are those of the file."""
    data = assemble("""(module
      (import "asyncify" "start_unwind" (func $start (param i32)))
      (import "asyncify" "stop_rewind" (func $stop))
      (import "env" "ask" (func $ask))
      (memory (export "memory") 1)
      (func $sleep (if (i32.load (i32.const 0)) (then (call $stop)) (else (call $start (i32.const 64)))))
      (func $two (call $sleep) (call $sleep))
      (func (export "run") (call $two) (call $sleep)))""")
    found = layouts(data, caesura.Options(imports=["asyncify.start_unwind"], frame_layouts=True))
    assert found.shift == 2
    assert [layout.index + found.shift for layout in found.functions.values()] == [4, 5]
    assert assert_sites_are_calls(data, found) == 4


def test_nothing_else_changes() -> None:
    data = Path(npm_file(QUICKJS)).read_bytes()
    plain = Module(caesura.instrument(data, caesura.Options(thunks=True)).module)
    told = Module(caesura.instrument(data, caesura.Options(thunks=True, frame_layouts=True)).module)
    assert plain.custom_section(FRAMES_SECTION) is None
    section = told.custom_section(FRAMES_SECTION)
    assert section is not None
    assert told.data[: section.start] + told.data[section.end :] == plain.data
    assert section.end - section.payload < len(data) // 10


def test_a_section_that_lies_is_refused() -> None:
    data = assemble('(module (import "env" "f" (func $f)) (func (export "run") (call $f) (call $f)))')
    module = Module(caesura.instrument(data, caesura.Options(frame_layouts=True)).module)
    section = module.custom_section(FRAMES_SECTION)
    assert section is not None
    payload = module.data[section.payload : section.end]
    assert len(read_layouts(payload).functions) == 1
    with pytest.raises(caesura.UnsupportedModule, match=f"knows version {FRAMES_VERSION}"):
        read_layouts(b"\x63" + payload[1:])
    for end in range(len(payload)):
        with pytest.raises(caesura.UnsupportedModule):
            read_layouts(payload[:end])
    for place in range(len(payload)):
        for byte in (0, 1, 0x7F, 0x80, 0xFF):
            try:
                read_layouts(payload[:place] + bytes([byte]) + payload[place + 1 :])
            except caesura.UnsupportedModule:
                continue
