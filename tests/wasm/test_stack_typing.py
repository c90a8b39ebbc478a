"""Stack typing: types at chosen points, polymorphic stacks, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import wasmtime

from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.decode import EMPTY_BLOCK, read_immediates, read_opcode
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.instructions import CODE_BY_NAME, UNKNOWN
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.stack_typing import StackTyper, check_function, function_typer
from caesura.wasm.types import ANY, ANYREF, EQ, EXTERN, EXTERNREF, F32, I32, I64, make_reference


def _stack_at_nop(text: str) -> list[int]:
    """Return the operand stack at the only `nop` of the last function."""
    module = Module(bytes(wasmtime.wat2wasm(text)))
    typer, position = function_typer(module, FunctionIndex(len(module.function_types) - 1))
    while True:
        code, position = read_opcode(module.data, position)
        if code == op.NOP:
            return typer.stack
        immediates, position = read_immediates(module.data, position, code)
        typer.step(code, immediates)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(module (func i32.const 0 i64.const 0 nop drop drop))", [I32, I64]),
        ("(module (func f32.const 0 block i32.const 0 nop drop end drop))", [F32, I32]),
        ("(module (func (param f32) local.get 0 nop drop))", [F32]),
        ("(module (type $t (func)) (func ref.null $t nop drop))", [make_reference(0, nullable=True)]),
        (
            "(module (type $a (struct)) (func $f (type 1) ref.func $f nop drop) (type (func)))",
            [make_reference(1, nullable=False)],
        ),
        (
            "(module (func ref.null extern ref.as_non_null any.convert_extern nop drop))",
            [make_reference(ANY, nullable=False)],
        ),
        ("(module (func (param anyref) local.get 0 extern.convert_any nop drop))", [EXTERNREF]),
        (
            "(module (func (param anyref) local.get 0 ref.cast (ref eq) extern.convert_any nop drop))",
            [make_reference(EXTERN, nullable=False)],
        ),
        (
            "(module (func (param anyref) (result eqref) local.get 0 br_on_cast 0 anyref eqref nop unreachable))",
            [make_reference(ANY, nullable=False)],
        ),
        (
            "(module (func (param anyref) (result anyref) local.get 0 br_on_cast 0 anyref (ref eq) nop))",
            [ANYREF],
        ),
        (
            "(module (func (param anyref) (result anyref) local.get 0 br_on_cast_fail 0 anyref (ref eq) nop))",
            [make_reference(EQ, nullable=False)],
        ),
        ("(module (func (result i32) i32.const 0 i32.const 1 br_if 0 nop))", [I32]),
        ("(module (func unreachable i32.const 1 select nop drop))", [UNKNOWN]),
        ("(module (func unreachable i64.const 0 i32.const 1 select nop drop))", [I64]),
        ("(module (func unreachable i32.add nop drop))", [I32]),
        ("(module (func unreachable ref.as_non_null nop drop))", [UNKNOWN]),
    ],
)
def test_types(text: str, expected: list[int]) -> None:
    assert _stack_at_nop(text) == expected


@pytest.mark.parametrize(
    "body",
    [
        "drop",
        "i32.const 0",
        "i64.const 0 i32.eqz drop",
        "block (result i32) end drop",
        "block (result i32) i32.const 0 i32.const 0 end drop",
        "i32.const 0 block drop end",
        "i32.const 0 ref.is_null drop",
        "i32.const 0 ref.as_non_null drop",
        "i32.const 0 f32.const 0 i32.const 0 select drop",
        "br 7",
        "i32.const 0 br_table 0 9",
        "local.get 5 drop",
        "global.get 5 drop",
        "call 5",
        "i32.const 0 call_indirect (type 5)",
        "i32.const 0 i32.load drop",
        "i32.const 0 table.get 0 drop",
        "throw 0",
        "ref.func 5 drop",
        "block block (result i32) i32.const 0 i32.const 0 br_table 0 1 end drop end",
        "ref.null any br_on_non_null 0",
        "block (type 5) end",
        "try_table (catch_all_ref 0) end",
        "struct.new 0 drop",
        "ref.null 0 array.len drop local.get 0 array.get 0 drop",
        "ref.null extern ref.null none ref.eq drop",
        "block (result (ref func)) ref.null func br 0 end drop",
        "block (result (ref func)) ref.null func i32.const 0 br_if 0 drop unreachable end drop",
        "block (result (ref func)) ref.null func i32.const 0 br_table 0 0 end drop",
        "block (result (ref extern)) ref.null func br_on_non_null 0 unreachable end drop",
        "block (result (ref i31)) ref.null any br_on_cast 0 anyref i31ref unreachable end drop",
        "block (result (ref eq)) ref.null any br_on_cast_fail 0 anyref eqref unreachable end drop",
        "block (result eqref) ref.null any br_on_cast 0 eqref i31ref unreachable end drop",
    ],
)
def test_ill_typed_code_is_refused_with_its_offset(body: str) -> None:
    module = Module(bytes(wasmtime.wat2wasm(f"(module (func {body}))")))
    with pytest.raises(MalformedModule) as caught:
        check_function(module, FunctionIndex(0))
    assert module.body_starts[0] <= caught.value.offset <= module.body_ends[0]


@pytest.mark.parametrize("code", ["0005", "0019", "000b0b", "0002400b", "000440050507", "001800"])
def test_broken_structure_is_refused(code: str) -> None:
    body = bytes.fromhex(code)
    binary = bytes.fromhex("0061736d 01000000 0104 01600000 0302 0100")
    content = b"\x01" + encode_unsigned(len(body)) + body
    module = Module(binary + b"\x0a" + encode_unsigned(len(content)) + content)
    with pytest.raises(MalformedModule):
        check_function(module, FunctionIndex(0))


def test_nesting_costs_no_recursion() -> None:
    typer = StackTyper(Module(bytes(wasmtime.wat2wasm("(module)"))), [], ())
    for _ in range(200_000):
        typer.step(op.BLOCK, [EMPTY_BLOCK])
    typer.step(op.BR, [200_000])
    for _ in range(200_001):
        typer.step(op.END, [])
    assert typer.is_finished()


def test_a_function_of_many_locals() -> None:
    module = Module(bytes(wasmtime.wat2wasm(f"(module (func (local {'i32 ' * 50_000}) local.get 49999 drop))")))
    check_function(module, FunctionIndex(0))


def test_label_types_of_a_loop_are_its_parameters() -> None:
    text = "(module (type $t (func (param i64) (result f32))) (func))"
    typer = StackTyper(Module(bytes(wasmtime.wat2wasm(text))), [], ())
    typer.step(CODE_BY_NAME["i64.const"], [0])
    typer.step(op.LOOP, [0])
    assert typer.label_types(0) == (I64,)
    assert typer.label_types(1) == ()


@pytest.mark.parametrize(
    "path",
    ["wa-sqlite/dist/wa-sqlite.wasm", "@jitl/quickjs-wasmfile-release-sync/dist/emscripten-module.wasm"],
)
def test_real_modules(
    path: str,
    real_module: Callable[[str], bytes],
    with_probes: Callable[[bytes], bytes],
    validate: Callable[[bytes], None],
) -> None:
    validate(with_probes(real_module(path)))
