"""The commands of docs/explain.md print what the page shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import code_blocks

PAGE = "docs/explain.md"
EXAMPLES = [block for block in code_blocks(PAGE, "console") if "\n" in block.strip()]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples(number: int, tmp_path: Path) -> None:
    before, after = [*code_blocks(PAGE, "wat"), ""][:2]
    (tmp_path / "app.wat").write_text(before)
    (tmp_path / "new.wat").write_text(after)
    for example in re.split(r"^\$ ", EXAMPLES[number], flags=re.MULTILINE)[1:]:
        line, _, expected = example.partition("\n")
        name, *arguments = line.split()
        assert name == "caesura"
        done = subprocess.run(
            [sys.executable, "-m", "caesura", *arguments],
            cwd=tmp_path,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert (done.stdout + done.stderr).decode() == expected
