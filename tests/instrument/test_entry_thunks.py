"""What thunks add for each export and import: they share what they do, since some modules have tens of thousands.

That entry thunks work is for the tests of both hosts, which drive modules with thunks.
"""

from __future__ import annotations

from typing import Any

import pytest

import caesura
from caesura.wasm.module import Module
from tests.instrument.building import assert_valid
from tests.support.engine import assemble

STACK = '(global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 65536))'
TYPES = (
    "(param i32)",
    "(param i32 i64) (result i64)",
    "(param f64) (result f64 i32)",
    "(result v128)",
    "(result funcref)",
)

# An entry thunk: its size, no locals, three calls, `end`, its place in the function section. A parameter is two more.
THUNK_BYTES = 16
EXPORT_BYTES = len("asyncify_entry:000000") + 4


def module(count: int, type_: str, stack: str) -> bytes:
    """Return a module with a number of exports of a type that may suspend, with names of six bytes."""
    results = type_.partition("(result ")[2].rstrip(")").split()
    zeros = " ".join("ref.null func" if kind == "funcref" else zero(kind) for kind in results)
    functions = "\n".join(
        f'(func (export "{number:06}") {type_} (call $ask (i32.const {number})) {zeros})' for number in range(count)
    )
    return assemble(f'(module (import "env" "ask" (func $ask (param i32))) (memory 1) {stack} {functions})')


def zero(kind: str) -> str:
    return "v128.const i64x2 0 0" if kind == "v128" else f"{kind}.const 0"


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("stack", ["", STACK], ids=["no stack pointer", "a stack pointer"])
def test_what_an_export_costs(type_: str, stack: str) -> None:
    def added(count: int) -> int:
        original = module(count, type_, stack)
        plain = caesura.instrument(original).module
        thunks = caesura.instrument(original, caesura.Options(thunks=True)).module
        assert_valid(thunks)
        return len(thunks) - len(plain)

    parameters = len(type_.partition("(result")[0].removeprefix("(param").strip(" )").split())
    each = (added(120) - added(20)) / 100
    assert each <= THUNK_BYTES + 2 * parameters + EXPORT_BYTES


def test_a_function_that_is_exported_twice_has_one_thunk() -> None:
    binary = assemble("""
      (module
        (import "env" "ask" (func $ask)) (memory 1)
        (func (export "one") (export "other") (call $ask)))
    """)
    output = Module(caesura.instrument(binary, caesura.Options(thunks=True)).module)
    thunks = {export.name: export.index for export in output.exports if export.name.startswith("asyncify_entry:")}
    assert thunks.keys() == {"asyncify_entry:one", "asyncify_entry:other"}
    assert len(set(thunks.values())) == 1


# An import thunk: its size, no locals, looks at the state, calls of what it shares, a return, `end`s, its place in the
# function section. A parameter is two more, and calls of functions beyond the 128th take a byte more each.
IMPORT_THUNK_BYTES = 29
IMPORT_NAME_BYTES = len("asyncify_import") + 3


@pytest.mark.parametrize("type_", [*TYPES, "", "(param i32) (result i64 v128 f32)"])
@pytest.mark.parametrize("options", [{}, {"export_globals": True}, {"import_globals": True}], ids=str)
def test_what_an_import_costs(type_: str, options: dict[str, Any]) -> None:
    parameters = type_.partition("(result")[0].removeprefix("(param").strip(" )").split()
    results = len(type_.partition("(result ")[2].rstrip(")").split())

    def added(count: int) -> int:
        imports = [f'(import "env" "{number:06}" (func $i{number} {type_}))' for number in range(count)]
        arguments = " ".join(f"({kind}.const 0)" for kind in parameters)
        calls = [f"(call $i{number} {arguments}) {'drop ' * results}" for number in range(count)]
        original = assemble(f'(module {" ".join(imports)} (memory 1) (func (export "run") {" ".join(calls)}))')
        sizes = []
        for thunks in (False, True):
            result = caesura.instrument(original, caesura.Options(thunks=thunks, **options))
            assert_valid(result.module)
            sizes.append(len(result.module))
        return sizes[1] - sizes[0]

    each = (added(110) - added(20)) / 90
    assert each <= IMPORT_THUNK_BYTES + 2 * len(parameters) + IMPORT_NAME_BYTES
