"""Recordings of the asyncio host: nothing is lost that was on a stack, and nothing that goes wrong disturbs a guest."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import caesura
from caesura.recording.place import RECORD_VARIABLE
from tests.host.support import WAITER, Gates, run, settle
from tests.support.engine import assemble
from tests.support.guests import CONTRACT

PLAIN = caesura.Options(record=True, in_secondary_memory=True, secondary_memory_size=16)


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "recording"
    monkeypatch.setenv(RECORD_VARIABLE, str(path))
    return path


async def wait(value: int) -> int:
    await asyncio.sleep(0)
    return value


IMPORTS = {"env": {"wait": wait}}


def lines(recording: Path) -> list[Any]:
    return [json.loads(line) for line in recording.read_text().splitlines()] if recording.exists() else []


def counts(recording: Path) -> Counter[str]:
    """Return how often functions were on the stack, by all lines, without the hashes of functions without a name."""
    total: Counter[str] = Counter()
    for line in lines(recording):
        for entry, seen in line.get("functions", {}).items():
            total[entry.partition("@")[0]] += seen["count"]
    return total


def test_a_function_is_written_at_once_and_counts_at_the_end(recording: Path) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await caesura.load(WAITER, {"env": {"wait": gates.wait}})
        call = asyncio.create_task(guest.call("loop", 3))
        await settle()
        assert counts(recording) == {"inner": 1, "#4": 1}
        for key in (3, 2, 1):
            gates.open(key, 1)
            await settle()
        assert await call == 3
        assert counts(recording) == {"inner": 1, "#4": 1}
        other = asyncio.create_task(guest.call("outer", 9))
        await settle()
        assert counts(recording) == {"inner": 1, "#4": 1, "outer": 1}
        gates.open(9, 1)
        await other
        guest.close()

    run(main())
    assert counts(recording) == {"inner": 4, "#4": 3, "outer": 1}
    first = lines(recording)[0]
    assert first["caesura_record"] == 1
    assert first["functions"]["inner"] == {"count": 1, "import": "env.wait", "stack": ["env.wait", "inner"]}
    last = lines(recording)[-1]
    assert last["functions"]["inner"] == {"count": 3, "import": "env.wait"}


@pytest.mark.parametrize("source", ["load", "compile", "plain"])
def test_several_guests_of_one_module_add_up(recording: Path, source: str) -> None:
    async def main() -> None:
        if source == "compile":
            program = await caesura.compile(WAITER, IMPORTS)
            guests = [await program.load() for _ in range(5)]
        else:
            module = WAITER if source == "load" else caesura.instrument(assemble(WAITER.decode()), PLAIN).module
            guests = [await caesura.load(module, IMPORTS) for _ in range(5)]
        await asyncio.gather(*[guest.call("deep", 2) for guest in guests])
        for guest in guests:
            guest.close()

    run(main())
    assert counts(recording) == {"inner": 5, "deep": 15, "#5": 5}


def test_a_process_that_is_killed_loses_no_function(recording: Path) -> None:
    script = f"""
import asyncio, caesura

async def wait(value):
    print("waiting", flush=True)
    await asyncio.sleep(1000)

async def main():
    guest = await caesura.load({WAITER!r}, {{"env": {{"wait": wait}}}})
    await guest.call("deep", 3)

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    while len(counts(recording)) < 3:  # the guest is suspended in a moment
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert counts(recording) == {"inner": 1, "deep": 4, "#5": 1}


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise RuntimeError"])
def test_a_process_that_closes_nothing_writes_at_its_end(recording: Path, end: str) -> None:
    script = f"""
import asyncio, sys, threading, caesura

async def wait(value):
    await asyncio.sleep(0)
    return value

guests = []

async def main():
    guests.append(await caesura.load({WAITER!r}, {{"env": {{"wait": wait}}}}))
    for _ in range(10):
        await guests[-1].call("outer", 1)

asyncio.run(main())
thread = threading.Thread(target=lambda: asyncio.run(main()))
thread.start()
thread.join()
{end}
"""
    subprocess.run([sys.executable, "-c", script], check=False, stderr=subprocess.DEVNULL)
    assert counts(recording) == {"inner": 20, "outer": 20}


def test_threads_record_their_own_guests(recording: Path) -> None:
    async def main() -> None:
        async with await caesura.load(WAITER, IMPORTS) as guest:
            for _ in range(20):
                await guest.call("outer", 1)

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts(recording) == {"inner": 80, "outer": 80}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_process_writes_nothing_of_its_parent(recording: Path) -> None:
    script = f"""
import asyncio, os, sys, caesura

async def wait(value):
    await asyncio.sleep(0)
    return value

kept = []

async def main():
    guest = await caesura.load({WAITER!r}, {{"env": {{"wait": wait}}}})
    kept.append(guest)
    for _ in range(3):
        await guest.call("outer", 1)

asyncio.run(main())
child = os.fork()
if child == 0:
    asyncio.run(main())
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert counts(recording) == {"inner": 6, "outer": 6}


@pytest.mark.parametrize("place", ["folder", "/dev/full", "none/recording", "pipe"])
def test_a_file_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv(RECORD_VARIABLE, str(tmp_path / place))

    async def main() -> int:
        async with await caesura.load(WAITER, IMPORTS) as guest:
            return int(await guest.call("outer", 5))

    with pytest.warns(
        RuntimeWarning, match=r"cannot append to the recording .*; what the guest records is not written"
    ):
        assert asyncio.run(main()) == 105


def test_what_could_not_be_written_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = tmp_path / "folder" / "recording"
    monkeypatch.setenv(RECORD_VARIABLE, str(recording))

    async def main() -> None:
        async with await caesura.load(WAITER, IMPORTS) as guest:
            await guest.call("outer", 5)
            recording.parent.mkdir()
            await guest.call("outer", 5)

    with pytest.warns(RuntimeWarning):
        asyncio.run(main())
    assert counts(recording) == {"inner": 2, "outer": 2}


def test_a_restored_guest_counts_from_zero(recording: Path) -> None:
    async def main() -> None:
        gates = Gates()
        guest = await caesura.load(WAITER, {"env": {"wait": gates.wait}})
        call = asyncio.create_task(guest.call("deep", 2))
        await settle()
        snapshot = guest.snapshot()
        call.cancel()
        guest.close()
        assert counts(recording) == {"inner": 1, "deep": 3, "#5": 1}
        restored = await caesura.restore(bytes(snapshot), IMPORTS, module=WAITER)
        (pending,) = restored.pending
        assert await pending == 3
        assert await restored.call("outer", 1) == 101
        restored.close()
        assert counts(recording) == {"inner": 2, "deep": 3, "#5": 1, "outer": 1}

    run(main())


@pytest.mark.parametrize("options", [caesura.Options(), caesura.Options(optimize="size")], ids=["default", "size"])
@pytest.mark.parametrize("recorded", [False, True])
def test_states_fit_whether_they_were_recorded_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: caesura.Options, recorded: bool
) -> None:
    """A guest is restored as it was saved, whatever the environment asks for now."""
    recording = tmp_path / "recording"
    names = {True: str(recording), False: ""}

    async def main() -> None:
        monkeypatch.setenv(RECORD_VARIABLE, names[recorded])
        gates = Gates()
        guest = await caesura.load(WAITER, {"env": {"wait": gates.wait}}, options=options)
        call = asyncio.create_task(guest.call("deep", 2))
        await settle()
        state = bytes(guest.snapshot())
        call.cancel()
        guest.close()
        monkeypatch.setenv(RECORD_VARIABLE, names[not recorded])
        restored = await caesura.restore(state, IMPORTS, module=WAITER, options=options)
        assert await restored.call("outer", 7) == 107
        restored.close()

    run(main())
    assert counts(recording)["outer"] == 0
    if not recorded:
        assert [line.get("unrecorded", "") for line in lines(recording)] == [
            "the guest was instrumented without --record, elsewhere or before it was saved"
        ]


def test_guests_that_are_not_recorded_say_why(recording: Path) -> None:
    async def main() -> None:
        module = caesura.instrument(assemble(WAITER.decode())).module
        async with await caesura.load(module, IMPORTS, stack_space=(1024, 65536)) as guest:
            await guest.call("outer", 5)
        async with await caesura.load(WAITER, {"env": {"wait": lambda value: value}}) as guest:
            assert guest.call_nowait("outer", 5) == 105
        with pytest.warns(RuntimeWarning, match="guests with pause points"):
            async with await caesura.load(WAITER, IMPORTS, time_slice=0.1) as guest:
                await guest.call("outer", 5)
        async with await caesura.load(WAITER, IMPORTS) as guest:
            assert await guest.call("calls") == 0

    run(main())
    told = lines(recording)
    assert [line.pop("unrecorded", "").partition(",")[0] for line in told] == [
        "the guest was instrumented without --record",
        "nothing among the guest's imports can suspend it",
        "the guest has pause points (time_slice",
        "",
    ]
    assert told == [{"caesura_record": 1}] * 4


@pytest.mark.parametrize("abi", ["load", "plain"])
def test_imports_that_tables_hold_are_known(recording: Path, abi: str) -> None:
    text = """
      (module
        (import "env" "wait" (func $wait (param i32) (result i32)))
        (import "env" "other" (func $other (param i32) (result i32)))
        (memory (export "memory") 1)
        (type $t (func (param i32) (result i32)))
        (table 2 funcref) (elem (i32.const 0) $wait $other)
        (func $first (export "first") (param i32) (result i32)
          (i32.add (call_indirect (type $t) (local.get 0) (i32.const 0)) (i32.const 1)))
        (func $second (export "second") (param i32) (result i32)
          (i32.add (call_indirect (type $t) (local.get 0) (i32.const 1)) (i32.const 2))))
    """
    module = text.encode() if abi == "load" else caesura.instrument(assemble(text), PLAIN).module

    async def main() -> None:
        async with await caesura.load(module, {"env": {"wait": wait, "other": wait}}) as guest:
            assert await guest.call("first", 5) == 6
            assert await guest.call("second", 5) == 7

    run(main())
    told = {entry: seen for line in lines(recording) for entry, seen in line.get("functions", {}).items()}
    assert told == {
        "first": {"count": 1, "import": "env.wait", "stack": ["env.wait", "first"]},
        "second": {"count": 1, "import": "env.other", "stack": ["env.other", "second"]},
    }


def test_names_that_several_functions_have(recording: Path) -> None:
    """Lists cannot tell them apart by that, so they are one; a list with the name instruments all of them."""
    text = """
      (module
        (import "env" "wait" (func $wait (param i32) (result i32)))
        (func $a (@name "same") (param i32) (result i32) (i32.add (call $wait (local.get 0)) (i32.const 1)))
        (func $b (@name "same") (param i32) (result i32) (i32.add (call $a (local.get 0)) (i32.const 2)))
        (func (@name "# run") (export "run") (param i32) (result i32) (i32.mul (call $b (local.get 0)) (i32.const 3))))
    """

    async def main(options: caesura.Options) -> None:
        async with await caesura.load(text.encode(), IMPORTS, options=options) as guest:
            assert await guest.call("run", 5) == 24

    run(main(caesura.Options()))
    assert counts(recording) == {"same": 2, "# run": 1}
    run(main(caesura.Options(only_list=["same", "# run"])))
    assert counts(recording) == {"same": 4, "# run": 2}


def test_a_list_can_be_recorded_of(recording: Path) -> None:
    async def main() -> None:
        options = caesura.Options(only_list=["inner", "outer"])
        async with await caesura.load(WAITER, IMPORTS, options=options) as guest:
            assert await guest.call("outer", 5) == 105

    run(main())
    assert counts(recording) == {"inner": 1, "outer": 1}


def test_a_stack_that_overflows_was_a_stack(recording: Path) -> None:
    async def main() -> None:
        options = caesura.Options(secondary_memory_maximum=1)
        async with await caesura.load(WAITER, IMPORTS, options=options) as guest:
            with pytest.raises(caesura.GuestTrap, match="asyncify stack overflow"):
                await guest.call("deep", 9000)
            assert await guest.call("outer", 5) == 105

    run(main())
    found = counts(recording)
    assert found["outer"] == 1 and found["inner"] == 2
    assert 100 < found["deep"] <= 9001


def test_a_guest_that_nobody_closes_can_be_collected(recording: Path) -> None:
    async def main() -> None:
        guest = await caesura.load(WAITER, IMPORTS)
        await guest.call("outer", 5)
        del guest
        gc.collect()

    run(main())
    gc.collect()
    assert counts(recording) == {"inner": 1, "outer": 1}


def test_without_the_variable_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORD_VARIABLE, raising=False)

    async def main() -> None:
        async with await caesura.load(WAITER, IMPORTS) as guest:
            await guest.call("outer", 5)
            assert guest._instance.recorder is None
            assert not guest._instance.description.recorded

    run(main())


RECORDED = '(func (export "asyncify_recorded") (param i32) (result i64) (i64.const 4294967297))'
CHANGED = '(global (export "asyncify_record_changed") (mut i32) (i32.const 1))'
SECTION = '(@custom "asyncify.record" "{}")'


def forged(*parts: str) -> bytes:
    """Return a module that claims to be instrumented for the plain ABI, with something of a recording."""
    return f"""(module {CONTRACT}
        (import "env" "wait" (func (param i32) (result i32)))
        (memory (export "memory") 10)
        (func (export "asyncify_start_unwind") (param i32)) (func (export "asyncify_stop_unwind"))
        (func (export "asyncify_start_rewind") (param i32)) (func (export "asyncify_stop_rewind"))
        (func (export "f")) {" ".join(parts)})""".encode()


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([RECORDED], "only some of"),
        ([RECORDED, CHANGED], "only some of"),
        ([SECTION.format("[]")], "only some of"),
        ([RECORDED.replace("i64", "i32").replace("4294967297", "1"), CHANGED, SECTION.format("[]")], "another type"),
        ([RECORDED, CHANGED.replace("(mut i32)", "i32"), SECTION.format("[]")], "another type"),
        ([RECORDED, CHANGED, SECTION.format("[")], "no JSON text"),
        ([RECORDED, CHANGED, SECTION.format("\\ff")], "no JSON text"),
        ([RECORDED, CHANGED, SECTION.format("[" * 100_000)], "no JSON text"),
        ([RECORDED, CHANGED, SECTION.format("{}")], "no list of names and imports"),
        ([RECORDED, CHANGED, SECTION.format("[5]")], "no list of names and imports"),
        ([RECORDED, CHANGED, SECTION.format('[{\\"import\\": 5}]')], "no list of names and imports"),
    ],
)
def test_claims_are_checked(parts: list[str], error: str) -> None:
    async def main() -> None:
        await caesura.load(forged(*parts), IMPORTS, stack_space=(1024, 65536), cache=False)

    with pytest.raises(caesura.UnsupportedModule, match=error):
        run(main())


def test_numbers_that_lie_are_bounded(recording: Path) -> None:
    """Every function says that it had called the next one, in a ring: the stack is cut off where it comes again."""
    called = "(i64.shl (i64.extend_i32_u (i32.sub (i32.const 2) (local.get 0))) (i64.const 32))"
    ring = forged(
        f'(func (export "asyncify_recorded") (param i32) (result i64) (i64.add {called} (i64.const 1)))',
        CHANGED,
        SECTION.format('[\\"a\\", \\"b\\"]'),
    )

    async def main() -> None:
        guest = await caesura.load(ring, IMPORTS, stack_space=(1024, 65536), cache=False)
        guest.close()

    run(main())
    (line,) = lines(recording)
    assert line["functions"]["a"]["stack"] == ["a"]
    assert line["functions"]["b"]["stack"] == ["a", "b"]
