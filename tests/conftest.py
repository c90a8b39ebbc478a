"""Settings that all tests share."""

from __future__ import annotations

import pytest


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say at the head of a run whether the compiled or the interpreted caesura is tested."""
    import caesura.wasm.leb128 as module

    compiled = not (module.__file__ or "").endswith(".py")
    return [f"caesura: {'compiled' if compiled else 'interpreted'}"]
