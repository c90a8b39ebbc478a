"""`caesura run` and `resume` with time slices and budgets: programs that compute are saved, and stopped."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import caesura

pytestmark = pytest.mark.one_form

# Counts to its number, and says so.
COUNTER = """(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\05\\00\\00\\00") (data (i32.const 16) "done\\n")
  (func (export "_start") (local i64)
    (loop (local.set 0 (i64.add (local.get 0) (i64.const 1)))
      (br_if 0 (i64.lt_u (local.get 0) (i64.const %d))))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""


# Waits for a thousand seconds.
SLEEPER = """(module (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 16) "\\01")
  (func (export "_start") (i64.store (i32.const 24) (i64.const 1000000000000))
    (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))))"""


def caesura_command(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit code, what it prints, and its errors."""
    command = [sys.executable, "-m", "caesura", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


def run_until_saved(folder: Path, state: str, *arguments: str) -> str:
    """Run a program, which is killed once it has been saved; return what it has printed."""
    command = [sys.executable, "-m", "caesura", "run", "--save", state, *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as running:
        while not (folder / state).exists() and running.poll() is None:
            time.sleep(0.001)
        running.kill()
        return running.communicate()[0]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "counter.wat").write_text(COUNTER % 50_000_000)
    return tmp_path


def test_a_program_that_has_used_its_fuel_up_is_saved_and_goes_on(program: Path) -> None:
    code, said, errors = caesura_command(program, "run", "--fuel", "1M", "--save", "state", "counter.wat")
    assert (code, said) == (124, "")
    assert errors == (
        "caesura: the program is saved in 'state'\n"
        "caesura: error: the program has used up its budget, 1,000,000 units of fuel\n"
    )
    first = (program / "state").read_bytes()
    code, said, _ = caesura_command(program, "resume", "--fuel", "2M", "--save", "state", "state")
    assert (code, said) == (124, "") and (program / "state").read_bytes() != first
    told = caesura_command(program, "inspect", "state")[1]
    assert "_start, in pause()" in told
    assert caesura_command(program, "resume", "state")[:2] == (0, "done\n")


def test_what_a_saved_program_has_no_pause_points_for(program: Path) -> None:
    """The errors speak of the command's options, and not of the library's."""
    caesura_command(program, "run", "--cpu", "0.01", "--save", "state", "counter.wat")
    code, _, errors = caesura_command(program, "resume", "--fuel", "100", "state")
    assert code == 1 and "state: the program does not count, since it was run without --fuel" in errors
    (program / "sleeper.wat").write_text(SLEEPER)
    run_until_saved(program, "slept", "--save-every", "0.05", "sleeper.wat")
    for option, value in (("--cpu", "1"), ("--time-slice", "0.01")):
        code, _, errors = caesura_command(program, "resume", option, value, "slept")
        assert code == 1 and "cannot be paused while it computes, since it was run without --time-slice" in errors
    assert "does not count" in caesura_command(program, "resume", "--fuel", "1", "slept")[2]


def test_memories_that_are_shared(program: Path) -> None:
    (program / "shared.wat").write_text('(module (memory 1 1 shared) (func (export "_start")))')
    for options, named in (
        (("--time-slice", "0.01"), "--time-slice"),
        (("--cpu", "1", "--time-slice", "0.01"), "--time-slice and --cpu"),
        (("--stack-size", "64K"), "--stack-size"),
    ):
        code, _, errors = caesura_command(program, "run", *options, "shared.wat")
        assert code == 1 and f"could not be stopped: run it without {named}\n" in errors
    assert caesura_command(program, "run", "--timeout", "100", "shared.wat") == (0, "", "")


def test_processor_time(program: Path) -> None:
    (program / "endless.wat").write_text(COUNTER % -1)
    code, said, errors = caesura_command(program, "run", "--cpu", "0.05", "endless.wat")
    assert (code, said) == (124, "") and "has used up its budget, 0.05 s of processor time" in errors
    assert caesura_command(program, "run", "--cpu", "100", "counter.wat") == (0, "done\n", "")


def test_processor_time_of_host_functions(program: Path) -> None:
    fill = "(drop (call $random_get (i32.const 0) (i32.const 16777216)))"
    (program / "row.wat").write_text(
        f"""(module (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
          (memory (export "memory") 256) (func (export "_start") {fill * 200}))"""
    )
    code, said, errors = caesura_command(program, "run", "--cpu", "0.01", "row.wat")
    assert (code, said) == (124, "") and "has used up its budget, 0.01 s of processor time" in errors


def test_a_program_that_computes_is_saved_at_the_end_of_a_slice(program: Path) -> None:
    """It is killed before it writes: a save while it writes would be no slice's end."""
    (program / "counter.wat").write_text(COUNTER % 3_000_000_000)
    assert run_until_saved(program, "state", "--time-slice", "0.001", "--save-every", "0.01", "counter.wat") == ""
    saved = caesura.Snapshot.load(program / "state")
    assert [call.function for call in saved.state.calls] == ["pause"]
    assert caesura_command(program, "resume", "--time-slice", "0.01", "state")[:2] == (0, "done\n")


# Each of what begins it, and it itself, counts and says a letter.
BEGINNING = """(module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\01\\00\\00\\00")
  (func $count (param i32) (local i64)
    (loop (local.set 1 (i64.add (local.get 1) (i64.const 1))) (br_if 0 (i64.lt_u (local.get 1) (i64.const 1000000))))
    (i32.store8 (i32.const 16) (local.get 0))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $begin (call $count (i32.const 97))) (start $begin)
  (func (export "_initialize") (call $count (i32.const 98)))
  (func (export "_start") (call $count (i32.const 99)))
  (func (export "other") (call $count (i32.const 100))))"""

START = "(func $begin (loop (br 0))) (start $begin)"
INITIALIZE = '(func (export "_initialize") (loop (br 0)))'


@pytest.mark.parametrize("begins", [START, INITIALIZE])
@pytest.mark.parametrize("options", [("--cpu", "0.05"), ("--fuel", "100K"), ("--cpu", "0.05", "--save", "state")])
def test_budgets_bound_what_begins_a_program(program: Path, begins: str, options: tuple[str, ...]) -> None:
    text = f'(module (memory (export "memory") 1) {begins} (func (export "_start")) (func (export "f")))'
    (program / "endless.wat").write_text(text)
    for invoked in ((), ("--invoke", "f")):
        code, said, errors = caesura_command(program, "run", *options, *invoked, "endless.wat")
        assert (code, said) == (124, "") and "error: the program has used up its budget" in errors
        if "--save" in options and invoked:
            assert "warning: the program could not be saved: its start function, or _initialize" in errors
        elif "--save" in options:
            assert "the program is saved in 'state'" in errors
            code, said, errors = caesura_command(program, "resume", "--cpu", "0.05", "state")
            assert (code, said) == (124, "") and "error: the program has used up its budget" in errors


def test_one_budget_is_for_all_of_a_program(program: Path) -> None:
    (program / "beginning.wat").write_text(BEGINNING)

    async def fuel_of_what_begins() -> int:
        guest = await caesura.load(BEGINNING.encode(), wasi=caesura.Wasi(stdout=lambda _: None), preempt="fuel")
        assert guest.usage.fuel is not None
        return guest.usage.fuel

    once = asyncio.run(fuel_of_what_begins()) // 2
    for fuel, said in ((once // 2, ""), (once * 3 // 2, "a"), (once * 5 // 2, "ab"), (once * 4, "abc")):
        done = caesura_command(program, "run", "--fuel", str(fuel), "beginning.wat")
        assert done[:2] == (0 if said == "abc" else 124, said)
    done = caesura_command(program, "run", "--fuel", str(once * 5 // 2), "--invoke", "other", "beginning.wat")
    assert done[:2] == (124, "ab")


def test_a_program_that_was_saved_while_it_began_goes_on_with_all_of_it(program: Path) -> None:
    (program / "beginning.wat").write_text(BEGINNING)
    part = ("--fuel", "600K", "--save", "state")
    done = caesura_command(program, "run", *part, "beginning.wat")
    said = done[1]
    while done[0] == 124:
        done = caesura_command(program, "resume", *part, "state")
        said += done[1]
    assert (done[0], said) == (0, "abc")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals for that there")
@pytest.mark.parametrize("invoked", [(), ("--invoke", "f")])
def test_an_interruption_ends_a_program_that_begins(program: Path, invoked: tuple[str, ...]) -> None:
    write = '(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
    (program / "endless.wat").write_text(
        f"""(module {write} (memory (export "memory") 1)
          (data (i32.const 0) "\\10\\00\\00\\00\\01\\00\\00\\00x")
          (func $begin (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (loop (br 0)))
          (start $begin) (func (export "_start")) (func (export "f")))"""
    )
    options = ["--time-slice", "0.01", "--save", "state", *invoked]
    command = [sys.executable, "-m", "caesura", "run", *options, "endless.wat"]
    with subprocess.Popen(command, cwd=program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        running.stdout.read(1)
        running.send_signal(signal.SIGINT)
        errors = running.communicate(timeout=300)[1]
    assert running.returncode == 130 and "interrupted" in errors
    assert (program / "state").exists() == (not invoked)
    assert ("could not be saved: its start function" in errors) == bool(invoked)


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("--time-slice", "0"), 2, "--time-slice 0: expected a positive number of seconds"),
        (("--time-slice", "1e9"), 2, "--time-slice 1e9: expected seconds, 0.0005 to 3600"),
        (("--time-slice", "1e-9"), 2, "--time-slice 1e-9: expected seconds, 0.0005 to 3600"),
        (("--cpu", "nan"), 2, "--cpu nan: expected a positive number of seconds"),
        (("--fuel", "much"), 2, "--fuel much: expected a number of units"),
        (("--fuel", "0"), 2, "--fuel 0"),
        (("--fuel", "9" * 20), 2, "--fuel 999"),
    ],
)
def test_what_is_no_slice_and_no_budget(program: Path, given: tuple[str, ...], code: int, said: str) -> None:
    found = caesura_command(program, "run", *given, "counter.wat")
    assert found[0] == code and said in found[2]


def test_a_state_without_pause_points_has_no_budget(program: Path) -> None:
    (program / "sleeper.wat").write_text(SLEEPER)
    run_until_saved(program, "state", "--save-every", "0.1", "sleeper.wat")
    code, _, errors = caesura_command(program, "resume", "--cpu", "5", "state")
    assert code == 1 and "cannot be paused" in errors


def test_a_state_of_a_module_without_imports_is_looked_into(program: Path) -> None:
    """Such a module is instrumented for its pause points only; `inspect` has to do the same."""
    (program / "plain.wat").write_text('(module (func $inner (loop (br 0))) (func (export "outer") (call $inner)))')
    for budget in (("--fuel", "1K"), ("--cpu", "0.01")):
        caesura_command(program, "run", *budget, "--save", "state", "--invoke", "outer", "plain.wat")
        told = caesura_command(program, "inspect", "state")[1]
        assert "outer, in pause()" in told and "#0 inner" in told and "#1 outer" in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_program_that_is_over_and_cannot_be_saved(program: Path) -> None:
    code, _, errors = caesura_command(program, "run", "--fuel", "1K", "--save", "/dev/full", "counter.wat")
    assert code == 124 and "caesura: warning: the program could not be saved: cannot write '/dev/full'" in errors
    assert "goes on" not in errors and "is saved in" not in errors
