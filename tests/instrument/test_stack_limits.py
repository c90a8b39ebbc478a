"""With thunks the globals that hold the C stack's limits are exported, so that hosts can switch them with the stack."""

from __future__ import annotations

import pytest
import wasmtime

import caesura
from caesura.wasm.definitions import GLOBAL_KIND
from caesura.wasm.module import Module
from tests.support.engine import assemble, engine

FRAME = """
  (func $open (export "run") (result i32) (local i32)
    (global.set $__stack_pointer (local.tee 0 (i32.sub (global.get $__stack_pointer) (i32.const 16))))
    (i32.store (local.get 0) (call $ask))
    (global.set $__stack_pointer (i32.add (local.get 0) (i32.const 16)))
    (i32.load (local.get 0)))"""


def exported(fields: str) -> dict[str, int]:
    """Return the globals that an instrumented module exports, by name."""
    text = f"""(module (import "env" "ask" (func $ask (result i32))) (memory (export "memory") 1)
      (global $__stack_pointer (mut i32) (i32.const 4096)) {fields} {FRAME})"""
    made = caesura.instrument(assemble(text), caesura.Options(thunks=True)).module
    wasmtime.Module.validate(engine(), made)
    return {item.name: item.index for item in Module(made).exports if item.kind == GLOBAL_KIND}


def test_limits_are_known_by_the_names_of_their_globals() -> None:
    fields = "(global $__stack_end (mut i32) (i32.const 0)) (global $__stack_base (mut i32) (i32.const 0))"
    assert exported(fields) == {"asyncify_stack_pointer": 0, "asyncify_stack_low": 1, "asyncify_stack_high": 2}


def test_limits_are_known_by_the_functions_that_read_and_set_them() -> None:
    fields = """(global (mut i32) (i32.const 0)) (global (mut i32) (i32.const 0))
      (global (mut i32) (i32.const 0)) (global (mut i32) (i32.const 0))
      (func (export "emscripten_stack_get_base") (result i32) (global.get 2))
      (func (export "emscripten_stack_get_end") (result i32) (global.get 1))
      (func (export "__set_stack_limits") (param i32 i32)
        (global.set 3 (local.get 0)) (global.set 4 (local.get 1)))"""
    assert exported(fields) == {
        "asyncify_stack_pointer": 0,
        "asyncify_stack_low": 1,
        "asyncify_stack_low:1": 4,
        "asyncify_stack_high": 2,
        "asyncify_stack_high:1": 3,
    }


@pytest.mark.parametrize(
    "fields",
    [
        "(global $__stack_end i32 (i32.const 0)) (global $__stack_base (mut i64) (i64.const 0))",
        """(global $a (mut i32) (i32.const 0))
           (func (export "emscripten_stack_get_base") (result i32) (i32.add (global.get $a) (i32.const 1)))
           (func (export "emscripten_stack_get_end") (result i32) (global.get $__stack_pointer))""",
        """(global $a (mut i32) (i32.const 0)) (global $b (mut i32) (i32.const 0))
           (func (export "__set_stack_limits") (param i32 i32)
             (global.set $a (local.get 0)) (global.set $b (local.get 0)))
           (func (export "set_position") (param i32 i32)
             (global.set $a (local.get 0)) (global.set $b (local.get 1)))""",
    ],
)
def test_what_is_no_limit_is_not_exported(fields: str) -> None:
    assert exported(fields) == {"asyncify_stack_pointer": 0}


def test_a_module_that_has_an_export_of_that_name_is_refused() -> None:
    with pytest.raises(caesura.UnsupportedModule, match="exports asyncify_stack_low already"):
        exported("""(global $__stack_end (export "asyncify_stack_low") (mut i32) (i32.const 0))""")
