"""Functions that engines provide, and imported strings: they never suspend, so they need no thunk."""

from __future__ import annotations

import pytest

import caesura
from tests.instrument.building import assert_valid
from tests.support.engine import assemble

TEXT = """
  (module
    (import "wasm:js-string" "concat" (func $concat (param externref externref) (result (ref extern))))
    (import "wasm:js-string" "length" (func $length (param externref) (result i32)))
    (import "'" "hello" (global $hello externref))
    (import "env" "wait" (func $wait))
    (memory 1)
    (func $twice (result i32) (call $length (call $concat (global.get $hello) (global.get $hello))))
    (func $waits (result i32) (call $wait) (call $length (global.get $hello))))
"""


@pytest.mark.parametrize(
    "options", [caesura.Options(), caesura.Options(thunks=True), caesura.Options(import_globals=True)]
)
def test_functions_that_the_engine_provides_do_not_suspend(options: caesura.Options) -> None:
    result = caesura.instrument(assemble(TEXT), options)
    assert_valid(result.module)
    assert [(function.name, function.sites) for function in result.functions] == [("twice", 0), ("waits", 1)]


def test_unless_a_list_says_so() -> None:
    options = caesura.Options(imports=("wasm:js-string.length",), remove_list=("twice",))
    result = caesura.instrument(assemble(TEXT), options)
    assert [(function.name, function.sites) for function in result.functions] == [("twice", 0), ("waits", 1)]
