"""Constant expressions are decoded: bytes in them that look like instructions are not taken for these."""

from __future__ import annotations

import pytest

import caesura
from tests.instrument.building import assert_valid
from tests.support.engine import assemble

# Constants whose bytes look like `ref.func` with an index that is too long, is out of range, or is that of a function;
# and one of the same length without such bytes.
LOOK_ALIKES = {
    "f64": ("f64.const 0x1.2d2d2d2d2d2d2p-2", "f64.const 0x1.1111111111111p-2"),
    "f32": ("f32.const -0x1.a4a4a4p+38", "f32.const 1"),
    "i64": ("i64.const 0x4d2", "i64.const 0x411"),
    "i32": ("i32.const 82", "i32.const 81"),
    "v128": (f"v128.const i8x16 {' 0xd2' * 16}", f"v128.const i8x16 {' 1' * 16}"),
    "index": ("v128.const i8x16 0xd2 1 0xd2 2 0 0 0 0 0 0 0 0 0 0 0 0", f"v128.const i8x16 {' 1' * 16}"),
}
TEXT = """
  (module
    (import "env" "f" (func $f)) (memory 1)
    (global {type} ({constant})) (global (mut {type}) ({constant}))
    (func $inner (param i32) (local i32)
      (local.set 1 (local.get 0)) (call $f) (call $f) (drop (local.get 1)) (drop (local.get 0)))
    (func $called (param i32) (call $inner (local.get 0)) (call $f))
    (func (export "run") (call $called (i32.const 1)) (call $f)))
"""


@pytest.mark.parametrize("thunks", [False, True])
@pytest.mark.parametrize("case", LOOK_ALIKES)
def test_constants_that_look_like_references(case: str, thunks: bool) -> None:
    value_type = "v128" if case == "index" else case
    options = caesura.Options(thunks=thunks)
    outputs = [
        caesura.instrument(assemble(TEXT.format(type=value_type, constant=constant)), options).module
        for constant in LOOK_ALIKES[case]
    ]
    for output in outputs:
        assert_valid(output)
    assert len(outputs[0]) == len(outputs[1]), "functions were taken for ones that others can call"
