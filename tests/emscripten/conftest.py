"""Skip the tests of this folder where there is no Emscripten."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emscripten.toolchain import missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    reason = missing()
    folder = Path(__file__).parent
    for item in items:
        if reason and folder in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))
