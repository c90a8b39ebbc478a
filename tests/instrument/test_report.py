"""The facts that come with an instrumented module: for each function whether and why, and numbers that add up."""

from __future__ import annotations

import pytest

import caesura
from tests.instrument.building import bodies, part
from tests.support.engine import assemble

TEXT = """
  (module
    (import "env" "now" (func $now (result i32)))
    (import "env" "sleep" (func $sleep))
    (memory 1) (table (export "table") 4 funcref)
    (func $leaf (result i32) i32.const 1)
    (func $direct call $sleep)
    (func $one call $direct call $leaf drop)
    (func $two call $one call $one)
    (func $three (export "three") call $two call $direct)
    (func $table (param i32) local.get 0 call_indirect)
    (func $caller i32.const 1 call $table)
    (func $even (param i32) (if (local.get 0) (then (call $odd (i32.sub (local.get 0) (i32.const 1))))))
    (func $odd (param i32) (if (local.get 0) (then (call $even (i32.sub (local.get 0) (i32.const 1))) (call $sleep))))
    (func $never unreachable call $sleep)
    (func $clock (result i32) call $now))
"""
BINARY = assemble(TEXT)


def reports(**options: object) -> dict[str, caesura.FunctionReport]:
    """Return the reports by name."""
    result = caesura.instrument(BINARY, caesura.Options(**options))  # type: ignore[arg-type]
    return {function.name: function for function in result.functions}


def test_every_function_is_reported_in_order() -> None:
    result = caesura.instrument(BINARY)
    assert [function.index for function in result.functions] == list(range(2, 13))
    assert [function.name for function in result.functions] == [
        *("leaf", "direct", "one", "two", "three", "table", "caller", "even", "odd", "never", "clock")
    ]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("direct", "env.sleep"),
        ("one", "direct -> env.sleep"),
        ("two", "one -> direct -> env.sleep"),
        ("three", "direct -> env.sleep"),
        ("even", "odd -> env.sleep"),
        ("odd", "env.sleep"),
    ],
)
def test_reason_is_the_shortest_path(name: str, path: str) -> None:
    path = path.replace("env.sleep", "sleep")
    assert reports(ignore_indirect=True)[name].reason == f"{path}, an import that may suspend"


def test_reasons_without_an_import() -> None:
    functions = reports(imports=("env.sleep",))
    assert functions["table"].reason == "it calls through a table or a reference"
    assert functions["caller"].reason == "table, which calls through a table or a reference"
    assert functions["leaf"].reason.startswith("it calls nothing that may suspend")
    assert functions["clock"].reason.startswith("it calls nothing that may suspend")
    assert not functions["leaf"].instrumented and not functions["clock"].instrumented
    assert functions["never"].reason.startswith("it calls nothing that may suspend")
    listed = reports(imports=("env.now",), ignore_indirect=True, add_list=("direct",), propagate_addlist=True)
    assert listed["one"].reason == "direct, which the add-list names"
    assert reports(only_list=("two", "one"))["two"].reason == "the only-list names it"


def test_a_list_that_keeps_a_function_out_is_named() -> None:
    nothing = "it calls nothing that may suspend"
    removed = reports(ignore_indirect=True, remove_list=("direct", "odd"))
    assert removed["direct"].reason == "it is on the remove-list"
    assert removed["one"].reason == f"{nothing}: direct is on the remove-list"
    assert removed["even"].reason == f"{nothing}: odd is on the remove-list"
    assert removed["two"].reason == removed["leaf"].reason == nothing
    indirect = "its calls through tables and references are ruled out by ignore-indirect"
    assert removed["table"].reason == f"{nothing}: {indirect}"
    only = reports(only_list=("two", "leaf"))
    assert only["one"].reason == "it is not on the only-list"
    assert only["leaf"].reason == "the only-list names it, but it has no call that may suspend"
    assert reports(imports=("env.sleep",))["clock"].reason == f"{nothing}: now is not on the import list"
    assert reports(ignore_imports=True)["clock"].reason == f"{nothing}: now is ruled out by ignore-imports"
    patterns = reports(remove_list=("no*",), ignore_indirect=True)
    assert patterns["clock"].reason == f"{nothing}: now is on the remove-list"


def test_sites() -> None:
    counted = {name: function.sites for name, function in reports(ignore_indirect=True).items()}
    assert counted == {
        "leaf": 0,
        "direct": 1,
        "one": 1,
        "two": 2,
        "three": 2,
        "table": 0,
        "caller": 0,
        "even": 1,
        "odd": 2,
        "never": 0,
        "clock": 1,
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"imports": ("env.sleep",)},
        {"ignore_imports": True, "ignore_indirect": True},
        {"asserts": True, "remove_list": ("one",)},
        {"in_secondary_memory": True, "export_globals": True},
        {"import_globals": True},
        {"thunks": True},
        {"thunks": True, "import_globals": True},
    ],
)
def test_numbers_add_up(options: dict[str, object]) -> None:
    result = caesura.instrument(BINARY, caesura.Options(**options))  # type: ignore[arg-type]
    assert result.instrumented == sum(function.instrumented for function in result.functions)
    assert result.sites == sum(function.sites for function in result.functions)
    assert all(function.instrumented == (function.sites > 0) for function in result.functions)
    assert (result.bytes_before, result.bytes_after) == (len(BINARY), len(result.module))
    assert result.code_before == len(part(BINARY, 10).payload)
    assert result.code_after == len(part(result.module, 10).payload)
    assert result.seconds > 0
    if "asserts" not in options and "import_globals" not in options:
        changed = [old != new for old, new in zip(bodies(BINARY), bodies(result.module), strict=False)]
        for function, is_changed in zip(result.functions, changed, strict=True):
            # Of the functions without a frame, wrappers stay as they are.
            assert is_changed == function.instrumented or (function.frameless and not is_changed)


def test_the_guest_s_own_runtime() -> None:
    binary = assemble("""
      (module
        (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
        (import "env" "before" (func $before))
        (import "asyncify" "stop_unwind" (func $stop_unwind))
        (memory 1)
        (func $pause (call $start_unwind (i32.const 16)))
        (func $work (call $pause))
        (func $main (export "main") (call $work) (call $stop_unwind))
        (func $beyond (call $main)))
    """)
    result = caesura.instrument(binary, caesura.Options(ignore_imports=True))
    named = {function.name: function for function in result.functions}
    assert {name for name in named if named[name].instrumented} == {"work"}
    assert "starts unwinding" in named["pause"].reason
    assert "stops unwinding" in named["main"].reason
    assert named["work"].reason == "pause, which starts unwinding"
    assert named["beyond"].reason.startswith("it calls nothing that may suspend")


def test_functions_of_a_renumbered_module_have_the_indices_of_the_file() -> None:
    """The asyncify imports are no functions of the module's own, and go from its index space only in the output."""
    binary = assemble("""
      (module
        (import "asyncify" "stop_unwind" (func $stop_unwind))
        (import "env" "f" (func $f))
        (memory 1)
        (func call $f) (func $named call $f))
    """)
    functions = caesura.instrument(binary).functions
    assert [(function.index, function.name) for function in functions] == [(2, "2"), (3, "named")]


def test_progress() -> None:
    """Steps come in order, and what is done never shrinks nor exceeds what is to do."""
    told: list[tuple[str, int, int]] = []
    body = "".join(f"(func $f{number} call $f)" for number in range(300))
    binary = assemble(f'(module (import "env" "f" (func $f)) (memory 1) {body})')
    caesura.instrument(binary, progress=lambda step, done, total: told.append((step, done, total)))
    assert all(0 <= done <= total == 300 for _, done, total in told)
    assert [entry[1] for entry in told] == sorted(entry[1] for entry in told)
    assert told[-1][1] == 300
    assert len(told) > 3
