"""The call graph: who calls whom, what calls through tables and what changes these, and which code is refused."""

from __future__ import annotations

import pytest

from caesura.analysis.calls import ANY_INDEX, CallGraph, read_calls
from caesura.errors import MalformedModule
from caesura.wasm.module import Module
from tests.analysis.sample import Sample
from tests.instrument.building import module

MODULE = """
  (module
    (import "env" "wait" (func $wait))
    (type $procedure (func))
    (type $getter (func (result i32)))
    (table $own 4 funcref)
    (table $open (export "open") 4 funcref)
    (elem $segment func $a)
    (tag $tag)
    (func $a)
    (func $b)
    (func $f {code}))
"""


def graph_of(code: str) -> tuple[Sample, CallGraph]:
    sample = Sample(MODULE.format(code=code))
    return sample, sample.graph


CALLEES = {
    "each once, in the order of the first calls": ("call $b call $wait call $b call $a", ["b", "wait", "a"]),
    "a tail call": ("return_call $b", ["b"]),
    "itself": ("call $f", ["f"]),
    "behind return": ("call $a return call $b", ["a"]),
    "behind a branch": ("block br 0 call $b end call $a", ["a"]),
    "behind a branch in a nested block": ("block br 0 block call $b end call $b end call $a", ["a"]),
    "behind br_table": ("block i32.const 0 br_table 0 0 call $b end call $a", ["a"]),
    "behind unreachable in one arm": ("i32.const 0 if unreachable call $a else call $b end", ["b"]),
    "behind a tail call": ("block return_call $a call $b end", ["a"]),
    "behind throw": ("block throw $tag call $b end call $a", ["a"]),
    "behind a conditional branch": ("block i32.const 0 br_if 0 call $b end", ["b"]),
    "in a catch clause behind throw": ("try throw $tag call $a catch $tag call $b end", ["b"]),
}


@pytest.mark.parametrize("name", CALLEES)
def test_callees(name: str) -> None:
    code, expected = CALLEES[name]
    sample, graph = graph_of(code)
    assert sample.named(graph.callees[2]) == expected


def test_calls_through_a_table_of_its_own_are_numbered_by_table_type_and_index() -> None:
    _, graph = graph_of("""
      i32.const 3 call_indirect $own (type $procedure)
      i32.const 1 i32.const 2 i32.add call_indirect $own (type $procedure)
      i32.const 3 call_indirect $own (type $getter) drop
      i32.const 3 call_indirect $own (type $procedure)""")
    assert graph.table_calls == {(0, 0, 3): 1, (0, 0, ANY_INDEX): 0, (0, 1, 3): 2}
    assert graph.table_callees == {2: {0, 1, 2}}
    assert graph.indirect == [False, False, False]


def test_an_index_that_only_looks_like_a_constant_is_none() -> None:
    """The last byte before the call is that of a local index, 0x41, which is the opcode of `i32.const`."""
    _, graph = graph_of(f"(local {'i32 ' * 0x42}) local.get 0x41 call_indirect $own (type $procedure)")
    assert list(graph.table_calls) == [(0, 0, ANY_INDEX)]


def test_calls_that_may_reach_anything() -> None:
    _, through_table = graph_of("i32.const 0 call_indirect $open (type $procedure)")
    assert (through_table.indirect, through_table.table_calls) == ([False, False, True], {})
    _, through_reference = graph_of("ref.func $a call_ref $procedure")
    assert through_reference.indirect == [False, False, True]
    _, unreachable = graph_of("return ref.func $a call_ref $procedure i32.const 0 call_indirect $open")
    assert unreachable.indirect == [False, False, False]


def test_which_tables_others_reach() -> None:
    assert graph_of("")[1].private_tables == [True, False]
    imported = Sample('(module (import "env" "t" (table 1 funcref)) (table 1 funcref) (func $f))')
    assert imported.graph.private_tables == [False, True]


def test_what_changes_tables() -> None:
    _, graph = graph_of("""
      (table.set $own (i32.const 0) (ref.null func))
      (table.copy $own $open (i32.const 0) (i32.const 0) (i32.const 1))
      (table.init $open $segment (i32.const 0) (i32.const 0) (i32.const 1))""")
    assert (graph.changed_tables, graph.copies, graph.inits) == ({0}, {(0, 1)}, {(1, 0)})
    _, grown = graph_of("(drop (table.grow $open (ref.null func) (i32.const 1)))")
    assert grown.changed_tables == {1}
    _, filled = graph_of("(table.fill $own (i32.const 0) (ref.null func) (i32.const 1))")
    assert filled.changed_tables == {0}
    _, read = graph_of("(drop (table.get $own (i32.const 0))) (drop (table.size $own))")
    assert read.changed_tables == set()


def test_the_largest_br_table_counts_its_default() -> None:
    _, graph = graph_of("block block i32.const 0 br_table 0 1 0 1 i32.const 0 br_table 0 0 end end")
    assert graph.largest_tables == [0, 0, 4]


def test_who_makes_references_of_imported_functions() -> None:
    text = """
      (module
        (import "env" "wait" (func $wait))
        (elem declare func $wait $b)
        (func $a (drop (ref.func $wait)) (drop (ref.func $wait)))
        (func $b (drop (ref.func $b)))
        (func $c unreachable (drop (ref.func $wait))))"""
    assert Sample(text).graph.referring == [0, 2]


MALFORMED = {
    "a label of br": (b"\0\x0c\x01\x0b", "branch to label 1, but only 1 are open"),
    "a label of br_table": (b"\0\x41\0\x0e\x01\0\x02\x0b", "branch to label 2, but only 1 are open"),
    "a label of br_on_null": (b"\0\xd0\x70\xd5\x01\x1a\x0b", "branch to label 1, but only 1 are open"),
    "a label of delegate": (b"\0\x06\x40\x18\x01\x0b", "branch to label 1, but only 1 are open"),
    "a function": (b"\0\x10\x09\x0b", "call of function 9, but the module has 2"),
    "an opcode": (b"\0\xfb\x40\x0b", "unknown opcode 0xfb 64"),
    "no end": (b"\0\x02\x40\x0b", "with its final `end`"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_code_is_refused(name: str) -> None:
    body, message = MALFORMED[name]
    with pytest.raises(MalformedModule, match=f"in function 1 at byte offset .*{message}"):
        read_calls(Module(module(body)))
