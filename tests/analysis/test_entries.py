"""Which functions can be entered by others than instrumented functions."""

from __future__ import annotations

import pytest

from caesura.analysis.entries import entered_from_outside
from tests.analysis.sample import Sample, calls

ENTERED = {
    "an export": ('(func $a (export "a")) (func $b)', ["a"]),
    "the start function": ("(func $a) (func $b) (start $b)", ["b"]),
    "in a table": ("(table 2 funcref) (elem (i32.const 0) func $b) (func $a) (func $b)", ["b"]),
    "in a table, by an expression": (
        "(table 2 funcref) (elem (i32.const 0) funcref (item ref.func $b)) (func $a) (func $b)",
        ["b"],
    ),
    "in a global": ("(global funcref (ref.func $a)) (func $a) (func $b)", ["a"]),
    "what fills a table": ("(table 1 (ref func) (ref.func $b)) (func $a) (func $b)", ["b"]),
    "declared for references in code": (
        "(elem declare func $b) (func $a (drop (ref.func $b))) (func $b)",
        ["b"],
    ),
    "called by what is not instrumented": ("(func $a call $b) (func $b)", ["b"]),
    "nothing": ("(func $a) (func $b)", []),
}


@pytest.mark.parametrize("name", ENTERED)
def test_entered(name: str) -> None:
    """Only `$b` is instrumented, so that calls of it by `$a` are calls from outside."""
    text, expected = ENTERED[name]
    sample = Sample(f"(module {text})")
    instrumented = [one == "b" for one in sample.names]
    assert sample.marked(entered_from_outside(sample.module, sample.graph, instrumented, {})) == expected


def test_what_only_instrumented_functions_call_is_not_entered() -> None:
    sample = Sample("(module (func $a call $b) (func $b))")
    assert sample.marked(entered_from_outside(sample.module, sample.graph, [True, True], {})) == []


def test_wrappers_pass_on_that_they_are_entered() -> None:
    sample = Sample('(module (func $outer (export "outer") call $middle) (func $middle call $inner) (func $inner))')
    entered = entered_from_outside(sample.module, sample.graph, [True] * 3, calls({0: 1, 1: 2}))
    assert sample.marked(entered) == ["outer", "middle", "inner"]
