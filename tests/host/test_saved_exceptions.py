"""Exceptions that are on their way and typed references are saved; what cannot be is refused only where it is held."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

import caesura
from caesura.abi import STATE_PREFIX
from caesura.snapshots.format import encode
from caesura.snapshots.state import NULL, ExceptionState, State, TableState
from caesura.wasm import types as t
from caesura.wasm.module import Module
from tests.support.engine import assemble

TEXT: Final = Path(__file__).parents[1] / "guests" / "wat" / "in_flight.wat"
EXTERNAL: Final = ["env.ask"]

# Goes on from a state, and prints what came of it.
GOES_ON: Final = """
import asyncio, json, sys
import caesura

async def main():
    guest = await caesura.restore(sys.argv[1], module=sys.argv[2], external=["env.ask"])
    [call] = guest.pending
    while isinstance(call, caesura.PendingCall):
        call = call.resume(10)
    print(json.dumps([call, guest.call_nowait("values")]))

asyncio.run(main())
"""

THUNKS: Final = caesura.Options(imports=("env.ask",), thunks=True, in_secondary_memory=True, snapshots=True)
FORMS: Final = {
    "given": lambda: assemble(TEXT.read_text()),
    "thunks": lambda: caesura.instrument(assemble(TEXT.read_text()), THUNKS).module,
    "plain": lambda: caesura.instrument(assemble(TEXT.read_text()), replace(THUNKS, thunks=False)).module,
}


def run(form: str = "given", number: int = 7, times: int = 3, ratio: float = -0.0) -> tuple[caesura.Guest, bytes]:
    """Return a guest that waits while its exception is on its way, and its module."""
    module = FORMS[form]()
    guest = asyncio.run(caesura.load(module, external=EXTERNAL))
    assert isinstance(guest.start("run", number, times, ratio), caesura.PendingCall)
    return guest, module


def finish(guest: caesura.Guest) -> tuple[Any, Any]:
    """Let the only call go on, and return its result and what came through."""
    [call] = guest.pending
    step: Any = call
    while isinstance(step, caesura.PendingCall):
        step = step.resume(10)
    return step, guest.call_nowait("values")


def restore(state: State | bytes, module: bytes) -> caesura.Guest:
    data = state if isinstance(state, bytes) else encode(state)
    return asyncio.run(caesura.restore(data, module=module, external=EXTERNAL))


@pytest.mark.parametrize("form", FORMS)
def test_what_was_thrown_is_caught_in_another_process(form: str, tmp_path: Path) -> None:
    guest, module = run(form)
    state = tmp_path / "state.caesura"
    (tmp_path / "guest.wasm").write_bytes(module)
    guest.snapshot().save(state)
    expected = finish(guest)
    assert expected == (42, (-7, 0x7FA00007, -(1 << 63), -(1 << 63), 7, 202))
    command = [sys.executable, "-c", GOES_ON, str(state), str(tmp_path / "guest.wasm")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [expected[0], [*expected[1]]]


def test_the_same_state_is_the_same_bytes_wherever_it_has_been() -> None:
    guest, module = run()
    first = bytes(guest.snapshot())
    again = restore(first, module)
    assert replace(again.snapshot().state, module=guest.snapshot().state.module) == guest.snapshot().state
    step = guest.pending[0].resume(10)
    assert isinstance(step, caesura.PendingCall)
    later = guest.snapshot(base=caesura.Snapshot.load(first))
    change = caesura.Snapshot.load(bytes(later), base=caesura.Snapshot.load(first))
    assert finish(restore(bytes(caesura.Snapshot(change.state)), module)) == finish(guest)


def test_what_is_on_its_way_can_be_looked_into(tmp_path: Path) -> None:
    guest, module = run()
    guest.snapshot().save(tmp_path / "state.caesura")
    (tmp_path / "guest.wasm").write_bytes(module)
    files = [str(tmp_path / "state.caesura"), "--module", str(tmp_path / "guest.wasm")]
    done = subprocess.run(
        [sys.executable, "-m", "caesura", "inspect", *files], capture_output=True, text=True, check=True
    )
    assert "exception 0: tag 2 ()" in done.stdout
    assert "exception 1: tag 0 (7, -7, nan, -0.0, 0x" in done.stdout
    assert "run, in env.ask(3)" in done.stdout


def test_equal_exceptions_are_one() -> None:
    guest, _ = run()
    assert isinstance(guest.start("run", 7, 1, -0.0), caesura.PendingCall)
    state = guest.snapshot().state
    assert [exception.tag for exception in state.exceptions] == [2, 0]
    [numbers] = [exception.values for exception in state.exceptions if exception.values]
    assert numbers[:3] == ((t.I32, 7), (t.I64, (1 << 64) - 7), (t.F32, 0x7FA00007))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (1, r"a frame of the call of hold, which waits in env\.ask, holds a reference of type anyref"),
        (2, r"element 1 of table 3 holds a reference of type anyref"),
        (3, r"global 3 holds a reference of type anyref"),
        (4, r"a frame of the call of hold.* holds an exception of tag 1, which carries references"),
    ],
)
def test_what_cannot_be_saved_is_refused_while_it_is_held(where: int, words: str) -> None:
    guest = asyncio.run(caesura.load(FORMS["given"](), external=EXTERNAL))
    nothing = guest.start("hold", 0)
    assert isinstance(nothing, caesura.PendingCall)
    guest.snapshot()
    step = guest.start("hold", where)
    assert isinstance(step, caesura.PendingCall)
    with pytest.raises(caesura.SnapshotError, match=words):
        guest.snapshot()
    held = 1 if where in (1, 4) else 0
    assert step.resume(0) == 2 - held + where
    again = restore(bytes(guest.snapshot()), FORMS["given"]())
    assert again.pending[0].resume(0) == nothing.resume(0) == 2


def test_what_ended_calls_have_left_behind_does_not_count() -> None:
    """A trap leaves an object in the table of frames, until something is suspended or goes on."""
    guest = asyncio.run(caesura.load(FORMS["given"](), external=EXTERNAL))
    kept = guest.start("hold", 0)
    step = guest.start("fail")
    assert isinstance(kept, caesura.PendingCall) and isinstance(step, caesura.PendingCall)
    with pytest.raises(caesura.SnapshotError, match="a frame of the call of fail"):
        guest.snapshot()
    with pytest.raises(caesura.GuestTrap):
        step.resume(0)
    state = guest.snapshot().state
    numbers = {number for table in state.tables for number in memoryview(table.elements).cast("I")}
    assert numbers == {NULL, Module(FORMS["given"]()).imported_functions}
    assert restore(state, FORMS["given"]()).pending[0].resume(0) == 2
    given_up = guest.start("fail")
    assert isinstance(given_up, caesura.PendingCall)
    given_up.drop()
    guest.snapshot()


def _with_exception(state: State, **changes: Any) -> State:
    return replace(state, exceptions=(state.exceptions[0], replace(state.exceptions[1], **changes)))


def _with_table(state: State, index: int, place: int, number: int) -> State:
    def changed(table: TableState) -> TableState:
        content = bytearray(table.elements)
        content[4 * place : 4 * place + 4] = number.to_bytes(4, "little")
        return replace(table, elements=bytes(content)) if table.index == index else table

    return replace(state, tables=tuple(changed(table) for table in state.tables))


FORGERIES: Final[dict[str, tuple[Callable[[State], State], str]]] = {
    "a tag that there is not": (lambda state: _with_exception(state, tag=3), "has tag 3, and the module 3"),
    "a tag of others": (lambda state: _with_exception(state, tag=1, values=()), "tag 1, which carries references"),
    "too little": (lambda state: _with_exception(state, values=((t.I32, 7),)), "carries something else than its tag"),
    "another type": (
        lambda state: _with_exception(state, values=((t.F32, 7), *state.exceptions[1].values[1:])),
        "carries something else",
    ),
    "no such function": (lambda state: _with_table(state, 1, 1, 999), "function 999, of which the module makes no"),
    "a function of another type": (lambda state: _with_table(state, 1, 1, 4), "function 4, which is of another type"),
    "null where it cannot be": (lambda state: _with_table(state, 2, 0, NULL), r"holds null.*\(ref 0\), never does"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_states_are_refused(name: str) -> None:
    change, words = FORGERIES[name]
    guest, module = run()
    with pytest.raises(caesura.SnapshotError, match=words):
        restore(change(guest.snapshot().state), module)


def test_as_a_module_functions_go_along_and_exceptions_are_refused() -> None:
    guest, module = run("thunks")
    with pytest.raises(caesura.SnapshotError, match="an exception that a handler is to throw on"):
        guest.snapshot().to_wasm()
    text = (
        TEXT.read_text()
        .replace("(global.set $kept (local.get $caught))", "")
        .replace("(drop (table.grow $exceptions (local.get $caught) (i32.const 2)))", "")
    )
    module = caesura.instrument(assemble(text), THUNKS).module
    other = asyncio.run(caesura.load(module, external=EXTERNAL))
    step = other.start("run", 7, 1, 0.5)
    assert isinstance(step, caesura.PendingCall)
    assert step.resume(1) == 42
    made = other.snapshot().to_wasm()
    again = asyncio.run(caesura.load(made, {"env": {"ask": abs}}))
    assert asyncio.run(again.call("run", 9, 1, 0.5)) == 54


@pytest.mark.parametrize("options", [{}, {"translate_to_exnref": True}])
def test_exceptions_of_the_old_form_go_along(options: dict[str, Any]) -> None:
    module = assemble("""(module (import "env" "ask" (func $ask (param i32) (result i32)))
      (memory (export "memory") 1) (tag $e (param i64 i32))
      (func $clean_up (param i64)
        try (throw $e (local.get 0) (i32.const 3))
        catch_all (drop (call $ask (i32.const 1))) rethrow 0 end)
      (func (export "run") (param i64) (result i64) (local $n i32)
        try (result i64) (call $clean_up (local.get 0)) (i64.const 0)
        catch $e (local.set $n) (i64.mul (i64.extend_i32_u (local.get $n))) end))""")
    if options:
        module = caesura.instrument(module, replace(THUNKS, **options)).module
    guest = asyncio.run(caesura.load(module, external=EXTERNAL))
    assert isinstance(guest.start("run", -5), caesura.PendingCall)
    state = guest.snapshot().state
    assert state.exceptions == (ExceptionState(tag=0, values=((t.I64, (1 << 64) - 5), (t.I32, 3))),)
    assert restore(state, module).pending[0].resume(0) == -15


def test_guests_whose_time_slice_has_ended_hold_them_too() -> None:
    text = b"""(module (memory (export "memory") 1) (tag $e (param i64))
      (func $clean_up (param $n i32) (local $caught exnref)
        (local.set $caught
          (block $all (result exnref) (try_table (catch_all_ref $all) (throw $e (i64.const -7))) (unreachable)))
        (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (throw_ref (local.get $caught)))
      (func (export "run") (param i32) (result i64)
        (block $through (result i64) (try_table (catch $e $through) (call $clean_up (local.get 0))) (unreachable))))"""

    async def main() -> None:
        guest = await caesura.load(text, time_slice=0.002)
        task = asyncio.create_task(guest.call("run", 200_000_000))
        while not guest.pending:
            await asyncio.sleep(0)
        snapshot = guest.snapshot()
        task.cancel()
        assert snapshot.state.exceptions == (ExceptionState(tag=0, values=((t.I64, (1 << 64) - 7),)),)
        again = await caesura.restore(snapshot, module=text)
        assert await again.pending[0] == -7

    asyncio.run(main())


def test_modules_without_such_references_get_no_such_functions() -> None:
    text = '(module (import "env" "ask" (func $a)) (table (export "t") 1 funcref) (func (export "f") (call $a)))'
    names = [item.name for item in Module(caesura.instrument(assemble(text), THUNKS).module).exports]
    added = [name.removeprefix(STATE_PREFIX).partition(":")[0] for name in names if name.startswith(STATE_PREFIX)]
    assert added == ["table", "list_functions", "functions"]
