"""Snapshots of guests with tables, segments and references: what they changed is as it was, or refused by name."""

from __future__ import annotations

import asyncio
import pickle

import pytest

import caesura

# Its table holds functions and its own choice of objects; the guest changes both.
TABLES = """
(module
  (import "env" "ask" (func $ask (result i32)))
  (type $number (func (result i32)))
  (table $functions (export "functions") 4 20 funcref)
  (table $objects 3 externref)
  (global $favourite (mut funcref) (ref.func $two))
  (elem (table $functions) (i32.const 0) func $one)
  (elem $more func $two $three)
  (data $text "abc")
  (memory 1)
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func $three (result i32) (i32.const 3))
  (func (export "arrange") (param $kept externref)
    (table.init $functions $more (i32.const 2) (i32.const 0) (i32.const 2))
    (elem.drop $more)
    (memory.init $text (i32.const 8) (i32.const 0) (i32.const 3))
    (data.drop $text)
    (drop (table.grow $functions (ref.func $three) (i32.const 5)))
    (table.set $functions (i32.const 0) (ref.null func))
    (global.set $favourite (ref.func $three))
    (table.set $objects (i32.const 1) (local.get $kept))
    (table.set $objects (i32.const 2) (local.get $kept)))
  (func (export "put") (param $function funcref) (table.set $functions (i32.const 1) (local.get $function)))
  (func (export "wait") (param $kept externref) (result externref i32)
    (local $number i32)
    (local.set $number (call $ask))
    (local.get $kept) (local.get $number))
  (func (export "kept") (param i32) (result externref) (table.get $objects (local.get 0)))
  (func (export "size") (result i32) (table.size $functions))
  (func (export "at") (param i32) (result i32)
    (if (result i32) (ref.is_null (table.get $functions (local.get 0)))
      (then (i32.const 0))
      (else (call_indirect $functions (type $number) (local.get 0)))))
  (func (export "favourite") (result funcref) (global.get $favourite))
  (func (export "text") (memory.init $text (i32.const 0) (i32.const 0) (i32.const 3)))
  (func (export "more") (table.init $functions $more (i32.const 0) (i32.const 0) (i32.const 1))))
"""


def test_tables_segments_and_references() -> None:
    async def main() -> None:
        async def ask() -> int:
            await asyncio.sleep(0)
            return 5

        imports = {"env": {"ask": ask}}
        guest = await caesura.load(TABLES.encode(), imports)
        kept = {"of": "Python"}
        guest.call_nowait("arrange", kept)
        task = asyncio.create_task(guest.call("wait", kept))
        await asyncio.sleep(0)
        with pytest.raises(caesura.SnapshotError, match=r"refers to a Python object of type dict: give .* save_object"):
            guest.snapshot()
        snapshot = guest.snapshot(save_object=pickle.dumps)
        assert await task == (kept, 5)
        with pytest.raises(caesura.SnapshotError, match="give a load_object"):
            await caesura.restore(bytes(snapshot), imports, module=TABLES.encode())
        [again] = await snapshot.fork(1, imports, load_object=pickle.loads)
        assert [again.call_nowait("at", place) for place in range(9)] == [0, 0, 2, 3, 3, 3, 3, 3, 3]
        assert again.call_nowait("size") == 9
        found, number = await again.pending[0]
        assert (found, number) == (kept, 5)
        assert found is again.call_nowait("kept", 1)
        assert found is again.call_nowait("kept", 2)
        assert found is not kept
        assert again.call_nowait("kept", 0) is None
        again.call_nowait("put", again.call_nowait("favourite"))
        assert again.call_nowait("at", 1) == 3
        for name in ("text", "more"):
            with pytest.raises(caesura.GuestTrap):
                again.call_nowait(name)
        fresh = await caesura.load(TABLES.encode(), imports)
        fresh.call_nowait("text")
        fresh.call_nowait("more")
        assert bytes(again.snapshot(save_object=pickle.dumps)) == bytes(again.snapshot(save_object=pickle.dumps))

    asyncio.run(main())


def test_functions_that_cannot_be_told_apart() -> None:
    async def main() -> None:
        imports = {"env": {"ask": lambda: 1}}
        guest = await caesura.load(TABLES.encode(), imports, table_limit=20, tables=2)
        guest.call_nowait("arrange", None)
        assert guest.snapshot(save_object=pickle.dumps).state.tables[0].elements[:4] == b"\xff" * 4
        many = TABLES.replace(
            "(memory 1)", "(memory 1)" + "(func) " * 30 + "(elem declare func " + " ".join(map(str, range(4, 30))) + ")"
        )
        guest = await caesura.load(many.encode(), imports, table_limit=20, tables=2)
        with pytest.raises(caesura.SnapshotError, match=r"functions .* cannot be listed.*table_limit"):
            guest.snapshot()
        assert guest.call_nowait("size") == 4

    asyncio.run(main())
