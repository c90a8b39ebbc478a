"""Which functions only pass a suspension on, and where a function makes its only call."""

from __future__ import annotations

import pytest

from caesura.analysis.wrappers import call_at_end, find_wrappers, in_rings
from caesura.wasm import opcodes as op
from tests.analysis.sample import Sample, calls

MODULE = """
  (module
    (import "env" "wait" (func $wait))
    (memory 1)
    (global $g (mut i32) (i32.const 0))
    (table $t 1 funcref)
    (func $callee (param i32 i64) (result i64) call $wait local.get 1)
    (func $void call $wait)
    (func $f {code}))
"""


def wrappers(code: str) -> dict[str, str]:
    sample = Sample(MODULE.format(code=code))
    found = find_wrappers(sample.module, sample.graph, sample.suspension, sample.tail_calls)
    return {sample.names[function]: sample.names[callee] for function, callee in found.items()}


WRAPPERS = {
    "arguments in order": ("(param i32 i64) (result i64) local.get 0 local.get 1 call $callee", "callee"),
    "arguments computed": (
        "(param i32) (result i64) local.get 0 i32.const 3 i32.mul i64.const 4 call $callee",
        "callee",
    ),
    "locals of its own": ("(local i32) i32.const 1 local.set 0 call $void", "void"),
    "a mutable global": ("(result i64) global.get $g i64.const 1 call $callee return", "callee"),
    "a result dropped": ("i32.const 1 i64.const 1 call $callee drop", "callee"),
    "nothing but the call": ("call $void", "void"),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers(name: str) -> None:
    code, callee = WRAPPERS[name]
    assert wrappers(code) == {"f": callee}


OTHERS = {
    "an effect before the call": "i32.const 1 global.set $g call $void",
    "what may trap before it": "(result i64) i32.const 1 i32.const 0 i32.div_s i64.const 1 call $callee",
    "a load before it": "(result i64) i32.const 0 i32.load i64.const 1 call $callee",
    "control flow": "block call $void end",
    "something behind the call": "call $void i32.const 1 drop",
    "another result": "(result i64) i32.const 0 i64.const 1 call $callee drop i64.const 2",
    "another result, below": "(result i64) i64.const 2 i32.const 0 i64.const 1 call $callee drop",
    "two calls": "call $void call $void",
    "an import": "call $wait",
    "a call through a table": "i32.const 0 call_indirect $t",
    "itself": "call $f",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_functions_keep_their_frames(name: str) -> None:
    assert wrappers(OTHERS[name]) == {}


def test_chains_of_wrappers() -> None:
    sample = Sample("""
      (module
        (import "env" "wait" (func $wait))
        (func $inner call $wait nop)
        (func $middle call $inner)
        (func $outer call $middle))""")
    found = find_wrappers(sample.module, sample.graph, sample.suspension, sample.tail_calls)
    assert found == {2: 1, 3: 2}


def test_rings() -> None:
    assert in_rings(calls({1: 2, 2: 3, 3: 4})) == []
    assert in_rings(calls({1: 1})) == [1]
    assert sorted(in_rings(calls({1: 2, 2: 3, 3: 2, 5: 1}))) == [2, 3]
    assert sorted(in_rings(calls({1: 2, 2: 1, 3: 4, 4: 3}))) == [1, 2, 3, 4]


def test_where_the_only_call_stands() -> None:
    sample = Sample(MODULE.format(code="i32.const 0 call_indirect $t"))
    function = sample.index("f")
    start = sample.module.body_starts[sample.module.own_of(function)]
    assert call_at_end(sample.module, function, op.CALL_INDIRECT) == start + 3  # no locals, i32.const 0
    assert call_at_end(sample.module, function, op.CALL) is None
