"""Between two calls of the host's functions that guests come back from stands a look, whatever way control goes."""

from __future__ import annotations

import random
from typing import Any

import pytest
import wasmtime

import caesura
from tests.instrument.pausing import PausingHost
from tests.support.engine import assemble

FUNCTIONS = 3

# A number that looks random, as a bit, and as one that also ends all loops in time.
NEXT = "(global.set $r (i32.add (i32.mul (global.get $r) (i32.const 1103515245)) (i32.const 12345)))"
BIT = f"(block (result i32) {NEXT} (i32.and (i32.shr_u (global.get $r) (i32.const 16)) (i32.const 1)))"
DOWN = "(global.set $n (i32.sub (global.get $n) (i32.const 1)))"
LESS = f"(block (result i32) {DOWN} (i32.gt_s (global.get $n) (i32.const 0)))"
AGAIN = f"(i32.and {BIT} {LESS})"


class Code:
    """Code of nested constructs that branch out of each other, call the host, and functions that come later."""

    def __init__(self, source: random.Random, function: int) -> None:
        self.source = source
        self.function = function
        self.loops: list[bool] = [False]  # of the constructs that are open

    def some(self, most: int = 4) -> str:
        """Return some of what `one` returns."""
        return " ".join(self.one() for _ in range(self.source.randrange(most)))

    def one(self) -> str:
        """Return an instruction, or a construct."""
        kind = self.source.randrange(12 if len(self.loops) < 6 else 5)
        if kind < 2:
            return "(call $slow (global.get $r))"
        if kind == 2:
            return f"(br_if {self.outward()} {BIT})"
        if kind == 3:
            later = self.source.randrange(self.function + 1, FUNCTIONS + 1)
            return f"(if {LESS} (then (call $f{later})))" if later < FUNCTIONS else NEXT
        if kind == 4:
            return self.source.choice(
                (f"(br_table {self.outward()} {self.outward()} {BIT})", f"(br {self.outward()})", "(return)", NEXT)
            )
        if kind < 7:
            other = f"(else {self.inside()})" if kind == 5 else ""
            return f"(if {BIT} (then {self.inside()}) {other})"
        if kind < 9:
            return f"(block {self.inside()})"
        if kind == 9:
            return f"(loop (br_if 0 {AGAIN}))"
        return f"(loop {self.inside(is_loop=True)})"

    def inside(self, *, is_loop: bool = False) -> str:
        """Return the code inside a construct."""
        self.loops.append(is_loop)
        code = self.some()
        if is_loop:
            code += f" (br_if 0 {AGAIN})"
        self.loops.pop()
        return code

    def outward(self) -> int:
        """Return the label of a construct that is no loop: loops go on at their ends only."""
        labels = [label for label in range(len(self.loops)) if not self.loops[-1 - label]]
        return self.source.choice(labels)


def program(seed: int) -> bytes:
    source = random.Random(seed)
    functions = "".join(f"(func $f{number} {Code(source, number).some(8)})" for number in range(FUNCTIONS))
    return assemble(f"""(module (import "env" "slow" (func $slow (param i32)))
      (global $r (mut i32) (i32.const {seed})) (global $n (mut i32) (i32.const 0)) {functions}
      (func (export "run") (global.set $n (i32.const 40)) (loop (call $f0) (br_if 0 {LESS}))))""")


def original(module: bytes) -> list[int]:
    calls: list[int] = []
    store = wasmtime.Store()
    slow = wasmtime.Func(store, wasmtime.FuncType([wasmtime.ValType.i32()], []), calls.append)
    exports: Any = wasmtime.Instance(store, wasmtime.Module(store.engine, module), [slow]).exports(store)
    exports["run"](store)
    return calls


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_a_look_stands_between_all_calls(seed: int, suspends: bool) -> None:
    module = program(seed)
    calls: list[int] = []
    pauses: list[int] = []

    def slow(value: int) -> None:
        calls.append(value)
        pauses.append(host.pauses)
        host.request(1)  # which a pause takes back

    def imports(store: wasmtime.Store) -> list[Any]:
        return [wasmtime.Func(store, wasmtime.FuncType([wasmtime.ValType.i32()], []), slow)]

    options = caesura.Options(preempt="flag", ignore_imports=not suspends, in_secondary_memory=True)
    host = PausingHost(caesura.instrument(module, options).module, imports)
    host.call("run")
    assert calls == original(module)
    assert pauses == list(range(len(calls)))
