"""The fuzzer's options: how many cases, and from which seed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options (given on the command line, they need `tests/fuzz` there as well)."""
    group = parser.getgroup("fuzz")
    group.addoption("--fuzz-runs", type=int, default=30, help="cases of each target (30)")
    group.addoption("--fuzz-seed", type=int, default=0, help="the first seed (0)")
