"""The contract stands once: its tables in docs/abi.md and the JavaScript host's constants are made from it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Final

import pytest

from tests.support.paths import REPOSITORY

RENDERING: Final = runpy.run_path(str(REPOSITORY / "docs" / "render_abi.py"))


@pytest.mark.parametrize(("file", "render"), [("PAGE", "render_page"), ("JAVASCRIPT", "render_javascript")])
def test_what_is_rendered_is_up_to_date(file: str, render: str) -> None:
    path: Path = RENDERING[file]
    assert path.read_text() == RENDERING[render](), "run `python docs/render_abi.py` with caesura on the path"


def test_every_table_has_its_place_in_the_page() -> None:
    places = [name for _, name in RENDERING["MARK"].findall(RENDERING["PAGE"].read_text())]
    assert sorted(places) == sorted(RENDERING["TABLES"])
