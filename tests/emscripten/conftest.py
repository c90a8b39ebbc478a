"""Skip the tests of this folder where there is no Emscripten, and run them in one form.

What Emscripten builds is kept under a hash of caesura's sources: the second form would find what the first one made.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emscripten.toolchain import missing


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    reason = missing()
    folder = Path(__file__).parent
    for item in items:
        if folder not in item.path.parents:
            continue
        item.add_marker(pytest.mark.one_form)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
