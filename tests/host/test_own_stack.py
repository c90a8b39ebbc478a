"""The first call runs on the program's own C stack, further ones on stacks as large, and each keeps to its own."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

import caesura
from tests.host.support import ABIS, Gates, instrumented, load_calls, run, settle

# A program with a stack of its own from 1024 to 65536, behind its data, that compares its stack pointer with limits
# that it keeps in globals. `run` has a frame of a size, with a key in it, and waits.
PROGRAM = """(module $program
  (import "env" "wait" (func $wait (param i32) (result i32)))
  (import "env" "again" (func $again (param i32) (result i32)))
  (memory (export "memory") 64)
  (data (i32.const 1008) "end of the data.")
  (global $__stack_pointer (mut i32) (i32.const 65536))
  (global $__stack_end (mut i32) (i32.const 0))
  (global $__stack_base (mut i32) (i32.const 0))
  (global $heap (mut i32) (i32.const 65536))
  (global $taken (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $__stack_end (i32.const 1024)) (global.set $__stack_base (i32.const 65536)))
  (func (export "malloc") (param i32) (result i32)
    (global.set $taken (local.get 0))
    (global.get $heap)
    (global.set $heap (i32.and (i32.add (global.get $heap) (i32.add (local.get 0) (i32.const 15))) (i32.const -16))))
  (func (export "free") (param i32))
  (func (export "taken") (result i32) (global.get $taken))
  (func $fits (export "fits") (result i32)
    (i32.and (i32.ge_u (global.get $__stack_pointer) (global.get $__stack_end))
             (i32.le_u (global.get $__stack_pointer) (global.get $__stack_base))))
  (func (export "position") (result i32) (global.get $__stack_pointer))
  (func (export "stackAlloc") (param i32) (result i32)
    (global.set $__stack_pointer
      (local.tee 0 (i32.and (i32.sub (global.get $__stack_pointer) (local.get 0)) (i32.const -16))))
    (local.get 0))
  (func $use (export "use") (param $pointer i32) (result i32) (local $frame i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 64))))
    (memory.fill (local.get $frame) (i32.const 0) (i32.const 64))
    (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 64)))
    (i32.load (local.get $pointer)))
  (func (export "use_string") (param $key i32) (result i32) (local $frame i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 32))))
    (local.set $key (call $use (call $wait (local.get $key))))
    (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 32)))
    (local.get $key))
  (func (export "late") (param $key i32) (param $pointer i32) (result i32) (local $frame i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 32))))
    (drop (call $wait (local.get $key)))
    (local.set $key (i32.load (local.get $pointer)))
    (drop (call $wait (i32.const 100)))
    (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 32)))
    (i32.add (local.get $key) (i32.load (local.get $pointer))))
  (func $wait_deep (param $key i32) (param $size i32) (local $frame i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (local.get $size))))
    (memory.fill (local.get $frame) (i32.const 255) (local.get $size))
    (drop (call $wait (local.get $key)))
    (global.set $__stack_pointer (i32.add (local.get $frame) (local.get $size))))
  (func (export "deeper") (param $step i32)
    (call $wait_deep (i32.const 1) (i32.const 64))
    (drop (call $use (i32.const 0)))
    (call $wait_deep (i32.const 2) (i32.add (i32.const 64) (local.get $step)))
    (drop (call $use (i32.const 0)))
    (call $wait_deep (i32.const 3) (i32.const 64)))
  (func (export "run") (param $size i32) (param $key i32) (result i32) (local $frame i32) (local $fits i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (local.get $size))))
    (i32.store (local.get $frame) (local.get $key))
    (local.set $fits (call $fits))
    (local.set $key (call $wait (local.get $key)))
    (local.set $key (i32.add (local.get $key) (i32.load (local.get $frame))))
    (local.set $fits (i32.and (local.get $fits) (call $fits)))
    (global.set $__stack_pointer (i32.add (local.get $frame) (local.get $size)))
    (select (local.get $key) (i32.const -1) (local.get $fits)))
  (func (export "nested") (param $key i32) (result i32) (local $frame i32)
    (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 32))))
    (i32.store (local.get $frame) (local.get $key))
    (local.set $key (i32.add (call $again (local.get $key)) (i32.load (local.get $frame))))
    (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 32)))
    (local.get $key)))"""
OWN = 65536
OWN_SIZE = 65536 - 1024


def unused(*arguments: int) -> int:
    raise AssertionError(f"called with {arguments}")


async def load_program(abi: str, wait: Any, again: Any = unused, **options: Any) -> caesura.Guest:
    imports = {"env": {"wait": wait, "again": again}}
    return await caesura.load(instrumented(PROGRAM.encode(), abi), imports, cache=False, **options)


@pytest.mark.parametrize("abi", ABIS)
def test_calls_find_themselves_within_the_limits_of_their_stacks(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait)
        for _ in range(3):
            calls = [asyncio.create_task(guest.call("run", 60000, key)) for key in (1, 2, 3)]
            await settle()
            assert guest.call_nowait("taken") >= OWN_SIZE
            assert guest.call_nowait("position") == OWN - 60000
            assert guest.call_nowait("fits") == 1
            for key in (2, 1, 3):
                gates.open(key, 10 * key)
                await settle()
            assert await asyncio.gather(*calls) == [11, 22, 33]
            assert (guest.call_nowait("position"), guest.call_nowait("fits")) == (OWN, 1)

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_one_call_at_a_time_needs_no_memory(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait)
        before = guest.call_nowait("taken")  # for the asyncify stack, perhaps
        for key in range(3):
            call = asyncio.create_task(guest.call("run", 16, key))
            await settle()
            gates.open(key, 1)
            assert await call == key + 1
        assert guest.call_nowait("taken") == before

    run(main())


def test_sizes_of_further_stacks_can_be_set() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program("load", gates.wait, shadow_stack_size=4096)
        calls = [asyncio.create_task(guest.call("run", 16, key)) for key in (1, 2)]
        await settle()
        assert guest.call_nowait("taken") == 4096
        for key in (1, 2):
            gates.open(key, 0)
        assert await asyncio.gather(*calls) == [1, 2]

    run(main())


def test_programs_with_large_buffers_run_as_they_were_linked() -> None:
    """A compiled program's own stack has megabytes: the first call has them, and so has a second one."""

    async def wait(value: int) -> int:
        await asyncio.sleep(0)
        return value + 4

    async def main() -> None:
        guest = await load_calls(wait=wait)
        assert await asyncio.gather(*[guest.call("overflow_stack", 3_000_000) for _ in range(2)]) == [6, 6]

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_stack_pointer_below_its_stack_is_noticed_without_a_trace_in_memory(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait, shadow_stack_size=4096)
        first = asyncio.create_task(guest.call("run", 16, 1))
        await settle()
        with pytest.raises(caesura.UsageError, match="larger shadow_stack_size"):
            await guest.call("run", 8192, 2)
        gates.open(1, 1)
        assert await first == 2
        with pytest.raises(caesura.UsageError, match=r"link the program with a larger stack"):
            await guest.call("run", 65000, 3)
        assert guest.suspended == 0
        call = asyncio.create_task(guest.call("run", 16, 4))
        await settle()
        gates.open(4, 1)
        assert await call == 5

    run(main())


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize("others", [0, 1, 2])
def test_what_is_allocated_on_a_suspended_stack_stays(abi: str, others: int) -> None:
    """For the first call, and for one on a stack of its own."""

    async def main() -> None:
        gates = Gates()

        async def wait(guest: caesura.Guest, key: int) -> int:
            if key:
                return await gates.wait(key)
            await asyncio.sleep(0)
            pointer: int = guest.call_nowait("stackAlloc", 4)
            guest.memory.write_struct("<i", pointer, 1234)
            return pointer

        guest = await load_program(abi, wait)
        calls = [asyncio.create_task(guest.call("run", 64, key + 1)) for key in range(others)]
        await settle()
        rest = guest.call_nowait("position")
        for _ in range(300):  # more than a stack holds, if what is allocated were never given back
            assert await guest.call("use_string", 0) == 1234
        assert guest.call_nowait("position") == rest
        for key in range(others):
            gates.open(key + 1, 10)
        assert await asyncio.gather(*calls) == [key + 11 for key in range(others)]

    run(main())


def put_on_stack(guest: caesura.Guest, number: int) -> int:
    pointer: int = guest.call_nowait("stackAlloc", 4)
    guest.memory.write_struct("<i", pointer, number)
    return pointer


@pytest.mark.parametrize("abi", ABIS)
def test_arguments_of_a_call_that_begins_while_the_first_one_waits_stay(abi: str) -> None:
    """The first call waits, with the keys 1 to 3, and those behind it with 4 and 5, in many orders."""

    async def main() -> None:
        gates = Gates()

        async def wait(key: int) -> int:
            return 0 if key == 100 else await gates.wait(key)

        guest = await load_program(abi, wait)
        top = guest.call_nowait("position")
        order: tuple[int, ...]
        for order in ((4, 5, 1, 2, 3), (1, 4, 2, 5, 3), (1, 2, 5, 3, 4), (1, 2, 3, 4, 5), (1, 2, 3, 5, 4)):
            first = asyncio.create_task(guest.call("deeper", 0))
            await settle()
            second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
            await settle()
            if order[0] == 1:
                gates.open(1, 0)
                await settle()
            third = asyncio.create_task(guest.call("late", 5, put_on_stack(guest, 77)))
            await settle()
            for key in order[order[0] == 1 :]:
                gates.open(key, 0)
                await settle()
                guest.call_nowait("use", 1008)
            assert [await first, await second, await third] == [None, 2468, 154]
            assert guest.call_nowait("position") == top
        # After the first call has ended, others begin there, and have arguments too.
        first = asyncio.create_task(guest.call("deeper", 0))
        await settle()
        second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
        await settle()
        for key in (1, 2, 3):
            gates.open(key, 0)
            await settle()
        again = asyncio.create_task(guest.call("deeper", 0))
        await settle()
        third = asyncio.create_task(guest.call("late", 5, put_on_stack(guest, 77)))
        await settle()
        for key in (1, 4, 2, 5, 3):
            gates.open(key, 0)
            await settle()
        assert [await call for call in (first, second, again, third)] == [None, 2468, None, 154]
        assert guest.call_nowait("position") == top

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_guest_is_closed_while_a_call_has_arguments_there(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program(abi, gates.wait)
        first = asyncio.create_task(guest.call("deeper", 0))
        await settle()
        second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
        await settle()
        await guest.aclose()
        ends = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError, asyncio.CancelledError]

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_arguments_whose_place_the_first_call_needs(abi: str) -> None:
    """Who would read them then is refused, and who reads them later finds them."""

    async def main() -> None:
        order: tuple[int, ...]
        for order in ((1, 4, 2, 3), (1, 2, 4, 3)):
            gates = Gates()

            async def wait(key: int, gates: Gates = gates) -> int:
                return 0 if key == 100 else await gates.wait(key)

            guest = await load_program(abi, wait)
            first = asyncio.create_task(guest.call("deeper", 256))
            await settle()
            second = asyncio.create_task(guest.call("late", 4, put_on_stack(guest, 1234)))
            await settle()
            for key in order:
                gates.open(key, 0)
                await settle()
            assert await first is None
            if order[1] == 2:
                assert await second == 2468
            else:
                with pytest.raises(caesura.UsageError, match=r"arguments on the guest's own C stack were overwritten"):
                    await second
            assert guest.call_nowait("position") == OWN
            assert guest.suspended == 0

    run(main())


def test_more_is_allocated_on_a_suspended_stack_than_it_has() -> None:
    async def main() -> None:
        async def wait(guest: caesura.Guest, key: int) -> int:
            await asyncio.sleep(0)
            guest.call_nowait("stackAlloc", key)
            return 0

        guest = await load_program("load", wait)
        with pytest.raises(caesura.UsageError, match="the guest's own stack"):
            await guest.call("run", 64, 64600)
        assert await guest.call("run", 64, 64) == 64

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_what_a_host_function_calls_runs_on_the_stack_of_its_call(abi: str) -> None:
    async def main() -> None:
        positions: list[int] = []

        async def wait(guest: caesura.Guest, key: int) -> int:
            positions.append(guest.call_nowait("position"))
            await asyncio.sleep(0)
            positions.append(guest.call_nowait("position"))
            assert guest.call_nowait("fits") == 1
            return key

        guest = await load_program(abi, wait)
        assert await asyncio.gather(*[guest.call("run", 64, key) for key in (1, 2)]) == [2, 4]
        assert positions[0] == positions[2] == OWN - 64
        assert positions[1] == positions[3] > OWN

    run(main())


def test_a_single_stack() -> None:
    async def main() -> None:
        gates = Gates()
        guest = await load_program("load", gates.wait, single_stack=True)
        call = asyncio.create_task(guest.call("run", 64, 1))
        await settle()
        with pytest.raises(caesura.UsageError, match="single_stack=True"):
            await guest.call("run", 64, 2)
        assert guest.call_nowait("position") == OWN - 64
        gates.open(1, 1)
        assert await call == 2

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_program_that_compares_its_pointer_with_the_end_of_its_stack(abi: str) -> None:
    """The linker's symbols for the stack's ends are constants in the code: its calls can only run on the own stack."""

    async def main() -> None:
        gates = Gates()
        text = PROGRAM.replace("(global.get $__stack_base)", "(i32.const 65536)")
        imports = {"env": {"wait": gates.wait, "again": unused}}
        guest = await caesura.load(instrumented(text.encode(), abi), imports, cache=False)
        for _ in range(2):
            first = asyncio.create_task(guest.call("run", 64, 1))
            await settle()
            with pytest.raises(caesura.UsageError, match="compares its stack pointer with the ends of its own stack"):
                await guest.call("run", 64, 2)
            gates.open(1, 1)
            assert await first == 2
        guest = await caesura.load(instrumented(text.encode(), abi), imports, cache=False, single_stack=False)
        calls = [asyncio.create_task(guest.call("run", 64, key)) for key in (1, 2)]
        await settle()
        for key in (1, 2):
            gates.open(key, 1)
        assert await asyncio.gather(*calls) == [2, -1]

    run(main())


NO_STACK = """(module (import "env" "wait" (func $wait (param i32) (result i32))) (memory (export "memory") 1)
  (global $g (mut i32) (i32.const {start}))
  (func (export "run") (param i32) (result i32)
    (global.set $g (i32.sub (global.get $g) (i32.const 16)))
    {use}
    (local.set 0 (i32.add (call $wait (local.get 0)) (global.get $g)))
    {restore}
    (local.get 0)))"""
USE = "(i32.store (global.get $g) (i32.const 1))"
RESTORE = "(global.set $g (i32.add (global.get $g) (i32.const 16)))"


@pytest.mark.parametrize("abi", ["load", "thunks", "plain"])
def test_a_global_that_counts_down_is_the_guests_own_business(abi: str) -> None:
    async def main() -> None:
        gates = Gates()
        place = None if abi == "load" else (4096, 65536)
        module = instrumented(NO_STACK.format(start=96, use="", restore="").encode(), abi)
        guest = await caesura.load(module, {"env": {"wait": gates.wait}}, cache=False, stack_space=place)
        calls = [asyncio.create_task(guest.call("run", key)) for key in (1, 2)]
        await settle()
        for key in (1, 2):
            gates.open(key, 0)
        assert await asyncio.gather(*calls) == [64, 64]

    run(main())


def test_where_the_stack_is_not_certain_only_one_call_is_taken() -> None:
    """The global ends up in no place where a stack can be, but it is used as one."""

    async def main() -> None:
        gates = Gates()
        module = NO_STACK.format(start=100, use=USE, restore=RESTORE).encode()
        guest = await caesura.load(module, {"env": {"wait": gates.wait}}, cache=False)
        for _ in range(2):
            call = asyncio.create_task(guest.call("run", 1))
            await settle()
            with pytest.raises(caesura.UsageError, match="not certain which global is the guest's stack pointer"):
                await guest.call("run", 2)
            gates.open(1, 0)
            assert await call == 84

    run(main())


def suspended(generator: Generator[object, object, object]) -> Generator[object, object, object]:
    next(generator)
    return generator


def finish(generator: Generator[object, object, object], value: int) -> Any:
    with pytest.raises(StopIteration) as end:
        generator.send(value)
    return end.value.value


def same(value: int) -> int:
    return value


@pytest.mark.parametrize("abi", ABIS)
def test_calls_are_resumed_from_within_others(abi: str) -> None:
    """One on a stack of its own anywhere; the one on the guest's own where nothing else is running on that."""

    async def main() -> None:
        held: dict[int, Generator[object, object, object]] = {}

        def again(guest: caesura.Guest, key: int) -> Any:
            generator = held.pop(key)
            return finish(generator, 5)

        guest = await load_program(abi, caesura.yielding(same), again)
        for _ in range(3):
            own = suspended(guest.generate("run", 64, 1))
            held[2] = suspended(guest.generate("run", 64, 2))
            assert guest.call_nowait("nested", 2) == 9
            held[1] = own
            with pytest.raises(caesura.UsageError, match="resume it when that has returned"):
                guest.call_nowait("nested", 1)
            own = suspended(guest.generate("run", 64, 1))
            other = suspended(guest.generate("use_string", 1024))
            assert guest.call_nowait("position") == OWN - 64
            assert finish(other, 1008) == int.from_bytes(b"end ", "little")
            assert finish(own, 3) == 4
            assert guest.call_nowait("position") == OWN

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_the_call_on_the_own_stack_is_resumed_below_one_on_another(abi: str) -> None:
    async def main() -> None:
        held: list[Generator[object, object, object]] = []

        def again(guest: caesura.Guest, key: int) -> Any:
            if key == 0:
                assert held[0].send(7) == 2  # waits again, deeper than before
                return 0
            return finish(held[0], 7)

        text = PROGRAM.replace(
            '(func (export "nested")',
            """(func (export "twice") (param $key i32) (result i32) (local $frame i32)
              (local.set $key (call $wait (local.get $key)))
              (global.set $__stack_pointer (local.tee $frame (i32.sub (global.get $__stack_pointer) (i32.const 256))))
              (i32.store (local.get $frame) (i32.const 77))
              (local.set $key (i32.add (call $wait (i32.const 2)) (i32.load (local.get $frame))))
              (global.set $__stack_pointer (i32.add (local.get $frame) (i32.const 256)))
              (local.get $key))
            (func (export "wait_then_nest") (param $key i32) (result i32)
              (drop (call $wait (i32.const 1))) (call $again (local.get $key)))
            (func (export "nested")""",
        )
        imports = {"env": {"wait": caesura.yielding(same), "again": again}}
        guest = await caesura.load(instrumented(text.encode(), abi), imports, cache=False)
        for _ in range(3):
            held[:] = [suspended(guest.generate("twice", 1))]
            other = suspended(guest.generate("wait_then_nest", 0))
            assert finish(other, 0) == 0
            assert guest.call_nowait("position") == OWN - 256
            assert guest.call_nowait("fits") == 1
            other = suspended(guest.generate("wait_then_nest", 1))
            assert finish(other, 0) == 84
            assert guest.call_nowait("position") == OWN

    run(main())
