"""Calls that are never reached do not make a function one that may suspend; all others do."""

from __future__ import annotations

import pytest

import caesura
from tests.instrument.building import assert_valid, leb, module
from tests.support.engine import assemble

TEXT = """
  (module
    (import "env" "f" (func $f))
    (type $n (func)) (tag $tag)
    (memory 1) (table (export "table") 1 funcref)
    (func $pure)
    (func $it (param i32) {}))
"""
CALLS = ["(call $f)", "(call_indirect (i32.const 0))", "(call_ref $n (ref.null $n))"]
UNREACHED = [
    "unreachable {}",
    "return {}",
    "(br 0) {}",
    "(block (br 0) {})",
    "(block (block (br 1) {}))",
    "(loop (br 0) {})",
    "(block (br_table 0 0 (local.get 0)) {})",
    "(throw $tag) {}",
    "(throw_ref (ref.null exn)) {}",
    "(return_call $pure) {}",
    "(if (local.get 0) (then unreachable {}))",
    "(if (local.get 0) (then unreachable {}) (else unreachable {}))",
    "unreachable (block {} (br 0)) {}",
    "unreachable (if (i32.const 1) (then {}) (else {})) {}",
    "unreachable (loop {} (block (return) {}) {})",
    "unreachable (try_table {}) {}",
    "(block (try_table (catch_all 0) unreachable {}))",
]
REACHED = [
    "(br_if 0 (local.get 0)) {}",
    "(block (br 0)) {}",
    "(block (br 0) {}) {}",
    "(block (br_table 0 0 (local.get 0))) {}",
    "(if (local.get 0) (then unreachable) (else {}))",
    "(if (local.get 0) (then (block (return) (if (i32.const 1) (then) (else)))) (else {}))",
    "(if (local.get 0) (then return)) {}",
    "(block (loop (br 1)) unreachable) {}",
    "(block (try_table (catch_all 0) (throw $tag))) {}",
    "(block (br 0) (block (br 0)) (loop)) {}",
]


def instrumented(code: str) -> bool:
    """Tell whether the function with the code is instrumented."""
    binary = assemble(TEXT.format(code))
    result = caesura.instrument(binary)
    assert_valid(result.module)
    return result.functions[1].instrumented


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", UNREACHED)
def test_calls_that_cannot_be_reached(code: str, call: str) -> None:
    assert not instrumented(code.replace("{}", call))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", REACHED)
def test_calls_that_can_be_reached(code: str, call: str) -> None:
    assert instrumented(code.replace("{}", call))


def test_suspension_does_not_spread_through_them() -> None:
    binary = assemble("""
      (module (import "env" "f" (func $f)) (memory 1)
        (func $never unreachable call $f) (func $caller call $never) (func $other return call $caller))
    """)
    result = caesura.instrument(binary)
    assert [function.instrumented for function in result.functions] == [False, False, False]
    assert result.module.count(binary[binary.index(b"\0\0\x10\0\x0b") :][:5]) == 1


def test_tail_calls_that_cannot_be_reached_are_not_refused() -> None:
    assert not instrumented("unreachable (return_call $f)")
    assert not instrumented("unreachable (return_call_indirect (i32.const 0))")


# Old-form exception handling has no text. `call 0` is the import, `throw`s stand for what never goes on.
CALL = b"\x10\0"
OLD_FORM = {
    "try; unreachable; call; catch_all; end": (b"\x06\x40\0" + CALL + b"\x19\x0b", 0),
    "try; unreachable; catch_all; end; call": (b"\x06\x40\0\x19\x0b" + CALL, 1),
    "try; unreachable; call; delegate 0; call": (b"\x06\x40\0" + CALL + b"\x18\0" + CALL, 1),
    "try; unreachable; call; delegate 0": (b"\x06\x40\0" + CALL + b"\x18\0", 0),
    "try; call; catch_all; rethrow 0; call; end": (b"\x06\x40" + CALL + b"\x19\x09\0" + CALL + b"\x0b", 1),
    "try; catch_all; rethrow 0; call; end": (b"\x06\x40\x19\x09\0" + CALL + b"\x0b", 0),
}


@pytest.mark.parametrize("name", OLD_FORM)
def test_old_form_exception_handling(name: str) -> None:
    code, sites = OLD_FORM[name]
    options = caesura.Options(ignore_unwind_from_catch=True)
    result = caesura.instrument(module(b"\0" + code + b"\x0b"), options)
    assert [function.sites for function in result.functions] == [sites]


def test_a_catch_clause_is_reached_where_its_try_never_ends() -> None:
    code = b"\x06\x40\0\x19" + CALL + b"\x0b"
    result = caesura.instrument(module(b"\0" + code + b"\x0b"))
    assert [function.sites for function in result.functions] == [1]


@pytest.mark.parametrize(
    "code", [b"\0\x10" + leb(9), b"\0\x0c\x07", b"\0\xff", b"\0\x0e\0\x07"], ids=["call", "br", "opcode", "br_table"]
)
def test_malformed_code_is_refused_where_it_cannot_be_reached(code: bytes) -> None:
    with pytest.raises(caesura.MalformedModule):
        caesura.instrument(module(b"\0" + code + b"\x0b"))
