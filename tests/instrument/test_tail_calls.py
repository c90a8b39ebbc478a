"""Tail calls that may suspend: what is suspended behind them is resumed, whatever entered and left before.

Every module is run with and without suspensions, each at every call of an import, with garbage for the export's
arguments in each rewind, and in several ways of moving frames.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import wasmtime

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, INLINE, SHARED
from caesura.instrument.pipeline import instrument_as
from caesura.instrument.plan.grouping import EVERYWHERE, LARGE_FUNCTIONS, GroupRule
from tests.instrument.building import assert_valid, bodies
from tests.support.engine import assemble, engine
from tests.support.instrumenting import instrument
from tests.support.plain_abi import (
    HEADER,
    HostCall,
    HostFunction,
    PlainGuest,
    StackArea,
    SuspendAt,
    always,
    every,
    never,
    some,
)

# Tail calls among functions of several types; `$ask` suspends. Exports take how often to go around.
MODULE = """
  (module
    (import "env" "ask" (func $ask (param i32 i64) (result i64)))
    (import "env" "tell" (func $tell (param f64)))
    (memory (export "memory") 1)
    (global $seen (export "seen") (mut i64) (i64.const 0))
    (tag $odd (param i64))
    (type $t (func (param i32 i64) (result i64)))
    (type $n (func (param i32)))
    (table $closed 8 funcref) (elem (table $closed) (i32.const 0) func $ping $pong $quiet $ask $through $framed)
    (table $open (export "open") 8 funcref) (elem (table $open) (i32.const 0) func $ping $pong $quiet $ask)
    (func $see (param i64)
      (global.set $seen (i64.add (i64.mul (global.get $seen) (i64.const 31)) (local.get 0))))
    (func $quiet (type $t) (call $see (local.get 1)) (i64.add (local.get 1) (i64.const 9)))

    ;; a ring of one
    (func $alone (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call $alone
        (i32.sub (local.get 0) (i32.const 1))
        (i64.add (call $ask (local.get 0) (local.get 1)) (i64.const 1))))

    ;; a ring of two; one asks before it goes on, one behind an ordinary call that stays on the stack
    (func $ping (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (call $tell (f64.convert_i64_s (local.get 1)))
      (return_call $pong (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 3))))
    (func $pong (type $t) (local $kept i64)
      (if (i32.eqz (local.get 0)) (then (return (i64.const -5))))
      (local.set $kept (call $ask (local.get 0) (local.get 1)))
      (call $see (local.get $kept))
      (return_call $ping (i32.sub (local.get 0) (i32.const 1)) (i64.xor (local.get $kept) (local.get 1))))

    ;; other parameters, and nothing but tail calls in between
    (func $wide (param v128 f32 i32 i64) (result i64)
      (if (result i64) (i32.and (local.get 2) (i32.const 1))
        (then (return_call $ping (local.get 2) (local.get 3)))
        (else (return_call $through (local.get 2) (i64.extend_i32_s (f32x4.extract_lane 1 (local.get 0))
                                                                    (i32.trunc_f32_s)) ))))
    (func $through (type $t)
      (if (i32.and (local.get 0) (i32.const 4))
        (then (return_call $framed (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
      (return_call_indirect $closed (type $t)
        (local.get 0) (local.get 1) (i32.and (local.get 0) (i32.const 3))))
    ;; would be frameless, but for being entered by a tail call
    (func $framed (type $t) (call $pong (local.get 0) (i64.add (local.get 1) (i64.const 1))))
    (func $at_tail (type $t) (call $see (local.get 1)) (call $pong (local.get 0) (local.get 1)))
    ;; frameless in any case
    (func $passing (type $t) (return_call $ping (i32.add (local.get 0) (i32.const 1)) (local.get 1)))
    (func $calling (type $t) (call $passing (local.get 0) (i64.const 4)))

    (func (export "alone") (param i32) (result i64)
      (i64.add (i64.const 7) (call $alone (local.get 0) (i64.const 1))))
    (func (export "ring") (param i32) (result i64)
      (i64.add (call $ping (local.get 0) (i64.const 1)) (call $pong (local.get 0) (i64.const 2))))
    (func (export "out") (param i32) (result i64) (return_call $ping (local.get 0) (i64.const 8)))
    (func (export "import") (param i32) (result i64)
      (return_call $ask (i32.mul (local.get 0) (i32.const 3)) (i64.const 5)))
    (func (export "procedure") (param i32) (call $tell (f64.const 1))
      (return_call $tell (f64.convert_i32_s (local.get 0))))
    (func (export "wide") (param i32) (result i64)
      (i64.sub
        (call $wide (v128.const f32x4 1 2 3 4) (f32.const 2) (local.get 0) (i64.const 3))
        (call $calling (local.get 0) (i64.const 1))))
    (func (export "wrapped") (param i32) (result i64)
      (if (i32.and (local.get 0) (i32.const 1))
        (then (return_call $at_tail (local.get 0) (i64.const 6))))
      (return_call $framed (local.get 0) (i64.const 2)))
    (func (export "table") (param i32) (result i64) (local i64)
      (local.set 1 (call $through (i32.const 0) (i64.const 1)))
      (local.set 1 (i64.add (local.get 1) (call $through (i32.const 1) (i64.const 1))))
      (local.set 1 (i64.add (local.get 1) (call $through (i32.const 2) (i64.const 1))))
      (local.set 1 (i64.add (local.get 1) (call $through (i32.const 3) (i64.const 1))))
      (i64.add (local.get 1) (call $through (local.get 0) (i64.const 3))))
    (func (export "open_table") (param i32) (result i64)
      (call $see (i64.const 3))
      (return_call_indirect $open (type $t)
        (local.get 0) (i64.const 4) (i32.and (local.get 0) (i32.const 3))))
    (func (export "reference") (param i32) (result i64) (local i64)
      (local.set 1 (call $ask (local.get 0) (i64.const 2)))
      (if (i32.and (local.get 0) (i32.const 1))
        (then (return_call_ref $t (local.get 0) (local.get 1) (ref.func $pong))))
      (return_call_ref $t (local.get 0) (local.get 1) (ref.func $ask)))
    ;; in loops and switches, with call sites before and behind
    (func $busy (export "busy") (param i32) (result i64) (local i32 i64)
      (loop $outer
        (local.set 1 (i32.const 3))
        (loop $inner
          (local.set 2 (i64.add (local.get 2) (call $ask (local.get 0) (local.get 2))))
          (if (i32.eq (i32.add (local.get 0) (local.get 1)) (i32.const 5))
            (then
              (call $tell (f64.const 2))
              (return_call $ping (local.get 1) (local.get 2))))
          (br_if $inner (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
        (block $a (block $b (block $c
          (br_table $a $b $c (i32.and (local.get 0) (i32.const 3))))
          (return_call $alone (local.get 0) (local.get 2)))
          (call $see (call $ask (i32.const 6) (local.get 2))))
        (br_if $outer (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
      (local.get 2))
    ;; a tail call leaves the try
    (func $throwing (type $t)
      (if (i64.eqz (call $ask (local.get 0) (local.get 1))) (then (return (i64.const 1))))
      (throw $odd (local.get 1)))
    (func $trying (type $t)
      (block $caught (result i64)
        (try_table (result i64) (catch $odd $caught)
          (call $tell (f64.const 5))
          (if (i32.and (local.get 0) (i32.const 1))
            (then (return_call $throwing (local.get 0) (local.get 1))))
          (call $throwing (local.get 0) (i64.const 70)))
        (return))
      (i64.add (i64.const 1000)))
    (func (export "try") (param i32) (result i64)
      (block $caught (result i64)
        (try_table (result i64) (catch $odd $caught)
          (i64.add (call $trying (local.get 0) (i64.const 11))
                   (call $trying (i32.add (local.get 0) (i32.const 1)) (i64.const 12))))
        (return))
      (i64.mul (i64.const 10)))
    ;; several results, and none
    (func $pair (param i32) (result i64 f32)
      (if (i32.eqz (local.get 0)) (then (return (i64.const 3) (f32.const 0.5))))
      (call $see (call $ask (local.get 0) (i64.const 0)))
      (return_call $pair_too (f64.const 1) (i32.sub (local.get 0) (i32.const 1))))
    (func $pair_too (param f64 i32) (result i64 f32) (return_call $pair (local.get 1)))
    (func (export "several") (param i32) (result f64)
      (call $pair (local.get 0))
      (f64.promote_f32)
      (global.set $kept)
      (f64.convert_i64_s)
      (f64.add (global.get $kept)))
    (global $kept (mut f64) (f64.const 0))
    (func $nothing (type $n)
      (call $tell (f64.convert_i32_s (local.get 0)))
      (br_if 0 (i32.eqz (local.get 0)))
      (return_call $nothing (i32.sub (local.get 0) (i32.const 1))))
    (func (export "nothing") (param i32) (call $nothing (local.get 0))))
"""
EXPORTS = (
    "alone",
    "ring",
    "out",
    "import",
    "procedure",
    "wide",
    "wrapped",
    "table",
    "open_table",
    "reference",
    "busy",
    "try",
    "several",
    "nothing",
)


def answer(value: int, wide: int) -> int:
    """The host's function `ask`."""
    return (value * 5 + wide * 3 + 1) & 0xFFFF


HOST: dict[tuple[str, str], HostFunction] = {("env", "ask"): answer, ("env", "tell"): lambda value: None}
OPTIONS: list[dict[str, object]] = [
    {},
    {"two_bodies": "all"},
    {"optimize": "size"},
    {"optimize": "speed"},
    {"asserts": True},
    {"in_secondary_memory": True},
    {"no_multivalue": True},
    {"export_globals": True},
    {"imports": ("env.ask",)},
    {"imports": ("env.tell",)},
    {"ignore_indirect": True},
    {"remove_list": ("see",)},
]


@pytest.mark.parametrize(
    ("moves", "group_rule"),
    [(AUTOMATIC, None), (SHARED, EVERYWHERE), (INLINE, LARGE_FUNCTIONS)],
    ids=["pieces", "shared, all groups", "inline"],
)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_suspended_and_resumed(options: dict[str, object], moves: int, group_rule: GroupRule | None) -> None:
    binary = assemble(MODULE)
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    instrumented = instrument_as(binary, chosen, None, moves, group_rule).module
    memory = "asyncify_memory" if "in_secondary_memory" in options else "memory"
    suspending = {entry.rpartition(".")[2] for entry in chosen.imports or ("ask", "tell")}
    runs = [
        (name, value)
        for name in EXPORTS
        for value in (0, 1, 2, 3, 7)
        if "ignore_indirect" not in options or name not in ("wide", "table", "open_table", "reference")
    ]
    original = PlainGuest(binary, HOST, suspend_at=never)
    expected = [original.call(name, value) for name, value in runs]
    for choose in (always, some(moves, 0.4)):

        def suspend_at(call: HostCall, choose: SuspendAt = choose) -> bool:
            return call.name in suspending and choose(call)

        guest = PlainGuest(instrumented, HOST, suspend_at=suspend_at, memory=memory, stacks=StackArea(4096, 8192, 1))
        for run, result in zip(runs, expected, strict=True):
            assert guest.call(*run) == result, run
        assert guest.log == original.log and guest.globals() == original.globals()
        assert guest.suspensions > 30


FLAT = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (type $t (func (param i32 i32) (result i32)))
    (table $closed 2 funcref) (elem (table $closed) (i32.const 0) func $by_reference $by_name)
    (table $open (export "open") 2 funcref) (elem (table $open) (i32.const 0) func $through_closed $by_name)
    (func $next (param i32 i32) (result i32)
      (if (result i32) (i32.eqz (i32.rem_u (local.get 0) (i32.const %d)))
        (then (i32.add (local.get 1) (call $ask (local.get 0))))
        (else (local.get 1))))
    (func $by_name (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call $through_open (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1))))
    (func $through_open (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call_indirect $open (type $t)
        (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1)) (i32.const 0)))
    (func $through_closed (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call_indirect $closed (type $t)
        (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1)) (i32.const 0)))
    (func $by_reference (type $t)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (return_call_ref $t
        (i32.sub (local.get 0) (i32.const 1)) (call $next (local.get 0) (local.get 1)) (ref.func $by_name)))
    (func (export "f") (param i32) (result i32) (call $by_name (local.get 0) (i32.const 0))))
"""


@pytest.mark.parametrize("two_bodies", ["never", "all"])
def test_a_million_tail_calls_take_no_stack(two_bodies: str) -> None:
    """Nor native stack: Wasmtime's is half a megabyte, and the frames of 40,000 functions would fill it.

    The asyncify stack has room for the three frames that there are at each of some hundred suspensions.
    """
    guest = PlainGuest(
        instrument(assemble(FLAT % 9_001), caesura.Options(two_bodies=two_bodies)),
        {("env", "ask"): lambda value: value & 7},
        suspend_at=always,
        stacks=StackArea(4096, 96, 1),
    )
    assert guest.call("f", 1_000_000) == sum(value & 7 for value in range(9_001, 1_000_001, 9_001))
    assert guest.suspensions == 111


def test_a_ring_that_is_suspended_all_the_time() -> None:
    guest = PlainGuest(
        instrument(assemble(FLAT % 1)),
        {("env", "ask"): lambda value: value & 7},
        suspend_at=every(3),
        stacks=StackArea(4096, 96, 1),
    )
    assert guest.call("f", 3_000) == sum(value & 7 for value in range(3_001))
    assert guest.suspensions == 1_000


def test_what_only_passes_on_by_a_tail_call_stays_as_it_is() -> None:
    binary = assemble(MODULE)
    result = caesura.instrument(binary)
    reports = {function.name: function for function in result.functions}
    passing = reports["passing"]
    assert (passing.frameless, passing.instrumented, passing.sites) == (True, True, 1)
    own = passing.index - 2
    assert bodies(result.module)[own] == bodies(binary)[own]
    assert not reports["framed"].frameless and not reports["at_tail"].frameless
    assert reports["through"].instrumented and reports["through"].sites == 2  # its two tail calls


def test_tail_calls_that_cannot_suspend_stay_as_they_are() -> None:
    text = """
      (module
        (import "env" "ask" (func $ask))
        (memory (export "memory") 1)
        (func $quiet (param i32) (if (local.get 0) (then (return_call $quiet (i32.const 0)))))
        (func (export "f") (call $ask) (return_call $quiet (i32.const 1))))
    """
    calls = """
      (module
        (import "env" "ask" (func $ask))
        (memory (export "memory") 1)
        (func $quiet (param i32) (if (local.get 0) (then (call $quiet (i32.const 0)) (return))))
        (func (export "f") (call $ask) (call $quiet (i32.const 1)) (return)))
    """
    result = caesura.instrument(assemble(text))
    assert bodies(result.module)[0] == bodies(assemble(text))[0]
    assert result.bytes_after - result.bytes_before <= len(instrument(assemble(calls))) - len(assemble(calls))


def test_tail_calls_that_cannot_suspend_from_two_bodies() -> None:
    """The resume body returns something else than the function: it calls them."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (type $t (func (param i32) (result i32)))
        (table 2 funcref) (elem (i32.const 0) func $quiet)
        (func $quiet (type $t) (i32.add (local.get 0) (i32.const 100)))
        (func $loud (param i32) (result i32) (i32.mul (call $ask (local.get 0)) (i32.const 2)))
        (func (export "f") (param i32) (result i32)
          (loop $again
            (local.set 0 (call $ask (local.get 0)))
            (if (i32.lt_s (local.get 0) (i32.const 10)) (then (return_call $quiet (local.get 0))))
            (if (i32.lt_s (local.get 0) (i32.const 20))
              (then (return_call_indirect (type $t) (local.get 0) (i32.const 0))))
            (if (i32.lt_s (local.get 0) (i32.const 30)) (then (return_call $loud (local.get 0))))
            (br $again))
          (unreachable)))
    """
    host: dict[tuple[str, str], HostFunction] = {("env", "ask"): lambda value: value - 9}
    for value in (7, 15, 29, 38, 70):
        expected = PlainGuest(assemble(text), host).call("f", value)
        guest = PlainGuest(instrument(assemble(text), caesura.Options(two_bodies="all")), host, suspend_at=always)
        assert guest.call("f", value) == expected


def test_who_is_entered_while_the_guest_unwinds_leaves_at_once() -> None:
    """Also functions that only leave by tail calls, with and without frames, and dispatching is not tried then."""
    for moves in (AUTOMATIC, SHARED):
        binary = instrument_as(assemble(MODULE), caesura.Options(), None, moves, None).module
        guest = PlainGuest(binary, HOST, stacks=StackArea(4096, 4096, 1))
        asked: list[int] = []

        def start(value: int, wide: int, asked: list[int] = asked, guest: PlainGuest = guest) -> int:
            asked.append(value)
            guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
            guest.function("asyncify_start_unwind")(guest.store, 4096)
            seen = guest.globals()
            for name in ("out", "import", "wrapped", "open_table", "reference", "busy", "alone"):
                assert guest.function(name)(guest.store, 3) == 0, name
            assert guest.globals() == seen and guest.stack_pointers(4096)[0] == 4096 + HEADER
            return 99

        guest.replace(("env", "ask"), start)
        assert guest.function("import")(guest.store, 20) == 0
        assert asked == [60] and guest.state() == 1


def test_a_foreign_function_that_is_suspended_below_a_tail_call_traps_by_name() -> None:
    """It is no import of the module's, so nothing of it is left when the guest is rewound."""
    store = wasmtime.Store(engine())
    kind = wasmtime.FuncType([wasmtime.ValType.i32(), wasmtime.ValType.i64()], [wasmtime.ValType.i64()])
    guest = PlainGuest(instrument(assemble(MODULE)), HOST, stacks=StackArea(4096, 4096, 1), store=store)
    asleep: list[int] = []

    def sleep(value: int, wide: int) -> int:
        asleep.append(value)
        guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
        guest.function("asyncify_start_unwind")(store, 4096)
        return 0

    table = guest.exports["open"]
    assert isinstance(table, wasmtime.Table)
    table.set(store, 1, wasmtime.Func(store, kind, sleep))
    assert guest.function("open_table")(store, 1) == 0
    guest.function("asyncify_stop_unwind")(store)
    guest.function("asyncify_start_rewind")(store, 4096)
    with pytest.raises(wasmtime.Trap) as trap:
        guest.function("open_table")(store, 1)
    assert trap.value.frames[0].func_name == "asyncify_suspended_in_foreign_tail_call"
    assert asleep == [1]
    guest.function("asyncify_stop_unwind")(store)
    assert guest.call("ring", 3) == PlainGuest(assemble(MODULE), HOST).call("ring", 3)


def test_an_import_that_is_exported_again_can_be_put_into_a_table() -> None:
    """What the host gets from the module's exports is a function of the module's, which has a frame."""
    text = """
      (module
        (import "env" "ask" (func $ask (param i32 i64) (result i64)))
        (export "ask" (func $ask))
        (memory (export "memory") 1)
        (type $t (func (param i32 i64) (result i64)))
        (table (export "table") 1 funcref)
        (func (export "f") (param i32) (result i64)
          (i64.add (i64.const 1) (call $leave (local.get 0))))
        (func $leave (param i32) (result i64)
          (return_call_indirect (type $t) (local.get 0) (i64.const 4) (i32.const 0))))
    """
    results: list[object] = []
    for binary, suspend_at in ((assemble(text), never), (instrument(assemble(text)), always)):
        guest = PlainGuest(binary, HOST, suspend_at=suspend_at)
        table = guest.exports["table"]
        assert isinstance(table, wasmtime.Table)
        table.set(guest.store, 0, guest.function("ask"))
        results.append(guest.call("f", 5))
    assert results == [answer(5, 4) + 1] * 2


def test_the_guest_s_own_runtime_is_called_at_the_end() -> None:
    """A tail call of what starts unwinding: that is called again in the rewind, with its real arguments."""
    text = """
      (module
        (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
        (import "asyncify" "stop_rewind" (func $stop_rewind))
        (import "asyncify" "get_state" (func $get_state (result i32)))
        (memory (export "memory") 1)
        (global $got (export "got") (mut i32) (i32.const 0))
        (func $pause (param i32) (result i32)
          (if (call $get_state)
            (then (call $stop_rewind) (global.set $got (local.get 0)) (return (i32.mul (local.get 0) (i32.const 3)))))
          (call $start_unwind (i32.const 4096))
          (i32.const 0))
        (func $leave (param i32) (result i32) (return_call $pause (i32.add (local.get 0) (i32.const 1))))
        (func (export "f") (param i32) (result i32) (i32.add (call $leave (local.get 0)) (i32.const 5))))
    """
    store = wasmtime.Store(engine())
    guest = PlainGuest(instrument(assemble(text)), store=store, stacks=StackArea(4096, 4096, 1))
    guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
    assert guest.function("f")(store, 20) == 0 and guest.state() == 1
    guest.function("asyncify_stop_unwind")(store)
    guest.function("asyncify_start_rewind")(store, 4096)
    assert guest.function("f")(store, -7) == 68
    assert guest.globals()["got"] == 21 and guest.state() == 0


@pytest.mark.parametrize("is_64", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize(
    "options",
    [{}, {"two_bodies": "all"}, {"in_secondary_memory": False}, {"only_list": ()}],
    ids=["defaults", "two bodies", "in the guest's memory", "checked stack"],
)
def test_thunks_and_coroutines(options: dict[str, object], is_64: bool) -> None:
    """Several suspended calls at once, through the asyncio host; with lists it looks at each function on the stack."""
    text = MODULE.replace('(memory (export "memory") 1)', '(memory (export "memory") i64 1)') if is_64 else MODULE
    binary = assemble(text)
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    if "only_list" in options:
        reports = caesura.instrument(binary).functions
        chosen = replace(chosen, only_list=tuple(report.name for report in reports if report.instrumented))
    names = [name for name in EXPORTS if name != "procedure"]
    original = PlainGuest(binary, HOST)
    expected = [original.call(name, value) for name in names for value in (0, 1, 2, 7)]

    async def ask(value: int, wide: int) -> int:
        await asyncio.sleep(0)
        return answer(value, wide)

    async def tell(value: float) -> None:
        await asyncio.sleep(0)

    async def main() -> list[object]:
        guest = await caesura.load(binary, {"env": {"ask": ask, "tell": tell}}, options=chosen, cache=False)
        return list(await asyncio.gather(*[guest.call(name, value) for name in names for value in (0, 1, 2, 7)]))

    results = asyncio.run(main())
    # What is kept in a global is not each call's own.
    several = slice(4 * names.index("several"), 4 * names.index("several") + 4)
    assert results[: several.start] + results[several.stop :] == expected[: several.start] + expected[several.stop :]


REFERENCES = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (import "env" "give" (func $give (param externref) (result externref)))
    (memory (export "memory") 1)
    (type $pair (sub (struct (field (mut i32)) (field (mut i32)))))
    (type $triple (sub $pair (struct (field (mut i32)) (field (mut i32)) (field (ref $pair)))))
    (type $step (func (param i32 (ref $pair) externref (ref func)) (result (ref $pair))))
    (type $finish (func (param i32 (ref $pair) externref (ref func)) (result (ref $triple))))
    (table $steps 4 (ref null $step))
    (elem (table $steps) (i32.const 0) (ref null $step) (ref.func $first) (ref.func $second))
    (func $first (type $step)
      (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
      (struct.set $pair 0 (local.get 1) (i32.add (call $ask (local.get 0)) (struct.get $pair 0 (local.get 1))))
      (return_call_indirect $steps (type $step)
        (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2) (local.get 3) (i32.const 1)))
    (func $second (type $step) (local $kept externref)
      (local.set $kept (call $give (local.get 2)))
      (struct.set $pair 1 (local.get 1)
        (i32.add
          (ref.is_null (local.get $kept))
          (i32.add (call $ask (local.get 0)) (i32.mul (i32.const 3) (struct.get $pair 1 (local.get 1))))))
      (if (i32.lt_s (local.get 0) (i32.const 3))
        (then (return_call $last (local.get 0) (local.get 1) (local.get $kept) (local.get 3))))
      (return_call_ref $step (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get $kept) (local.get 3)
        (ref.cast (ref $step) (local.get 3))))
    ;; a subtype of the results that are asked for
    (func $last (type $finish)
      (struct.set $pair 0 (local.get 1) (i32.add (call $ask (i32.const 77)) (struct.get $pair 0 (local.get 1))))
      (struct.new $triple (call $ask (local.get 0)) (struct.get $pair 0 (local.get 1)) (local.get 1)))
    (func $sum (param (ref $pair)) (result i32)
      (i32.add (i32.mul (i32.const 10) (struct.get $pair 0 (local.get 0))) (struct.get $pair 1 (local.get 0))))
    (func (export "f") (param i32 externref) (result i32)
      (call $sum
        (call $first
          (local.get 0) (struct.new $pair (i32.const 1) (i32.const 2)) (local.get 1) (ref.func $first))))
  )
"""


@pytest.mark.parametrize("options", [{}, {"two_bodies": "all"}, {"optimize": "size"}], ids=str)
def test_references_are_passed_on(options: dict[str, object]) -> None:
    """Parameters and results that cannot be null, and results of a subtype."""
    binary = assemble(REFERENCES)
    host: dict[tuple[str, str], HostFunction] = {
        ("env", "ask"): lambda value: value * 2 + 1,
        ("env", "give"): lambda value: value,
    }
    original = PlainGuest(binary, host)
    expected = [original.call("f", times, "kept") for times in (0, 1, 2, 5, 10, 11)]  # type: ignore[arg-type]
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    guest = PlainGuest(instrument(binary, chosen), host, suspend_at=always, stacks=StackArea(4096, 4096, 1))
    assert [guest.call("f", times, "kept") for times in (0, 1, 2, 5, 10, 11)] == expected  # type: ignore[arg-type]
    assert guest.suspensions == len(original.log) == 52


def test_many_functions_that_can_be_entered() -> None:
    """More than one dispatch function chooses among; the module stays valid, and each is found."""
    count = 2_300
    functions = "".join(
        f"(func $f{number} (type $t) (i32.add (call $ask (local.get 0)) (i32.const {number})))"
        for number in range(count)
    )
    names = " ".join(f"$f{number}" for number in range(count))
    text = f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (type $t (func (param i32) (result i32)))
        (table {count} funcref) (elem (i32.const 0) func {names})
        {functions}
        (func (export "f") (type $t) (return_call_indirect (type $t) (i32.const 100000) (local.get 0))))
    """
    binary = instrument(assemble(text))
    assert_valid(binary)
    guest = PlainGuest(binary, {("env", "ask"): lambda value: value}, suspend_at=always)
    for number in (0, 1, 999, 1_000, 1_001, 1_999, 2_000, count - 1):
        assert guest.call("f", number) == 100_000 + number


LINKED = (
    """
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (table (export "table") 4 funcref) (elem (i32.const 0) func $own $leave)
        (type $t (func (param i32) (result i32)))
        (func $own (type $t) (i32.add (i32.const 10) (call $ask (local.get 0))))
        (func $leave (export "leave") (type $t)
          (if (i32.and (local.get 0) (i32.const 1)) (then (return_call $own (local.get 0))))
          (return_call $ask (i32.add (local.get 0) (i32.const 1)))))
    """,
    """
      (module
        (import "main" "leave" (func $theirs (param i32) (result i32)))
        (import "main" "memory" (memory 1))
        (import "main" "table" (table $table 4 funcref))
        (type $t (func (param i32) (result i32)))
        (elem (table $table) (i32.const 2) func $mine)
        (func $mine (type $t) (i32.mul (i32.const 3) (call $theirs (local.get 0))))
        (func $through (type $t) (return_call_indirect $table (type $t) (i32.const 6) (local.get 0)))
        (func (export "f") (type $t) (i32.sub (call $mine (local.get 0)) (i32.const 1)))
        (func (export "g") (type $t) (return_call $theirs (i32.add (local.get 0) (i32.const 2))))
        (func (export "table") (type $t) (i32.add (call $through (local.get 0)) (i32.const 1))))
    """,
)


def test_modules_that_share_a_state() -> None:
    """One leaves by a tail call of an import that is a function of the other, which leaves by one as well.

    Through a table that both share only their own functions can be resumed: identities are each module's own.
    """
    store = wasmtime.Store(engine())
    state: list[int] = []

    def ask(value: int) -> int:
        if state and state[-1] == 1:
            main["asyncify_stop_rewind"](store)
            state.append(0)
            return value * 2
        main["asyncify_start_unwind"](store, 4096)
        state.append(1)
        return 0

    number = wasmtime.ValType.i32()
    options = (caesura.Options(export_globals=True), caesura.Options(import_globals=True))
    modules = [wasmtime.Module(engine(), instrument(assemble(LINKED[place]), options[place])) for place in (0, 1)]
    imported = wasmtime.Func(store, wasmtime.FuncType([number], [number]), ask)
    main: dict[str, Any] = dict(wasmtime.Instance(store, modules[0], [imported]).exports(store))
    shared = {"__asyncify_state": "env", "__asyncify_data": "env", "leave": "main", "memory": "main", "table": "main"}
    assert {item.name for item in modules[1].imports} == set(shared)
    externs = [main[item.name or ""] for item in modules[1].imports]
    side: dict[str, Any] = dict(wasmtime.Instance(store, modules[1], externs).exports(store))

    def suspended_and_resumed(name: str, value: int) -> object:
        main["memory"].write(store, (4104).to_bytes(4, "little") + (4200).to_bytes(4, "little"), 4096)
        side[name](store, value)
        main["asyncify_stop_unwind"](store)
        main["asyncify_start_rewind"](store, 4096)
        return side[name](store, -9)

    assert suspended_and_resumed("f", 4) == 3 * (2 * 5) - 1
    assert suspended_and_resumed("f", 5) == 3 * (10 + 2 * 5) - 1
    assert suspended_and_resumed("g", 4) == 2 * 7
    # Entry 2 is the module's own, which calls the other's: 6 is even.
    assert suspended_and_resumed("table", 2) == 3 * (2 * 7) + 1
    with pytest.raises(wasmtime.Trap, match="asyncify_suspended_in_foreign_tail_call"):
        suspended_and_resumed("table", 0)
