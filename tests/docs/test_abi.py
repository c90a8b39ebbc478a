"""The contract stands once: its tables in docs/abi.md and the JavaScript host's constants are made from it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Final

import pytest

from caesura import abi
from tests.support.paths import REPOSITORY

RENDERING: Final = runpy.run_path(str(REPOSITORY / "docs" / "render_abi.py"))


@pytest.mark.parametrize(("file", "render"), [("PAGE", "render_page"), ("JAVASCRIPT", "render_javascript")])
def test_what_is_rendered_is_up_to_date(file: str, render: str) -> None:
    path: Path = RENDERING[file]
    assert path.read_text() == RENDERING[render](), "run `python docs/render_abi.py` with caesura on the path"


def test_every_table_has_its_place_in_the_page() -> None:
    places = [name for _, name in RENDERING["MARK"].findall(RENDERING["PAGE"].read_text())]
    assert sorted(places) == sorted(RENDERING["TABLES"])


def test_names_and_numbers_mean_one_thing_each() -> None:
    """Of names that hosts look for among exports, and of numbers in one place."""
    names = [value for name, value in vars(abi).items() if name.isupper() and isinstance(value, str)]
    assert len(set(names)) == len(names)
    for kind in (abi.State, abi.Status, abi.Fact):
        assert len({member.text for member in kind}) == len(kind.__members__)
    assert all(fact.value == 1 << place for place, fact in enumerate(abi.Fact))
