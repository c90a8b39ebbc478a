"""References in frames under the plain ABI: any number of suspended calls, whose frames are moved about as bytes.

Objects of the host's tell whether something holds them: where no call is suspended any more, none may be left.
"""

from __future__ import annotations

import gc
import random
from pathlib import Path

import pytest
import wasmtime

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, INLINE, PIECES, SHARED
from caesura.instrument.pipeline import instrument_as
from tests.support.engine import assemble, engine
from tests.support.node import newer_node, run_driver
from tests.support.plain_calls import PlainCalls

STACK = range(4096, 65536)
OVERFLOWED = 3

DEEP = assemble("""
  (module
    (import "env" "ask" (func $ask (param i32) (result externref)))
    (import "env" "see" (func $see (param externref externref)))
    (memory (export "memory") 1)
    (func $deep (param $n i32) (param $kept externref) (result externref)
      (local $inner externref)
      (if (i32.eqz (local.get $n)) (then (return (call $ask (i32.const 0)))))
      (local.set $inner (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $kept)))
      (call $see (local.get $kept) (call $ask (local.get $n)))
      (local.get $inner))
    (func (export "run") (param $n i32) (param $kept externref) (result externref externref)
      (call $deep (local.get $n) (local.get $kept)) (local.get $kept)))
""")


class Thing:
    """An object of the host's, whose `count` says how many there are."""

    count = 0

    def __init__(self, name: object) -> None:
        self.name = name
        Thing.count += 1

    def __del__(self) -> None:
        Thing.count -= 1


def kept_in(call: int) -> str | None:
    """Return the name of what a call holds in each frame."""
    return f"of {call}" if call % 7 else None


def name_of(value: object) -> object:
    return value.name if isinstance(value, Thing) else value


WAYS = {
    "as small modules do": (caesura.Options(), AUTOMATIC),
    "for size": (caesura.Options(optimize="size"), AUTOMATIC),
    "as large modules do": (caesura.Options(), SHARED),
    "in pieces": (caesura.Options(), PIECES),
    "inline": (caesura.Options(), INLINE),
    "with two bodies": (caesura.Options(two_bodies="all"), AUTOMATIC),
    "with shared globals": (caesura.Options(export_globals=True), AUTOMATIC),
    "without results of several values": (caesura.Options(no_multivalue=True), SHARED),
}


@pytest.mark.parametrize("way", WAYS)
def test_many_calls_in_any_order(way: str) -> None:
    options, moves = WAYS[way]
    choose = random.Random(way)
    seen: list[object] = []
    guest = PlainCalls(
        instrument_as(DEEP, options, None, moves, None).module,
        ("env", "ask"),
        lambda number: Thing(("asked", number)),
        {("env", "see"): lambda kept, got: seen.extend((name_of(kept), name_of(got)))},
        STACK,
    )

    def resume(call: int) -> bool:
        """Resume a call, look at what it holds, and tell whether it has ended."""
        seen.clear()
        result = guest.resume(call, "run", -1, None)
        if result is not None:
            assert [name_of(value) for value in result] == [("asked", 0), kept_in(call)]
        assert seen[::2] in ([], [kept_in(call)])
        return result is not None

    ended = 0
    for call in range(40):
        guest.start(call, "run", choose.randrange(1, 40), None if kept_in(call) is None else Thing(kept_in(call)))
        while len(guest.frames) > choose.randrange(12):
            chosen = choose.choice(list(guest.frames))
            if choose.random() < 0.02 and not options.export_globals:
                guest.give_up(chosen)
            else:
                ended += resume(chosen)
    while guest.frames:
        ended += resume(next(iter(guest.frames)))
    assert ended > 10
    seen.clear()
    guest.store.gc()
    gc.collect()
    assert Thing.count == 0


HOLDING = 9
MANY = assemble(f"""
  (module
    (import "env" "ask" (func $ask (param i32)))
    (memory (export "memory") 1)
    (table $t 2 funcref) (elem (table $t) (i32.const 0) func $one $two)
    (func $one) (func $two)
    (func $hold (export "run") (param $n i32) {"(param externref)" * HOLDING} (result {"externref " * HOLDING} i32)
      (local $f funcref) (local $g funcref) (local $x externref)
      (local.set $x (local.get 1))
      (local.set $f (table.get $t (i32.and (local.get $n) (i32.const 1))))
      (if (i32.and (local.get $n) (i32.const 2)) (then (local.set $g (table.get $t (i32.const 0)))))
      (if (i32.eqz (local.get $n))
        (then (call $ask (i32.const 0)))
        (else
          (call $hold (i32.sub (local.get $n) (i32.const 1))
            {" ".join(f"(local.get {1 + (place + 1) % HOLDING})" for place in range(HOLDING))})
          {"(drop) " * HOLDING} (drop)
          (call $ask (local.get $n))))
      (local.get $x)
      {" ".join(f"(local.get {1 + place})" for place in range(1, HOLDING))}
      (i32.add (ref.is_null (local.get $f)) (i32.mul (i32.const 2) (ref.is_null (local.get $g))))))
""")


@pytest.mark.parametrize("way", WAYS)
def test_frames_with_many_references_some_of_them_null(way: str) -> None:
    """One call moves several of a frame's references; null takes no place among them."""
    options, moves = WAYS[way]
    choose = random.Random(way)
    guest = PlainCalls(
        instrument_as(MANY, options, None, moves, None).module, ("env", "ask"), lambda number: None, {}, STACK
    )
    given: dict[int, tuple[int, list[str | None]]] = {}
    ended = 0

    def finish(call: int, result: list[object] | None) -> int:
        if result is None:
            return 0
        depth, names = given.pop(call)
        assert [name_of(value) for value in result] == [*names, 0 if depth & 2 else 2]
        return 1

    for call in range(60):
        names = [f"{call} {place}" if choose.random() < 0.6 else None for place in range(HOLDING)]
        depth = choose.randrange(1, 12)
        given[call] = depth, names
        things = [None if name is None else Thing(name) for name in names]
        ended += finish(call, guest.start(call, "run", depth, *things))
        del things
        while len(guest.frames) > choose.randrange(9):
            chosen = choose.choice(list(guest.frames))
            if choose.random() < 0.02 and not options.export_globals:
                guest.give_up(chosen)
            else:
                ended += finish(chosen, guest.resume(chosen, "run", -1, *[None] * HOLDING))
    while guest.frames:
        chosen = next(iter(guest.frames))
        ended += finish(chosen, guest.resume(chosen, "run", -1, *[None] * HOLDING))
    assert ended > 20
    guest.store.gc()
    gc.collect()
    assert Thing.count == 0


@pytest.mark.parametrize("is_newer", [False, True], ids=["on the path", "newer"])
@pytest.mark.parametrize("way", ["as small modules do", "as large modules do"])
def test_a_hundred_thousand_suspensions_hold_nothing(way: str, is_newer: bool, tmp_path: Path) -> None:
    options, moves = WAYS[way]
    (tmp_path / "guest.wasm").write_bytes(instrument_as(DEEP, options, None, moves, None).module)
    node = newer_node() if is_newer else None
    told = run_driver("references.mjs", tmp_path / "guest.wasm", "100000", "50", flags=("--expose-gc",), node=node)
    assert told["suspensions"] >= 100_000
    assert told["calls"] > 1_000
    assert told["alive"] == 0


LEFT = assemble("""
  (module
    (import "env" "ask" (func $ask (param i32) (result externref)))
    (import "env" "see" (func $see (param externref externref)))
    (memory (export "memory") 1)
    (func (export "run") (param $n i32) (param $kept externref) (result externref)
      (local $got externref)
      (if (local.get $n) (then
        (call $see (local.get $kept) (local.get $kept))
        (local.set $got (call $other (i32.sub (local.get $n) (i32.const 1)) (local.get $kept))))
      (else (local.set $got (call $ask (local.get $n)))))
      (call $see (local.get $kept) (local.get $got))
      (local.get $got))
    (func $other (param $n i32) (param $kept externref) (result externref)
      (local $got externref)
      (local.set $got (call $run (local.get $n) (local.get $kept)))
      (call $see (local.get $kept) (local.get $got))
      (local.get $got))
    (func $run (param $n i32) (param $kept externref) (result externref)
      (local $got externref)
      (if (local.get $n)
        (then (local.set $got (call $other (i32.sub (local.get $n) (i32.const 1)) (local.get $kept))))
        (else (local.set $got (call $ask (local.get $n)))))
      (call $see (local.get $kept) (local.get $got))
      (local.get $got)))
""")


def test_an_overflow_holds_nothing_once_something_else_begins() -> None:
    """The frames that were pushed before it are given up."""
    answers: list[object] = []
    guest = PlainCalls(
        caesura.instrument(LEFT).module,
        ("env", "ask"),
        lambda number: answers.append(number),
        {("env", "see"): lambda kept, got: None},
        range(4096, 4096 + 8 + 120),
    )
    with pytest.raises(wasmtime.Trap):
        guest.start(0, "run", 40, Thing("lost"))
    assert guest.abi("get_state") == OVERFLOWED
    guest.put_back(b"")
    with pytest.raises(wasmtime.Trap):
        guest.abi("stop_unwind")
    guest.store.gc()
    gc.collect()
    assert Thing.count == 0
    assert guest.start(1, "run", 1, Thing("kept")) is None
    guest.store.gc()
    assert Thing.count == 1
    guest.resume(1, "run", 0, None)
    guest.store.gc()
    gc.collect()
    assert Thing.count == 0


def test_a_table_that_cannot_grow_is_an_overflow() -> None:
    """Nothing is written beyond what there is room for, and the guest goes on as before."""
    guest = PlainCalls(
        caesura.instrument(DEEP).module,
        ("env", "ask"),
        lambda number: None,
        {("env", "see"): lambda kept, got: None},
        range(4096, 65536),
    )
    guest.store.set_limits(table_elements=64)
    with pytest.raises(wasmtime.Trap, match="asyncify_stack_overflow"):
        guest.start(0, "run", 200, Thing("lost"))
    guest.put_back(b"")
    with pytest.raises(wasmtime.Trap):
        guest.abi("stop_unwind")
    assert guest.start(1, "run", 8, Thing("kept")) is None
    while (result := guest.resume(1, "run", 0, None)) is None:
        pass
    assert name_of(result[1]) == "kept"
    result = None
    guest.store.gc()
    gc.collect()
    assert Thing.count == 0


SCHEDULER = """
  (module
    (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
    (import "asyncify" "stop_unwind" (func $stop_unwind))
    (import "asyncify" "start_rewind" (func $start_rewind (param i32)))
    (import "asyncify" "stop_rewind" (func $stop_rewind))
    (import "asyncify" "get_state" (func $state (result i32)))
    (memory (export "memory") 1)
    (global $rounds (mut i32) (i32.const 0))
    (func $pause
      (if (i32.eq (call $state) (i32.const 2))
        (then (call $stop_rewind))
        (else
          (i32.store (i32.const 16) (i32.const 32))
          (i32.store (i32.const 20) (i32.const 1024))
          (call $start_unwind (i32.const 16)))))
    (func $work (param $n i32) (param $kept externref) (result externref)
      (loop $again
        (call $pause)
        (global.set $rounds (i32.add (global.get $rounds) (i32.const 1)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $kept))
    (func (export "run") (param $n i32) (param $kept externref) (result externref i32)
      (local $result externref)
      (local.set $result (call $work (local.get $n) (local.get $kept)))
      (loop $again
        (if (call $state)
          (then
            (call $stop_unwind)
            (call $start_rewind (i32.const 16))
            (local.set $result (call $work (i32.const 0) (ref.null extern)))
            (br $again))))
      (local.get $result) (global.get $rounds)))
"""


def test_a_guest_that_suspends_itself_keeps_its_references() -> None:
    """Its imports of module asyncify are the functions that see to them."""
    module = wasmtime.Module(
        engine(), instrument_as(assemble(SCHEDULER), caesura.Options(), None, AUTOMATIC, None).module
    )
    store = wasmtime.Store(engine())
    run = wasmtime.Instance(store, module, []).exports(store)["run"]
    assert isinstance(run, wasmtime.Func)
    result, rounds = run(store, 500, Thing("kept"))
    assert (name_of(result), rounds) == ("kept", 500)
    result = None
    store.gc()
    gc.collect()
    assert Thing.count == 0
