"""The file that Node loads to record a program is made of the JavaScript package's, and is in the Python package."""

from __future__ import annotations

import runpy
from importlib.resources import files
from typing import Final

from tests.support.paths import REPOSITORY

RENDERING: Final = runpy.run_path(str(REPOSITORY / "docs" / "render_record.py"))


def test_it_is_rendered_from_the_files_of_the_package() -> None:
    stale = "run `python docs/render_record.py`"
    assert RENDERING["HOOK"].read_text(encoding="utf-8") == RENDERING["render"](), stale


def test_the_package_has_it() -> None:
    assert files("caesura").joinpath("recording", "record.mjs").read_text(encoding="utf-8") == RENDERING["render"]()
