"""Standard streams that are closed, that nobody reads, and paths that stand for them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from caesura import instrument
from caesura.cli.streams import READER_GONE
from tests.cli.running import MODULE, caesura_command
from tests.support.paths import npm_file

pytestmark = pytest.mark.one_form

CAESURA: Final = f"{sys.executable} -m caesura"
WASM_OPT: Final = f"{sys.executable} -m caesura.cli.wasm_opt"
INSTRUMENTED: Final = instrument(MODULE).module

# Buffered as it is for users, whatever the tests run with.
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.wasm").write_bytes(MODULE)
    return tmp_path


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash; CAESURA and WASM_OPT in it are the commands."""
    line = re.sub(r"\bCAESURA\b", CAESURA, re.sub(r"\bWASM_OPT\b", WASM_OPT, line))
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, env=ENVIRONMENT, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("CAESURA instrument in.wasm -o /dev/stdout --quiet | cat", ""),
        ("CAESURA instrument in.wasm -o /dev/fd/1 --quiet | cat", ""),
        ("CAESURA instrument in.wasm -o /proc/self/fd/1 --quiet | cat", ""),
        ("CAESURA instrument in.wasm -o /dev/stderr --quiet 2>&1 | cat", ""),
        ("CAESURA instrument in.wasm -o /dev/stdout --quiet > out", "out"),
        (
            "CAESURA instrument in.wasm -o >(cat > new; mv new out) --quiet; until [ -e out ]; do sleep 0.02; done",
            "out",
        ),
        ("CAESURA instrument in.wasm -o /dev/fd/7 --quiet 7> out", "out"),
        ("mkfifo pipe; cat pipe > out & CAESURA instrument in.wasm -o pipe --quiet; wait", "out"),
        ("CAESURA instrument <(cat in.wasm) -o out --quiet", "out"),
        ("CAESURA instrument /dev/stdin -o out --quiet < in.wasm", "out"),
        ("CAESURA instrument /dev/fd/9 -o out --quiet 9< in.wasm", "out"),
    ],
)
def test_paths_that_stand_for_open_files(line: str, file: str, folder: Path) -> None:
    done = shell(line, folder)
    assert done.returncode == 0, done.stderr
    assert ((folder / file).read_bytes() if file else done.stdout) == INSTRUMENTED
    assert sorted(set(os.listdir(folder)) - {"pipe"}) == sorted({"in.wasm", file} - {""})


def test_standard_output_that_is_a_file_is_continued(folder: Path) -> None:
    """Replacing the file, or opening it anew, would lose what others write to it."""
    shell("(echo head; CAESURA instrument in.wasm -o /dev/stdout --quiet; echo tail) > out", folder)
    assert (folder / "out").read_bytes() == b"head\n" + INSTRUMENTED + b"tail\n"


def test_wasm_opt_writes_to_standard_output_by_its_path(folder: Path) -> None:
    plain = shell("WASM_OPT in.wasm --asyncify -o -", folder).stdout
    assert plain.startswith(b"\0asm")
    assert shell("WASM_OPT in.wasm --asyncify -o /dev/stdout | cat", folder).stdout == plain


@pytest.mark.parametrize("passes", ["--asyncify", "--asyncify -O1 --vacuum", "-O1 --asyncify"])
def test_wasm_opt_and_the_real_one_take_what_the_shell_opens(passes: str, folder: Path) -> None:
    real = str(npm_file(".bin/wasm-opt"))
    line = f"CAESURA_WASM_OPT={real} WASM_OPT INPUT {passes} -o OUTPUT"
    assert shell(line.replace("INPUT", "in.wasm").replace("OUTPUT", "plain"), folder).returncode == 0
    line = line.replace("INPUT", "<(cat in.wasm)").replace("OUTPUT", ">(cat > new; mv new out)")
    done = shell(f"{line} && until [ -e out ]; do sleep 0.02; done", folder)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (folder / "out").read_bytes() == (folder / "plain").read_bytes()


def test_standard_streams_that_are_sockets(folder: Path) -> None:
    """A socket cannot be opened by its path."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(MODULE)
        ours.shutdown(socket.SHUT_WR)
        subprocess.run(
            [*CAESURA.split(), "instrument", "/dev/stdin", "-o", "/dev/stdout", "--quiet"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            check=True,
            timeout=120,
        )
        theirs.close()
        received = b""
        while chunk := ours.recv(65536):
            received += chunk
    assert received == INSTRUMENTED


@pytest.mark.parametrize("path", ["/dev/fd/77", "/dev/fd/999999999"])
def test_descriptors_that_are_not_open(path: str, folder: Path) -> None:
    done = caesura_command("instrument", folder / "in.wasm", "-o", path)
    assert (done.code, done.error_line()) == (1, f"cannot write to '{path}': Bad file descriptor")
    done = caesura_command("instrument", path, "-o", folder / "out")
    assert (done.code, done.error_line()) == (1, f"cannot read '{path}': Bad file descriptor")


@pytest.mark.parametrize("line", ["CAESURA --help", "CAESURA run --help", "CAESURA --version", "CAESURA print in.wasm",
                                  "CAESURA instrument in.wasm --quiet", "WASM_OPT --help", "WASM_OPT --version",
                                  "WASM_OPT in.wasm --asyncify -o -",
                                  "WASM_OPT in.wasm --asyncify -o out -pa asyncify-verbose"])  # fmt: skip
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_is_gone(line: str, unbuffered: str, folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = line.replace("CAESURA", CAESURA).replace("WASM_OPT", WASM_OPT).split()
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": unbuffered, "CAESURA_WASM_OPT": ""}
    done = subprocess.run(
        words, stdout=writing, stderr=subprocess.PIPE, cwd=folder, env=environment, check=False, timeout=120
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (READER_GONE, b"")


def test_messages_that_nobody_reads_change_nothing(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*CAESURA.split(), "instrument", "in.wasm", "-o", "out", "--verbose"]
    done = subprocess.run(command, stderr=writing, cwd=folder, env=ENVIRONMENT, check=False, timeout=120)
    os.close(writing)
    assert done.returncode == 0
    assert (folder / "out").read_bytes() == INSTRUMENTED


@pytest.mark.parametrize("line", ["CAESURA --help", "CAESURA --version", "WASM_OPT --help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told(line: str, unbuffered: str, folder: Path) -> None:
    done = shell(f"export PYTHONUNBUFFERED={unbuffered}; {line} > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr.endswith(b": error: cannot write to standard output: No space left on device\n")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("CAESURA instrument in.wasm -o - >&-", 1, "cannot use standard output: it is closed"),
        ("CAESURA instrument in.wasm -o /dev/stdout >&-", 1, "cannot use standard output: it is closed"),
        ("CAESURA instrument in.wasm -o out --json >&-", 1, "cannot use standard output: it is closed"),
        ("CAESURA print in.wasm >&-", 1, "cannot use standard output: it is closed"),
        ("CAESURA instrument - -o out <&-", 1, "cannot use standard input: it is closed"),
        ("CAESURA instrument in.wasm -o out --quiet <&- >&-", 0, ""),
        ("CAESURA instrument in.wasm -o out <&- >&- 2>&-", 0, ""),
        ("CAESURA instrument none.wasm -o out <&- >&- 2>&-", 1, ""),
        ("CAESURA --help >&-", 0, ""),
        ("CAESURA --version >&- 2>&-", 0, ""),
        ("WASM_OPT --help >&-", 0, ""),
        ("WASM_OPT in.wasm --asyncify -o - >&-", 1, "cannot use standard output: it is closed"),
        ("WASM_OPT in.wasm --asyncify -o out >&- 2>&- -pa asyncify-verbose", 0, ""),
    ],
)
def test_closed_streams(line: str, code: int, message: str, folder: Path) -> None:
    done = shell(line, folder)
    expected = f"{'caesura-wasm-opt' if 'WASM_OPT' in line else 'caesura'}: error: {message}\n" if message else ""
    assert (done.returncode, done.stdout, done.stderr.decode()) == (code, b"", expected)
    if code == 0 and "out" in line:
        assert (folder / "out").read_bytes().startswith(b"\0asm")
    else:
        assert os.listdir(folder) == ["in.wasm"]


def test_a_terminal_by_its_path(folder: Path) -> None:
    control, terminal = os.openpty()
    command = [*CAESURA.split(), "instrument", "in.wasm", "-o", "/dev/stdout"]
    done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, cwd=folder, check=False, timeout=120)
    os.close(terminal)
    os.close(control)
    assert done.returncode == 2
    assert b"a binary module is not for a terminal" in done.stderr


def test_an_output_that_nobody_reads_can_be_interrupted(folder: Path) -> None:
    """Ctrl-C while a pipe is full."""
    large = "(module " + '(data "' + "x" * 300_000 + '"))'
    (folder / "large.wat").write_text(large)
    reading, writing = os.pipe()
    with subprocess.Popen(
        [*CAESURA.split(), "print", "large.wat"], stdout=writing, stderr=subprocess.PIPE, cwd=folder
    ) as process:
        os.close(writing)
        os.read(reading, 1)  # it writes
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    os.close(reading)
    assert (process.returncode, errors) == (130, b"caesura: error: interrupted\n")
