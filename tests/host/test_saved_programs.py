"""WASI programs that are saved in the middle: they go on elsewhere with the files that they had open."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import caesura
from caesura.host.wasi.pausing import PausingWasi
from tests.support.guests import c_guest, c_guest_file
from tests.support.hops import NOT_ENDED, hop_until

pytestmark = pytest.mark.one_form

_ARGUMENTS: Final = ("files", "first", "second")
_EXIT_CODE: Final = 7


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _run_at_once(folder: Path) -> bytes:
    """Run the program without saving it; return its output."""
    output = bytearray()

    async def main() -> int:
        wasi = caesura.Wasi(
            _ARGUMENTS, directories={"/data": folder}, stdout=output.extend, environment={"COLOR": "red"}
        )
        async with await caesura.load(c_guest("files"), wasi=wasi) as guest:
            return await guest.run()

    assert asyncio.run(main()) == _EXIT_CODE
    return bytes(output)


def test_a_program_with_files_is_saved_at_every_call(tmp_path: Path) -> None:
    """In one process, a new guest after each call; nothing that it prints or writes differs."""
    once, often = tmp_path / "once", tmp_path / "often"
    once.mkdir()
    often.mkdir()
    expected = _run_at_once(once)
    output = bytearray()

    def make_wasi() -> PausingWasi:
        return PausingWasi(_ARGUMENTS, directories={"/data": often}, stdout=output.extend, environment={"COLOR": "red"})

    state, code, calls = asyncio.run(hop_until(c_guest("files"), None, make_wasi, 10_000))
    assert code == _EXIT_CODE and state == b""
    assert bytes(output) == expected
    assert _contents(often) == _contents(once)
    assert calls > 150


def test_a_program_with_files_goes_through_processes(tmp_path: Path) -> None:
    """The same, in a new process after every 50 calls."""
    once, often, state = tmp_path / "once", tmp_path / "often", tmp_path / "state"
    once.mkdir()
    often.mkdir()
    expected = _run_at_once(once)
    output = b""
    module = c_guest_file("files")
    processes = 0
    code = NOT_ENDED
    while code == NOT_ENDED:
        command = [sys.executable, "-m", "tests.support.hops", *map(str, (module, state, often)), "50", *_ARGUMENTS]
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
        code = done.returncode
        output += done.stdout
        processes += 1
        assert code in (NOT_ENDED, _EXIT_CODE), done.stderr.decode()
    assert output == expected
    assert _contents(often) == _contents(once)
    assert processes > 3
