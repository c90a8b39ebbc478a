"""Which functions get a second body: facts that make them interpreters or busy, and the bytes that may be spent."""

from __future__ import annotations

import pytest

import caesura
from caesura.instrument.abi.naming import FunctionNames
from caesura.wasm.module import Module
from tests.instrument.building import assert_valid
from tests.support.engine import assemble

PREFIX = "asyncify_resume:"

DISPATCH = """
  (func $dispatch (param i32) (local i32)
    (loop
      (call_indirect (type $step) (local.get 0) (i32.load (local.get 0)))
      (local.set 1 (i32.load offset=4 (local.get 0)))
      (br_if 0 (local.get 1))))"""
SMALL = "(func $small (param i32) (call $sleep) (i32.store (local.get 0) (i32.const 1)) (call $sleep))"
# Functions that take bytes to instrument, so that there are some to spend on second bodies.
CALLER = "(func (call $sleep) (i32.store (i32.const 0) (i32.const 1)))"
INSTRUMENTED = CALLER * 600
PADDING = "(i32.store (local.get 0) (i32.const 123456))" * 30


def second_bodies(functions: str, **options: object) -> set[str]:
    """Return the functions of a module that got second bodies."""
    binary = assemble(f"""
      (module
        (type $step (func (param i32)))
        (import "env" "sleep" (func $sleep))
        (memory (export "memory") 1) (table (export "table") 4 funcref)
        {functions})
    """)
    output = caesura.instrument(binary, caesura.Options(**options)).module  # type: ignore[arg-type]
    assert_valid(output)
    names = FunctionNames(Module(output)).names
    return {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}


def callers(count: int, function: str, arguments: str = "(i32.const 8)") -> str:
    """Return functions that call one function, and do too much else to get second bodies themselves."""
    store = "(i32.store (local.get 0) (i32.const 0))"
    return "".join(
        f"(func $caller{n} (param i32) {PADDING} (call {function} {arguments}) {store})" for n in range(count)
    )


def switch(sites: int, local_count: int, call: str = "(call $sleep)") -> str:
    """Return a loop around a switch with 16 targets, and call sites behind it at which many locals are live."""
    blocks = "".join(f"(block $b{n} " for n in range(16))
    ends = ")".join("" for _ in range(17))
    labels = " ".join(f"$b{n}" for n in range(16))
    gets = "".join(f"(i32.store (i32.const 0) (local.get {n}))" for n in range(local_count))
    calls = call * sites
    return f"""
      (func $switch (param{" i32" * local_count})
        (loop $again
          {blocks} (br_table {labels} (local.get 0)) {ends}
          {calls} {gets}
          (br_if $again (i32.load (i32.const 4)))))"""


@pytest.mark.parametrize("optimize", ["balanced", "speed"])
def test_a_small_loop_that_calls_through_a_table(optimize: str) -> None:
    assert second_bodies(DISPATCH + INSTRUMENTED, optimize=optimize) == {"dispatch"}


def test_a_private_table_is_a_table() -> None:
    private = (
        "(table $private 1 funcref) (elem (table $private) (i32.const 0) func $s) (func $s (param i32) (call $sleep))"
    )
    dispatch = DISPATCH.replace("call_indirect", "call_indirect $private")
    assert second_bodies(private + dispatch + INSTRUMENTED, optimize="speed") == {"dispatch"}


@pytest.mark.parametrize(("count", "chosen"), [(19, set()), (20, {"small"})])
def test_a_small_function_with_many_callers(count: int, chosen: set[str]) -> None:
    assert second_bodies(SMALL + callers(count, "$small")) == chosen


@pytest.mark.parametrize("optimize", ["balanced", "speed"])
def test_an_interpreter_with_few_call_sites(optimize: str) -> None:
    assert second_bodies(switch(10, 100) + INSTRUMENTED, optimize=optimize) == {"switch"}


def test_an_interpreter_that_is_too_large_a_part_of_the_module() -> None:
    assert second_bodies(switch(10, 100)) == set()
    assert second_bodies(switch(10, 100), optimize="speed") == {"switch"}


def does_much(name: str, call: str = "(call $sleep)") -> str:
    """Return a function with some code and a call site."""
    return f"(func ${name} (param i32) {PADDING} {call} (i32.store (local.get 0) (i32.const 1)))"


HELPER = does_much("helper")
# More such functions than there is room for.
OTHERS = "".join(does_much(f"other{n}") for n in range(400))


def chosen_among_many(functions: str, names: set[str]) -> set[str]:
    """Return which of these functions got second bodies in a module with many others like them, which come first."""
    chosen = second_bodies(OTHERS + functions)
    assert len([name for name in chosen if name.startswith("other")]) < 400
    return chosen & names


def test_what_many_functions_call() -> None:
    both = HELPER + does_much("alone")
    assert chosen_among_many(both + callers(5, "$helper"), {"helper", "alone"}) == {"helper"}


@pytest.mark.parametrize(
    ("call", "chosen"), [("(call $sleep)", {"switch"}), ("(call $helper (i32.const 8))", {"switch", "helper"})]
)
def test_what_an_interpreter_calls(call: str, chosen: set[str]) -> None:
    assert chosen_among_many(switch(10, 100, call) + HELPER, {"switch", "helper"}) == chosen


def test_what_is_called_by_what_an_interpreter_calls() -> None:
    first = does_much("first", "(call $helper (i32.const 8))")
    interpreter = switch(10, 100, "(call $first (i32.const 8))")
    functions = interpreter + first + HELPER + does_much("alone")
    assert chosen_among_many(functions, {"switch", "first", "helper", "alone"}) == {"switch", "first", "helper"}


def test_what_an_interpreter_calls_through_functions_without_frames() -> None:
    wrapper = "(func $wrapper (param i32) (i32.store (local.get 0) (i32.const 2)) (call $helper (local.get 0)))"
    interpreter = switch(10, 100, "(call $wrapper (i32.const 8))")
    assert chosen_among_many(interpreter + wrapper + HELPER, {"switch", "helper"}) == {"switch", "helper"}


def test_a_ring_of_calls_ends() -> None:
    ring = does_much("one", "(call $two (i32.const 8)) (call $sleep)") + does_much("two", "(call $one (i32.const 8))")
    assert chosen_among_many(ring + HELPER, {"one", "two", "helper"}) == {"one", "two"}


def test_what_has_no_locals_has_nothing_to_gain() -> None:
    empty = CALLER.replace("(func", "(func $empty")
    assert chosen_among_many(empty + callers(9, "$empty", ""), {"empty"}) == set()


def test_small_modules_have_room_for_few_or_none() -> None:
    many = "".join(DISPATCH.replace("$dispatch", f"$dispatch{n}") for n in range(40))
    assert second_bodies(many) == set()
    assert 1 <= len(second_bodies(many + CALLER * 100)) <= 10
    assert len(second_bodies(many, optimize="speed")) == 40


def test_many_merges() -> None:
    gets = "".join(f"(i32.store (i32.const 0) (local.get {n}))" for n in range(100))
    many = f"(func $many (param{' i32' * 100}) {'(call $sleep)' * 50} {gets} {PADDING})"
    assert second_bodies(many) == set()
    assert second_bodies(many, optimize="speed") == {"many"}


@pytest.mark.parametrize(
    "options", [{"optimize": "size"}, {"two_bodies": "never"}, {"two_bodies": "never", "optimize": "speed"}]
)
def test_none(options: dict[str, str]) -> None:
    assert second_bodies(DISPATCH + SMALL + callers(20, "$small"), **options) == set()


def test_all_that_have_frames() -> None:
    wrapper = "(func $wrapper (param i32) (call $small (local.get 0)))"
    leaf = "(func $leaf)"
    assert second_bodies(DISPATCH + SMALL + wrapper + leaf, two_bodies="all") == {"dispatch", "small"}


def test_a_list() -> None:
    assert second_bodies(DISPATCH + SMALL, two_bodies="sm*") == {"small"}


def test_a_list_with_a_name_that_no_function_has() -> None:
    binary = assemble(f'(module (import "env" "sleep" (func $sleep)) (memory 1) {SMALL})')
    warnings = caesura.instrument(binary, caesura.Options(two_bodies="small,smal,x*")).warnings
    assert warnings == (
        "two-bodies list contained a non-existing function name: 'smal'",
        "two-bodies list contained a non-matching pattern: 'x*'",
    )
    with pytest.raises(caesura.UsageError, match="non-existing function name: 'smal'"):
        caesura.instrument(binary, caesura.Options(two_bodies="smal", strict=True))


@pytest.mark.parametrize("optimize", ["balanced", "speed"])
def test_all_of_an_only_list_that_names_little_of_the_module(optimize: str) -> None:
    others = callers(400, "$small")
    listed = {"only_list": ("small", "helper"), "optimize": optimize}
    assert second_bodies(SMALL + HELPER + others, **listed) == {"small", "helper"}
    assert second_bodies(SMALL + HELPER + others, **listed, two_bodies="never") == set()
    assert second_bodies(SMALL + HELPER + others, **{**listed, "optimize": "size"}) == set()


def test_of_an_only_list_the_cheapest_are_chosen_as_long_as_instrumenting_takes_little_of_the_code() -> None:
    """At 1.2% of the code it ends, counting what the list takes without second bodies, and those chosen otherwise."""
    listed = tuple(f"listed{n}" for n in range(12))
    functions = "".join(
        f"(func $listed{n} (call $sleep) {'(i32.store (i32.const 0) (i32.const 1))' * (n + 1)})" for n in range(12)
    )
    added = [
        len(second_bodies(functions + f"(func (param i32) {PADDING * n})", only_list=listed)) for n in (1, 400, 2_000)
    ]
    assert added[0] == 0
    assert 0 < added[1] < 12
    assert added[2] == 12
    few = second_bodies(functions + f"(func (param i32) {PADDING * 400})", only_list=listed)
    assert few == set(listed[: len(few)])
