"""What the pages name exists: the pages and headings that they link to, files, and the rooms of the source tree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.paths import REPOSITORY

PAGES: Final = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "js" / "README.md"])
SOURCES: Final = REPOSITORY / "src" / "caesura"

# Where a page's short names of files begin: `pipeline.py` stands for the one in `instrument`.
_BASES: Final = (REPOSITORY, SOURCES, SOURCES / "instrument")
_FILE: Final = re.compile(r"`([\w.][\w./*-]*(?:/|\.(?:py|js|mjs|md|toml|json|sh)))`")


def headings(page: Path) -> set[str]:
    """Return what the headings of a page are called in links to them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/design.md"])
def test_files_exist(page: str) -> None:
    """Every file and folder that the page names, from the repository's root or from within the package."""
    names = _FILE.findall((REPOSITORY / page).read_text(encoding="utf-8"))
    assert names
    for name in names:
        assert any(any(base.glob(name.rstrip("/"))) for base in _BASES), name


def test_rooms_are_those_of_the_tree() -> None:
    """design.md names every room of the package, of the transformation and of the host, and each says what it owns."""
    text = (REPOSITORY / "docs" / "design.md").read_text(encoding="utf-8")
    drawn = re.search(r"^src/caesura/\n((?:  .*\n)+)", text, re.MULTILINE)
    assert drawn
    named = {line.split()[0].rstrip("/") for line in drawn[1].splitlines() if not line.startswith(" " * 8)}
    rooms = [
        entry
        for folder in (SOURCES, SOURCES / "instrument", SOURCES / "host")
        for entry in folder.iterdir()
        if entry.is_dir() and (entry / "__init__.py").is_file()
    ]
    ground = [file.name for file in SOURCES.glob("*.py") if not file.name.startswith("__")]
    assert named == {*(room.name for room in rooms), *ground}
    for room in rooms:
        assert (room / "__init__.py").read_text(encoding="utf-8").startswith('"""'), room


def test_every_figure_says_how_it_was_measured() -> None:
    """Each section names a command that repeats its figures, or when they were taken once, by hand."""
    text = (REPOSITORY / "docs" / "measurements.md").read_text(encoding="utf-8")
    _, *sections = re.split(r"^##+ ", text, flags=re.MULTILINE)
    for section in sections:
        title, _, text = section.partition("\n")
        by_hand = re.search(r"\bonce,\s+by\s+hand,\s+(before )?\d{4}-\d\d-\d\d", text, re.IGNORECASE)
        assert by_hand or re.search(r"`(python -m benchmarks|make (bench|spec)|caesura) ?", text), title


def test_the_design_stays_short() -> None:
    """How it works and why; figures stand in measurements.md."""
    assert len((REPOSITORY / "docs" / "design.md").read_text(encoding="utf-8").splitlines()) <= 350
