"""Loops that count run in chunks, and do what they do without: to the iteration, at the ends of the type, and paused.

The loops are drawn from all forms that are looked for, with steps, bounds and beginnings at the extremes. Each
iteration is kept in memory, and a loop that goes on for too long traps at its end; so those which run 2^32 times, or
for ever, are compared, too.
"""

from __future__ import annotations

import itertools
import random
from typing import Any, Final

import pytest
import wasmtime

import caesura
from caesura.analysis.pause_points import MOST_IN_A_CHUNK, find_pause_points
from caesura.options import PREEMPT_FLAG, PREEMPT_FUEL
from caesura.wasm.module import Module
from tests.instrument.pausing import PausingHost
from tests.support.engine import assemble, engine

_PAGE: Final = 1 << 16

# Iterations of a chunk where each is 9 to 16 instructions, or 17 and more.
CHUNKS: Final = (MOST_IN_A_CHUNK // 16, MOST_IN_A_CHUNK // 32)

# Iterations after which a loop traps: it keeps the local of each in a page of memory.
MOST: Final = _PAGE // 20

LOOPS: Final = 15

_WORD: Final = 1 << 32
_STEPS: Final = (1, 1, 1, 2, 3, 4, 5, 8, 12, 40, 255, 1 << 16, (1 << 20) + 1, 1 << 25, 1 << 30, (1 << 31) - 1, 1 << 31)
_EDGES: Final = (0, 1, 2, 3, 9, 64, 1000, (1 << 31) - 2, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, _WORD - 1, _WORD - 2)

_KEEP: Final = "(i32.store (local.tee $at (i32.add (local.get $at) (i32.const 20))) (local.get $i))"

_EXCHANGED: Final = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}


class Drawn:
    """A loop in the text format, and the pairs of a beginning and a bound to try; functions take these and a step."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self.step = source.choice(_STEPS) if source.random() < 0.8 else source.randrange(1, 1 << 31)
        self.rises = source.random() < 0.5
        self.compare = self._comparison()
        self.is_local = self.compare != "ne" and source.random() < 0.35
        if self.is_local and source.random() < 0.4:
            self.step = source.choice((0, 1, (1 << 31) + 1, _WORD - 1, _WORD - 3))
        self.constant = source.choice(_EDGES) if source.random() < 0.4 else None
        self.is_zero = self.compare == "ne" and source.random() < 0.3
        if self.is_zero:
            self.constant = 0
        self.text = self._text()
        self.pairs = [self._pair() for _ in range(6)]

    def _comparison(self) -> str:
        kind = self._source.choice(("ne", "ne", "before", "before", "not beyond"))
        if kind == "ne":
            return kind
        sign = self._source.choice("su")
        if kind == "before":
            return f"{'lt' if self.rises else 'gt'}_{sign}"
        return f"{'le' if self.rises else 'ge'}_{sign}"

    def _text(self) -> str:
        source = self._source
        # A constant can be -2**31, but not 2**31.
        adds = not self.rises if self.step == 1 << 31 else source.random() < 0.7
        adds = self.rises if self.is_local else adds
        step = self.step if adds == self.rises else -self.step
        operands = ["(local.get $s)" if self.is_local else f"(i32.const {step})", "(local.get $i)"]
        if not adds or source.random() < 0.7:
            operands.reverse()
        change = f"(i32.{'add' if adds else 'sub'} {' '.join(operands)})"
        bound = "(local.get $x)" if self.constant is None else f"(i32.const {self.constant})"
        kept = _KEEP
        if source.random() < 0.5:
            value, before = f"(local.tee $i {change})", kept
        else:
            value, before = "(local.get $i)", f"(local.set $i {change})"
            before = before + kept if source.random() < 0.5 else kept + before
        if self.is_zero:
            condition = value
        elif source.random() < 0.6:
            condition = f"(i32.{self.compare} {value} {bound})"
        else:
            exchanged = _EXCHANGED.get(self.compare[:2], "") + self.compare[2:] if self.compare != "ne" else "ne"
            condition = f"(i32.{exchanged} {bound} {value})"
        if source.random() < 0.3:
            before = f"(block (br_if 0 (i32.and (local.get $i) (i32.const 4))) (local.set $a (local.get $i))) {before}"
        return f"(loop {before} (br_if 0 {condition}))"

    def _pair(self) -> tuple[int, int]:
        """Return a beginning and a bound: any, or so near that the loop may end in time."""
        source = self._source
        bound = self.constant
        if bound is None:
            bound = source.choice(_EDGES) if source.random() < 0.7 else source.randrange(_WORD)
        if source.random() < 0.3:
            return source.choice(_EDGES), bound
        near = [times * chunk + more for chunk in CHUNKS for times in (1, 2) for more in (-1, 0, 1, 2)]
        distance = self.step * source.choice((0, 1, 2, 3, 50, *near, *near, MOST - 1, MOST, MOST + 5))
        distance += source.choice((0, 0, 0, 1, -1, self.step // 2))
        return (bound - distance if self.rises else bound + distance) % _WORD, bound


class Run:
    """An instance of a module with such loops."""

    def __init__(self, module: bytes, preempt: str = "") -> None:
        self.host = PausingHost(module) if preempt else None
        self.store: Any = self.host.store if self.host else wasmtime.Store(engine())
        if self.host is not None:
            self.exports = self.host.exports
        else:
            self.exports = wasmtime.Instance(self.store, wasmtime.Module(engine(), module), []).exports(self.store)

    def outcome(self, name: str, arguments: tuple[int, ...], portions: Any = None) -> tuple[int | None, bytes]:
        """Return what a call returns, nothing if it traps, and what it has kept."""
        memory = self.exports["memory"]
        memory.write(self.store, bytes(_PAGE), 0)
        signed = [_signed(value) for value in arguments]
        result: int | None = None
        try:
            if self.host is not None:
                result = self.host.call(name, *signed, portions=portions)
            else:
                result = self.exports[name](self.store, *signed)
        except wasmtime.Trap as trap:
            assert trap.trap_code == wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS  # noqa: PT017
        return result, bytes(memory.read(self.store, 0, _PAGE))


def _signed(value: int) -> int:
    return value - _WORD if value >> 31 else value


def instrumented(module: bytes, preempt: str, optimize: str = "balanced") -> bytes:
    options = caesura.Options(preempt=preempt, optimize=optimize, in_secondary_memory=True, ignore_imports=True)
    return caesura.instrument(module, options).module


def check(seed: int, loops: int) -> int:
    """Compare some loops; return how many calls were compared."""
    source = random.Random(seed)
    drawn = [Drawn(source) for _ in range(loops)]
    functions = "".join(
        f"""(func (export "f{place}") (param $i i32) (param $x i32) (param $s i32) (result i32)
        (local $a i32) (local $at i32)
        {loop.text} (i32.xor (local.get $i) (local.get $a)))"""
        for place, loop in enumerate(drawn)
    )
    module = assemble(f"""(module (memory (export "memory") 1) {functions})""")
    assert len(find_pause_points(Module(module)).chunked) == loops
    plain = Run(module)
    flag = Run(instrumented(module, PREEMPT_FLAG), PREEMPT_FLAG)
    fuel = Run(instrumented(module, PREEMPT_FUEL), PREEMPT_FUEL)
    each = Run(instrumented(module, PREEMPT_FUEL, "size"), PREEMPT_FUEL)
    assert flag.host and fuel.host and each.host
    count = 0
    for place, loop in enumerate(drawn):
        for pair in loop.pairs:
            name = f"f{place}"
            arguments = (*pair, loop.step)
            expected = plain.outcome(name, arguments)
            told = f"seed {seed}: {loop.text} from {pair[0]} to {pair[1]} by {loop.step}"
            flag.host.request(source.randrange(2))
            assert flag.outcome(name, arguments) == expected, told
            flag.host.request(0)
            used = []
            for run, portions in (
                (each, None),
                (fuel, None),
                (fuel, itertools.repeat(0)),
                (fuel, itertools.repeat(source.randrange(1, 5000))),
            ):
                assert run.host is not None
                run.host.set_fuel(0 if portions else 1 << 40)
                before = run.host.used()
                assert run.outcome(name, arguments, portions) == expected, told
                used.append(run.host.used() - before)
                run.host.set_fuel(1 << 40)
            if expected[0] is not None:
                assert len(set(used)) == 1, told
            assert min(used) == used[0] and max(used) < used[0] + MOST_IN_A_CHUNK, told
            count += 1
    return count


@pytest.mark.parametrize("seed", range(4))
def test_loops_in_chunks_do_what_they_did(seed: int) -> None:
    assert check(seed, LOOPS) > 0


# Each never comes to its bound, or takes four billion iterations to do so.
ENDLESS: Final = {
    "never hit": "(i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 2))) (i32.const 8))",
    "never hit, by no power of two": "(i32.ne (i32.const 6) (local.tee $i (i32.sub (local.get $i) (i32.const 24))))",
    "never zero": "(local.tee $i (i32.sub (local.get $i) (i32.const 4)))",
    "never zero, rising": "(local.tee $i (i32.add (local.get $i) (i32.const 4)))",
    "hit at its beginning": "(i32.ne (local.tee $i (i32.add (local.get $i) (i32.const -1))) (i32.const 1))",
    "below the greatest": "(i32.le_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const -1))",
    "above the least": "(i32.ge_s (local.tee $i (i32.sub (local.get $i) (i32.const 3))) (i32.const 0x80000000))",
    "past the greatest": "(i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 3))) (i32.const 0x7fffffff))",
    "by a local that is zero": "(i32.lt_u (local.tee $i (i32.add (local.get $i) (local.get $s))) (i32.const 9))",
    "past the least": "(i32.gt_u (local.tee $i (i32.sub (local.get $i) (i32.const 5))) (i32.const 1))",
}


@pytest.mark.parametrize("kind", list(ENDLESS))
@pytest.mark.parametrize("preempt", [PREEMPT_FLAG, PREEMPT_FUEL])
def test_endless_loops_are_stopped_again_and_again(kind: str, preempt: str) -> None:
    loop = f"(local.set $i (i32.const 1)) (loop (br_if 0 {ENDLESS[kind]}))"
    module = assemble(f'(module (func (export "run") (local $i i32) (local $s i32) {loop}))')
    assert find_pause_points(Module(module)).chunked
    host = PausingHost(instrumented(module, preempt), counts=True)
    host.pauses_left = 200
    host.request(1)
    if preempt == PREEMPT_FUEL:
        host.set_fuel(0)
    host.call("run", portions=itertools.repeat(0) if preempt == PREEMPT_FUEL else None)
    assert host.pauses == host.pauses_left
    assert max(host.ways) < 2 * MOST_IN_A_CHUNK
    if preempt == PREEMPT_FUEL:
        # A pause takes 150 instructions and more, which are not the guest's.
        assert sum(host.ways) <= 2 * host.used() + 200 * host.pauses


_X: Final = "(local.get $x)"
_NEXT: Final = "(local.tee $i (i32.add (local.get $i) (i32.const 1)))"

# What does not count as it should, or leaves the loop otherwise.
OTHERS: Final = {
    "left by a branch": f"(block $out (loop $l (br_if $out {_X}) (br_if $l (i32.ne {_NEXT} {_X}))))",
    "left by a return": f"(loop $l (if {_X} (then (return))) (br_if $l (i32.ne {_NEXT} {_X})))",
    "left by an exception": f"(loop $l (if {_X} (then (throw $t))) (br_if $l (i32.ne {_NEXT} {_X})))",
    "a second way back": f"(loop $l (br_if $l {_X}) (br_if $l (i32.ne {_NEXT} {_X})))",
    "with a call": f"(loop $l (call $f) (br_if $l (i32.ne {_NEXT} {_X})))",
    "with a loop": f"(loop $l (loop (br_if 0 (local.get $y))) (br_if $l (i32.ne {_NEXT} {_X})))",
    "with a handler": f"(loop $l (block (try_table (catch_all 0))) (br_if $l (i32.ne {_NEXT} {_X})))",
    "that fills": f"(loop $l (memory.fill (local.get $y) (local.get $y) (local.get $y)) (br_if $l {_NEXT}))",
    "set twice": f"(loop $l (local.set $i (local.get $y)) (br_if $l (i32.ne {_NEXT} {_X})))",
    "set in a block": f"(loop $l (block (br_if 0 (local.get $y)) (local.set $i {_NEXT})) (br_if $l (local.get $i)))",
    "a bound that is set": f"(loop $l (local.set $x (local.get $y)) (br_if $l (i32.ne {_NEXT} {_X})))",
    "looked at before": f"(loop $l (br_if $l (i32.ne (local.get $i) {_X}) (drop {_NEXT})))",
    "away from its bound": f"(loop $l (br_if $l (i32.gt_u {_NEXT} {_X})))",
    "until it is equal": f"(loop $l (br_if $l (i32.eq {_NEXT} {_X})))",
    "by nothing": "(loop $l (br_if $l (local.tee $i (i32.add (local.get $i) (i32.const 0)))))",
    "by a local, any way": f"(loop $l (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (local.get $y))) {_X})))",
    "by itself": "(loop $l (br_if $l (local.tee $i (i32.add (local.get $i) (local.get $i)))))",
    "by another local": "(loop $l (br_if $l (local.tee $i (i32.add (local.get $y) (i32.const 1)))))",
    "with code behind": f"(loop $l (br_if $l {_NEXT}) (nop))",
    "dead": f"(unreachable) (loop $l (br_if $l {_NEXT}))",
    "long": f"(loop $l {f'(local.set $y {_X})' * 12} (br_if $l {_NEXT}))",
    "with a value": f"(drop (loop $l (result i32) (br_if $l {_NEXT}) {_X}))",
}


@pytest.mark.parametrize("kind", list(OTHERS))
def test_other_loops_look_in_each_iteration(kind: str) -> None:
    module = assemble(
        f"""(module (memory 1) (tag $t) (func $f)
      (func (export "run") (param $x i32) (param $y i32) (local $i i32) {OTHERS[kind]}))"""
    )
    points = find_pause_points(Module(module))
    assert points.loops and not points.chunked
