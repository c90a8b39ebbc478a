"""Calls through tables of other types and of constant indices: what they reach, and what they cannot."""

from __future__ import annotations

import pytest

import caesura
from tests.instrument.building import assert_valid
from tests.support.engine import assemble
from tests.support.plain_abi import PlainGuest, always

TEXT = """
  (module
    (import "env" "sleep" (func $sleep (param i32) (result i32)))
    (memory (export "memory") 1)
    {types}
    (func $pure (type ${pure}) (i32.const 5))
    (func $sleeper (export "sleeper") (type ${sleeper}) (call $sleep (i32.const 7)))
    (table $table 300 funcref)
    {segments}
    (func $caller (export "caller") (result i32) {locals}
      (i32.add {call} (i32.const 1000))))
"""
PLAIN = "(type $pair (func (param i32 i32) (result i32)))"
SEGMENT = "(elem (table $table) (i32.const 1) func $pure $sleeper)"
CALL = "(call_indirect $table (type $pair) (i32.const 1) (i32.const 2) {})"


def module(
    call: str,
    segments: str = SEGMENT,
    types: str = PLAIN,
    pure: str = "pair",
    sleeper: str = "pair",
    local_declarations: str = "",
) -> bytes:
    """Return the module with a call in `caller`."""
    text = TEXT.format(types=types, pure=pure, sleeper=sleeper, segments=segments, locals=local_declarations, call=call)
    return assemble(text)


def sites(binary: bytes) -> int:
    """Return how many call sites `caller` has."""
    result = caesura.instrument(binary)
    assert_valid(result.module)
    return next(function.sites for function in result.functions if function.name == "caller")


def assert_suspends(binary: bytes) -> None:
    """Run `caller`, suspended in what it calls."""
    assert sites(binary) == 1
    guest = PlainGuest(
        caesura.instrument(binary).module, {("env", "sleep"): lambda value: value + 10}, suspend_at=always
    )
    assert (guest.call("caller"), guest.suspensions) == (1017, 1)


# The segments, the index, and whether it is that of what suspends.
INDICES = {
    "pure": (SEGMENT, 1, False),
    "sleeper": (SEGMENT, 2, True),
    "before": (SEGMENT, 0, False),
    "behind": (SEGMENT, 3, False),
    "beyond the table": (SEGMENT, 300, False),
    "negative": (SEGMENT, -1, False),
    "long": (SEGMENT.replace("const 1", "const 200"), 201, True),
    "long and pure": (SEGMENT.replace("const 1", "const 200"), 200, False),
    "second segment": (SEGMENT + "(elem (table $table) (i32.const 64) func $sleeper)", 64, True),
    "second segment of others": (SEGMENT + "(elem (table $table) (i32.const 64) func $pure)", 64, False),
    "segment over a segment": (SEGMENT + "(elem (table $table) (i32.const 1) func $sleeper)", 1, True),
    "null": ("(elem (table $table) (i32.const 1) funcref (ref.null func) (ref.func $sleeper))", 1, False),
    "segment of another table": (
        SEGMENT + "(table $second 2 funcref) (elem (table $second) (i32.const 1) func $sleeper)",
        1,
        False,
    ),
    "offset that is computed": (SEGMENT.replace("(i32.const 1)", "(i32.add (i32.const 1) (i32.const 1))"), 3, True),
}


@pytest.mark.parametrize("name", INDICES)
def test_constant_indices(name: str) -> None:
    segments, index, suspends = INDICES[name]
    binary = module(CALL.format(f"(i32.const {index})"), segments)
    if suspends:
        assert_suspends(binary)
    else:
        assert sites(binary) == 0


@pytest.mark.parametrize(
    "change",
    [
        "(table.init $table $passive (i32.const 1) (i32.const 0) (i32.const 1))",
        "(table.copy $table $table (i32.const 1) (i32.const 2) (i32.const 1))",
        "(table.set $table (i32.const 1) (ref.func $sleeper))",
    ],
)
def test_constant_indices_of_a_table_that_is_written(change: str) -> None:
    """Another function may stand there by the time of the call."""
    segments = f"{SEGMENT} (elem $passive func $sleeper) (func $change {change})"
    call = f"(block (result i32) (call $change) {CALL.format('(i32.const 1)')})"
    binary = module(call, segments)
    assert_suspends(binary)


def test_constants_on_the_way_to_an_index() -> None:
    """Only the instruction right before the call counts, and only an instruction, not what looks like one.

    `local.get 65; i32.eqz` ends in the bytes of `i32.const 69`.
    """
    assert_suspends(module(CALL.format("(i32.add (i32.const 1) (i32.const 1))")))
    assert_suspends(module(CALL.format("(block (result i32) (i32.const 2))")))
    assert_suspends(module(CALL.format("(select (i32.const 2) (i32.const 1) (i32.const 1))")))
    declarations = "(local" + " i32" * 70 + ")"
    lookalike = SEGMENT.replace("$pure $sleeper", "$sleeper $pure")
    binary = module(CALL.format("(i32.eqz (local.get 65))"), lookalike, local_declarations=declarations)
    assert b"\x20\x41\x45\x11" in binary
    assert_suspends(binary)
    both = f"(i32.mul {CALL.format('(i32.eqz (local.get 65))')} {CALL.format('(i32.const 2)')})"
    assert sites(module(both, lookalike, local_declarations=declarations)) == 1
    both = f"(i32.mul {CALL.format('(i32.const 2)')} {CALL.format('(i32.const 1)')})"
    assert sites(module(both, lookalike)) == 1


ANY = CALL.format("(local.get 0)")
DYNAMIC = "(local i32) (local.set 0 (i32.const 2))"

# Types, that of the pure function, that of the one that suspends, and whether a call of type $pair reaches the latter.
TYPES = {
    "the same structure": (f"{PLAIN} {PLAIN.replace('$pair', '$twin')}", "pair", "twin", True),
    "another structure": (f"{PLAIN} (type $triple (func (param i32 i32 i32) (result i32)))", "pair", "triple", False),
    "other results": (f"{PLAIN} (type $two (func (param i32 i32) (result i32 i32)))", "pair", "pair", True),
    "another group": (
        f"{PLAIN} (rec (type $grouped (func (param i32 i32) (result i32))) (type $rest (func)))",
        "pair",
        "grouped",
        False,
    ),
    "another place in an equal group": (
        "(rec (type $pair (func (param i32 i32) (result i32))) (type $rest (func)))"
        "(rec (type $rest2 (func)) (type $twin (func (param i32 i32) (result i32))))",
        "pair",
        "twin",
        False,
    ),
    "an equal group": (
        "(rec (type $pair (func (param i32 i32) (result i32))) (type $rest (func)))"
        "(rec (type $twin (func (param i32 i32) (result i32))) (type $rest2 (func)))",
        "pair",
        "twin",
        True,
    ),
    "a subtype": (
        "(type $pair (sub (func (param i32 i32) (result i32))))"
        "(type $below (sub $pair (func (param i32 i32) (result i32))))"
        "(type $lowest (sub final $below (func (param i32 i32) (result i32))))",
        "pair",
        "lowest",
        True,
    ),
    "a supertype": (
        "(type $above (sub (func (param i32 i32) (result i32))))"
        "(type $pair (sub $above (func (param i32 i32) (result i32))))",
        "pair",
        "above",
        False,
    ),
    "final or not": (
        f"{PLAIN} (type $open (sub (func (param i32 i32) (result i32))))",
        "pair",
        "open",
        False,
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_types(name: str) -> None:
    """Calls reach functions of the type and of its subtypes."""
    types, pure, sleeper, suspends = TYPES[name]
    binary = module(ANY, types=types, pure=pure, sleeper=sleeper, local_declarations=DYNAMIC)
    if suspends:
        assert_suspends(binary)
    else:
        assert sites(binary) == 0


@pytest.mark.parametrize(
    ("second", "suspends"),
    [
        ("(type $t (func)) (type $sleeping (func (param (ref null $t)) (result i32)))", True),
        ("(type $t (func (param i32))) (type $sleeping (func (param (ref null $t)) (result i32)))", False),
        ("(type $t (func)) (type $sleeping (func (param (ref $t)) (result i32)))", False),
        ("(type $t (struct)) (type $sleeping (func (param (ref null $t)) (result i32)))", False),
        ("(rec (type $sleeping (func (param (ref null $sleeping)) (result i32))))", False),
    ],
)
def test_types_that_refer_to_types(second: str, suspends: bool) -> None:
    types = f"(type $s (func)) (type $pair (func (param (ref null $s)) (result i32))) {second}"
    call = "(call_indirect $table (type $pair) (ref.null $s) (local.get 0))"
    binary = module(call, types=types, sleeper="sleeping", local_declarations=DYNAMIC)
    if suspends:
        assert_suspends(binary)
    else:
        assert sites(binary) == 0


def test_types_that_refer_to_themselves() -> None:
    types = """(type $pair (func (param (ref null $pair)) (result i32)))
      (type $twin (func (param (ref null $twin)) (result i32)))"""
    call = "(call_indirect $table (type $pair) (ref.null $pair) (local.get 0))"
    assert_suspends(module(call, types=types, sleeper="twin", local_declarations=DYNAMIC))
