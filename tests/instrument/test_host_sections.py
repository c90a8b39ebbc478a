"""What a module tells its hosts in custom sections, and when."""

from __future__ import annotations

import pytest

import caesura
from caesura.abi import (
    CONTRACT_SECTION,
    CONTRACT_VERSION,
    EXPORTED_IMPORTS_SECTION,
    FUNCTIONS_SECTION,
    RESULTS_SECTION,
    Fact,
)
from caesura.wasm.module import Module
from tests.support.engine import assemble

GUEST = """
  (module
    (import "env" "ask" (func $ask (result i32)))
    (import "env" "other" (func $other (result i32)))
    {imports}
    {memory}
    {table}
    (func $inner (result i32) (call $ask))
    (func $run (export "run") (result i32) (i32.add (call $inner) (i32.const 1)))
    (func $through (export "through") (result i32) (i32.add {call} (i32.const 1)))
    (func $still (export "still") (result i32) (call $other)))
"""


def sections(options: caesura.Options, **parts: str) -> dict[str, bytes]:
    texts = {"imports": "", "memory": "(memory 1)", "table": "", "call": "(i32.const 1)", **parts}
    module = Module(caesura.instrument(assemble(GUEST.format(**texts)), options).module)
    found = [
        section for section in module.sections if section.name in (FUNCTIONS_SECTION, CONTRACT_SECTION, RESULTS_SECTION)
    ]
    return {section.name: module.data[section.payload : section.end] for section in found}


def contract(flags: int, *low: int) -> bytes:
    """Return what stands in the section of the contract; `low` is an address, encoded."""
    return bytes([CONTRACT_VERSION, flags, *low])


TABLE = {"table": "(table 1 funcref) (elem (i32.const 0) $inner)", "call": "(call_indirect (result i32) (i32.const 0))"}
EXPORTED_TABLE = {**TABLE, "table": TABLE["table"] + '(export "table" (table 0))'}


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (caesura.Options(thunks=True), 0),
        (caesura.Options(thunks=True, imports=("env.ask",)), 0),
        (caesura.Options(thunks=True, add_list=("still",)), 0),
        (caesura.Options(thunks=True, ignore_indirect=True), Fact.BY_LISTS),
        (caesura.Options(only_list=("run",)), Fact.BY_LISTS),
        (caesura.Options(remove_list=("inner",)), Fact.BY_LISTS),
        (caesura.Options(imports=("env.ask",)), 0),
    ],
)
def test_lists_are_told_of(options: caesura.Options, flags: int) -> None:
    assert sections(options)[CONTRACT_SECTION] == contract(flags)
    assert sections(options, **TABLE)[CONTRACT_SECTION] == contract(flags)
    assert sections(options, **EXPORTED_TABLE)[CONTRACT_SECTION] == contract(flags | Fact.CALLS_REFERENCES)


def test_the_plain_abi_without_lists_tells_nothing() -> None:
    assert sections(caesura.Options(), **EXPORTED_TABLE) == {}


CALL_REF = "(call_ref $v (ref.as_non_null (global.get $f)))"
REF = "(type $v (func (result i32))) (global $f (mut (ref null $v)) (ref.null $v)) (elem declare func $inner)"
PRIVATE = "(table $t 2 funcref) (elem (i32.const 0) $inner)"
INDIRECT = "(call_indirect $t (result i32) (i32.const 0))"


@pytest.mark.parametrize(
    ("table", "call", "may_be_others"),
    [
        (REF, CALL_REF, False),
        (REF + '(export "f" (global $f))', CALL_REF, True),
        (REF + '(func (export "set") (param (ref null $v)))', CALL_REF, True),
        (REF + '(func (export "get") (result funcref) (ref.null func))', CALL_REF, True),
        (REF + '(func (export "own") (param externref))', CALL_REF, False),
        (REF + '(type $s (struct (field funcref))) (func (export "object") (param externref))', CALL_REF, True),
        (REF + '(tag (export "tag") (param funcref))', CALL_REF, True),
        (REF + "(tag (param funcref))", CALL_REF, False),
        (PRIVATE + "(func (table.set $t (i32.const 1) (ref.func $inner)))", INDIRECT, False),
        (PRIVATE + '(func (export "set") (param funcref) (table.set $t (i32.const 1) (local.get 0)))', INDIRECT, True),
        (PRIVATE + '(func (export "same") (param externref))', INDIRECT, False),
        (
            PRIVATE + '(table $e 1 externref) (func (export "keep") (param externref)'
            " (table.set $e (i32.const 0) (local.get 0)))",
            INDIRECT,
            False,
        ),
        (
            PRIVATE + '(table $e (export "e") 1 funcref)'
            "(func (table.copy $t $e (i32.const 0) (i32.const 0) (i32.const 1)))",
            INDIRECT,
            True,
        ),
        (PRIVATE + '(table (export "e") 1 funcref)', INDIRECT, False),
    ],
)
def test_it_is_told_whether_functions_of_others_may_be_called(table: str, call: str, *, may_be_others: bool) -> None:
    told = sections(caesura.Options(thunks=True), table=table, call=call)
    assert told[CONTRACT_SECTION] == contract(Fact.CALLS_REFERENCES if may_be_others else 0)
    plain = sections(caesura.Options(), table=table, call=call)
    # Hosts see tables; frames with references are told of in any case.
    is_told = call == CALL_REF or (may_be_others and '"e"' not in table)
    assert list(plain) == [CONTRACT_SECTION] * is_told
    assert all(section[1:] == told[CONTRACT_SECTION][1:] for section in plain.values())


def test_a_reference_that_is_imported_is_one_of_others() -> None:
    parts = {
        "imports": '(import "env" "f" (global $f funcref))',
        "table": "(table 1 funcref) (elem (i32.const 0) funcref (item (global.get $f)))",
        "call": TABLE["call"],
    }
    assert sections(caesura.Options(thunks=True), **parts)[CONTRACT_SECTION] == contract(Fact.CALLS_REFERENCES)


def test_frames_with_references_do_not_hide_it() -> None:
    """They let the plain ABI tell something; a host then believes what is told."""
    keep = """(func (export "keep") (param externref) (result externref) (drop (call $ask)) (local.get 0))"""
    told = sections(caesura.Options(), **{**EXPORTED_TABLE, "table": EXPORTED_TABLE["table"] + keep})
    assert told[CONTRACT_SECTION] == bytes([2, Fact.CALLS_REFERENCES])


def test_a_runtime_of_the_guests_own_is_told_nothing() -> None:
    runtime = '(import "asyncify" "start_unwind" (func $unwind (param i32)))'
    assert sections(caesura.Options(imports=("env.ask",)), imports=runtime) == {}


def test_which_functions_may_be_on_the_stack() -> None:
    """Functions are ask, other, inner, run, through, still; bits behind the last are set."""
    listed = sections(caesura.Options(only_list=("run",)))
    assert listed[FUNCTIONS_SECTION] == bytes([0b1100_1011])
    assert sections(caesura.Options(imports=("env.ask",)))[FUNCTIONS_SECTION] == bytes([0b1111_1101])
    both = sections(caesura.Options(imports=("env.ask",), thunks=True))
    assert both[FUNCTIONS_SECTION] == bytes([0b1100_1101])


def test_a_memory_that_was_added_is_told_of() -> None:
    for options in (caesura.Options(), caesura.Options(thunks=True)):
        assert sections(options, memory="")[CONTRACT_SECTION] == contract(Fact.ADDED_MEMORY)
    for options in (caesura.Options(thunks=True), caesura.Options(thunks=True, in_secondary_memory=True)):
        assert sections(options)[CONTRACT_SECTION] == contract(0)
    assert sections(caesura.Options(thunks=True, in_secondary_memory=True), memory="")[CONTRACT_SECTION] == contract(0)


def test_whatever_tells_anything_tells_the_version() -> None:
    """Results of imports alone are told without lists and thunks as well."""
    pair = '(import "env" "pair" (func (result i64 i64)))'
    assert sections(caesura.Options(), imports=pair).keys() == {CONTRACT_SECTION, RESULTS_SECTION}


@pytest.mark.parametrize("thunks", [False, True])
def test_results_that_are_more_than_a_number(thunks: bool) -> None:
    def of(imports: str, *names: str) -> bytes | None:
        chosen = ("env.ask", *names)
        return sections(caesura.Options(thunks=thunks, imports=chosen), imports=imports).get(RESULTS_SECTION)

    pair = '(import "env" "pair" (func (result i64 externref)))'
    assert of(pair) == b"\x01\x00\x01\x00\x02\x00\x01"  # though it may not suspend
    assert of(pair, "env.pair") == bytes([1, 0, 1, 0, 2, 0, 1])
    assert of('(import "env" "none" (func))', "env.none") is None
    assert of('(import "env" "function" (func (result funcref)))', "env.function") == bytes([1, 0, 1, 0, 1, 1])
    builtin = '(import "wasm:js-string" "length" (func (param externref) (result i32)))'
    assert of(builtin) == bytes([1, 0, 1, 0, 128 + 1, 0])
    many = f'(import "env" "many" (func (result {"i32 " * 200})))'
    assert of(f"{many} {builtin}") == bytes([1, 0, 1, 0, 127, *[0] * 127, 128 + 1, 0])


@pytest.mark.parametrize("thunks", [False, True])
def test_what_is_known_of_the_shadow_stack(thunks: bool) -> None:
    def of(start: int, data: str = "", only_list: tuple[str, ...] = ()) -> bytes | None:
        options = caesura.Options(thunks=thunks, only_list=only_list)
        frame = f"""(global $g (mut i32) (i32.const {start})) {data}
          (func (export "frame") (result i32) (local i32 i32)
            (global.set $g (local.tee 0 (i32.sub (global.get $g) (i32.const 16))))
            (i32.store (local.get 0) (i32.const 7))
            (local.set 1 (i32.load (local.get 0)))
            (global.set $g (i32.add (local.get 0) (i32.const 16)))
            (local.get 1))"""
        return sections(options, memory=f"(memory 1) {frame}").get(CONTRACT_SECTION)

    hidden = 0 if thunks else Fact.HIDDEN_STACK
    assert of(65536) == contract(hidden, 0)
    assert of(65536, '(export "sp" (global $g))') == contract(hidden, 0)
    exported = '(export "__stack_pointer" (global $g))'
    assert of(65536, exported) == (contract(0, 0) if thunks else None)
    assert of(65536, exported, only_list=("run",)) == contract(Fact.BY_LISTS, 0)
    assert of(65536, only_list=("run",)) == contract(Fact.BY_LISTS | hidden, 0)
    data = '(data (i32.const 1000) "data")'
    assert of(65536, data, only_list=("run",)) == contract(Fact.BY_LISTS | hidden, 0xF0, 0x07)
    assert of(65540) == contract(Fact.UNCLEAR_STACK)
    within = "(func (result i32) (i32.gt_u (i32.const 65536) (i32.sub (global.get $g) (i32.const 16))))"
    assert of(65536, within) == contract(Fact.FIXED_STACK | hidden, 0)


def test_thunks_tell_of_imports_that_are_exported_again() -> None:
    export = '(export "again" (func $ask)) (export "not suspending" (func $other))'
    text = GUEST.format(imports="", memory=f"(memory 1) {export}", table="", call="(i32.const 1)")
    for thunks in (False, True):
        module = Module(caesura.instrument(assemble(text), caesura.Options(imports=("env.ask",), thunks=thunks)).module)
        section = module.custom_section(EXPORTED_IMPORTS_SECTION)
        assert (section is not None) == thunks
        if section is not None:
            number, function = module.data[section.payload : section.end]
            assert (module.exports[number].name, function) == ("again", 0)


def test_nothing_is_told_where_nothing_is_instrumented() -> None:
    """Not even of the memory that was added: no suspension can go wrong."""
    binary = assemble('(module (import "env" "f" (func)) (func (export "quiet")))')
    sections = Module(caesura.instrument(binary).module).sections
    assert not [section for section in sections if section.name.startswith("asyncify.")]
