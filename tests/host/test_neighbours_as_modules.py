"""Calls with arguments on another call's C stack go on in a module that was made of their state, in every order."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime

import caesura
from tests.host.own_stack import load_program
from tests.host.support import ABIS
from tests.host.test_own_stack_arguments import put_on_stack
from tests.support.bare import TRAP, in_node, in_wasmtime
from tests.support.engine import engine

# What each call returns, by its place: `deeper` nothing, and `late` twice the number that was put on the stack for it.
RETURNED: Final = (None, 2468, 154)


def saved(abi: str) -> caesura.Snapshot:
    """Return the state of a guest whose first call waits, and on whose stack two others have an argument each."""
    guest = asyncio.run(load_program(abi, caesura.EXTERNAL))
    guest.start("deeper", 0)
    guest.start("late", 4, put_on_stack(guest, 1234))
    guest.start("late", 5, put_on_stack(guest, 77))
    snapshot = guest.snapshot(embed=True)
    kept = [call.kept for call in snapshot.state.calls]
    assert [one.neighbour for one in kept if one is not None] == [0, 0]
    return snapshot


@pytest.mark.parametrize("abi", ABIS)
def test_in_every_order(abi: str, tmp_path: Path) -> None:
    module = saved(abi).to_wasm()
    for order in permutations(range(3)):
        steps: list[list[Any]] = [[f"resume:{place}", 0] for place in order]
        steps += [["use", 1008], *steps]  # which are over
        ran = in_wasmtime(module, steps)
        assert ran.results[:3] == [RETURNED[place] for place in order]
        assert ran.results[4:] == [TRAP] * 3
        if order[0] == 0:
            assert in_node(module, steps, folder=tmp_path) == ran


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize(("outer", "inner"), [(0, 1), (1, 0), (0, 2), (1, 2)])
def test_while_the_other_one_runs(abi: str, outer: int, inner: int) -> None:
    """A host function of one goes on with another: with its neighbour, or a dependent call, that traps."""
    store = wasmtime.Store(engine())
    compiled = wasmtime.Module(store.engine, saved(abi).to_wasm())
    inside: list[Any] = []

    def wait(key: int) -> int:
        if not inside:
            inside.append(TRAP)
            with suppress(wasmtime.Trap):
                inside[0] = resume(inner)
        return 0

    def unused(_: int) -> int:
        raise AssertionError("nothing calls it")

    kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    functions = [wasmtime.Func(store, kind, wait if item.name == "wait" else unused) for item in compiled.imports]
    exports = wasmtime.Instance(store, compiled, functions).exports(store)

    def resume(place: int) -> Any:
        function = exports[f"resume:{place}"]
        assert isinstance(function, wasmtime.Func)
        return function(store, 0)

    assert resume(outer) == RETURNED[outer]
    assert inside == [RETURNED[inner] if 0 not in (outer, inner) else TRAP]
    if inside == [TRAP]:
        assert resume(inner) == RETURNED[inner], "nothing was changed"
