"""Frames that a guest has overwritten: in the plain ABI they lie in its own memory, handles of references among them.

Every word of a suspended call's frames is replaced by numbers that fit and numbers that do not. What may come of it is
a trap, or another reference of the same hierarchy, as docs/abi.md says; afterwards the instance works as before.
"""

from __future__ import annotations

from typing import Final

import wasmtime

import caesura
from tests.support.engine import assemble
from tests.support.plain_calls import PlainCalls

STACK: Final = range(4096, 65536)
FORGED: Final = (0, 1, 3, 1000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

GUEST: Final = assemble("""
  (module
    (import "env" "ask" (func $ask (result externref)))
    (memory (export "memory") 1)
    (func $number (result i32) (i32.const 7))
    (elem declare func $number)
    (func $run (export "run") (param $kept externref) (result i32 externref) (local $function funcref)
      (local.set $function (ref.func $number))
      (drop (call $ask))
      (ref.is_null (local.get $function)) (local.get $kept)))
""")


def outcome(word: int, forged: int) -> str:
    """Resume a call of which one word was forged; say what came of it."""
    calls = PlainCalls(caesura.instrument(GUEST).module, ("env", "ask"), lambda: 1, {}, STACK)
    for call, kept in enumerate(("other", "own")):
        assert calls.start(call, "run", kept) is None
    frames = bytearray(calls.frames[1])
    frames[word : word + 4] = forged.to_bytes(4, "little")
    calls.frames[1] = bytes(frames)
    try:
        is_null, kept = calls.resume(1, "run", None)
        found = f"{is_null} {kept}"
    except (wasmtime.Trap, wasmtime.WasmtimeError):
        found = "trap"
        calls.abi("stop_unwind")
    assert calls.start(2, "run", "new") is None
    assert calls.resume(2, "run", None) == [0, "new"]
    return found


def test_forged_words_trap_or_give_a_reference_of_the_same_hierarchy() -> None:
    calls = PlainCalls(caesura.instrument(GUEST).module, ("env", "ask"), lambda: 1, {}, STACK)
    assert calls.start(0, "run", "own") is None
    words = range(0, len(calls.frames[0]), 4)
    found = {outcome(word, forged) for word in words for forged in FORGED}
    assert "trap" in found
    assert found <= {"trap", *(f"{null} {kept}" for null in (0, 1) for kept in ("own", "other", None))}, found
