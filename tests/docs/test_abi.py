"""The contract stands once: its tables in docs/abi.md and the JavaScript host's constants are made from it."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.paths import REPOSITORY

RENDERING: Final = runpy.run_path(str(REPOSITORY / "docs" / "render_abi.py"))


@pytest.mark.parametrize(("file", "render"), [("PAGE", "render_page"), ("JAVASCRIPT", "render_javascript")])
def test_what_is_rendered_is_up_to_date(file: str, render: str) -> None:
    path: Path = RENDERING[file]
    assert path.read_text() == RENDERING[render](), "run `python docs/render_abi.py`"


def test_every_table_has_its_place_in_the_page() -> None:
    places = [name for _, name in RENDERING["MARK"].findall(RENDERING["PAGE"].read_text())]
    assert sorted(places) == sorted(RENDERING["TABLES"])


@pytest.mark.parametrize(
    ("script", "page", "source", "text"),
    [
        ("render_abi.py", "abi.md", "abi.py", "nothing is going on"),
        ("render_options.py", "options.md", "options.py", "the imports that may suspend"),
    ],
)
def test_pages_are_rendered_from_the_source_beside_them(
    tmp_path: Path, script: str, page: str, source: str, text: str
) -> None:
    """Not from a package that is installed, which may be older."""
    for folder in ("docs", "js/src"):
        (tmp_path / folder).mkdir(parents=True)
    for name in (script, page):
        shutil.copy(REPOSITORY / "docs" / name, tmp_path / "docs")
    package = tmp_path / "src" / "caesura"
    shutil.copytree(REPOSITORY / "src" / "caesura", package, ignore=shutil.ignore_patterns("__pycache__"))
    changed = package / source
    changed.write_text(changed.read_text().replace(text, "what was just changed"))
    subprocess.run([sys.executable, str(tmp_path / "docs" / script)], check=True)
    assert "what was just changed" in (tmp_path / "docs" / page).read_text()
