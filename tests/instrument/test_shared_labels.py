"""Blocks that end where a frame lands share its label; what branches to them does the same as before."""

from __future__ import annotations

from typing import Final

import pytest

import caesura
from caesura.wasm.print_module import print_module
from tests.support.engine import assemble
from tests.support.plain_abi import HostFunction, PlainGuest, SuspendAt, always, every

ASK: Final[dict[tuple[str, str], HostFunction]] = {("env", "ask"): lambda value: value * 5 % 97}
CALL: Final = "(local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3)) (call $ask (local.get $n))))"
ODD: Final = "(i32.and (local.get $n) (i32.const 1))"
LARGE: Final = "(i32.gt_u (local.get $n) (i32.const 5))"

# Code that ends with a block's end and code that follows it, which lands there; the blocks are in the program anyway.
SHAPES: Final = {
    "block with a call site": (f"(block $b {CALL} (br_if $b {ODD}) {CALL})", CALL),
    "block without a call site": (f"(block $b (br_if $b {ODD}) (local.set $sum (local.get $n)))", CALL),
    "if with a call site": (f"(if {ODD} (then {CALL}))", CALL),
    "if and else with call sites": (f"(if {ODD} (then {CALL}) (else {CALL} {CALL}))", CALL),
    "two blocks": (f"(block $a (block $b {CALL} (br_if $a {LARGE}) (br_if $b {ODD}) {CALL}))", CALL),
    "block that is left": (f"(block $b {CALL} (br_if $b {ODD}) {CALL} (br $b))", CALL),
    "before a loop": (
        f"(block $b {CALL} (br_if $b {ODD}) {CALL})",
        f"(loop $l {CALL} (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br_if $l (local.get $n)))",
    ),
}


def guest(ending: str, following: str) -> bytes:
    """Return a guest with code that ends a block and code that follows."""
    return assemble(f"""
      (module
        (import "env" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 2)
        (func (export "run") (param $n i32) (result i32) (local $sum i32)
          {CALL} {ending} {following}
          (local.get $sum)))""")


def blocks(module: bytes) -> int:
    """Return how many blocks a module has, instrumented for size."""
    return print_module(caesura.instrument(module, caesura.Options(optimize="size")).module).count(" block")


@pytest.mark.parametrize("shape", SHAPES)
def test_shared_labels(shape: str) -> None:
    """One label serves for the block's end and for what lands behind it, unless there is code between them."""
    ending, following = SHAPES[shape]
    assert blocks(guest(ending, following)) < blocks(guest(f"{ending} (local.set $n (local.get $n))", following))


@pytest.mark.parametrize("two_bodies", ["never", "all"])
@pytest.mark.parametrize("suspend_at", [always, every(2)], ids=["always", "every second"])
@pytest.mark.parametrize("shape", SHAPES)
def test_resuming_behind_blocks(shape: str, suspend_at: SuspendAt, two_bodies: str) -> None:
    """Whatever way control comes to the shared label, the rest of the program is the same."""
    module = guest(*SHAPES[shape])
    binary = caesura.instrument(module, caesura.Options(two_bodies=two_bodies)).module
    for argument in (1, 4, 7, 8):
        plain = PlainGuest(module, ASK)
        suspended = PlainGuest(binary, ASK, suspend_at=suspend_at)
        assert suspended.call("run", argument) == plain.call("run", argument)
        assert suspended.log == plain.log
