"""Where the tests find and put files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
GUESTS: Final = REPOSITORY / "tests" / "guests"
DRIVERS: Final = REPOSITORY / "tests" / "real" / "node"
BUILD: Final = REPOSITORY / "build" / "tests"
NODE_MODULES: Final = REPOSITORY / "node_modules"


def npm_file(path: str) -> Path:
    """Return a file of an installed npm package, by its path below node_modules."""
    file = NODE_MODULES / path
    if not file.is_file():
        raise FileNotFoundError(f"{path} is not installed: run `npm ci --ignore-scripts` in {REPOSITORY}")
    return file
