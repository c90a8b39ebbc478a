"""Wrong usage, versions, and bugs of our own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

import caesura
from caesura.cli import main
from caesura.cli.command import is_compiled
from tests.cli.running import MODULE, caesura_command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND; see `caesura --help`"),
        (("conduct",), "argument COMMAND: invalid choice: 'conduct' (choose from "),
        (("instrument",), "the following arguments are required: IN; see `caesura instrument --help`"),
        (
            ("instrument", "-", "--import", "a.b"),
            "unrecognized arguments: --import a.b (did you mean --imports?); see `caesura instrument --help`",
        ),
        (
            ("instrument", "-", "--remove_list=a"),
            "--remove_list=a (did you mean --remove-list?); see `caesura instrument",
        ),
        (("instrument", "-", "second"), "unrecognized arguments: second; see `caesura instrument --help`"),
        (("print", "-", "--ouput", "a"), "--ouput a (did you mean --output?); see `caesura print --help`"),
        (("instrument", "-", "--secondary-memory-size", "2"), "--in-secondary-memory adds: give that too"),
        (("instrument", "-", "--secondary-memory-maximum", "1"), "--in-secondary-memory adds: give that too"),
        (
            ("instrument", "-", "--in-secondary-memory", "--secondary-memory-maximum", "9"),
            "--secondary-memory-maximum is for --thunks: nothing else lets that memory grow",
        ),
        (("instrument", "-", "--memory", "memory", "--in-secondary-memory"), "--memory excludes --in-secondary-memory"),
        (("instrument", "-", "--two-bodies", "@/none/such"), "cannot read the list file '/none/such': No such file"),
        (("instrument", "-", "--only-list", "@"), "cannot read a list file: its name is empty"),
        (("instrument", "-", "--optimize", "beauty"), "invalid choice: 'beauty'"),
        (("instrument", "-", "--secondary-memory-size", "two"), "invalid int value: 'two'"),
        (
            ("instrument", "-", "--in-secondary-memory", "--secondary-memory-size", "0"),
            "the size of the secondary memory is 0 pages",
        ),
        (
            ("instrument", "-", "--only-list", "a", "--add-list", "b"),
            "It makes no sense to use both an asyncify only-list together",
        ),
        (("instrument", "-", "--only-list", "a", "--remove-list", "b"), "It makes no sense to use both"),
        (("instrument", "-", "--import-globals", "--export-globals"), "exclude each other"),
        (("instrument", "-", "--imports", "f(a"), "the brackets in the list 'f(a' do not match"),
        (("instrument", "-", "--imports", "@/none/such"), "cannot read the list file '/none/such': No such file"),
        (("instrument", "-", "--quiet", "--verbose"), "--quiet cannot be combined with --verbose or --json"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    done = caesura_command(*arguments, stdin=MODULE)
    assert done.code == 2
    assert message in done.error_line()


def test_lists_that_contradict_each_other_in_the_module() -> None:
    done = caesura_command("instrument", "-", "--add-list", "in*", "--remove-list", "*er", stdin=MODULE)
    assert done.code == 1
    assert done.error_line() == "standard input: inner is found in the add-list and in the remove-list"


def test_imported_function_on_a_list() -> None:
    done = caesura_command("instrument", "-", "--only-list", "env.sleep", stdin=MODULE)
    assert done.code == 1
    assert (
        "onlylist contained an imported function name (use the import list for imports): env.sleep" in done.error_line()
    )


def test_no_binary_on_a_terminal() -> None:
    control, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "caesura", "instrument", "-"],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(terminal)
    os.close(control)
    assert done.returncode == 2
    assert b"a binary module is not for a terminal" in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("instrument", "--help"), ("print", "--help")])
def test_help(arguments: tuple[str, ...]) -> None:
    done = caesura_command(*arguments)
    assert done.code == 0
    assert done.out.startswith(b"usage: caesura")


def test_version() -> None:
    done = caesura_command("--version")
    form = "compiled" if is_compiled() else "interpreted"
    python = re.escape(sys.version.split()[0])
    assert re.fullmatch(
        rf"caesura {re.escape(caesura.__version__)} \({form}\), Python {python}, wasmtime \d+(\.\d+)*\n",
        done.out.decode(),
    )


def test_what_a_run_imports(tmp_path: Path) -> None:
    """Starting up is quick because the engine, which takes longest, is only imported for text."""
    code = (
        "import sys; from caesura.cli import main; "
        f"main(['instrument', '-', '-o', {str(tmp_path / 'out.wasm')!r}, '--quiet']); "
        "print([name for name in ('wasmtime', 'ctypes', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], input=MODULE, capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_a_bug_is_reported_as_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(caesura, "instrument", fail)
    source = tmp_path / "in.wasm"
    source.write_bytes(MODULE)
    arguments = ["instrument", str(source), "-o", str(tmp_path / "out.wasm")]
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert message == (
        "caesura: error: unexpected KeyError: 'lost' "
        "(this is a bug in caesura; please report it with the module that shows it)\n"
    )
    for way in ("argument", "environment"):
        if way == "environment":
            monkeypatch.setenv("CAESURA_DEBUG", "1")
        assert main([*arguments, "--debug"] if way == "argument" else arguments) == 1
        assert "Traceback (most recent call last)" in capsys.readouterr().err
