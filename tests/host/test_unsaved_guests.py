"""What cannot be saved is refused by name, whatever waits then, and the guest goes on as if nobody had asked."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.host.support import run

# Every guest waits in `ask`, two calls at once, and keeps a sum in memory; `{more}` is what cannot be saved.
GUEST = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  {imports}
  {memory}
  (global $count (mut i32) (i32.const 0))
  {more}
  (func (export "sum") (param $n i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $ask (local.get $n))))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (i32.store (i32.const 64) (local.get $sum))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.add (local.get $sum) (i32.load (i32.const 64))))
  (func (export "count") (result i32) (global.get $count)))
"""
MEMORY = '(memory (export "memory") 1)'
FUNCTIONS = """
  (table $t (export "t") 1 funcref)
  (elem declare func $other)
  (func (export "prepare") (param funcref)
    (drop (table.grow $t (local.get 0) (i32.const 1)))
    (table.set $t (i32.const 0) (ref.func $other)))
  (func (export "through") (param i32) (result i32) (call_indirect $t (result i32) (local.get 0)))"""
OBJECT = """
  (table $t (export "t") 1 externref)
  (func (export "prepare") (param externref) (table.set $t (i32.const 0) (local.get 0)))"""
OWN_VALUE = """
  (table $t (export "t") 1 externref)
  (func (export "prepare")
    (table.set $t (i32.const 0) (extern.convert_any (ref.i31 (i32.const 5)))))"""
STRUCTURE = """
  (type $cell (struct (field (mut i32))))
  (global $cell (mut (ref null $cell)) (ref.null $cell))
  (func (export "prepare") (global.set $cell (struct.new $cell (i32.const 5))))"""

CASES: dict[str, tuple[dict[str, str], tuple[Any, ...], Callable[[Any], bytes] | None, str]] = {
    "an object and no codec": ({"more": OBJECT}, ("text",), None, "object of type str.*save_object"),
    "a codec that returns something else": ({"more": OBJECT}, ("text",), lambda value: value, "expected bytes"),
    "a value of its own": ({"more": OWN_VALUE}, (), pickle.dumps, "a value of the guest's own"),
    "a structure": ({"more": STRUCTURE}, (), pickle.dumps, r"global 1 holds a reference of type \(ref null 0\)"),
    "memory that threads share": (
        {"memory": '(memory (export "memory") 1 2 shared)', "more": '(func (export "prepare"))'},
        (),
        pickle.dumps,
        "shared",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_changes_nothing(name: str, tmp_path: Path) -> None:
    parts, prepared, codec, words = CASES[name]
    text = GUEST.format(**{"imports": "", "memory": MEMORY, "more": "", **parts}).encode()

    async def main() -> None:
        asked: list[int] = []

        async def ask(value: int) -> int:
            asked.append(value)
            await asyncio.sleep(0)
            return 10 * value

        guest = await caesura.load(text, {"env": {"ask": ask, "other": lambda: None}})
        guest.call_nowait("prepare", *prepared)
        tasks = [asyncio.create_task(guest.call("sum", number)) for number in (3, 2)]
        path = tmp_path / "state.caesura"
        refused = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            before = guest.memory.read(0, len(guest.memory))
            waiting = [(call.export, call.arguments) for call in guest.pending]
            with pytest.raises(caesura.SnapshotError, match=words):
                guest.snapshot(save_object=codec).save(path)
            refused += 1
            assert guest.memory.read(0, len(guest.memory)) == before
            assert [(call.export, call.arguments) for call in guest.pending] == waiting
        assert refused > 3
        assert not path.exists() and not [*tmp_path.iterdir()]
        last = 10 * asked[-1]
        assert {task.result() for task in tasks} <= {60 + 60, 60 + 30, 30 + 30, 30 + 60}, last
        assert sorted(asked) == [1, 1, 2, 2, 3]
        assert guest.call_nowait("count") == 5

    run(main())


def test_running_code_is_refused_and_goes_on() -> None:
    async def main() -> None:
        refusals: list[str] = []

        def ask(guest: caesura.Guest, value: int) -> int:
            for base in (None, first):
                with pytest.raises(caesura.UsageError, match="code is running") as caught:
                    guest.snapshot(base=base)
                refusals.append(str(caught.value))
            return 10 * value

        guest = await caesura.load(GUEST.format(imports="", memory=MEMORY, more="").encode(), {"env": {"ask": ask}})
        first = guest.snapshot()
        assert await guest.call("sum", 3) == 120
        assert len(refusals) == 6
        assert guest.call_nowait("count") == 3

    run(main())


def test_functions_that_are_imported_or_exported_can_be_saved() -> None:
    """What a guest can refer to are functions of its own index space, whoever they belong to."""

    async def main() -> None:
        def imports(value: int) -> dict[str, Any]:
            return {"env": {"ask": abs, "other": lambda: value}}

        parts = {"imports": '(import "env" "other" (func $other (result i32)))', "memory": MEMORY, "more": FUNCTIONS}
        guest = await caesura.load(GUEST.format(**parts).encode(), imports(1))
        guest.call_nowait("prepare", guest.function("count"))
        guest.call_nowait("sum", 2)
        restored = await caesura.restore(guest.snapshot(), imports(5))
        assert [restored.call_nowait("through", place) for place in (0, 1)] == [5, 2]

    run(main())
