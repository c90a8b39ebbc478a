"""MicroPython with exceptions in their older form does in Node what it does with the newer form elsewhere."""

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.facts import REPOSITORY
from benchmarks.older_exceptions import in_older_form
from benchmarks.snapshots import pause_in_node
from tests.support.engine import assemble

pytestmark = pytest.mark.one_form

# What the script of the example says once it has asked, twenty calls deep, and been answered.
REST = ["asks 'What does a night at home cost?'", "asks 'Who pays 1937?'", "paid by Bob"]


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node")
def test_a_script_goes_on_in_another_node_than_it_was_paused_in(tmp_path: Path) -> None:
    module, state = tmp_path / "module.wasm", tmp_path / "state.caesura"
    pause_in_node(module, state)
    command = ["node", str(REPOSITORY / "examples" / "agent.mjs"), str(module), str(state), "37", '"Bob"']
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=100)
    assert done.stdout.splitlines() == REST


@pytest.mark.parametrize(
    "clause", ["(catch_ref 0 0)", "(catch 0 0) (catch 1 0)", "(catch_all 0)"], ids=["reference", "two", "all"]
)
def test_other_patterns_are_refused(clause: str) -> None:
    results = "(result exnref)" if "ref" in clause else ""
    drop = "drop" if results else ""
    text = f"(module (tag) (tag) (func (block {results} (try_table {clause}) unreachable) {drop}))"
    with pytest.raises(ValueError, match="no pattern of setjmp"):
        in_older_form(assemble(text))
