"""What cannot be written: full disks, folders, missing folders. Nothing is half-written, and an old file stays."""

from __future__ import annotations

import fcntl
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.running import MODULE, caesura_command


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "in.wasm"
    file.write_bytes(MODULE)
    return file


def small_files() -> None:
    """Let this process write files of 100 bytes at most, which is what a full disk looks like."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


def test_full_disk_leaves_the_old_file(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wasm"
    out.write_bytes(b"old")
    done = caesura_command("instrument", source, "-o", out, limit=small_files)
    assert done.code == 1
    assert done.error_line() == f"cannot write '{out}': File too large"
    assert out.read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "out.wasm"]


def test_full_disk_leaves_no_new_file(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "out.wat", limit=small_files)
    assert done.code == 1
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_full_device(source: Path) -> None:
    done = caesura_command("instrument", source, "-o", "/dev/full")
    assert done.code == 1
    assert done.error_line() == "cannot write to '/dev/full': No space left on device"
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("command", ["instrument", "print"])
def test_full_standard_output(command: str, source: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "caesura", command, str(source)], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"caesura: error: cannot write to standard output: No space left on device\n"


def test_missing_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "none" / "out.wasm"
    done = caesura_command("instrument", source, "-o", out)
    assert done.code == 1
    assert done.error_line() == f"cannot write '{out}': No such file or directory"


def test_folder_as_output(source: Path, tmp_path: Path) -> None:
    done = caesura_command("instrument", source, "-o", tmp_path / "folder")
    assert done.code == 1
    assert done.error_line() == f"cannot write '{tmp_path / 'folder'}': it is a folder"


@pytest.mark.parametrize("command", ["instrument", "print"])
def test_empty_names(command: str, source: Path) -> None:
    done = caesura_command(command, source, "-o", "")
    assert done.code == 1
    assert done.error_line() == "cannot write a file: its name is empty ('-' is standard output)"
    done = caesura_command(command, "", "-o", "-")
    assert done.code == 1
    assert done.error_line() == "cannot read a file: its name is empty"


def test_loop_of_links(source: Path, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    done = caesura_command("instrument", source, "-o", tmp_path / "a")
    assert done.code == 1
    assert done.error_line().startswith(f"cannot write '{tmp_path / 'a'}': ")


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while waiting for input: exit code 130 and no file."""
    command = [sys.executable, "-m", "caesura", "instrument", "-", "-o", str(tmp_path / "out.wasm")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(MODULE[:8])
        process.stdin.flush()
        _wait_until_read(process.stdin.fileno())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == b"caesura: error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


def _wait_until_read(pipe: int) -> None:
    """Wait until all that was written to a pipe has been read, so that its reader waits for more."""
    deadline = time.monotonic() + 30
    while struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]:
        assert time.monotonic() < deadline, "the command never reads its input"
        time.sleep(0.01)
