"""Who may suspend, and why: from imports to callers, through tables, and with the user's lists."""

from __future__ import annotations

from dataclasses import replace

from caesura.analysis.suspension import (
    ALL_INDIRECT_SITES,
    INDIRECT_CALL,
    LISTED,
    NO_INDIRECT_SITES,
    NOT_SUSPENDING,
    RUNTIME,
    SUSPENDING_IMPORT,
    SUSPENDING_INDIRECT_SITES,
    find_suspending,
)
from caesura.wasm.indices import FunctionIndex
from tests.analysis.sample import Sample

CHAIN = """
  (module
    (import "env" "wait" (func $wait))
    (import "env" "log" (func $log))
    (func $near call $wait)
    (func $far call $near)
    (func $both call $far call $near)
    (func $quiet call $log))
"""


def chain() -> Sample:
    """Return a module in which the second import does not suspend."""
    sample = Sample(CHAIN)
    sample.lists.imports[1] = False
    return sample


def test_suspension_spreads_to_callers() -> None:
    sample = chain()
    suspension = sample.suspension
    assert suspension.reason == [SUSPENDING_IMPORT, NOT_SUSPENDING, 0, 2, 2, NOT_SUSPENDING]
    assert sample.marked(suspension.instrumented) == ["near", "far", "both"]


def test_a_reason_is_a_shortest_path() -> None:
    sample = chain()
    suspension = sample.suspension
    assert sample.named(suspension.path(sample.index("both"), 10)) == ["both", "near", "wait"]
    assert sample.named(suspension.path(sample.index("far"), 2)) == ["far", "near"]
    assert suspension.root == [0, 1, 0, 0, 0, 5]


def test_the_remove_list_stops_suspension() -> None:
    sample = chain()
    sample.lists.remove[sample.index("near")] = True
    assert sample.marked(sample.suspension.instrumented) == []
    assert sample.suspension.reason[sample.index("far")] == NOT_SUSPENDING


def test_the_add_list_adds_one_function_or_with_its_callers() -> None:
    text = "(module (func $a) (func $b call $a) (func $c))"
    alone = Sample(text)
    alone.lists.add[0] = True
    assert alone.suspension.reason == [LISTED, NOT_SUSPENDING, NOT_SUSPENDING]
    assert alone.suspension.indirect_sites == [ALL_INDIRECT_SITES, SUSPENDING_INDIRECT_SITES, SUSPENDING_INDIRECT_SITES]
    propagated = Sample(text)
    propagated.lists.add[0] = True
    propagated.lists = replace(propagated.lists, propagate_add=True)
    assert propagated.suspension.reason == [LISTED, 0, NOT_SUSPENDING]


def test_the_only_list_decides_alone() -> None:
    sample = chain()
    sample.lists = replace(sample.lists, has_only=True)
    sample.lists.only[sample.index("far")] = sample.lists.only[sample.index("quiet")] = True
    assert sample.marked(sample.suspension.instrumented) == ["far", "quiet"]


TABLES = """
  (module
    (import "env" "wait" (func $wait))
    (type $procedure (func)) (type $getter (func (result i32)))
    (table $closed 2 funcref) (elem (table $closed) (i32.const 0) func $waits $get)
    (table $open (export "open") 2 funcref)
    (func $waits call $wait)
    (func $get (result i32) i32.const 1)
    (func $calls_waits (call_indirect $closed (type $procedure) (i32.const 0)))
    (func $calls_get (drop (call_indirect $closed (type $getter) (i32.const 1))))
    (func $calls_anything (call_indirect $open (type $procedure) (i32.const 0)))
    (func $above call $calls_waits))
"""


def test_a_call_through_a_closed_table_suspends_if_what_it_reaches_does() -> None:
    sample = Sample(TABLES)
    suspension = sample.suspension
    assert sample.marked(suspension.instrumented) == ["waits", "calls_waits", "calls_anything", "above"]
    caller = sample.index("calls_waits")
    assert (suspension.reason[caller], suspension.through_table) == (sample.index("waits"), {caller: 0})
    assert suspension.reason[sample.index("calls_anything")] == INDIRECT_CALL
    assert suspension.quiet_table_calls == {(0, 1, 1)}


def test_calls_through_tables_can_be_ignored() -> None:
    sample = Sample(TABLES)
    sample.lists = replace(sample.lists, ignore_indirect=True)
    assert sample.marked(sample.suspension.instrumented) == ["waits"]
    assert set(sample.suspension.indirect_sites) == {NO_INDIRECT_SITES}


def test_what_the_remove_list_keeps_from_suspending_still_suspends_through_tables() -> None:
    """As in Binaryen, where every call through a table suspends."""
    sample = Sample(TABLES)
    sample.lists.remove[sample.index("waits")] = True
    suspension = sample.suspension
    assert sample.marked(suspension.instrumented) == ["calls_waits", "calls_anything", "above"]
    assert suspension.reason[sample.index("calls_waits")] == INDIRECT_CALL


def test_so_does_what_would_suspend_by_calls_through_tables_of_its_own() -> None:
    text = """
      (module
        (type $procedure (func))
        (table $closed 1 funcref) (elem (table $closed) (i32.const 0) func $removed)
        (table $open (export "open") 1 funcref)
        (func $removed (call_indirect $open (type $procedure) (i32.const 0)))
        (func $caller (call_indirect $closed (type $procedure) (i32.const 0))))"""
    sample = Sample(text)
    sample.lists.remove[sample.index("removed")] = True
    assert sample.suspension.reason == [NOT_SUSPENDING, INDIRECT_CALL]


def test_the_guest_s_own_runtime_is_set_apart() -> None:
    text = """
      (module
        (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
        (import "asyncify" "stop_unwind" (func $stop_unwind))
        (func $pause (call $start_unwind (i32.const 16)))
        (func $work call $pause)
        (func $scheduler call $work call $stop_unwind)
        (func $main call $scheduler))"""
    sample = Sample(text)
    sample.lists = replace(sample.lists, imports=[False] * 6)
    runtime = [("start_unwind", FunctionIndex(0)), ("stop_unwind", FunctionIndex(1))]
    suspension = find_suspending(sample.module, sample.graph, sample.lists, runtime)
    assert (sample.marked(suspension.topmost), sample.marked(suspension.bottommost)) == (["pause"], ["scheduler"])
    assert suspension.reason[2:] == [RUNTIME, 2, NOT_SUSPENDING, NOT_SUSPENDING]
    assert sample.marked(suspension.instrumented) == ["work"]
