"""What is not supported is refused by function and by the offset of the instruction; what cannot suspend is let be.

Modules whose indices change (imports of module `asyncify`) are refused with the places of the file that was given, not
of what became of it inside.
"""

from __future__ import annotations

import pytest

import caesura
from caesura.wasm.immediates import skip_locals
from caesura.wasm.module import Module
from tests.instrument.building import assert_valid, bodies, leb, module
from tests.support.engine import assemble

TEXT = """
  (module
    {imports}
    (type $n (func)) (type $s (struct (field (mut i32)))) (type $a (array (mut i32)))
    (import "env" "f" (func $f))
    (import "env" "make" (func $make (result externref)))
    (memory 1) (table 1 externref) (table (export "table") 1 funcref)
    (func $fine i32.const 1 drop)
    (func $may call $f)
    (func $refused {code}))
"""
ASYNCIFY = '(import "asyncify" "stop_unwind" (func $stop)) (import "asyncify" "start_rewind" (func $start (param i32)))'


@pytest.mark.parametrize("imports", [0, 2], ids=["as it is", "renumbered"])
def test_more_locals_than_engines_allow(imports: int) -> None:
    """An operand that crosses a call takes one more. There is no instruction to point at: the offset is the body's."""
    code = f"(local {'i32 ' * 50_000}) (i32.load (i32.const 0)) call $f drop"
    binary = assemble(TEXT.format(imports=ASYNCIFY if imports else "", code=code))
    assert_valid(binary)
    with pytest.raises(caesura.UnsupportedModule, match="this function would have 50,001 locals") as error:
        caesura.instrument(binary, caesura.Options(imports=("env.f",)))
    assert error.value.function == f"function {4 + imports} (refused)"
    start = Module(binary).body_starts[2]
    assert start <= error.value.offset <= skip_locals(binary, start)
    assert f"at byte offset {error.value.offset} " in str(error.value)


@pytest.mark.parametrize(
    "code",
    [
        "call $f ref.null extern drop",
        "(param externref) local.get 0 drop call $f",
        "(result externref) call $f call $make",
        "(local externref) call $f call $make local.tee 0 drop",
        "(result externref) ref.null extern call $f",
        "call $f ref.null func ref.is_null drop",
        "call $f i32.const 0 i32.const 0 table.get 0 table.set 0",
        "call $f block (result anyref) ref.null any br_on_cast 0 anyref i31ref end drop",
        "call $f i32.const 1 struct.new $s struct.get $s 0 drop",
        "call $f i32.const 1 array.new_fixed $a 1 array.len drop",
        "block call $f ref.null func br_on_null 0 drop end",
        "(param (ref $n)) local.get 0 call_ref $n call $f",
    ],
)
def test_references_that_are_not_on_the_way(code: str) -> None:
    """A reference that is not alive across a call site needs no saving."""
    binary = assemble(TEXT.format(imports="", code=code))
    assert_valid(binary)
    result = caesura.instrument(binary, caesura.Options(imports=("env.f",), ignore_indirect=True))
    assert_valid(result.module)
    assert result.functions[2].sites == 1


CANNOT_SUSPEND = [
    "return_call $fine",
    "(param (ref $s)) (result (ref $s)) local.get 0",
    "(result (ref $a)) i32.const 1 i32.const 2 array.new $a",
    "(local externref) call $make local.set 0 call $fine local.get 0 drop",
    "block (result exnref) try_table (catch_all_ref 0) call $fine end return end throw_ref",
    "block ref.null func br_on_null 0 drop end call $fine",
    "i32.const 0 return_call_indirect 1",
    "ref.null $n return_call_ref $n",
    "block (result anyref) ref.null any br_on_cast 0 anyref i31ref end drop",
]


@pytest.mark.parametrize("code", CANNOT_SUSPEND)
@pytest.mark.parametrize("asserts", [False, True])
def test_a_function_that_cannot_suspend_may_hold_anything(code: str, asserts: bool) -> None:
    binary = assemble(TEXT.format(imports="", code=code))
    assert_valid(binary)
    options = caesura.Options(imports=("env.f",), ignore_indirect=True, no_guard=True, asserts=asserts)
    result = caesura.instrument(binary, options)
    assert_valid(result.module)
    assert [function.instrumented for function in result.functions] == [False, True, False]
    assert asserts or bodies(result.module)[2] == bodies(binary)[2]


# try; call `callee`; catch_all; call `handler`; end (no text: Wasmtime does not know the old form)
def _old_form(callee: int, handler: int) -> bytes:
    return b"\0\x06\x40\x10" + leb(callee) + b"\x19\x41\x05\x1a\x10" + leb(handler) + b"\x0b\x0b"


PURE = b"\0\x0b"


def test_call_sites_in_old_form_catch_bodies() -> None:
    result = caesura.instrument(module(PURE, _old_form(1, 0), b"\0\x10\x02\x0b"))
    assert [function.sites for function in result.functions] == [0, 1, 1]


def test_call_sites_in_old_form_catch_bodies_can_be_ignored() -> None:
    binary = module(PURE, _old_form(0, 0), b"\0\x10\x02\x0b")
    result = caesura.instrument(binary, caesura.Options(ignore_unwind_from_catch=True))
    assert [function.sites for function in result.functions] == [0, 1, 1]


def test_old_form_catch_bodies_in_functions_that_cannot_suspend() -> None:
    binary = module(PURE, _old_form(1, 1), b"\0\x10\0\x0b")
    result = caesura.instrument(binary)
    assert [function.sites for function in result.functions] == [0, 0, 1]
    assert bodies(result.module)[:2] == bodies(binary)[:2]


def test_old_form_catch_bodies_with_calls_that_cannot_suspend() -> None:
    result = caesura.instrument(module(PURE, _old_form(0, 1)))
    assert [function.sites for function in result.functions] == [0, 1]
