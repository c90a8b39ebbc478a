"""Hosts and tail calls: coroutines, guests that drive themselves, and calls of the guest while it unwinds."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import wasmtime

import caesura
from caesura.instrument.frames.pieces import AUTOMATIC, SHARED
from caesura.instrument.pipeline import instrument_as
from tests.instrument.tail_calls import EXPORTS, HOST, MODULE, answer
from tests.support.engine import assemble, engine
from tests.support.instrumenting import instrument
from tests.support.plain_abi import (
    HEADER,
    PlainGuest,
    StackArea,
)


def test_who_is_entered_while_the_guest_unwinds_leaves_at_once() -> None:
    """Also functions that only leave by tail calls, with and without frames, and dispatching is not tried then."""
    for moves in (AUTOMATIC, SHARED):
        binary = instrument_as(assemble(MODULE), caesura.Options(), None, moves, None).module
        guest = PlainGuest(binary, HOST, stacks=StackArea(4096, 4096, 1))
        asked: list[int] = []

        def start(value: int, wide: int, asked: list[int] = asked, guest: PlainGuest = guest) -> int:
            asked.append(value)
            guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
            guest.function("asyncify_start_unwind")(guest.store, 4096)
            seen = guest.globals()
            for name in ("out", "import", "wrapped", "open_table", "reference", "busy", "alone"):
                assert guest.function(name)(guest.store, 3) == 0, name
            assert guest.globals() == seen and guest.stack_pointers(4096)[0] == 4096 + HEADER
            return 99

        guest.replace(("env", "ask"), start)
        assert guest.function("import")(guest.store, 20) == 0
        assert asked == [60] and guest.state() == 1


def test_the_guest_s_own_runtime_is_called_at_the_end() -> None:
    """A tail call of what starts unwinding: that is called again in the rewind, with its real arguments."""
    text = """
      (module
        (import "asyncify" "start_unwind" (func $start_unwind (param i32)))
        (import "asyncify" "stop_rewind" (func $stop_rewind))
        (import "asyncify" "get_state" (func $get_state (result i32)))
        (memory (export "memory") 1)
        (global $got (export "got") (mut i32) (i32.const 0))
        (func $pause (param i32) (result i32)
          (if (call $get_state)
            (then (call $stop_rewind) (global.set $got (local.get 0)) (return (i32.mul (local.get 0) (i32.const 3)))))
          (call $start_unwind (i32.const 4096))
          (i32.const 0))
        (func $leave (param i32) (result i32) (return_call $pause (i32.add (local.get 0) (i32.const 1))))
        (func (export "f") (param i32) (result i32) (i32.add (call $leave (local.get 0)) (i32.const 5))))
    """
    store = wasmtime.Store(engine())
    guest = PlainGuest(instrument(assemble(text)), store=store, stacks=StackArea(4096, 4096, 1))
    guest.set_stack_pointers(4096, 4096 + HEADER, 8192)
    assert guest.function("f")(store, 20) == 0 and guest.state() == 1
    guest.function("asyncify_stop_unwind")(store)
    guest.function("asyncify_start_rewind")(store, 4096)
    assert guest.function("f")(store, -7) == 68
    assert guest.globals()["got"] == 21 and guest.state() == 0


@pytest.mark.parametrize("is_64", [False, True], ids=["32 bits", "64 bits"])
@pytest.mark.parametrize(
    "options",
    [{}, {"two_bodies": "all"}, {"in_secondary_memory": False}, {"only_list": ()}],
    ids=["defaults", "two bodies", "in the guest's memory", "checked stack"],
)
def test_thunks_and_coroutines(options: dict[str, object], is_64: bool) -> None:
    """Several suspended calls at once, through the asyncio host; with lists it looks at each function on the stack."""
    text = MODULE.replace('(memory (export "memory") 1)', '(memory (export "memory") i64 1)') if is_64 else MODULE
    binary = assemble(text)
    chosen = caesura.Options(**options)  # type: ignore[arg-type]
    if "only_list" in options:
        reports = caesura.instrument(binary).functions
        chosen = replace(chosen, only_list=tuple(report.name for report in reports if report.instrumented))
    names = [name for name in EXPORTS if name != "procedure"]
    original = PlainGuest(binary, HOST)
    expected = [original.call(name, value) for name in names for value in (0, 1, 2, 7)]

    async def ask(value: int, wide: int) -> int:
        await asyncio.sleep(0)
        return answer(value, wide)

    async def tell(value: float) -> None:
        await asyncio.sleep(0)

    async def main() -> list[object]:
        guest = await caesura.load(binary, {"env": {"ask": ask, "tell": tell}}, options=chosen, cache=False)
        return list(await asyncio.gather(*[guest.call(name, value) for name in names for value in (0, 1, 2, 7)]))

    results = asyncio.run(main())
    # What is kept in a global is not each call's own.
    several = slice(4 * names.index("several"), 4 * names.index("several") + 4)
    assert results[: several.start] + results[several.stop :] == expected[: several.start] + expected[several.stop :]
