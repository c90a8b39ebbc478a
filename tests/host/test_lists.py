"""Lists that leave functions out: waiting below them is refused before anything changes, and all of them are named."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from typing import Any, Final

import pytest

import caesura
from tests.host.support import ABIS, Gates, load_waiter, run
from tests.support.engine import assemble
from tests.support.names import without_names


async def same(value: int) -> int:
    await asyncio.sleep(0)
    return value


def missing_in(error: BaseException) -> list[str]:
    """Return the functions that an error says are missing in a list: a line of it has them as JSON."""
    found = re.search(r"(?:Missing in the list|Not instrumented): (\[.*\])$", str(error), re.MULTILINE)
    assert found is not None, str(error)
    entries: list[str] = json.loads(found[1])
    return entries


async def missing(call: Any) -> list[str]:
    """Return what is missing in a list where an awaited call is refused."""
    with pytest.raises(caesura.UsageError) as refusal:
        await call
    return missing_in(refusal.value)


def shown_stack(error: BaseException) -> list[str]:
    """Return the lines of the stack in an error, without what has to wait."""
    return [line[2:] for line in str(error).splitlines() if line.startswith(("    ", "  *"))][1:]


@pytest.mark.parametrize(
    "options",
    [caesura.Options(only_list=("outer",)), caesura.Options(remove_list=("inner",))],
)
def test_waiting_below_a_function_that_is_left_out_names_it(options: caesura.Options) -> None:
    async def main() -> None:
        guest = await load_waiter(same, options=options)
        for _ in range(2):
            with pytest.raises(caesura.UsageError, match=r"env\.wait has to wait, but .* not instrumented") as refusal:
                await guest.call("outer", 1)
            assert missing_in(refusal.value)[0] == "inner"
        assert guest.call_nowait("calls") == 2

    run(main())


DEEP: Final = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (global $passed (mut i32) (i32.const 0))
  (func $deep (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (call $deep (i32.sub (local.get 0) (i32.const 1))))
      (else (call $wait (i32.const 7)))))
  (func $left_out (param i32) (result i32)
    (call $deep (local.get 0))
    (global.set $passed (i32.add (global.get $passed) (i32.const 1))))
  (func $middle (param i32) (result i32) (call $left_out (local.get 0)))
  (func $run (export "run") (param i32) (result i32) (call $middle (local.get 0)))
  (func (export "passed") (result i32) (global.get $passed)))"""

# The same without names.
UNNAMED: Final = re.sub(r"\((func) \$\w+", r"(\1", DEEP).replace("$wait", "0").replace("$deep", "1")
UNNAMED_DEEP: Final = UNNAMED.replace("$left_out", "2").replace("$middle", "3")


def built(text: str, options: caesura.Options, abi: str, *, has_names: bool = True) -> bytes:
    """Return a module that `load` is to instrument, or that was instrumented with such options."""
    module = assemble(text) if has_names else without_names(assemble(text))
    if abi == "load":
        return module
    lists = ("only_list", "remove_list", "ignore_indirect", "add_list", "two_bodies")
    fields = {name: getattr(options, name) for name in lists}
    own = abi == "plain in its own memory"
    chosen = caesura.Options(
        **fields, imports=("env.wait",), thunks=abi == "thunks", in_secondary_memory=own, secondary_memory_size=16
    )
    return caesura.instrument(module, chosen).module


async def load(text: str, options: caesura.Options, abi: str = "load", wait: Any = same, **more: Any) -> caesura.Guest:
    """Load a module with lists, instrumented here or before."""
    if abi == "load":
        more["options"] = options
    elif abi in ("thunks", "plain"):
        more["stack_space"] = (1024, 65536)
    imports = {"env": {"wait": wait, **more.pop("functions", {})}}
    module = built(text, options, abi, has_names=more.pop("has_names", True))
    return await caesura.load(module, imports, cache=False, **more)


@pytest.mark.parametrize("depth", [3, 17, 18, 19, 20, 100, 3000])
@pytest.mark.parametrize("abi", ABIS)
def test_all_that_is_left_out_is_named_from_any_depth(depth: int, abi: str) -> None:
    async def main() -> None:
        guest = await load(DEEP, caesura.Options(only_list=("deep", "run")), abi)
        with pytest.raises(caesura.UsageError) as refusal:
            await guest.call("run", depth)
        assert str(refusal.value).splitlines()[:6] == [
            "host function env.wait has to wait, but 2 functions on the stack are not instrumented, since the "
            'only-list leaves them out. Missing in the list: ["left_out","middle"]',
            "The stack, innermost first; * marks what is missing:",
            "    env.wait",
            f"    deep ({depth + 1} times)",
            "  * left_out",
            "  * middle",
        ]
        assert guest.call_nowait("passed") == 0 and guest.suspended == 0

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_functions_without_names_go_by_their_bodies_where_they_are_known(abi: str) -> None:
    async def main() -> None:
        guest = await load(UNNAMED_DEEP, caesura.Options(only_list=("1", "run")), abi)
        found = await missing(guest.call("run", 30))
        bodies = caesura.body_entries(assemble(UNNAMED_DEEP), (2, 3))
        assert found == (list(bodies) if abi == "load" else ["#2", "#3"])

    run(main())


@pytest.mark.parametrize("text", [DEEP, UNNAMED_DEEP], ids=["named", "unnamed"])
def test_what_is_named_is_what_the_list_lacks(text: str) -> None:
    async def main() -> None:
        entries = ["run"]
        guest = await load(text, caesura.Options(only_list=tuple(entries)))
        entries += await missing(guest.call("run", 3))
        assert len(entries) == 4
        guest = await load(text, caesura.Options(only_list=tuple(entries)))
        assert await guest.call("run", 3) == 7
        assert guest.call_nowait("passed") == 1

    run(main())


def test_a_function_of_a_file_that_has_changed_goes_by_its_index(tmp_path: Any) -> None:
    async def main() -> None:
        file = tmp_path / "guest.wasm"
        file.write_bytes(assemble(UNNAMED_DEEP))
        imports, options = {"env": {"wait": same}}, caesura.Options(only_list=("1", "run"))
        guest = await caesura.load(file, imports, options=options, cache=False)
        file.write_bytes(assemble(UNNAMED_DEEP.replace("i32.const 7", "i32.const 8")))
        assert await missing(guest.call("run", 1)) == ["#2", "#3"]
        file.unlink()
        assert await missing(guest.call("run", 1)) == ["#2", "#3"]

    run(main())


TABLE: Final = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (memory (export "memory") 1)
  (type $step (func (param i32) (result i32)))
  (table 2 2 funcref) (elem (i32.const 0) $good $bad)
  (func $good (param i32) (result i32) (call $wait (local.get 0)))
  (func $bad (param i32) (result i32) (i32.add (call $good (local.get 0)) (i32.const 0)))
  (func $pick (export "pick") (param i32) (result i32) (call_indirect (type $step) (i32.const 7) (local.get 0)))
  (func $listed (export "listed") (param i32) (result i32) (call_indirect (type $step) (i32.const 7) (local.get 0)))
  (func $also (export "also") (param i32) (result i32)
    (i32.add (call $good (local.get 0)) (call_indirect (type $step) (i32.const 7) (local.get 0)))))"""


@pytest.mark.parametrize("abi", ABIS)
def test_calls_through_tables(abi: str) -> None:
    async def main() -> None:
        guest = await load(TABLE, caesura.Options(only_list=("good", "listed")), abi)
        assert await guest.call("listed", 0) == 7
        assert await missing(guest.call("listed", 1)) == ["bad"]
        assert await missing(guest.call("pick", 0)) == ["pick"]
        assert await missing(guest.call("pick", 1)) == ["bad", "pick"]
        assert await guest.call("listed", 0) == 7

    run(main())


@pytest.mark.parametrize("abi", ABIS)
def test_a_function_that_is_instrumented_is_named_for_a_call_that_is_not(abi: str) -> None:
    async def main() -> None:
        guest = await load(TABLE, caesura.Options(ignore_indirect=True), abi)
        assert await missing(guest.call("also", 0)) == ["also"]
        guest = await load(TABLE, caesura.Options(ignore_indirect=True, add_list=("also",)), abi)
        assert await guest.call("also", 0) == 7

    run(main())


def test_nothing_is_refused_where_nothing_has_to_wait() -> None:
    async def at_once(value: int) -> int:
        return value + 1

    async def main() -> None:
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(5)

        async def of_the_past(value: int) -> int:
            return await done + value

        for function, result in ((at_once, 8), (of_the_past, 12)):
            guest = await load(DEEP, caesura.Options(only_list=("deep", "run")), wait=function)
            assert await guest.call("run", 3) == result

    run(main())


NESTED: Final = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
  (import "env" "again" (func $again (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $inner (export "inner") (param i32) (result i32) (call $wait (local.get 0)))
  (func $left_out (export "left_out") (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
  (func $around (export "around") (param i32) (result i32) (i32.add (call $again (local.get 0)) (i32.const 10)))
  (func $within (export "within") (param i32) (result i32) (i32.add (call $again (local.get 0)) (i32.const 20)))
  (func $boom (param i32) (result i32) (if (i32.eqz (local.get 0)) (then unreachable)) (call $wait (local.get 0)))
  (func $trapping (export "trapping") (param i32) (result i32) (i32.add (call $boom (local.get 0)) (i32.const 1))))"""
NESTED_LIST: Final = caesura.Options(only_list=("inner", "within", "boom"))


@pytest.mark.parametrize("abi", ["load", "thunks", "plain"])
def test_what_counts_is_one_entry_of_the_guest(abi: str) -> None:
    """A function that is left out may be on the stack outside the call that is suspended."""

    async def main() -> None:
        generators = []

        async def again(guest: caesura.Guest, value: int) -> int:
            generators.append(guest.generate("inner", value))
            assert next(generators[-1]) == 8
            with pytest.raises(caesura.UsageError) as refusal:
                next(guest.generate("left_out", 1))
            assert missing_in(refusal.value) == ["left_out"]
            return 1

        functions = {"wait": caesura.yielding(lambda value: 2 * value), "again": again}
        options = caesura.Options(only_list=("inner", "within", "boom"))
        module = built(NESTED, options, "load")
        if abi != "load":
            chosen = caesura.Options(only_list=options.only_list, thunks=abi == "thunks")
            module = caesura.instrument(assemble(NESTED), chosen).module
        more: dict[str, Any] = {"options": options} if abi == "load" else {"stack_space": (1024, 65536)}
        guest = await caesura.load(module, {"env": functions}, cache=False, **more)
        assert await guest.call("around", 4) == 11
        assert await guest.call("within", 4) == 21
        for generator in generators:
            with pytest.raises(StopIteration) as end:
                generator.send(3)
            assert end.value.value == 3

    run(main())


@pytest.mark.parametrize("abi", ["load", "plain"])
def test_what_an_invoke_calls_is_a_call_of_its_own_here(abi: str) -> None:
    """Emscripten's JavaScript is passed by a suspension there; a host function in Python is not."""
    text = """(module
      (import "env" "wait" (func $wait (param i32) (result i32)))
      (import "env" "invoke_i" (func $invoke (param i32) (result i32)))
      (memory (export "memory") 1)
      (func $inner (export "inner") (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
      (func $catches (param i32) (result i32) (i32.add (call $invoke (local.get 0)) (i32.const 10)))
      (func $around (export "around") (param i32) (result i32)
        (i32.add (call $catches (local.get 0)) (i32.const 100))))"""

    async def main() -> None:
        async def invoke(guest: caesura.Guest, value: int) -> int:
            generator = guest.generate("inner", value)
            assert next(generator) == 2 * value
            with pytest.raises(StopIteration) as end:
                generator.send(3 * value)
            assert isinstance(end.value.value, int)
            if waits:
                await asyncio.sleep(0)
            return end.value.value

        waits = False
        imports = {"env": {"wait": caesura.yielding(lambda value: 2 * value), "invoke_i": invoke}}
        chosen = caesura.Options(only_list=("inner", "catches"))
        if abi == "load":
            guest = await caesura.load(assemble(text), imports, options=chosen, cache=False)
        else:
            module = caesura.instrument(assemble(text), chosen).module
            guest = await caesura.load(module, imports, stack_space=(1024, 65536), cache=False)
        assert await guest.call("around", 4) == 123
        waits = True
        assert await missing(guest.call("around", 4)) == ["around"]

    run(main())


@pytest.mark.parametrize("failing", ["trap", "exception", "refusal"])
def test_a_nested_call_that_fails_leaves_nothing_behind(failing: str) -> None:
    async def main() -> None:
        async def again(guest: caesura.Guest, value: int) -> int:
            if failing == "trap":
                with pytest.raises(caesura.GuestTrap):
                    guest.call_nowait("trapping", 0)
            elif failing == "exception":
                with pytest.raises(KeyError):
                    guest.call_nowait("left_out", 0)
            else:
                assert await missing(guest.call("left_out", 1)) == ["left_out"]
            await asyncio.sleep(0)
            return value

        async def wait(value: int) -> int:
            if not value:
                raise KeyError(value)
            return await same(value)

        guest = await load(NESTED, NESTED_LIST, wait=wait, functions={"again": again})
        assert await guest.call("within", 4) == 24
        assert await missing(guest.call("around", 4)) == ["around"]
        assert await guest.call("inner", 4) == 4

    run(main())


def test_every_way_to_call() -> None:
    async def main() -> None:
        external = await load(DEEP, caesura.Options(only_list=("deep", "run")), wait=caesura.EXTERNAL)
        with pytest.raises(caesura.UsageError) as refusal:
            external.start("run", 2)
        assert missing_in(refusal.value) == ["left_out", "middle"]
        assert await missing(external.call("run", 2)) == ["left_out", "middle"]
        assert external.pending == []

        yields = await load(
            DEEP, caesura.Options(only_list=("deep", "run")), wait=caesura.yielding(lambda value: value)
        )
        with pytest.raises(caesura.UsageError) as refusal:
            next(yields.generate("run", 2))
        assert missing_in(refusal.value) == ["left_out", "middle"]
        assert await missing(anext(yields.agenerate("run", 2))) == ["left_out", "middle"]

        guest = await load(DEEP, caesura.Options(only_list=("deep", "run")))
        assert await missing(anext(guest.agenerate("run", 2))) == ["left_out", "middle"]
        with pytest.raises(caesura.UsageError, match="`call_nowait`"):
            guest.call_nowait("run", 2)

    run(main())


def test_calls_and_guests_do_not_concern_each_other() -> None:
    async def main() -> None:
        gates = Gates()

        def again(value: int) -> int:
            return value

        program = await caesura.compile(
            assemble(NESTED), {"env": {"wait": gates.wait, "again": again}}, options=NESTED_LIST, cache=False
        )
        one, other = [await program.load() for _ in range(2)]
        waiting = [asyncio.create_task(guest.call("inner", key)) for guest, key in ((one, 1), (one, 2), (other, 3))]
        await asyncio.sleep(0)
        refused = [missing(guest.call("left_out", 9)) for guest in (one, other, one)]
        assert await asyncio.gather(*refused) == [["left_out"]] * 3
        waiting[1].cancel()
        assert await missing(one.call("left_out", 9)) == ["left_out"]
        gates.open(3, 30)
        gates.open(1, 10)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results[0] == 10 and results[2] == 30 and isinstance(results[1], asyncio.CancelledError)
        assert one.suspended == other.suspended == 0

    run(main())


def test_a_task_that_is_cancelled_where_it_was_refused() -> None:
    """Its host function had begun to wait, and is ended."""

    async def main() -> None:
        gates = Gates()
        guest = await load(DEEP, caesura.Options(only_list=("deep", "run")), wait=gates.wait)
        task = asyncio.create_task(guest.call("run", 2))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(caesura.UsageError, match="Missing in the list"):
            await task
        assert gates.futures == {}

    run(main())


def test_guests_of_several_threads() -> None:
    found: list[list[str]] = []

    async def one() -> None:
        guest = await load(DEEP, caesura.Options(only_list=("deep", "run")))
        for depth in range(20):
            found.append(await missing(guest.call("run", depth)))

    threads = [threading.Thread(target=lambda: asyncio.run(one())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["left_out", "middle"]] * 60


def test_guests_that_go_on_from_a_snapshot() -> None:
    async def main() -> None:
        def again(value: int) -> int:
            return value

        imports = {"env": {"wait": caesura.EXTERNAL, "again": again}}
        guest = await caesura.load(assemble(NESTED), imports, options=NESTED_LIST, cache=False)
        guest.start("within", 1)
        guest.start("inner", 4)
        snapshot = guest.snapshot(embed=True)
        others = [await caesura.restore(bytes(snapshot), imports), *await snapshot.fork(2, imports)]
        for other in others:
            assert other.pending[0].resume(5) == 5
            with pytest.raises(caesura.UsageError) as refusal:
                other.start("left_out", 1)
            assert missing_in(refusal.value) == ["left_out"]
            assert other.start("inner", 6).resume(7) == 7

    run(main())


def test_what_is_missing_is_noted_in_a_recording(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = tmp_path / "recording"
    monkeypatch.setenv("CAESURA_RECORD", str(recording))

    async def main() -> None:
        guest = await load(DEEP, caesura.Options(only_list=("deep", "run")))
        for _ in range(2):  # noted once
            assert await missing(guest.call("run", 2)) == ["left_out", "middle"]
        guest.close()

    run(main())
    lines = [json.loads(line) for line in recording.read_text().splitlines()]
    assert [line["missing"] for line in lines if "missing" in line] == [["left_out", "middle"]]


SCHEDULER: Final = """(module
  (import "asyncify" "start_unwind" (func $start (param i32))) (import "asyncify" "stop_unwind" (func $stop))
  (import "asyncify" "start_rewind" (func (param i32)))
  (memory (export "memory") 1)
  (func $pause (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 4096))
    (call $start (i32.const 16)))
  (func $left_out (call $pause) (i32.store (i32.const 0) (i32.const 1)))
  (func $work (call $left_out) (i32.store (i32.const 4) (i32.const 1)))
  (func $schedule (call $work) (call $stop))
  (func $above (call $schedule) (i32.store (i32.const 8) (i32.const 1)))
  (func (export "run") (call $above)))"""


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("has_names", [True, False])
def test_a_guest_with_a_scheduler_of_its_own_tells_what_is_missing(has_names: bool, elsewhere: bool) -> None:
    """Of what the scheduler has called; it is asked by nobody, so it traps, and the trap has the stack."""
    module = assemble(SCHEDULER) if has_names else without_names(assemble(SCHEDULER))
    pausing, left_out, working, *_ = caesura.body_entries(module, range(3, 8))
    if has_names:
        pausing, left_out, working = "pause", "left_out", "work"
    options = caesura.Options(only_list=(pausing, working))
    if elsewhere:
        module = caesura.instrument(module, options).module
        left_out = "left_out" if has_names else "#4"

    async def main() -> None:
        guest = await caesura.load(module, options=options, cache=False)
        with pytest.raises(caesura.UsageError, match="the guest has to wait, but 1 function on the stack") as error:
            guest.call_nowait("run")
        assert missing_in(error.value) == [left_out]
        shown = ["  pause", "* left_out", "  work"] if has_names else ["  #3", "* #4", "  #5"]
        assert shown_stack(error.value) == shown
        assert str(error.value).endswith("`caesura fix` does both.")
        frames = (
            "left_out\n  work\n  schedule\n  above\n" if has_names else "4\n  function 5\n  function 6\n  function 7\n"
        )
        assert frames in "".join(error.value.__notes__)
        assert guest.memory.read(0, 12) == bytes(12)

    run(main())


def test_without_a_guard_nobody_looks() -> None:
    """What is left out runs on while the guest unwinds, and once more while it rewinds."""

    async def main() -> None:
        guest = await load(DEEP, caesura.Options(only_list=("deep", "run"), no_guard=True))
        assert await guest.call("run", 2) == 7
        assert guest.call_nowait("passed") == 2

    run(main())


def test_a_module_that_says_wrongly_when_it_cannot_be_suspended_is_refused() -> None:
    text = DEEP.replace(
        "(global $passed", '(global (export "asyncify_unsuspendable") (mut i64) (i64.const 0)) (global $passed'
    )
    module = caesura.instrument(assemble(text), caesura.Options(imports=("env.wait",))).module

    async def main() -> None:
        with pytest.raises(caesura.UnsupportedModule, match="asyncify_unsuspendable is no mutable i32"):
            await caesura.load(module, {"env": {"wait": same}}, cache=False)

    run(main())


def test_lists_that_are_right() -> None:
    async def main() -> None:
        guest = await load_waiter(same, options=caesura.Options(only_list=("outer", "inner")))
        assert await guest.call("outer", 1) == 101

    run(main())


def test_exports_that_are_left_out_are_named_where_the_host_has_called_them() -> None:
    """They are entered as they are: nothing on the stack tells where that was, but for what is known of the call."""
    text = """(module (import "env" "wait" (func $wait (param i32) (result i32)))
      (import "env" "again" (func $again (param i32) (result i32)))
      (memory (export "memory") 1)
      (func $inner (export "inner") (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
      (func $helper (param i32) (result i32) (i32.add (call $inner (local.get 0)) (i32.const 1)))
      (func $left_out (export "left_out") (param i32) (result i32) (i32.add (call $helper (local.get 0)) (i32.const 1)))
      (func $between (param i32) (result i32) (i32.add (call $again (local.get 0)) (i32.const 1)))
      (func $outer (export "outer") (param i32) (result i32) (i32.add (call $between (local.get 0)) (i32.const 1))))"""

    async def main() -> None:
        found: list[list[str]] = []

        async def again(guest: caesura.Guest, value: int) -> int:
            found.append(await missing(guest.call("left_out", 1)))
            assert await guest.call("inner", 1) == 2
            return value

        guest = await load(text, caesura.Options(only_list=("inner",)), functions={"again": again})
        assert await missing(guest.call("left_out", 1)) == ["helper", "left_out"]
        assert await missing(guest.call("outer", 1)) == ["between", "outer"]
        assert found == [["helper", "left_out"]]

    run(main())


def test_an_import_that_a_remove_list_takes_out() -> None:
    async def main() -> None:
        guest = await load(DEEP, caesura.Options(remove_list=("wai*",)))
        with pytest.raises(caesura.UsageError, match=r"env\.wait has to wait, but"):
            await guest.call("run", 1)
        assert guest.call_nowait("passed") == 0

    run(main())


def test_names_of_any_kind() -> None:
    """What a terminal would not show as it is stands escaped, and a name without end is none."""
    text = DEEP.replace("$left_out", '$"left\\nout\\1b[31m"').replace("$middle", f"${'m' * 20_000}")

    async def main() -> None:
        guest = await load(text, caesura.Options(only_list=("deep", "run")))
        with pytest.raises(caesura.UsageError) as refusal:
            await guest.call("run", 0)
        [body] = caesura.body_entries(assemble(text), (3,))
        assert missing_in(refusal.value) == ["left\nout\x1b[31m", body]
        assert "\n  * left\\nout\\x1b[31m\n  * mmmm" in str(refusal.value)
        assert len(str(refusal.value)) < 3000 and "\x1b" not in str(refusal.value)

    run(main())


def test_a_remove_list_is_not_said_to_lack_what_is_not_on_it() -> None:
    async def main() -> None:
        guest = await load(DEEP, caesura.Options(remove_list=("left_out",)))
        with pytest.raises(caesura.UsageError) as refusal:
            await guest.call("run", 0)
        lines = str(refusal.value).splitlines()
        assert lines[0].endswith(
            "but 3 functions on the stack are not instrumented, since the remove-list takes them out, or all in which "
            'they could suspend. Not instrumented: ["left_out","middle","run"]'
        )
        assert lines[1] == "The stack, innermost first; * marks what is not instrumented:"
        assert lines[-1].startswith(
            "Take what of them is on the remove-list off it and instrument the module again. Or"
        )

    run(main())
