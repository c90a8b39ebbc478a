"""What a newcomer pastes from README.md works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import code_blocks, run_python
from tests.support.engine import assemble
from tests.support.paths import REPOSITORY


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAESURA_CACHE_DIR", str(tmp_path / "cache"))


def test_first_example(tmp_path: Path) -> None:
    (code,) = code_blocks("README.md", "python")
    assert run_python(code, tmp_path) == "[60, 100]\n"


def test_command(tmp_path: Path) -> None:
    """The command line instruments the guest of the example."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    line = re.search(r"^    caesura (instrument app\.wasm .*)$", text, re.MULTILINE)
    guest = re.search(r'b"""(.*?)"""', text, re.DOTALL)
    assert line and guest
    (tmp_path / "app.wasm").write_bytes(assemble(guest[1]))
    command = [sys.executable, "-m", "caesura", *shlex.split(line[1])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 function instrumented" in done.stderr
    assert (tmp_path / "pausable.wasm").is_file()
