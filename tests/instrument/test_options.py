"""What the options do: which functions are instrumented, at which calls they can be suspended, and that they run."""

from __future__ import annotations

import pytest

import caesura
from tests.instrument.building import assert_valid, bodies
from tests.support.engine import assemble
from tests.support.plain_abi import HostCall, HostFunction, PlainGuest, Value

TEXT = """
  (module
    (import "env" "sleep" (func $sleep (param i32) (result i32)))
    (import "env" "sleep_more" (func $sleep_more (param i32) (result i32)))
    (import "wasi" "write" (func $write (param i32) (result i32)))
    (memory (export "memory") 1)
    (type $unary (func (param i32) (result i32)))
    (table (export "table") funcref (elem $sleeper $writer $pure))
    (func $pure (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
    (func $sleeper (param i32) (result i32) (i32.add (call $sleep (local.get 0)) (i32.const 1)))
    (func $deep (param i32) (result i32) (i32.add (call $sleep_more (local.get 0)) (i32.const 2)))
    (func $writer (param i32) (result i32) (i32.add (call $write (local.get 0)) (i32.const 4)))
    (func $pointer (param i32) (result i32)
      (i32.sub (call_indirect (type $unary) (local.get 0) (i32.const 0)) (i32.const 5)))
    (func $outer (export "outer") (param i32) (result i32)
      (i32.add (call $sleeper (call $pure (local.get 0))) (call $writer (local.get 0))))
    (func $outermost (export "outermost") (param i32) (result i32)
      (i32.xor (call $outer (local.get 0)) (call $pointer (call $deep (local.get 0)))))
    (func $alone (export "alone") (param i32) (result i32) (call $pure (call $pure (local.get 0)))))
"""
FUNCTIONS: dict[tuple[str, str], HostFunction] = {
    ("env", "sleep"): lambda value: value + 10,
    ("env", "sleep_more"): lambda value: value + 20,
    ("wasi", "write"): lambda value: value + 30,
}
BINARY = assemble(TEXT)


def sites(**options: object) -> dict[str, int]:
    """Return how many call sites each instrumented function has."""
    result = caesura.instrument(BINARY, caesura.Options(**options))  # type: ignore[arg-type]
    assert_valid(result.module)
    for function in result.functions:
        assert function.instrumented == (function.sites > 0)
    return {function.name: function.sites for function in result.functions if function.instrumented}


def run(suspending: tuple[str, ...], **options: object) -> PlainGuest:
    """Run `outermost`, suspended in these imports, and assert that the result is the original's."""

    def suspend_at(call: HostCall) -> bool:
        return call.name in suspending

    binary = caesura.instrument(BINARY, caesura.Options(**options)).module  # type: ignore[arg-type]
    guest = PlainGuest(binary, FUNCTIONS, suspend_at=suspend_at)
    arguments: tuple[Value, ...] = (7,)
    assert guest.call("outermost", *arguments) == PlainGuest(BINARY, FUNCTIONS).call("outermost", *arguments)
    return guest


ALL = {"sleeper": 1, "deep": 1, "writer": 1, "pointer": 1, "outer": 2, "outermost": 3}


def test_defaults() -> None:
    assert sites() == ALL
    assert run(("sleep", "sleep_more", "write")).suspensions == 4


@pytest.mark.parametrize(
    ("imports", "wanted"),
    [
        (("env.sleep",), {"sleeper": 1, "pointer": 1, "outer": 1, "outermost": 2}),
        (("env.*",), {"sleeper": 1, "deep": 1, "pointer": 1, "outer": 1, "outermost": 3}),
        (("*.write",), {"writer": 1, "pointer": 1, "outer": 1, "outermost": 2}),
        (("env.s*p",), {"sleeper": 1, "pointer": 1, "outer": 1, "outermost": 2}),
        (("*",), ALL),
        (("env.sleep", "wasi.write", "env.sleep_more"), ALL),
    ],
)
def test_imports(imports: tuple[str, ...], wanted: dict[str, int]) -> None:
    assert sites(imports=imports) == wanted


def test_a_listed_import_suspends() -> None:
    assert run(("sleep",), imports=("env.sleep",)).suspensions == 2


def test_ignore_imports() -> None:
    """Only calls through tables are left as a reason."""
    assert sites(ignore_imports=True) == {"pointer": 1, "outermost": 1}
    assert sites(ignore_imports=True, ignore_indirect=True) == {}


def test_ignore_indirect() -> None:
    assert sites(ignore_indirect=True) == {"sleeper": 1, "deep": 1, "writer": 1, "outer": 2, "outermost": 2}
    assert run(("sleep_more", "write"), ignore_indirect=True).suspensions == 2


def test_remove_list() -> None:
    """A removed function stays as it is, and nothing spreads through it; a pattern may take imports out as well."""
    assert sites(remove_list=("outer",)) == {"sleeper": 1, "deep": 1, "writer": 1, "pointer": 1, "outermost": 2}
    assert sites(remove_list=("sleeper", "writer")) == {"deep": 1, "pointer": 1, "outermost": 2}
    assert sites(remove_list=("s*", "write*")) == {"pointer": 1, "outermost": 1}
    result = caesura.instrument(BINARY, caesura.Options(remove_list=("outer",), no_guard=True))
    assert bodies(result.module)[5] == bodies(BINARY)[5]
    assert run(("sleep_more",), remove_list=("outer",)).suspensions == 1


def test_add_list() -> None:
    """An added function is instrumented at the calls that may suspend; calls through tables count there."""
    options = {"imports": ("env.sleep_more",), "ignore_indirect": True}
    assert sites(**options) == {"deep": 1, "outermost": 1}
    assert sites(**options, add_list=("pointer",)) == {"deep": 1, "pointer": 1, "outermost": 2}
    assert sites(**options, add_list=("alone", "pure")) == {"deep": 1, "outermost": 1, "alone": 2}
    assert run(("sleep",), imports=("env.sleep",), ignore_indirect=True, add_list=("pointer",)).suspensions == 2


def test_propagate_addlist() -> None:
    options = {"imports": ("env.sleep_more",), "ignore_indirect": True, "add_list": ("writer",)}
    assert sites(**options) == {"deep": 1, "outermost": 1}
    assert sites(**options, propagate_addlist=True) == {"deep": 1, "outer": 1, "outermost": 2}


def test_an_added_function_without_calls_stays() -> None:
    result = caesura.instrument(BINARY, caesura.Options(add_list=("pure",)))
    assert bodies(result.module)[0] == bodies(BINARY)[0]
    assert "no call" in result.functions[0].reason


def test_only_list() -> None:
    """The functions on the only-list are instrumented, and suspend; calls through tables count there."""
    names = ("outermost", "deep", "pointer", "sleeper")
    assert sites(only_list=names) == {"outermost": 2, "deep": 1, "pointer": 1, "sleeper": 1}
    guest = run(("sleep_more",), only_list=names)
    assert guest.suspensions == 1
    assert sites(only_list=("deep",), ignore_indirect=True) == {"deep": 1}
    assert sites(only_list=("*er", "outer*")) == {"outermost": 2, "outer": 2, "writer": 1, "pointer": 1, "sleeper": 1}


def test_only_list_through_a_table() -> None:
    text = TEXT.replace("(call $outer (local.get 0))", "(call $pure (local.get 0))")
    binary = assemble(text)
    options = caesura.Options(only_list=("outermost", "pointer", "sleeper"), ignore_indirect=True)
    guest = PlainGuest(
        caesura.instrument(binary, options).module, FUNCTIONS, suspend_at=lambda call: call.name == "sleep"
    )
    assert guest.call("outermost", 7) == PlainGuest(binary, FUNCTIONS).call("outermost", 7)
    assert guest.suspensions == 1


def test_warnings_of_names_that_match_nothing() -> None:
    options = caesura.Options(imports=("env.*", "env.slep"), remove_list=("puer",), add_list=("x*",))
    result = caesura.instrument(BINARY, options)
    assert len(result.warnings) == 3
    for name in ("env.slep", "puer", "x*"):
        assert sum(f"'{name}'" in warning for warning in result.warnings) == 1
    assert caesura.instrument(BINARY).warnings == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imports": ("env.slep",), "strict": True}, "env.slep"),
        ({"only_list": ("outermots",), "strict": True}, "outermots"),
        ({"add_list": ("outer",), "remove_list": ("outer",)}, "outer"),
        ({"add_list": ("out*",), "remove_list": ("outermost",)}, "outermost"),
        ({"add_list": ("sleep",)}, "imported function"),
        ({"remove_list": ("env.sleep",)}, "imported function"),
        ({"only_list": ("wasi.write",)}, "imported function"),
    ],
)
def test_lists_that_cannot_be_meant(options: dict[str, object], message: str) -> None:
    with pytest.raises(caesura.UsageError, match=message):
        caesura.instrument(BINARY, caesura.Options(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"only_list": ("a",), "add_list": ("b",)},
        {"only_list": ("a",), "remove_list": ("b",)},
        {"import_globals": True, "export_globals": True},
        {"import_globals": True, "thunks": True, "in_secondary_memory": True},
        {"secondary_memory_size": 0},
        {"secondary_memory_size": 65537},
        {"imports": "env.sleep"},
    ],
)
def test_options_that_exclude_each_other(options: dict[str, object]) -> None:
    # Compiled code checks types before anything else.
    with pytest.raises((caesura.UsageError, TypeError)):
        caesura.Options(**options)  # type: ignore[arg-type]


def test_strict_is_satisfied_by_names_that_match() -> None:
    assert sites(imports=("env.sleep",), remove_list=("outer",), strict=True) == {
        "sleeper": 1,
        "pointer": 1,
        "outermost": 1,
    }


def test_lists_of_a_module_without_names() -> None:
    """A function goes by the name of its export, or else by its index."""
    binary = assemble("""
      (module (import "env" "f" (func)) (memory 1)
        (func call 0) (func (export "public") call 0) (func call 0))
    """)
    for entry, left in (("1", [False, True, True]), ("public", [True, False, True]), ("3", [True, True, False])):
        result = caesura.instrument(binary, caesura.Options(remove_list=(entry,)))
        assert [function.instrumented for function in result.functions] == left
        assert result.warnings == ()


@pytest.mark.parametrize(
    "memories",
    ["(memory 1)", "(memory 0)", "(memory i64 1)", "(memory 1 2 shared)", '(import "env" "memory" (memory 1))'],
)
@pytest.mark.parametrize("secondary", [False, True])
def test_every_kind_of_memory(memories: str, secondary: bool) -> None:
    binary = assemble(f'(module (import "env" "f" (func $f)) {memories} (func (export "run") (param f64) call $f))')
    options = caesura.Options(in_secondary_memory=secondary)
    assert_valid(caesura.instrument(binary, options).module)


TWICE = caesura.instrument(BINARY).module


def test_an_instrumented_module_is_refused() -> None:
    with pytest.raises(caesura.UnsupportedModule, match="asyncify_start_unwind"):
        caesura.instrument(TWICE)


def test_an_object_file_is_refused() -> None:
    with pytest.raises(caesura.UnsupportedModule, match="link"):
        caesura.instrument(BINARY + b"\0\x09\x07linking\x02")


def test_exports_that_are_there_already() -> None:
    """An export may not appear twice, whichever option asks for it."""
    binary = assemble("""
      (module (import "env" "f" (func $f)) (memory 1)
        (global (export "__asyncify_state") (mut i32) (i32.const 0)) (func (export "run") call $f))
    """)
    with pytest.raises(caesura.UnsupportedModule, match="__asyncify_state"):
        caesura.instrument(binary, caesura.Options(export_globals=True))
    assert_valid(caesura.instrument(binary).module)


def test_asserts_leaves_tail_calls_alone() -> None:
    """A tail call leaves no frame that a check could stand in; the function is not instrumented, so it is allowed."""
    binary = assemble("""
      (module (import "env" "f" (func $f)) (memory 1)
        (func $pure) (func $tail call $pure return_call $f) (func (export "run") call $tail))
    """)
    result = caesura.instrument(binary, caesura.Options(asserts=True, remove_list=("tail",)))
    assert_valid(result.module)
