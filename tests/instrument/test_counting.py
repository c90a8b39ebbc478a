"""What guests count bounds what they run, whatever ways they go: Wasmtime's own count of instructions is the yardstick.

The programs are made to be counted for as little as possible: calls of calls that multiply, long straight code, in
functions that are called by name, through tables and through references, in loops and out of them.
"""

from __future__ import annotations

import itertools
import random
from typing import Final

import pytest
import wasmtime

import caesura
from caesura.analysis.pause_points import MOST_OF_A_CALL, MOST_RATIO
from tests.instrument.pausing import PLENTY, PausingHost, counting_engine
from tests.support.engine import assemble

# As long as this an export may run before it counts at all.
AT_FIRST: Final = MOST_RATIO * MOST_OF_A_CALL

_WORK: Final = "(global.set $g (i32.add (global.get $g) (i32.const 3)))"
_WORK_LENGTH: Final = 4


def straight(length: int) -> str:
    """Return code of so many instructions, as Wasmtime counts."""
    return _WORK * (length // _WORK_LENGTH)


def module_of(functions: str, run: str) -> bytes:
    return assemble(f"""(module (type $t (func)) (global $g (export "g") (mut i32) (i32.const 1))
      {functions} (func (export "run") (local $i i32) {run}))""")


def looped(body: str, times: int = 200) -> str:
    return (
        f"(local.set $i (i32.const {times}))"
        f"(loop {body} (br_if 0 (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))"
    )


def doubling(levels: int, leaf: int) -> str:
    """Return functions that call each other twice, `levels` deep, and come to `leaf` instructions."""
    calls = "".join(f"(func $f{n} (type $t) (call $f{n + 1}) (call $f{n + 1}))" for n in range(levels))
    table = f"(table 1 funcref) (elem (i32.const 0) $f0) (func $f{levels} (type $t) {straight(leaf)})"
    return calls + table


HOSTILE: Final = {
    "calls that double": (doubling(12, 4), looped("(call $f0)")),
    "calls that double, just below what is counted": (doubling(6, 4), looped("(call $f0)" * 50)),
    "calls that double long code": (doubling(6, 1000), looped("(call $f0)")),
    "calls through a table": (doubling(5, 8), looped("(call_indirect (type $t) (i32.const 0))" * 20)),
    "tail calls through a table": (
        doubling(5, 8) + "(func $tail (type $t) (return_call_indirect (type $t) (i32.const 0)))",
        looped("(call $tail)" * 20),
    ),
    "calls through a reference": (doubling(5, 8), looped("(call_ref $t (ref.func $f0))" * 20)),
    "long straight code": (f"(func $f {straight(20_000)})", looped("(call $f)", 20)),
    "long straight code, called once": (f"(func $f {straight(20_000)})", "(call $f)"),
    "straight code that is just not counted": (f"(func $f {straight(1000)})", looped("(call $f)" * 100)),
    "many of them, one after the other": (
        f"(func $f {straight(1000)})" + "".join(f"(func $h{n} (call $f))" for n in range(50)),
        looped("".join(f"(call $h{n})" for n in range(50))),
    ),
    "recursion": (
        f"(func $f {straight(1000)}) (func $r (param i32) (if (local.get 0) (then {'(call $f)' * 9}"
        "(call $r (i32.sub (local.get 0) (i32.const 1))))))",
        "(call $r (i32.const 500))",
    ),
    "exceptions": (
        f"(tag $t) (func $f {straight(900)} (throw $t))",
        looped("(block (try_table (catch_all 0) (call $f)))" * 20),
    ),
}


def ran_and_counted(module: bytes) -> tuple[int, int]:
    """Return how many instructions a program runs, and what it counts; results must be equal."""
    store = wasmtime.Store(counting_engine())
    store.set_fuel(PLENTY)
    instance = wasmtime.Instance(store, wasmtime.Module(counting_engine(), module), [])
    exports = instance.exports(store)
    run, value = exports["run"], exports["g"]
    assert isinstance(run, wasmtime.Func) and isinstance(value, wasmtime.Global)
    run(store)
    options = caesura.Options(preempt="fuel", in_secondary_memory=True, ignore_imports=True)
    host = PausingHost(caesura.instrument(module, options).module)
    host.call("run")
    assert host.exports["g"].value(host.store) == value.value(store)
    return PLENTY - store.get_fuel(), host.used()


@pytest.mark.parametrize("shape", list(HOSTILE))
def test_hostile_shapes_count_for_what_they_run(shape: str) -> None:
    ran, counted = ran_and_counted(module_of(*HOSTILE[shape]))
    assert ran > AT_FIRST
    assert ran <= MOST_RATIO * counted + AT_FIRST


def random_body(source: random.Random, callees: list[int]) -> str:
    """Return code that calls some functions, which stand in the table at their own numbers."""
    body = []
    for _ in range(source.randrange(1, 5)):
        kind = source.randrange(6) if callees else 0
        callee = source.choice(callees) if callees else 0
        call = source.choice(
            [
                f"(call $f{callee})",
                f"(call_indirect (type $t) (i32.const {callee}))",
                f"(call_ref $t (ref.func $f{callee}))",
            ]
        )
        if kind == 0:
            body.append(straight(source.choice((8, 60, 900, 5000))))
        elif kind == 1:
            body.append(f"(if (global.get $g) (then {call}) (else {straight(source.choice((4, 4000)))}))")
        elif kind == 2:
            body.append(looped(call, source.randrange(1, 4)))
        elif kind == 3:
            body.append(f"(block (br_if 0 (i32.eqz (global.get $g))) {call})")
        else:
            body.append(call)
    return "".join(body)


@pytest.mark.parametrize("seed", range(40))
def test_random_programs_count_for_what_they_run(seed: int) -> None:
    source = random.Random(seed)
    count = source.randrange(3, 9)
    names = " ".join(f"$f{number}" for number in range(count))
    functions = f"(table {count} funcref) (elem (i32.const 0) {names})"
    for number in range(count):
        body = random_body(source, list(range(number + 1, count)))
        functions += f"(func $f{number} (type $t) (local $i i32) {body})"
    ran, counted = ran_and_counted(module_of(functions, looped("(call $f0)", 10)))
    assert ran <= MOST_RATIO * counted + AT_FIRST


@pytest.mark.parametrize(
    ("grow", "units"), [("memory.grow", 16_384), ("table.grow $t (ref.null func)", 256)], ids=["memory", "table"]
)
@pytest.mark.parametrize("amount", ["(i32.const 1)", "(i32.const 0)", "(local.get $one)"])
def test_growing_counts_by_however_little(grow: str, units: int, amount: str) -> None:
    """Engines take long for it: V8 grows a memory in a seventh of a millisecond."""
    text = f"""(module (memory 0 5000) (table $t 0 funcref)
      (func (export "run") (param $times i32) (local $one i32)
        (local.set $one (i32.const 1))
        (loop (drop ({grow} {amount})) (br_if 0 (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))"""
    options = caesura.Options(preempt="fuel", thunks=True, in_secondary_memory=True)
    host = PausingHost(caesura.instrument(assemble(text), options).module)
    counted = []
    for times in (1, 101):
        host.set_fuel(PLENTY)
        host.call("run", times)
        counted.append(PLENTY - host.left())
    grown = counted[1] - counted[0]
    assert 100 * units <= grown < 101 * (units + 32)


@pytest.mark.parametrize(("times", "pauses"), [(2000, 17), (1, 0)])
def test_no_code_grows_a_memory_often_without_a_look(times: int, pauses: int) -> None:
    """A function without loops has looks in between where it does it often; one that does it once has none."""
    text = f'(module (memory 0 5000) (func (export "run") {"(drop (memory.grow (i32.const 1)))" * times}))'
    options = caesura.Options(preempt="fuel", thunks=True, in_secondary_memory=True)
    result = caesura.instrument(assemble(text), options)
    assert result.instrumented == (pauses > 0)
    if pauses:
        host = PausingHost(result.module)
        host.set_fuel(-1)
        host.call("run", portions=itertools.repeat(-1))
        assert host.pauses == pauses
