"""`caesura run --save` and `caesura resume`, as processes that signals save, end and kill."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import caesura
from tests.support.guests import c_guest, c_guest_file

pytestmark = [
    pytest.mark.one_form,
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no SIGUSR1 here"),
]

_COMMAND: Final = (sys.executable, "-m", "caesura")
_LAST: Final = 137
_PAUSE: Final = "20000"  # microseconds between two numbers
_PATIENCE: Final = 60


class Run:
    """A command that runs in a folder of its own, with a folder `work` in it."""

    def __init__(self, folder: Path, *arguments: str, stdin: int = subprocess.DEVNULL) -> None:
        (folder / "work").mkdir(exist_ok=True)
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*_COMMAND, *arguments], cwd=folder, stdin=stdin, stdout=output, stderr=subprocess.PIPE
            )

    @property
    def output(self) -> bytes:
        """What it has printed."""
        return self._output.read_bytes()

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            has_ended = self.process.poll() is not None  # looked at before: what is so at its end is so
            if what():
                return
            assert time.monotonic() < deadline, self.output
            assert not has_ended, self.process.communicate()[1]
            time.sleep(0.005)

    def wait_for_output(self, text: bytes) -> None:
        """Wait until it has printed something."""
        self.wait_for(lambda: text in self.output)

    @contextmanager
    def changing(self, file: Path) -> Iterator[None]:
        """Wait, behind what is done here, until another file has taken a file's place."""
        known = _identity(file) if file.exists() else None
        yield
        self.wait_for(lambda: file.exists() and _identity(file) != known)

    def wait_for_change(self, file: Path) -> None:
        """Wait until another file has taken a file's place."""
        with self.changing(file):
            pass

    def end(self, number: int) -> int:
        """Send a signal and wait for the end; its standard input stays open."""
        self.process.send_signal(number)
        code = self.process.wait(_PATIENCE)
        self.process.communicate()
        return code


def _identity(file: Path) -> tuple[int, int]:
    """Return what tells a file from the one that takes its place, within one tick of the clock, too."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns


def _resume(folder: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*_COMMAND, "resume", *arguments]
    return subprocess.run(command, cwd=folder, input=given, capture_output=True, timeout=_PATIENCE, check=False)


def _count(folder: Path, *options: str) -> Run:
    """Let the program count, so slowly that it does not end while a busy machine lets the test wait."""
    program = str(c_guest_file("counting"))
    return Run(folder, "run", "--dir", "work::/data", "--save", "state", *options, program, str(_LAST), _PAUSE)


def _numbers(first: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(first, _LAST + 1))


def _check_rest(folder: Path, before: bytes, done: subprocess.CompletedProcess[bytes]) -> None:
    """Check that a program went on where it was saved: after a number that it had printed."""
    assert done.returncode == _LAST % 10 and done.stderr == b"", done.stderr
    first = int(done.stdout.split()[0])
    assert done.stdout == _numbers(first)
    assert 1 <= first <= before.count(b"\n") + 1
    assert (folder / "work" / "count").read_bytes() == _numbers(1)


def test_saved_by_a_signal_killed_and_resumed(tmp_path: Path) -> None:
    run = _count(tmp_path, "--save-on", "SIGUSR1")
    run.wait_for_output(b"20\n")
    run.process.send_signal(signal.SIGUSR1)
    run.wait_for((tmp_path / "state").exists)
    seen = run.output.count(b"\n")
    run.wait_for(lambda: run.output.count(b"\n") > seen + 5)  # it goes on
    assert run.end(signal.SIGKILL) == -signal.SIGKILL
    done = _resume(tmp_path, (tmp_path / "state").as_uri())  # fsspec reads it
    _check_rest(tmp_path, run.output, done)
    assert 20 <= int(done.stdout.split()[0]) <= seen + 1


def test_saved_by_an_interruption_and_nothing_is_done_twice(tmp_path: Path) -> None:
    run = _count(tmp_path)
    output = b""
    for number in (b"20\n", b"70\n"):
        run.wait_for_output(number)
        assert run.end(signal.SIGINT) == 130
        output += run.output
        run = Run(tmp_path, "resume", "--save", "state", "state")
    run.process.communicate(timeout=_PATIENCE)
    assert run.process.returncode == _LAST % 10
    assert output + run.output == _numbers(1)
    assert (tmp_path / "work" / "count").read_bytes() == _numbers(1)


def test_killed_at_any_moment_while_it_is_saved_again_and_again(tmp_path: Path) -> None:
    """The file is the state before or the one after, whole."""
    moments = random.Random(14)
    output, state = b"", tmp_path / "state"
    run = _count(tmp_path, "--save-every", "0.005")
    for _ in range(6):
        run.wait_for_change(state)
        time.sleep(moments.uniform(0, 0.02))
        run.end(signal.SIGKILL)
        output = run.output or output
        caesura.Snapshot.load(state)
        run = Run(tmp_path, "resume", "--save", "state", "--save-every", "0.005", "state")
    run.end(signal.SIGKILL)
    done = _resume(tmp_path, "state")
    assert done.returncode == _LAST % 10 and done.stdout == _numbers(int(done.stdout.split()[0]))
    assert (tmp_path / "work" / "count").read_bytes() == _numbers(1)


def test_a_program_that_waits_for_input_is_saved_at_once(tmp_path: Path) -> None:
    program = str(c_guest_file("host_program"))
    options = ("--save", "state", "--save-on", "usr1", "--env", "NAME=value")
    run = Run(tmp_path, "run", *options, program, "s1", "c", "eNAME", "x5", stdin=subprocess.PIPE)
    run.wait_for_output(b"slept 1\n")
    for _ in range(3):  # it may not have waited yet when the first arrives
        with run.changing(tmp_path / "state"):
            run.process.send_signal(signal.SIGUSR1)
    run.end(signal.SIGKILL)
    done = _resume(tmp_path, "state", given=b"one\ntwo\n")
    assert (done.returncode, done.stdout, done.stderr) == (5, b"line one\nline two\nenv value\n", b"")


def test_a_program_from_standard_input_brings_its_module_along(tmp_path: Path) -> None:
    run = Run(tmp_path, "run", "--save", "state", "-", "s1", "s5000", "x4", stdin=subprocess.PIPE)
    assert run.process.stdin is not None
    run.process.stdin.write(c_guest("host_program"))
    run.process.stdin.close()
    run.process.stdin = None
    run.wait_for_output(b"slept 1\n")
    run.process.send_signal(signal.SIGINT)
    _, error = run.process.communicate(timeout=_PATIENCE)
    assert run.process.returncode == 130
    assert error.decode().splitlines() == ["caesura: the program is saved in 'state'", "caesura: error: interrupted"]
    done = _resume(tmp_path, "--timeout", "0.2", "state")
    assert done.returncode == 124, "it sleeps on"


def test_a_program_that_computes_is_stopped_by_the_second_interruption(tmp_path: Path) -> None:
    run = Run(tmp_path, "run", "--save", "state", str(c_guest_file("host_program")), "l")
    run.wait_for_output(b"spinning\n")
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGINT)
    while run.process.poll() is None:  # two signals may be one, where the process did not run in between
        time.sleep(0.05)
        run.process.send_signal(signal.SIGINT)
    assert run.end(signal.SIGINT) == 130
    assert not (tmp_path / "state").exists()


def test_what_cannot_be_saved_goes_on(tmp_path: Path) -> None:
    program = str(c_guest_file("counting"))
    folder = tmp_path / "folder"
    folder.mkdir()
    options = ("--dir", "work::/data", "--save", str(folder / "state"), "--save-on", "SIGUSR1")
    run = Run(tmp_path, "run", *options, program, str(_LAST), _PAUSE)
    run.wait_for_output(b"20\n")
    folder.rmdir()
    run.process.send_signal(signal.SIGUSR1)
    _, error = run.process.communicate(timeout=_PATIENCE)
    assert run.process.returncode == _LAST % 10 and run.output == _numbers(1)
    assert error.startswith(b"caesura: warning: the program goes on, and could not be saved: cannot write")


def test_folders_lie_elsewhere(tmp_path: Path) -> None:
    run = _count(tmp_path)
    run.wait_for_output(b"20\n")
    run.end(signal.SIGINT)
    (tmp_path / "work").rename(tmp_path / "moved")
    done = _resume(tmp_path, "state")
    assert done.returncode == 1 and b"cannot give the guest the folder" in done.stderr
    done = _resume(tmp_path, "--dir", "moved::/data", "state")
    assert done.returncode == _LAST % 10 and run.output + done.stdout == _numbers(1)
    assert (tmp_path / "moved" / "count").read_bytes() == _numbers(1)


def test_files_that_were_replaced(tmp_path: Path) -> None:
    run = _count(tmp_path)
    run.wait_for_output(b"20\n")
    run.end(signal.SIGINT)
    file = tmp_path / "work" / "count"
    file.with_name("copy").write_bytes(file.read_bytes())
    file.with_name("copy").replace(file)
    done = _resume(tmp_path, "state")
    assert done.returncode == 1 and b"--other-files of caesura resume" in done.stderr
    done = _resume(tmp_path, "--other-files", "state")
    assert done.returncode == _LAST % 10 and run.output + done.stdout == _numbers(1)
    assert file.read_bytes() == _numbers(1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "--save-on", "SIGUSR1", "x.wasm"], 2, "--save-on says when the program is saved"),
        (["run", "--save-every", "1", "x.wasm"], 2, "--save-every says when"),
        (["run", "--save", "s", "--save-every", "0", "x.wasm"], 2, "--save-every 0: expected a positive number"),
        (["run", "--save", "s", "--save-on", "SIGNONE", "x.wasm"], 2, "expected the name of a signal"),
        (["run", "--save", "s", "--save-on", "SIGKILL", "x.wasm"], 1, "nobody can be told of SIGKILL"),
        (["run", "--save", "missing/s", "x.wasm"], 1, "cannot write 'missing/s': there is no folder"),
        (["run", "--save", "", "x.wasm"], 1, "its name is empty"),
        (["run", "--save", ".", "x.wasm"], 1, "cannot write '.': it is a folder"),
        (["run", "--save", "nowhere://state", "x.wasm"], 1, "fsspec cannot open 'nowhere://state'"),
        (["run", "--save", "file:///missing/s", "x.wasm"], 1, "cannot write '/missing/s': there is no folder"),
        (["resume", "-"], 2, "standard input is the program's"),
        (["resume", "missing"], 1, "cannot read 'missing'"),
        (["resume", __file__], 1, "this is not a saved state of caesura"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = subprocess.run([*_COMMAND, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def _saved_asleep(program: bytes, place: Path, *arguments: str) -> None:
    """Save a program that `caesura.load` runs, once it waits."""

    async def main() -> None:
        guest = await caesura.load(program, wasi=caesura.Wasi(("program", *arguments), stdin=b""))
        task = asyncio.create_task(guest.run())
        while not guest.suspended:
            await asyncio.sleep(0.001)
        guest.snapshot().save(place)
        task.cancel()

    asyncio.run(main())


# Reads six bytes, prints them, sleeps for 5 ms, and begins anew until there is nothing more.
_READER: Final = b"""
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\64\\00\\00\\00\\06\\00\\00\\00")
  (data (i32.const 40) "\\01")
  (data (i32.const 48) "\\40\\4b\\4c")
  (func (export "_start")
    (loop $again
      (i32.store (i32.const 4) (i32.const 6))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.load (i32.const 8))
        (then
          (i32.store (i32.const 4) (i32.load (i32.const 8)))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
          (drop (call $poll (i32.const 24) (i32.const 200) (i32.const 1) (i32.const 300)))
          (br $again))))))
"""


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGUSR1, signal.SIGKILL)])
def test_a_file_on_standard_input_is_read_on(tmp_path: Path, signals: tuple[int, ...]) -> None:
    (tmp_path / "reader.wat").write_bytes(_READER)
    lines = [b"%05d\n" % number for number in range(20_000)]
    (tmp_path / "lines").write_bytes(b"".join(lines))
    with (tmp_path / "lines").open("rb") as given:
        run = Run(tmp_path, "run", "--save", "state", "--save-on", "SIGUSR1", "reader.wat", stdin=given.fileno())
        run.wait_for_output(lines[5])
        if len(signals) > 1:
            run.process.send_signal(signals[0])
            run.wait_for((tmp_path / "state").exists)
        run.end(signals[-1])
    count = len(run.output) // 6
    assert run.output == b"".join(lines[:count])
    (tmp_path / "lines").write_bytes(b"".join(lines[: count + 5]))  # it is the same file still
    with (tmp_path / "lines").open("rb") as given:
        resumed = Run(tmp_path, "resume", "state", stdin=given.fileno())
        resumed.process.communicate(timeout=_PATIENCE)
    first = lines.index(resumed.output[:6])
    assert resumed.output == b"".join(lines[first : count + 5])
    assert first == count if signals == (signal.SIGINT,) else 0 < first <= count
    (tmp_path / "other").write_bytes(b"".join(lines[: count + 5]))
    for options, begin in (((), 0), (("--other-files",), first)):
        with (tmp_path / "other").open("rb") as given:
            resumed = Run(tmp_path, "resume", *options, "state", stdin=given.fileno())
            resumed.process.communicate(timeout=_PATIENCE)
        assert resumed.output == b"".join(lines[begin : count + 5])


def test_what_a_guest_of_the_library_was_goes_on(tmp_path: Path) -> None:
    """It may be suspended in fewer functions than `caesura run --save` lets programs be; and a trap is a trap."""
    program = c_guest_file("host_program")
    _saved_asleep(program.read_bytes(), tmp_path / "state", "s100", "c", "t")
    done = _resume(tmp_path, "--module", str(program), "state", given=b"typed\n")
    assert (done.returncode, done.stdout) == (134, b"slept 100\nline typed\n")
    assert done.stderr.startswith(b"caesura: error: state: the guest trapped in function"), done.stderr
    done = _resume(tmp_path, "state")
    assert done.returncode == 1 and b"the snapshot does not say where its module is" in done.stderr


def test_another_module_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "program.wasm"
    program.write_bytes(c_guest("host_program"))
    run = Run(tmp_path, "run", "--save", "state", str(program), "s5", "c", stdin=subprocess.PIPE)
    run.wait_for_output(b"slept 5\n")
    assert run.end(signal.SIGINT) == 130
    program.write_bytes(c_guest("counting"))
    done = _resume(tmp_path, "state")
    assert done.returncode == 1 and b"the snapshot is of another module" in done.stderr, done.stderr
    assert done.stdout == b""
    (tmp_path / "other.wasm").write_bytes(b"no module")
    for other, message in (
        (program, b"this is not the module"),
        (tmp_path / "other.wasm", b"not a WebAssembly module"),
    ):
        done = _resume(tmp_path, "--module", str(other), "state")
        assert done.returncode == 1 and done.stderr.startswith(b"caesura: error: %s: " % os.fsencode(other)), (
            done.stderr
        )
        assert message in done.stderr


def test_a_function_that_was_invoked_prints_its_results(tmp_path: Path) -> None:
    text = """(module
      (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
      (memory (export "memory") 1)
      (func (export "sum") (param i32 i32) (result i32)
        (local $turn i32)
        (loop $again
          (drop (call $yield))
          (local.set $turn (i32.add (local.get $turn) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $turn) (i32.const 20000))))
        (i32.add (local.get 0) (local.get 1))))"""
    (tmp_path / "sum.wat").write_text(text)
    run = Run(tmp_path, "run", "--save", "state", "--save-every", "0.01", "--invoke", "sum", "sum.wat", "20", "22")
    run.wait_for((tmp_path / "state").exists)
    run.end(signal.SIGKILL)
    done = _resume(tmp_path, "state")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"42\n", b"")
