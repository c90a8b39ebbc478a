"""Completion scripts, made from the parser and run by the shell that they are for."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from caesura.cli.command import parser_of_all
from tests.cli.running import caesura_command


def script(shell: str) -> str:
    done = caesura_command("completion", shell)
    assert (done.code, done.err) == (0, "")
    return done.out.decode()


def all_options() -> list[str]:
    """Return every option of every sub-command."""
    (commands,) = (action for action in parser_of_all()._actions if isinstance(action, argparse._SubParsersAction))
    options = [
        option
        for parser in commands.choices.values()
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    ]
    assert len(options) > 30
    return [*commands.choices, *options]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_option_is_in_every_script(shell: str) -> None:
    text = script(shell)
    for word in all_options():
        assert (word.removeprefix("--") if shell == "fish" else word) in text, word


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_understands_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (tmp_path / "script").write_text(script(shell))
    done = subprocess.run([shell, "-n", "script"], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


LINES = [
    ("c", ["cache", "completion"]),
    ("instrument --ignore-in", ["--ignore-indirect"]),
    ("instrument --optimize s", ["size", "speed"]),
    ("instrument in", ["in.wasm"]),
    ("instrument in.wasm -o o", ["other.txt"]),
    ("run --timeo", ["--timeout"]),
    ("run --dir f", ["folder"]),
    ("run in", ["in.wasm"]),
    ("cache c", ["clear"]),
    ("completion ", ["bash", "zsh", "fish"]),
]


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_bash_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "script").write_text(script("bash"))
    (tmp_path / "in.wasm").touch()
    (tmp_path / "other.txt").touch()
    (tmp_path / "folder").mkdir()
    words = ["caesura", *line.split(" ")]
    code = (
        f"source ./script; COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}; "
        "$(complete -p caesura | sed 's/.*-F \\([^ ]*\\).*/\\1/') caesura; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert sorted(done.stdout.split()) == sorted(expected), done.stderr


@pytest.mark.parametrize(("line", "expected"), LINES)
def test_fish_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    (tmp_path / "script").write_text(script("fish"))
    (tmp_path / "in.wasm").touch()
    (tmp_path / "other.txt").touch()
    (tmp_path / "folder").mkdir()
    code = f"source ./script; complete -C'caesura {line}'"
    done = subprocess.run(
        ["fish", "-c", code], cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True
    )
    found = {one.split("\t")[0].rstrip("/") for one in done.stdout.splitlines()}
    assert found >= set(expected), (done.stdout, done.stderr)


def test_zsh_takes_its_script_for_the_command(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh here")
    (tmp_path / "_caesura").write_text(script("zsh"))
    load = "fpath=($PWD $fpath); autoload -U compinit; compinit -D -u"
    code = f"{load}; print -r -- $_comps[caesura]; autoload +X _caesura"
    done = subprocess.run(["zsh", "-fc", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "_caesura\n", "")
