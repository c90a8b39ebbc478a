"""`caesura run` when nobody reads what the program writes, and on FIFOs that have no other end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.guests import c_guest

pytestmark = pytest.mark.one_form

CAESURA: Final = (sys.executable, "-m", "caesura")

# Writes for ever, and never looks whether that works, as most programs.
TALKER: Final = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\64\\00\\00\\00\\05\\00\\00\\00")
  (data (i32.const 100) "talk\\n")
  (func (export "_start")
    (loop $again
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
      (br $again))))
"""


@pytest.fixture
def talker(tmp_path: Path) -> str:
    (tmp_path / "talker.wat").write_text(TALKER)
    return str(tmp_path / "talker.wat")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("program") / "program.wasm"
    file.write_bytes(c_guest("host_program"))
    return str(file)


def full_pipe() -> tuple[int, int]:
    """Return the ends of a pipe into which nothing more can be written."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    while select.select([], [writing], [], 0)[1]:
        os.write(writing, bytes(65536))
    os.set_blocking(writing, True)
    return reading, writing


@pytest.mark.parametrize("errors_too", [False, True])
def test_a_time_limit_where_nobody_reads(talker: str, errors_too: bool) -> None:
    reading, writing = full_pipe()
    errors = writing if errors_too else subprocess.PIPE
    done = subprocess.run(
        [*CAESURA, "run", "--timeout", "0.2", talker], stdout=writing, stderr=errors, timeout=60, check=False
    )
    os.close(writing)
    os.close(reading)
    assert done.returncode == 124
    assert errors_too or done.stderr == b"caesura: error: the program did not end within 0.2 seconds\n"


@pytest.mark.parametrize("errors_too", [False, True])
def test_an_interruption_where_nobody_reads(talker: str, errors_too: bool) -> None:
    reading, writing = os.pipe()
    errors = writing if errors_too else subprocess.PIPE
    with subprocess.Popen([*CAESURA, "run", talker], stdout=writing, stderr=errors) as process:
        while select.select([], [writing], [], 0)[1]:  # until the program has filled it
            select.select([], [], [], 0.01)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    os.close(writing)
    os.close(reading)
    assert process.returncode == 130
    assert errors_too or said == b"caesura: error: interrupted\n"


def test_a_program_whose_reader_goes_ends_as_others_do(talker: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(CAESURA)} run {talker} | head -2; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (141, b"talk\ntalk\n", b"")


def test_a_program_that_writes_to_what_is_closed(program: str) -> None:
    """What it writes goes nowhere, and into none of the files that are open."""
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(CAESURA)} run {program} s1 x3 >&- <&-"], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.parametrize("what", ["program", "opened"])
def test_a_time_limit_on_fifos_without_another_end(program: str, what: str, tmp_path: Path) -> None:
    """A program that comes from one, and a program that opens one: the operating system waits for the other end."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = [str(fifo)] if what == "program" else ["--dir", f"{tmp_path}::/data", program, "f/data/fifo"]
    done = subprocess.run([*CAESURA, "run", "--timeout", "0.2", *words], capture_output=True, timeout=60, check=False)
    assert done.returncode == 124
    assert done.stderr == b"caesura: error: the program did not end within 0.2 seconds\n"


def test_an_interruption_while_the_program_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen([*CAESURA, "run", tmp_path / "fifo"], stderr=subprocess.PIPE) as process:
        writing = os.open(tmp_path / "fifo", os.O_WRONLY)  # from here on the command waits for what is written
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        os.close(writing)
    assert (process.returncode, errors) == (130, b"caesura: error: interrupted\n")


def test_an_interruption_while_a_program_opens_a_fifo(program: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    command = [*CAESURA, "run", "--dir", f"{tmp_path}::/data", program, "s1", "f/data/fifo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"slept 1\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"caesura: error: interrupted\n")
