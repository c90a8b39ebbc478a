"""What a list leaves out calls copies of small instrumented functions, which are as the original has them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import wasmtime

import caesura
from caesura.instrument.abi.naming import FunctionNames
from caesura.wasm.module import Module
from tests.instrument.building import assert_valid
from tests.support.engine import assemble
from tests.support.plain_abi import HostFunction, PlainGuest, always, never

PREFIX = "asyncify_uninstrumented:"
REFUSED = "asyncify_not_instrumented"

# `left` calls `outer`, which calls itself and `inner`, which asks the host; `run` calls `outer` through it, or itself.
GUEST = """
  (module
    (import "env" "ask" (func $ask (param i32) (result i32)))
    (memory (export "memory") 1)
    (table 1 funcref) (elem (i32.const 0) $run)
    (type $two (func (param i32 i32) (result i32)))
    (func $inner (param $n i32) (result i32) (local $a i32)
      (local.set $a (i32.mul (local.get $n) (i32.const 3)))
      (i32.add (call $ask (local.get $n)) (local.get $a)))
    (func $outer (param $n i32) (param $times i32) (result i32)
      (if (result i32) (local.get $times)
        (then (i32.add (call $outer (local.get $n) (i32.sub (local.get $times) (i32.const 1))) (i32.const 1)))
        (else (i32.add (call $inner (local.get $n)) (i32.const 50)))))
    (func $left (param $n i32) (result i32) (local $kept i32)
      (local.set $kept (i32.add (local.get $n) (i32.const 1000)))
      (i32.add (local.get $kept) (call $outer (local.get $n) (i32.const 2))))
    (func $through (param $n i32) (result i32) (call_indirect (type $two) (local.get $n) (i32.const 0) (i32.const 0)))
    (func $run (export "run") (param $n i32) (param $crosses i32) (result i32)
      (if (i32.eq (local.get $crosses) (i32.const 1))
        (then (return (i32.add (call $left (local.get $n)) (i32.const 10000)))))
      (if (i32.eq (local.get $crosses) (i32.const 2))
        (then (return (i32.add (call $through (local.get $n)) (i32.const 40000)))))
      (i32.add (call $outer (local.get $n) (i32.const 1)) (i32.const 20000)))
    %s)
"""
PADDING = f"(func (param i32) {'(i32.store (local.get 0) (i32.const 123456))' * 6_000})"


def ask(number: int) -> int:
    return number + 100


def build(padding: str = PADDING, **options: Any) -> bytes:
    options = {"only_list": ("run", "inner", "outer"), **options}
    module = caesura.instrument(assemble(GUEST % padding), caesura.Options(**options)).module
    assert_valid(module)
    return module


def copies(module: bytes) -> set[str]:
    names = FunctionNames(Module(module)).names
    return {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}


def test_what_has_a_copy() -> None:
    assert copies(build()) == {"inner", "outer"}
    assert copies(build(no_guard=True)) == set()
    assert copies(build(optimize="size")) == set()
    assert copies(build("")) == set()  # of a list that names much of the module
    assert copies(build(only_list=("run", "inner", "outer", "left", "through"))) == set()


@pytest.mark.parametrize("way", [1, 2])
@pytest.mark.parametrize("shape", [{}, {"keep_padding": True}, {"optimize": "speed"}])
def test_all_is_as_it_was(way: int, shape: dict[str, Any]) -> None:
    """Way 1 goes through copies, and is refused; so is way 2, through the table, where what is on the list is below."""
    functions: dict[tuple[str, str], HostFunction] = {("env", "ask"): ask}
    guest = PlainGuest(build(**shape), functions, suspend_at=never)
    original = PlainGuest(assemble(GUEST % ""), functions, suspend_at=never)
    for crosses in (0, 1, 2):
        assert guest.call("run", 7, crosses) == original.call("run", 7, crosses)
    guest.suspend_at = always
    before = guest.memory_image()
    with pytest.raises(wasmtime.Trap, match=REFUSED):
        guest.call("run", 7, way)
    assert guest.state() == 0
    assert guest.memory_image() == before
    assert guest.call("run", 7, 0) == original.call("run", 7, 0)


def test_only_what_the_list_leaves_out_is_missing() -> None:
    async def waiting(number: int) -> int:
        await asyncio.sleep(0)
        return ask(number)

    async def run() -> None:
        options = caesura.Options(only_list=("run", "inner", "outer"))
        guest = await caesura.load(assemble(GUEST % PADDING), {"env": {"ask": waiting}}, options=options)
        with pytest.raises(caesura.UsageError, match=r'Missing in the list: \["left"\]\n'):
            await guest.call("run", 7, 1)
        assert await guest.call("run", 7, 0) == 107 + 21 + 50 + 1 + 20_000

    asyncio.run(run())
