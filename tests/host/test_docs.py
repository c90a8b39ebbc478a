"""docs/host.md says what is true: its example runs, its options are those of the command, its figures were measured."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from benchmarks.host_report import MARK, costs
from benchmarks.markdown import block
from caesura.cli import resume as resume_command
from caesura.cli import run as run_command
from caesura.cli.subcommand import SubCommand
from tests.docs.pages import code_blocks, run_python
from tests.support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "host.md"

APP = """(module
  (import "env" "fetch" (func $fetch (param i32 i32) (result i32))) (import "env" "log" (func $log (param i32)))
  (memory (export "memory") 1)
  (func (export "handle") (param i32) (result i32)
    (call $log (local.get 0))
    (i32.add (call $fetch (i32.const 3) (i32.const 4)) (local.get 0))))"""


def test_the_first_example(tmp_path: Path) -> None:
    code = code_blocks("docs/host.md", "python")[0]
    (tmp_path / "app.wasm").write_text(APP)
    answering = code.replace("    ...\n", "    await asyncio.sleep(0)\n    return url * length\n")
    assert answering != code
    assert run_python(answering, tmp_path) == "42\n54\n"


@pytest.mark.parametrize("command", [run_command.COMMAND, resume_command.COMMAND], ids=lambda command: command.name)
def test_the_options_of_run_and_resume(command: SubCommand) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = {text for action in parser._actions for text in action.option_strings} - {"-h", "--help"}
    section = PAGE.read_text().partition(f"## `caesura {command.name}`")[2].partition("\n## ")[0]
    rows = "".join(re.findall(r"^\| (`--.*?) \|", section, re.MULTILINE))
    assert set(re.findall(r"`(--[a-z-]+)", rows)) == options
    synopsis = section.partition("```\n")[2].partition("```")[0]
    assert set(re.findall(r"--[a-z-]+", synopsis)) == options


def test_the_figures_are_those_that_were_measured() -> None:
    facts = json.loads((PAGE.parent / "benchmarks-host.json").read_text())
    assert block(PAGE, MARK) == costs(facts), "run `make bench`"
