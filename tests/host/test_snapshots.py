"""Snapshots: a guest that was saved in the middle of its calls goes on elsewhere as if nothing had happened."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, Gates, load_calls, load_waiter, settle

# Memory, globals of all kinds of bits, and values across the call.
KEEPER = """
(module
  (import "env" "ask" (func $ask (param i32 f64 v128) (result i32)))
  (memory (export "memory") 2 1000)
  (global $count (mut i32) (i32.const 5))
  (global $wide (mut i64) (i64.const -2))
  (global $nan (mut f64) (f64.const nan:0x4000000000123))
  (global $signal (mut f32) (f32.const nan:0x200001))
  (global $vector (mut v128) (v128.const i64x2 1 2))
  (data (i32.const 100000) "hello")
  (func $deep (param $n i32) (param $x f64) (result i32)
    (if (result i32) (i32.eqz (local.get $n))
      (then
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store (i32.const 8) (global.get $count))
        (call $ask (global.get $count) (local.get $x) (global.get $vector)))
      (else (i32.add (local.get $n) (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $x))))))
  (func (export "run") (param $n i32) (param $x f64) (result i32)
    (i32.store (i32.const 16) (local.get $n))
    (i32.add (call $deep (local.get $n) (local.get $x)) (i32.load (i32.const 16))))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "zero") (memory.fill (i32.const 100000) (i32.const 0) (i32.const 5)))
  (func (export "change") (global.set $nan (f64.const nan:0x4000000000456)) (global.set $vector (v128.const i64x2 3 4)))
  (func (export "numbers") (result i32 i64 i64 i32 i64 i64)
    (global.get $count) (global.get $wide) (i64.reinterpret_f64 (global.get $nan))
    (i32.reinterpret_f32 (global.get $signal))
    (i64x2.extract_lane 0 (global.get $vector)) (i64x2.extract_lane 1 (global.get $vector))))
"""


class Asker:
    """A host function that waits until it is told what to answer, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ask(self, count: int, number: float, vector: bytes) -> int:
        """Wait for the answer."""
        self.asked.append((count, number, vector))
        return await self.answer

    @property
    def imports(self) -> dict[str, dict[str, Any]]:
        """The guest's imports."""
        return {"env": {"ask": self.ask}}


async def saved_keeper(asker: Asker) -> tuple[caesura.Guest, caesura.Snapshot, asyncio.Task[Any]]:
    """Return a guest that waits ten calls deep, and a snapshot of it."""
    guest = await caesura.load(KEEPER.encode(), asker.imports)
    guest.call_nowait("change")
    assert guest.call_nowait("grow", 3) == 2
    guest.memory.write(5 * 65536 - 4, b"last")
    task = asyncio.create_task(guest.call("run", 10, 2.5))
    await asyncio.sleep(0)
    return guest, guest.snapshot(), task


VECTOR = (3).to_bytes(8, "little") + (4).to_bytes(8, "little")
NUMBERS = (6, -2, 0x7FF4000000000456, 0x7FA00001, 3, 4)


def test_a_restored_guest_goes_on_and_the_saved_one_too() -> None:
    async def main() -> None:
        asker = Asker()
        guest, snapshot, task = await saved_keeper(asker)
        asker.answer.set_result(100)
        assert await task == 165
        assert guest.call_nowait("numbers") == NUMBERS

        later = Asker()
        guest = await caesura.restore(bytes(snapshot), later.imports, module=KEEPER.encode())
        [call] = guest.pending
        assert (call.export, call.function, call.arguments) == ("run", "env.ask", (6, 2.5, VECTOR))
        later.answer.set_result(7)
        assert await call == 72
        assert later.asked == [(6, 2.5, VECTOR)]
        assert guest.pending == []
        assert guest.call_nowait("numbers") == NUMBERS
        assert guest.memory.read(8, 4) == b"\6\0\0\0"
        assert guest.memory.read(100000, 5) == b"hello"
        assert len(guest.memory) == 5 * 65536
        assert guest.memory.read(5 * 65536 - 4, 4) == b"last"
        later.answer = asyncio.get_running_loop().create_future()
        later.answer.set_result(1)
        assert await guest.call("run", 1, 0.5) == 3

    asyncio.run(main())


def test_an_answer_without_the_host_function() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        for answer in (1, 2):
            guest = await caesura.restore(snapshot, asker.imports)
            assert await guest.pending[0].resume(answer) == 65 + answer
        guest = await caesura.restore(snapshot, asker.imports)
        with pytest.raises(KeyError, match="lost"):
            await guest.pending[0].throw(KeyError("lost"))
        assert guest.pending == []
        assert len(asker.asked) == 1
        task.cancel()

    asyncio.run(main())


def test_memory_that_has_become_zero_is_zero() -> None:
    async def main() -> None:
        asker = Asker()
        guest = await caesura.load(KEEPER.encode(), asker.imports)
        guest.call_nowait("zero")
        snapshot = guest.snapshot()
        restored = await caesura.restore(snapshot, asker.imports)
        assert restored.memory.read(99996, 16) == bytes(16)
        [forked] = await snapshot.fork(1, asker.imports)
        assert forked.memory.read(99996, 16) == bytes(16)

    asyncio.run(main())


def test_forks_do_not_see_each_other() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        children = await snapshot.fork(20, asker.imports)
        for number, child in enumerate(children):
            child.memory.write(16, bytes([number]))
            child.memory.write(200000, bytes([number]) * 100)
        assert [await child.pending[0].resume(0) for child in children] == [55 + number for number in range(20)]
        assert [child.memory.read(200099, 1)[0] for child in children] == [*range(20)]
        assert children[3].call_nowait("grow", 50) == 5
        assert children[3].memory.read(200099, 1) == b"\3"
        children[3].memory.write(50 * 65536, b"far")
        assert children[4].call_nowait("numbers") == NUMBERS
        [again] = await snapshot.fork(1, asker.imports)
        assert again.memory.read(16, 1) == b"\n"
        task.cancel()

    asyncio.run(main())


def test_each_child_gets_what_is_its_own() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)

        def imports(number: int) -> dict[str, dict[str, Any]]:
            async def ask(count: int, value: float, vector: bytes) -> int:
                return 1000 * number

            return {"env": {"ask": ask}}

        children = await snapshot.fork(5, imports)
        assert await asyncio.gather(*(child.pending[0] for child in children)) == [65, 1065, 2065, 3065, 4065]
        task.cancel()

    asyncio.run(main())


def test_a_snapshot_of_a_restored_guest_is_the_same_bytes() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        restored = await caesura.restore(snapshot, asker.imports)
        assert bytes(restored.snapshot()) == bytes(snapshot)
        assert bytes(pickle.loads(pickle.dumps(snapshot))) == bytes(snapshot)
        task.cancel()

    asyncio.run(main())


CONTINUE = """
import asyncio, sys, caesura
async def ask(count, number, vector):
    print(count, number, vector.hex())
    return 100
async def main():
    guest = await caesura.restore(sys.argv[1], {"env": {"ask": ask}})
    print(await guest.pending[0], *guest.call_nowait("numbers"))
asyncio.run(main())
"""


def test_another_process_goes_on(tmp_path: Path) -> None:
    path, module = tmp_path / "state.caesura", tmp_path / "keeper.wat"
    module.write_text(KEEPER)

    async def main() -> None:
        asker = Asker()
        guest = await caesura.load(module, asker.imports)
        guest.call_nowait("change")
        task = asyncio.create_task(guest.call("run", 10, 2.5))
        await asyncio.sleep(0)
        guest.snapshot().save(path)
        task.cancel()

    asyncio.run(main())
    done = subprocess.run([sys.executable, "-c", CONTINUE, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"6 2.5 {VECTOR.hex()}\n165 {' '.join(map(str, NUMBERS))}\n"


def test_the_module_comes_along() -> None:
    async def main() -> None:
        asker = Asker()
        guest = await caesura.load(KEEPER.encode(), asker.imports)
        task = asyncio.create_task(guest.call("run", 3, 1.5))
        await asyncio.sleep(0)
        plain = bytes(guest.snapshot())
        with pytest.raises(caesura.UsageError, match="does not say where its module is"):
            await caesura.restore(plain, asker.imports)
        saved = bytes(guest.snapshot(embed=True))
        restored = await caesura.restore(saved, asker.imports)
        assert await restored.pending[0].resume(1) == 10
        task.cancel()

    asyncio.run(main())


def test_changes_have_the_module_that_their_base_has_brought_along() -> None:
    """Also those of changes; and not of a state of another module."""

    async def main() -> None:
        guest = await caesura.load(KEEPER.encode(), external=["env.ask"])
        first = guest.snapshot(embed=True)
        step = guest.start("run", 3, 1.5)
        second = guest.snapshot(base=first)
        third = guest.snapshot(base=second)
        read = caesura.Snapshot.load(bytes(first))
        for change in (second, third):
            read = caesura.Snapshot.load(bytes(change), base=read)
        restored = await caesura.restore(read, external=["env.ask"])
        (child,) = await read.fork(1, external=["env.ask"])
        assert step.resume(1) == restored.pending[0].resume(1) == child.pending[0].resume(1) == 10
        assert read.to_wasm() == third.to_wasm(module=KEEPER.encode())
        assert read.state.embedded is None

    asyncio.run(main())


def test_running_code_is_not_saved() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def ask(guest: caesura.Guest, count: int, number: float, vector: bytes) -> int:
            with pytest.raises(caesura.UsageError, match="code is running"):
                guest.snapshot()
            await asyncio.sleep(0)
            seen.append(guest.snapshot().state.calls[0].export)
            return 1

        guest = await caesura.load(KEEPER.encode(), {"env": {"ask": ask}})
        assert await guest.call("run", 1, 0.0) == 3
        assert seen == ["run"]

    asyncio.run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_several_calls_in_any_order(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_waiter(gates.wait, abi)
        wanted = (("deep", 5), ("loop", 3), ("twice", 7))
        tasks = [asyncio.create_task(guest.call(name, number)) for name, number in wanted]
        await asyncio.sleep(0)
        snapshot = guest.snapshot()
        for task in tasks:
            task.cancel()
        other = await caesura.restore(snapshot, {"env": {"wait": gates.wait}})
        waiting = [(call.export, call.arguments) for call in other.pending]
        assert waiting == [("deep", (0,)), ("loop", (3,)), ("twice", (7,))]

        async def answer(value: int) -> int:
            await asyncio.sleep(0)
            return value

        other = (await snapshot.fork(1, {"env": {"wait": answer}}))[0]
        deep, loop, twice = other.pending
        assert [*await asyncio.gather(twice, loop, deep)] == [15, 6, 15]
        assert other.call_nowait("calls") == 3 + 2 + 1

    asyncio.run(main())


def descended(depth: int, seed: int) -> int:
    """Return what `descend` adds to what its host function returns."""
    return sum(seed * 31 + place * 16 + (place & 15) for place in range(depth + 1))


@pytest.mark.parametrize("abi", ["load", "thunks", "plain in its own memory"])
def test_c_stacks_of_several_calls(abi: str) -> None:
    """Each call of a C program has arrays on a stack of its own, and finds them again; new ones get others."""

    async def main() -> None:
        gates = Gates()
        guest = await load_calls(abi, wait=gates.wait)
        tasks = [asyncio.create_task(guest.call("descend", 5 * number, number)) for number in range(1, 6)]
        await settle()
        gates.open(3, 3)  # the third one's stack is free, and is among those that are saved
        assert await tasks[2] == descended(15, 3) + 3
        snapshot = guest.snapshot()

        async def wait(key: int) -> int:
            await asyncio.sleep(0)
            return key

        imports = {"env": {"wait": wait, "fill": len, "note": print, "again": abs}}
        for child in await snapshot.fork(2, imports):
            again = [asyncio.create_task(child.call("descend", 30, number)) for number in (6, 7)]
            found = [*await asyncio.gather(*reversed(child.pending))]
            assert found == [descended(5 * number, number) + number for number in (5, 4, 2, 1)]
            assert [*await asyncio.gather(*again)] == [descended(30, number) + number for number in (6, 7)]
        for number in (1, 2, 4, 5):
            gates.open(number, number)
            assert await tasks[number - 1] == descended(5 * number, number) + number

    asyncio.run(main())


@pytest.mark.parametrize(
    ("imports", "words"),
    [
        ({"env": {"ask": lambda count, number, vector: 1}}, ""),
        ({}, "imports what it is not given"),
    ],
)
def test_other_imports(imports: dict[str, Any], words: str) -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        task.cancel()
        if words:
            with pytest.raises(caesura.UsageError, match=words):
                await caesura.restore(snapshot, imports)
        else:  # a plain function serves as well
            guest = await caesura.restore(snapshot, imports)
            assert await guest.pending[0] == 66

    asyncio.run(main())


def test_what_is_to_be_called_and_is_no_function() -> None:
    async def main() -> None:
        asker = Asker()
        guest, snapshot, task = await saved_keeper(asker)
        given: Any = 5
        for hook in ("on_restore", "on_missing", "load_object"):
            with pytest.raises(caesura.UsageError, match=f"{hook} is 5: expected a function or None"):
                await caesura.restore(snapshot, asker.imports, **{hook: given})
            with pytest.raises(caesura.UsageError, match=f"{hook} is 5: expected a function or None"):
                await snapshot.fork(2, asker.imports, **{hook: given})
        with pytest.raises(caesura.UsageError, match="save_object is 5: expected a function or None"):
            guest.snapshot(save_object=given)
        task.cancel()

    asyncio.run(main())


def test_another_module_is_refused() -> None:
    async def main() -> None:
        asker = Asker()
        _, snapshot, task = await saved_keeper(asker)
        task.cancel()
        other = KEEPER.replace("(i32.const 16)", "(i32.const 20)")
        with pytest.raises(caesura.SnapshotError, match="of another module"):
            await caesura.restore(snapshot, asker.imports, module=other.encode())
        with pytest.raises(caesura.SnapshotError, match=r"memory 0 of the snapshot has 327,680 bytes.*memory_limit"):
            await caesura.restore(snapshot, asker.imports, memory_limit=3 * 65536)

    asyncio.run(main())


def test_a_held_call_survives_two_snapshots() -> None:
    """Steps of `start` are saved between processes, each time anew."""

    async def load(data: bytes | None) -> caesura.Guest:
        if data is None:
            return await caesura.load(KEEPER.encode(), external=["env.ask"])
        return await caesura.restore(data, external=["env.ask"], module=KEEPER.encode())

    guest = asyncio.run(load(None))
    guest.start("run", 4, 1.0)
    for answer in (1, 2):
        guest = asyncio.run(load(bytes(guest.snapshot())))
        [call] = guest.pending
        assert call.arguments[:2] == (6, 1.0)
        assert asyncio.run(load(bytes(guest.snapshot()))).pending[0].resume(answer) == 14 + answer


@pytest.mark.parametrize("begin", ["start", "generate"])
def test_what_nobody_awaited_can_be_awaited_after_it_was_restored(begin: str) -> None:
    """Host functions had no body, or yielded, before; now they wait, or return at once."""
    text = """
    (module
      (import "env" "ask" (func $ask (param i32) (result i32)))
      (func (export "run") (param i32) (result i32)
        (i32.add (call $ask (local.get 0)) (i32.mul (i32.const 100) (call $ask (i32.const 2))))))
    """

    async def ask(number: int) -> int:
        await asyncio.sleep(0)
        return 10 + number

    async def main() -> None:
        guest = await caesura.load(text.encode(), external=["env.ask"])
        generator = guest.generate("run", 1)
        if begin == "start":
            guest.start("run", 1)
        else:
            next(generator)
        saved = guest.snapshot()
        generator.close()
        for function in (ask, lambda number: 10 + number):
            restored = await caesura.restore(saved, {"env": {"ask": function}}, module=text.encode())
            assert await restored.pending[0] == 1211
            restored = await caesura.restore(saved, {"env": {"ask": function}}, module=text.encode())
            again = await caesura.restore(restored.snapshot(), {"env": {"ask": function}}, module=text.encode())
            assert await asyncio.gather(*again.pending, *restored.pending) == [1211, 1211]

    asyncio.run(main())


def test_what_has_changed_since() -> None:
    async def main() -> None:
        asker = Asker()
        guest, first, task = await saved_keeper(asker)
        guest.memory.write(123456, b"new")
        guest.memory.write(100000, bytes(5))
        guest.call_nowait("grow", 1)
        second = guest.snapshot(base=first)
        guest.memory.write(70000, b"newer")
        third = guest.snapshot(base=second)
        assert len(bytes(third)) < 1000

        known = caesura.Snapshot.load(bytes(first))
        later = caesura.Snapshot.load(bytes(third), base=caesura.Snapshot.load(bytes(second), base=known))
        assert later.state == guest.snapshot().state
        with pytest.raises(caesura.SnapshotError, match=r"changed since the state .*, not since"):
            caesura.Snapshot.load(bytes(third), base=known)
        with pytest.raises(caesura.SnapshotError, match="changed since the state"):
            caesura.Snapshot.load(bytes(third))
        restored = await caesura.restore(later, asker.imports, module=KEEPER.encode())
        assert restored.memory.read(123456, 3) + restored.memory.read(70000, 5) == b"newnewer"
        assert restored.memory.read(100000, 5) == bytes(5)
        assert await restored.pending[0].resume(1) == 66
        other = await caesura.load(KEEPER.replace("const 5)", "const 6)").encode(), asker.imports)
        with pytest.raises(caesura.UsageError, match="another module"):
            other.snapshot(base=first)
        task.cancel()

    asyncio.run(main())


def test_a_change_does_not_take_the_place_of_what_it_changes(tmp_path: Path) -> None:
    async def main() -> None:
        asker = Asker()
        guest, first, task = await saved_keeper(asker)
        place = tmp_path / "state"
        first.save(place)
        second = guest.snapshot(base=caesura.Snapshot.load(place))
        third = guest.snapshot(base=second)
        link = tmp_path / "link"
        link.symlink_to(place)
        before = place.read_bytes()
        for change in (second, third):
            for name in (place, link):
                with pytest.raises(caesura.UsageError, match="holds what this is a change of"):
                    change.save(name)
        assert place.read_bytes() == before
        second.save(tmp_path / "second")
        second.save(tmp_path / "second")  # itself, anew
        first.save(tmp_path / "elsewhere")
        guest.snapshot(base=first).save(place)  # what it needs lies elsewhere now
        asker.answer.set_result(1)
        await task

    asyncio.run(main())


def test_options_are_those_of_the_guest() -> None:
    async def main() -> None:
        options = caesura.Options(optimize="speed", profile={"deep": 2.0, "nowhere": 1.0})
        asker = Asker()
        guest = await caesura.load(KEEPER.encode(), asker.imports, options=options)
        task = asyncio.create_task(guest.call("run", 10, 0.5))
        await asyncio.sleep(0)
        snapshot = guest.snapshot()
        asker.answer.set_result(1)
        result = await task
        with pytest.raises(caesura.UsageError, match="loaded with a profile"):
            await caesura.restore(snapshot, asker.imports, module=KEEPER.encode())
        for other in (caesura.Options(profile=options.profile), caesura.Options(optimize="speed")):
            with pytest.raises(caesura.UsageError, match=r"other options \((optimize|profile)\)"):
                await caesura.restore(snapshot, asker.imports, options=other)
        again = await caesura.restore(snapshot, asker.imports, module=KEEPER.encode(), options=options)
        assert await again.pending[0].resume(1) == result
        [child] = await snapshot.fork(1, asker.imports, options=options)
        assert await child.pending[0].resume(1) == result

    asyncio.run(main())


def test_large_states_are_read_and_put_back_while_others_run() -> None:
    async def main() -> None:
        asker = Asker()
        guest = await caesura.load(KEEPER.encode(), asker.imports)
        guest.call_nowait("grow", 200)
        content = bytes(range(1, 256)) * 50_000
        guest.memory.write(200_001, content)
        saved = bytes(guest.snapshot())
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await asyncio.sleep(0)
        before = turns
        restored = await caesura.restore(saved, asker.imports, module=KEEPER.encode())
        assert turns > before
        counting.cancel()
        assert restored.memory.read(200_000, len(content) + 2) == b"\0" + content + b"\0"
        assert restored.memory.read(100_000, 5) == b"hello"
        restored.memory.write(200_001, b"own")
        again = await caesura.restore(saved, asker.imports, module=KEEPER.encode())
        assert again.memory.read(200_001, 3) == content[:3]

    asyncio.run(main())


def test_a_snapshot_may_hold_so_much() -> None:
    async def main() -> None:
        asker = Asker()
        guest = await caesura.load(KEEPER.encode(), asker.imports)
        guest.memory.write(70_000, b"some")
        saved = bytes(guest.snapshot())
        with pytest.raises(caesura.SnapshotError, match="limit"):
            caesura.Snapshot.load(saved, limit=1000)
        with pytest.raises(caesura.SnapshotError, match="limit"):
            await caesura.restore(saved, asker.imports, module=KEEPER.encode(), limit=1000)
        restored = await caesura.restore(saved, asker.imports, module=KEEPER.encode(), memory_limit=2 * 65536)
        assert len(restored.memory) == 2 * 65536
        for wrong in (5, None):
            with pytest.raises(caesura.UsageError, match="source"):
                caesura.Snapshot.load(wrong)  # type: ignore[arg-type]
            if wrong:
                with pytest.raises(caesura.UsageError, match="base"):
                    guest.snapshot(base=wrong)  # type: ignore[arg-type]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"stack_space": (1024, 65536)}, "the asyncify stack lies where it did"),
        ({"preempt": "flag"}, "the guest's code is that of the state"),
        ({"budget": caesura.Budget(cpu=1)}, "it bounds what begins a guest"),
    ],
)
def test_what_load_takes_and_restore_does_not(given: dict[str, Any], why: str) -> None:
    async def main() -> None:
        guest = await caesura.load(b"(module)")
        (name,) = given
        make: Any
        for make, function in ((caesura.restore, "restore"), (caesura.Snapshot.fork, "fork")):
            with pytest.raises(caesura.UsageError, match=f"{name} belongs to load, not to {function}: {why}"):
                await make(guest.snapshot(), 1 if function == "fork" else {}, **given)
            with pytest.raises(TypeError, match=rf"{function}\(\) got an unexpected keyword argument 'stackspace'"):
                await make(guest.snapshot(), 1 if function == "fork" else {}, stackspace=1)

    asyncio.run(main())
