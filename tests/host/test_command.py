"""`caesura run` and `caesura cache clear`, as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.guests import c_guest
from tests.support.paths import GUESTS

COMMAND: Final = (sys.executable, "-c", "import sys; from caesura.cli import main; sys.exit(main())")


def caesura(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], input=given, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("program") / "program.wasm"
    file.write_bytes(c_guest("host_program"))
    return str(file)


def test_the_program_of_the_article() -> None:
    done = caesura("run", str(GUESTS / "wat" / "blog.wat"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n2\n3\n", "")


def test_a_program_with_everything(program: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("found")
    done = caesura(
        "run", "--dir", f"{tmp_path}::/data", "--env", "NAME=value", program,
        "s1", "f/data/note", "eNAME", "c", "--env", "x3", given="typed\n",
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == "slept 1\nfile found\nenv value\nline typed\n"
    assert done.stderr == "what is --env?\n"


def test_exports_are_called_by_name(tmp_path: Path) -> None:
    file = tmp_path / "add.wat"
    file.write_text(
        """(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
          (func (export "both") (param f64) (result f64 i64) local.get 0 i64.const 7))"""
    )
    assert caesura("run", "--invoke", "add", str(file), "20", "0x16").stdout == "42\n"
    assert caesura("run", "--invoke", "both", str(file), "0.5").stdout == "0.5\n7\n"
    for arguments, message in [
        (("--invoke", "add", str(file), "20"), "add takes 2 arguments (i32, i32), not 1"),
        (("--invoke", "add", str(file), "20", "x"), "argument 'x' of add is no i32"),
        (("--invoke", "sub", str(file)), "exports no function 'sub' (exported: add, both)"),
        ((str(file),), "choose an exported function with --invoke"),
        (("--stack-size", "0", str(file)), "--stack-size 0: expected"),
    ]:
        done = caesura("run", *arguments)
        assert done.returncode in (1, 2) and message in done.stderr and done.stderr.count("\n") == 1


def test_a_trap_shows_where(program: str) -> None:
    done = caesura("run", program, "t")
    assert done.returncode == 134
    assert done.stderr.startswith("caesura: error: the guest trapped") and "unreachable" in done.stderr


@pytest.mark.parametrize("what", ["l", "s60000"])
def test_a_time_limit_ends_everything(program: str, what: str) -> None:
    done = subprocess.run(
        [*COMMAND, "run", "--timeout", "0.5", program, what],
        stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 124


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent in another way")
@pytest.mark.parametrize("what", [("s1", "l"), ("s1", "s60000"), ("s1", "c")])
def test_an_interruption_ends_everything(program: str, what: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*COMMAND, "run", program, *what], stdin=reader, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "slept 1\n"
        if what[1] == "l":
            assert running.stdout.readline() == "spinning\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 130
    os.close(reader)
    os.close(writer)


def test_the_cache_is_cleared(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "cache"))
    assert caesura("run", "--no-cache", program).returncode == 0
    assert not (tmp_path / "cache").exists()
    assert caesura("run", program).returncode == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1
    done = caesura("cache", "clear")
    assert done.returncode == 0 and done.stdout.startswith("removed 1 entry, ")
    assert list((tmp_path / "cache").iterdir()) == []
