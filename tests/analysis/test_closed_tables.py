"""What calls through tables can reach: by the tables' segments, and by the types and indices of the calls."""

from __future__ import annotations

import pytest

from caesura.analysis.closed_tables import find_table_callees
from tests.analysis.sample import Sample

MODULE = """
  (module
    (type $procedure (func))
    (type $getter (func (result i32)))
    (table $t 8 funcref)
    {more}
    (func $a) (func $b) (func $c)
    (func $get (result i32) i32.const 1)
    (func $any (param i32) (call_indirect $t (type $procedure) (local.get 0)))
    (func $third (call_indirect $t (type $procedure) (i32.const 3)))
    (func $value (drop (call_indirect $t (type $getter) (i32.const 0)))))
"""

ANYTHING = ["anything"]


def reached(more: str) -> dict[str, list[str]]:
    """Return what the calls through tables of each function reach, by the functions' names."""
    sample = Sample(MODULE.format(more=more))
    callees = find_table_callees(sample.module, sample.graph)
    found: dict[str, list[str]] = {}
    for own, calls in sample.graph.table_callees.items():
        (call,) = calls
        number = callees.number_of[call]
        found[sample.names[own]] = ANYTHING if callees.is_open[number] else sample.named(callees.functions[number])
    return found


CLOSED = {
    "one segment": (
        "(elem (table $t) (i32.const 2) func $a $b $get)",
        {"any": ["a", "b"], "third": ["b"], "value": []},
    ),
    "segments that overlap": (
        "(elem (table $t) (i32.const 2) func $a $b) (elem (table $t) (i32.const 3) func $c)",
        {"any": ["a", "b", "c"], "third": ["b", "c"], "value": []},
    ),
    "nothing at the index": (
        "(elem (table $t) (i32.const 0) func $get $a)",
        {"any": ["a"], "third": [], "value": ["get"]},
    ),
    "expressions, with null": (
        "(elem (table $t) (i32.const 3) funcref (item ref.null func) (item ref.func $c))",
        {"any": ["c"], "third": [], "value": []},
    ),
    "a global that is a reference": (
        "(global $r funcref (ref.func $c)) (elem (table $t) (i32.const 3) funcref (item global.get $r))",
        {"any": ["c"], "third": ["c"], "value": []},
    ),
    "a segment that is put in later": (
        """(elem $late func $c) (elem (table $t) (i32.const 3) func $a)
           (func $init (table.init $t $late (i32.const 0) (i32.const 0) (i32.const 1)))""",
        {"any": ["a", "c"], "third": ["a", "c"], "value": []},
    ),
    "a segment that nothing puts in": (
        "(elem $late func $c) (elem (table $t) (i32.const 3) func $a)",
        {"any": ["a"], "third": ["a"], "value": []},
    ),
    "an offset that is computed": (
        "(elem (table $t) (offset i32.const 1 i32.const 2 i32.add) func $a)",
        {"any": ["a"], "third": ["a"], "value": []},
    ),
    "a copy from a closed table": (
        """(table $other 2 funcref) (elem (table $other) (i32.const 0) func $b)
           (func $copy (table.copy $t $other (i32.const 0) (i32.const 0) (i32.const 1)))""",
        {"any": ["b"], "third": ["b"], "value": []},
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_tables(name: str) -> None:
    more, expected = CLOSED[name]
    assert reached(more) == expected


OPEN = {
    "table.set": "(func $set (param funcref) (table.set $t (i32.const 0) (local.get 0)))",
    "table.grow": "(func $grow (param funcref) (drop (table.grow $t (local.get 0) (i32.const 1))))",
    "table.fill": "(func $fill (param funcref) (table.fill $t (i32.const 0) (local.get 0) (i32.const 1)))",
    "a copy from an open table": """
      (table $other (export "other") 2 funcref)
      (func $copy (table.copy $t $other (i32.const 0) (i32.const 0) (i32.const 1)))""",
}


@pytest.mark.parametrize("name", OPEN)
def test_open_tables(name: str) -> None:
    assert reached(OPEN[name]) == {"any": ANYTHING, "third": ANYTHING, "value": ANYTHING}


def test_references_from_outside_open_a_table() -> None:
    text = """
      (module
        (import "env" "reference" (global $r funcref))
        (type $procedure (func))
        (table $t 1 funcref) (elem (table $t) (i32.const 0) funcref (item global.get $r))
        (func $f (call_indirect $t (type $procedure) (i32.const 0))))"""
    sample = Sample(text)
    assert find_table_callees(sample.module, sample.graph).is_open == [True]


def test_a_table_s_initializer_may_be_at_every_index() -> None:
    text = """
      (module
        (type $procedure (func))
        (table $t 4 funcref (ref.func $a)) (elem (table $t) (i32.const 1) func $b)
        (func $a) (func $b)
        (func $f (call_indirect $t (type $procedure) (i32.const 1))))"""
    sample = Sample(text)
    callees = find_table_callees(sample.module, sample.graph)
    assert [sample.named(functions) for functions in callees.functions] == [["a", "b"]]


def test_calls_that_reach_the_same_share_a_number() -> None:
    text = """
      (module
        (type $procedure (func)) (type $same (func))
        (table $t 4 funcref) (elem (table $t) (i32.const 0) func $f)
        (func $f
          (call_indirect $t (type $procedure) (i32.const 0))
          (call_indirect $t (type $same) (i32.const 0))
          (call_indirect $t (type $same) (i32.const 1))))"""
    sample = Sample(text)
    callees = find_table_callees(sample.module, sample.graph)
    assert callees.number_of == [0, 0, 1]
    assert (callees.tables, callees.functions) == ([0, 0], [[0], []])


def test_a_call_reaches_functions_of_subtypes() -> None:
    text = """
      (module
        (type $base (sub (func))) (type $derived (sub $base (func)))
        (table $t 2 funcref) (elem (table $t) (i32.const 0) func $plain $special)
        (func $plain (type $base)) (func $special (type $derived))
        (func $f (param i32)
          (call_indirect $t (type $base) (local.get 0))
          (call_indirect $t (type $derived) (local.get 0))))"""
    sample = Sample(text)
    callees = find_table_callees(sample.module, sample.graph)
    assert [sample.named(functions) for functions in callees.functions] == [["plain", "special"], ["special"]]
