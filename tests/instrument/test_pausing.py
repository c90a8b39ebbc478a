"""Modules with pause points, paused wherever they can be, do what they do when they are not, and count the same."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura import abi
from caesura.analysis.pause_points import find_pause_points
from caesura.errors import UnsupportedModule, UsageError
from caesura.wasm.module import Module
from caesura.wasm.print_module import print_module
from tests.instrument.building import assert_valid, part
from tests.instrument.pausing import PLENTY, PausingHost
from tests.support.engine import assemble, engine

# Each exports `run`, which takes a number; memory, if there is any, is exported as `memory`, a global as `g`.
PROGRAMS: Final = {
    "a loop": """(module (global $g (export "g") (mut i32) (i32.const 0))
      (func (export "run") (param i32) (result i32) (local i32)
        (loop (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 3)) (local.get 0)))
          (global.set $g (local.get 1))
          (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 1)))""",
    "nested loops, with a value below": """(module (memory (export "memory") 1)
      (func (export "run") (param $n i32) (result i32) (local $i i32) (local $j i32)
        (i32.load (i32.const 0))
        (loop
          (local.set $j (local.get $n))
          (loop
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.mul (local.get $i) (local.get $j))))
            (br_if 0 (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
          (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (i32.add (i32.load (i32.const 0)))))""",
    "locals that are set between an operand and a loop": """(module
      (func $twice (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
      (func (export "run") (param $n i32) (result i32) (local $i i32) (local $sum i32)
        (i32.add (local.get $n) (i32.const 16))
        (local.set $i (i32.const 1))
        (local.set $sum (i32.const 25696))
        (loop
          (local.set $sum (i32.add (local.get $sum) (local.get $i)))
          (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (local.set $i (i32.const 1))
        (loop $outer
          (local.set $n (local.get $i))
          (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          (local.set $sum (i32.add (local.get $sum) (call $twice (local.get $i))))
          (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))
        (i32.add (local.get $sum))))""",
    "a loop with parameters and results": """(module
      (func (export "run") (param $n i32) (result i32) (local $step i64)
        (i32.const 1) (i64.const 2)
        (loop (param i32 i64) (result i32 i64)
          (local.set $step)
          (i32.add (local.get $n))
          (i64.add (local.get $step) (i64.extend_i32_u (local.get $n)))
          (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.add (i32.wrap_i64))))""",
    "recursion": """(module
      (func $fib (export "run") (param i32) (result i32)
        (if (i32.lt_s (local.get 0) (i32.const 2)) (then (return (local.get 0))))
        (call $fib (i32.sub (local.get 0) (i32.const 1)))
        (i32.add (call $fib (i32.sub (local.get 0) (i32.const 2))))))""",
    "recursion through a table": """(module (table 4 funcref) (elem (i32.const 1) $even $odd)
      (type $t (func (param i32) (result i32)))
      (func $even (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
        (i32.mul (i32.const 3) (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 2))))
      (func $odd (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 5))))
        (i32.add (i32.const 7) (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1))))
      (func (export "run") (param i32) (result i32)
        (call_indirect (type $t) (local.get 0) (i32.const 1))))""",
    "a loop of tail calls": """(module (type $t (func (param i32 i32) (result i32)))
      (table 1 funcref) (elem (i32.const 0) $again)
      (func $once (param i32 i32) (result i32)
        (return_call_indirect (type $t) (local.get 0) (i32.add (local.get 1) (i32.const 3)) (i32.const 0)))
      (func $again (param i32 i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
        (return_call $once (i32.sub (local.get 0) (i32.const 1)) (i32.mul (local.get 1) (i32.const 5))))
      (func (export "run") (param i32) (result i32) (call $again (local.get 0) (i32.const 1))))""",
    "a loop of exceptions": """(module (tag $t (param i32)) (global $g (export "g") (mut i32) (i32.const 0))
      (func $throws (param i32) (global.set $g (i32.add (global.get $g) (local.get 0))) (throw $t (local.get 0)))
      (func (export "run") (param i32) (result i32)
        (loop
          (block $caught (result i32)
            (try_table (catch $t $caught) (call $throws (i32.sub (local.get 0) (i32.const 1))))
            (unreachable))
          (br_if 0 (local.tee 0)))
        (global.get $g)))""",
    "a loop inside of a handler's try": """(module (tag $t (param i32)) (global $g (export "g") (mut i32) (i32.const 0))
      (func (export "run") (param i32) (result i32)
        (block $caught (result i32)
          (try_table (result i32) (catch $t $caught)
            (loop
              (global.set $g (i32.add (global.get $g) (local.get 0)))
              (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (throw $t (global.get $g))))))""",
    "references across a loop": """(module (type $t (func (result i32)))
      (elem declare func $seven) (func $seven (type $t) (i32.const 7))
      (func (export "run") (param i32) (result i32) (local $f (ref $t)) (local i32)
        (local.set $f (ref.func $seven))
        (loop
          (local.set 2 (i32.add (local.get 2) (call_ref $t (local.get $f))))
          (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 2)))""",
    "wide memory": """(module (memory (export "memory") i64 1)
      (func (export "run") (param $n i32) (result i32) (local $at i64)
        (loop
          (i32.store (local.get $at) (i32.add (local.get $n) (i32.load (local.get $at))))
          (local.set $at (i64.and (i64.add (local.get $at) (i64.const 4)) (i64.const 31)))
          (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.load (i64.const 8))))""",
}
ARGUMENT: Final = 9


@pytest.fixture(params=list(PROGRAMS))
def program(request: pytest.FixtureRequest) -> bytes:
    return assemble(PROGRAMS[request.param])


def options(preempt: str, *, thunks: bool, **more: Any) -> caesura.Options:
    return caesura.Options(preempt=preempt, thunks=thunks, in_secondary_memory=True, ignore_imports=True, **more)


def observed(exports: Any, store: wasmtime.Store) -> tuple[int | None, bytes]:
    """What can be seen of an instance: its global, and the beginning of its memory."""
    value = int(exports["g"].value(store)) if "g" in exports else None
    return value, bytes(exports["memory"].read(store, 0, 64)) if "memory" in exports else b""


def original(module: bytes) -> tuple[Any, tuple[int | None, bytes]]:
    store = wasmtime.Store(engine())
    exports: Any = wasmtime.Instance(store, wasmtime.Module(engine(), module), []).exports(store)
    return exports["run"](store, ARGUMENT), observed(exports, store)


@pytest.mark.parametrize("thunks", [False, True], ids=["plain", "thunks"])
@pytest.mark.parametrize("optimize", ["size", "balanced", "speed"])
def test_paused_at_every_count(program: bytes, optimize: str, thunks: bool) -> None:
    expected = original(program)
    module = caesura.instrument(program, options("fuel", thunks=thunks, optimize=optimize)).module
    assert_valid(module)
    host = PausingHost(module)
    host.set_fuel(PLENTY)
    assert host.call("run", ARGUMENT) == expected[0]
    used = host.used()
    assert host.pauses == 0
    assert used > 0
    pauses: list[int] = []
    for count in range(-1, used + 1):
        host = PausingHost(module)
        host.set_fuel(count)
        assert host.call("run", ARGUMENT, portions=iter([])) == expected[0]
        assert observed(host.exports, host.store) == expected[1]
        assert host.used() == used
        pauses.append(host.pauses)
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[0] == 1
    assert pauses[-1] == 0


@pytest.mark.parametrize("thunks", [False, True], ids=["plain", "thunks"])
@pytest.mark.parametrize("optimize", ["size", "balanced"])
def test_paused_at_every_pause_point(program: bytes, optimize: str, thunks: bool) -> None:
    expected = original(program)
    module = caesura.instrument(program, options("fuel", thunks=thunks, optimize=optimize)).module
    host = PausingHost(module)
    host.set_fuel(0)
    assert host.call("run", ARGUMENT, portions=itertools.repeat(0)) == expected[0]
    assert observed(host.exports, host.store) == expected[1]
    looks_once = optimize != "size" and find_pause_points(Module(program)).chunked
    assert host.pauses >= (0 if looks_once else ARGUMENT - 1)


@pytest.mark.parametrize("thunks", [False, True], ids=["plain", "thunks"])
def test_paused_by_a_request(program: bytes, thunks: bool) -> None:
    expected = original(program)
    module = caesura.instrument(program, options("flag", thunks=thunks)).module
    for pauses in (0, 1):
        host = PausingHost(module)
        host.request(pauses)
        assert host.call("run", ARGUMENT) == expected[0]
        assert observed(host.exports, host.store) == expected[1]
        assert host.pauses == pauses


@pytest.mark.parametrize("thunks", [False, True], ids=["plain", "thunks"])
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_the_host_says_what_becomes_of_a_pause(preempt: str, thunks: bool) -> None:
    program = assemble(PROGRAMS["a loop"])
    module = caesura.instrument(program, options(preempt, thunks=thunks)).module
    host = PausingHost(module)
    if preempt == "fuel":
        host.set_fuel(0)
    host.request(1)
    host.place(abi.PAUSE_NOT_NOW)
    assert host.call("run", ARGUMENT) == original(program)[0]
    assert host.pauses == 0
    host.place(abi.PAUSE_REFUSED)
    with pytest.raises(wasmtime.Trap, match=abi.PAUSE_REFUSED_FUNCTION if part_names(module) else "unreachable"):
        host.call("run", ARGUMENT)
    assert host.exports[abi.GET_STATE](host.store) == abi.State.NORMAL


def part_names(module: bytes) -> bool:
    """Tell whether a module names its functions."""
    return b"\x04name" in module


def test_who_knows_nothing_of_fuel_is_never_paused() -> None:
    program = assemble(PROGRAMS["a loop"])
    host = PausingHost(caesura.instrument(program, options("fuel", thunks=True)).module)
    host.place(abi.PAUSE_REFUSED)
    assert host.call("run", ARGUMENT) == original(program)[0]


@pytest.mark.parametrize(("preempt", "fact"), [("flag", abi.Fact.PAUSES_BY_REQUEST), ("fuel", abi.Fact.PAUSES_BY_FUEL)])
@pytest.mark.parametrize("thunks", [False, True], ids=["plain", "thunks"])
def test_what_such_a_module_tells(preempt: str, fact: int, thunks: bool) -> None:
    module = caesura.instrument(assemble(PROGRAMS["recursion"]), options(preempt, thunks=thunks)).module
    contract = part(module, abi.CONTRACT_SECTION).payload
    assert contract[0] == abi.THIRD_VERSION
    assert int.from_bytes(contract[1:3], "little") in (fact & 0x7F | 0x80 | (fact >> 7) << 8, fact)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"only_list": ["a"]}, "only_list"),
        ({"remove_list": ["a"]}, "remove_list"),
        ({"ignore_indirect": True}, "ignore_indirect"),
        ({"ignore_unwind_from_catch": True}, "ignore_unwind_from_catch"),
        ({"import_globals": True}, "import_globals"),
        ({"export_globals": True}, "export_globals"),
    ],
)
def test_options_that_leave_out_what_may_pause(more: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"{named} excludes preempt"):
        caesura.Options(preempt="fuel", **more)


def test_a_request_lies_where_the_guest_cannot_clear_it() -> None:
    with pytest.raises(UsageError, match="takes in_secondary_memory"):
        caesura.Options(preempt="flag")
    with pytest.raises(UsageError, match="expected one of none, flag, fuel"):
        caesura.Options(preempt="maybe")


def test_the_look_at_a_request_is_one_that_engines_must_make() -> None:
    # An ordinary load may be moved out of a loop that stores nothing: engines need not know of other threads.
    module = assemble('(module (func (export "run") (loop $l (br $l))))')
    options = caesura.Options(preempt="flag", in_secondary_memory=True)
    assert "i32.atomic.load" in print_module(caesura.instrument(module, options).module)


def test_the_look_at_what_is_left_to_count_is_one_branch() -> None:
    # V8 would jump over the arm of an `if` in each iteration.
    module = assemble('(module (func (export "run") (loop $l (br $l))))')
    text = print_module(caesura.instrument(module, caesura.Options(preempt="fuel")).module)
    words = text[text.index("loop") :].split()
    words = words[: words.index("end")]
    assert "br_if" in words
    assert "if" not in words


def test_with_thunks_nothing_is_read_before_a_pause_that_nobody_knows_of() -> None:
    module = assemble("""(module (memory (export "memory") 0)
      (func (export "run") (param i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))""")
    thunked = caesura.instrument(module, caesura.Options(preempt="fuel", thunks=True)).module
    store = wasmtime.Store(engine())
    exports: Any = wasmtime.Instance(store, wasmtime.Module(engine(), thunked), []).exports(store)
    exports["run"](store, 3)


def test_a_guest_with_a_scheduler_is_refused() -> None:
    module = assemble('(module (import "asyncify" "start_unwind" (func (param i32))) (memory 1))')
    with pytest.raises(UnsupportedModule, match="scheduler of its own"):
        caesura.instrument(module, caesura.Options(preempt="fuel"))


# Each spins in another kind of construct, in a function that is exported as `run`.
SPINNING: Final = {
    "a loop": '(func (export "run") (loop $l (br $l)))',
    "a loop by br_if": '(func (export "run") (loop $l (br_if $l (i32.const 1))))',
    "a loop by br_table": '(func (export "run") (loop $l (br_table $l $l (i32.const 0))))',
    "a loop with parameters": """(func (export "run")
      (i32.const 1) (loop $l (param i32) (i32.const 1) (i32.add) (br $l)))""",
    "a loop in a loop, by the outer one": """(func (export "run") (local i32)
      (loop $outer
        (local.set 0 (i32.const 3))
        (loop $inner (br_if $inner (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (br $outer)))""",
    "a loop by br_on_null": '(func (export "run") (loop $l (drop (br_on_null $l (ref.null func))) (br $l)))',
    "a loop by a catch clause": """(tag $t)
      (func (export "run") (loop $l (try_table (catch $t $l) (throw $t))))""",
    "a loop whose calls throw": """(tag $t) (func $throw (throw $t))
      (func (export "run") (loop $l (try_table (catch_all $l) (call $throw))))""",
    "recursion": '(func $f (export "run") (call $f))',
    "recursion of two": '(func $f (export "run") (call $g)) (func $g (call $f) (call $f))',
    "recursion through a table": """(table 1 funcref) (elem (i32.const 0) $f) (type $t (func))
      (func $f (export "run") (call_indirect (type $t) (i32.const 0)))""",
    "recursion through a table that code fills": """(table 1 funcref) (elem declare func $f) (type $t (func))
      (func $f (export "run") (table.set (i32.const 0) (ref.func $f)) (call_indirect (type $t) (i32.const 0)))""",
    "recursion through a reference in a global": """(type $t (func)) (global $g (mut (ref null $t)) (ref.null $t))
      (elem declare func $f)
      (func $f (export "run") (global.set $g (ref.func $f)) (call_ref $t (global.get $g)))""",
    "tail calls": '(func $f (export "run") (return_call $g)) (func $g (return_call $f))',
    "tail calls through a table": """(table 1 funcref) (elem (i32.const 0) $f) (type $t (func))
      (func $f (export "run") (return_call_indirect (type $t) (i32.const 0)))""",
    "tail calls through a reference": """(type $t (func (param (ref null func)))) (elem declare func $f)
      (func $f (type $t) (return_call_ref $t (ref.null func) (ref.func $f)))
      (func (export "run") (call $f (ref.null func)))""",
    "calls that multiply": "".join(f"(func $f{n} (call $f{n + 1}) (call $f{n + 1}))" for n in range(1, 60))
    + '(func $f60) (func (export "run") (call $f1))',
}
# What lies between two pause points at most, in instructions as Wasmtime counts: the bound of the analysis, and looks.
SOON: Final = 2_000_000

_DOUBLING: Final = "(global $g (mut i32) (i32.const 0))" + (
    "".join(f"(func $f{n} (call $f{n + 1}) (call $f{n + 1}))" for n in range(10))
    + "(func $f10 (global.set $g (i32.add (global.get $g) (i32.const 1))))"
)
_WORK: Final = "(call $f0)"  # of 14,000 instructions or so
_DOWN: Final = "(call $r (i32.sub (local.get 0) (i32.const 1)))"
# Each comes to an end, after long ways on which there is neither a loop nor an entry: out of those that it is in.
RETURNING: Final = {
    "recursion": f"""(func $r (param i32) (if (local.get 0) (then {_DOWN} {_WORK * 15})))
      (func (export "run") (call $r (i32.const 300)))""",
    "recursion in loops": f"""(func $r (param i32)
        (block (loop (br_if 1 (i32.eqz (local.get 0))) {_DOWN} (br 1))) {_WORK * 15})
      (func (export "run") (call $r (i32.const 300)))""",
    "recursion through a table": f"""(table 1 funcref) (elem (i32.const 0) $r) (type $t (func (param i32)))
      (func $r (type $t) (if (local.get 0) (then
        (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)) {_WORK * 15})))
      (func (export "run") (call $r (i32.const 300)))""",
    "recursion in a try": f"""(tag $t) (func $r (param i32)
        (if (i32.eqz (local.get 0)) (then (throw $t)))
        (block (try_table (catch $t 0) {_DOWN} {_WORK * 15})) {_WORK * 15} (throw $t))
      (func (export "run") (block (try_table (catch $t 0) (call $r (i32.const 300)))))""",
    "a chain of functions": "".join(f"(func $c{n} (call $c{n + 1}) {_WORK * 15})" for n in range(300))
    + '(func $c300 (loop nop)) (func (export "run") (call $c0))',
    "ends of loops": f'(func (export "run") {"loop " * 300} {f"{_WORK * 15} end " * 300})',
    "branches out of loops": f'(func (export "run") {"loop block " * 300} {f"{_WORK * 15} br 0 end end " * 300})',
}


@pytest.mark.parametrize("kind", list(RETURNING))
def test_what_comes_back_from_far_is_always_stopped_soon(kind: str) -> None:
    # By counting, since a request that stays stops a loop at its head again and again. Looks are the same for both.
    module = assemble(f"(module {_DOUBLING} {RETURNING[kind]})")
    host = PausingHost(caesura.instrument(module, options("fuel", thunks=True)).module, counts=True)
    host.set_fuel(0)
    host.call("run", portions=itertools.repeat(0))
    assert sum(host.ways) > 15 * SOON
    assert max(host.ways) < SOON


_MEMORIES: Final = '(memory (export "memory") 20) (memory $wide i64 20)'
_TABLES: Final = "(table $t 20000 funcref) (table $other 20000 funcref)"
_ARRAYS: Final = """(type $a (array (mut i32)))
  (global $held (ref $a) (array.new_default $a (i32.const 20000)))"""
# Instructions whose last operand says how much is done; and how much is a lot.
BULK: Final = {
    "memory.fill": (_MEMORIES, "(memory.fill (i32.const 0) (i32.const 0) {})", 1 << 16),
    "memory.copy": (_MEMORIES, "(memory.copy (i32.const 8) (i32.const 0) {})", 1 << 16),
    "memory.fill, wide": (
        _MEMORIES,
        "(memory.fill $wide (i64.const 0) (i32.const 0) (i64.extend_i32_u {}))",
        1 << 16,
    ),
    "memory.copy between two": (
        _MEMORIES,
        "(memory.copy $wide 0 (i64.const 0) (i32.const 0) {})",
        1 << 16,
    ),
    "table.fill": (_TABLES, "(table.fill $t (i32.const 0) (ref.null func) {})", 2048),
    "table.copy": (_TABLES, "(table.copy $t $other (i32.const 0) (i32.const 0) {})", 2048),
    "table.grow": (_TABLES, "(drop (table.grow $t (ref.null func) {}))", 2048),
    "array.new": (_ARRAYS, "(drop (array.new $a (i32.const 1) {}))", 2048),
    "array.new_default": (_ARRAYS, "(drop (array.new_default $a {}))", 2048),
    "array.fill": (
        _ARRAYS,
        "(array.fill $a (global.get $held) (i32.const 0) (i32.const 1) {})",
        2048,
    ),
}


@pytest.mark.parametrize("kind", list(BULK))
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_no_two_long_instructions_without_a_look(kind: str, preempt: str) -> None:
    declared, instruction, much = BULK[kind]
    times = 3
    for count, constant, expected in (
        (much - 1, False, 0),
        (much, False, times),
        (much - 1, True, 0),
        (much, True, times),
    ):
        amount = f"(i32.const {count})" if constant else "(local.get 0)"
        if "wide" in kind and constant:
            amount = f"(i32.wrap_i64 (i64.const {count}))"
        text = f'(module {declared} (func (export "run") (param i32) {instruction.format(amount) * times}))'
        host = PausingHost(caesura.instrument(assemble(text), options(preempt, thunks=True)).module)
        if f"{abi.ENTRY_PREFIX}run" not in host.exports:
            assert constant and not expected, "nothing that can pause is left"
            continue
        host.request(1)
        host.pauses_left = 1000
        if preempt == "fuel":
            host.set_fuel(-1)
        host.call("run", count, portions=itertools.repeat(-1) if preempt == "fuel" else None)
        assert host.pauses == expected, (count, constant)


@pytest.mark.parametrize("kind", list(SPINNING))
@pytest.mark.parametrize("preempt", ["flag", "fuel"])
def test_what_spins_is_always_stopped_soon(kind: str, preempt: str) -> None:
    module = assemble(f"(module {SPINNING[kind]})")
    host = PausingHost(caesura.instrument(module, options(preempt, thunks=True)).module, counts=True)
    if preempt == "fuel":
        host.set_fuel(0)
    host.request(1)
    host.pauses_left = 20
    before = host.store.get_fuel()
    host.call("run", portions=itertools.repeat(0) if preempt == "fuel" else None)
    assert host.pauses == host.pauses_left
    assert before - host.store.get_fuel() < host.pauses * SOON


@pytest.mark.parametrize("preempt", ["flag", "fuel"])
@pytest.mark.parametrize("width", [32, 64])
def test_code_that_waits_for_other_threads_is_refused(preempt: str, width: int) -> None:
    """Nothing pauses it. In a memory that is not shared it traps, which is soon enough."""
    wait = f"(drop (memory.atomic.wait{width} $m (i32.const 0) (i{width}.const 0) (i64.const -1)))"
    for shared, other in (("1 1 shared", "1"), ("1", "1 1 shared")):
        text = f'(module (memory $m {shared}) (memory {other}) (func) (func (export "run") (loop {wait} (br 0))))'
        module = assemble(text)
        asked = caesura.Options(preempt=preempt, thunks=True, in_secondary_memory=True)
        if "shared" not in shared:
            assert caesura.instrument(module, asked).instrumented == 1
            continue
        with pytest.raises(
            caesura.UnsupportedModule, match=rf"in function 1 at .*: memory.atomic.wait{width}"
        ) as refused:
            caesura.instrument(module, asked)
        assert refused.value.offset == module.index(bytes([0xFE, 1 if width == 32 else 2]))
        assert caesura.instrument(module, replace(asked, preempt="none")).instrumented == 0
