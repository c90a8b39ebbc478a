"""Reading code blocks out of the documentation's pages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.paths import REPOSITORY


def code_blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page that are marked with a language."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_python(code: str, folder: Path) -> str:
    """Run a program from a file, as a reader would; return what it prints."""
    file = folder / "example.py"
    file.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(file)], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
