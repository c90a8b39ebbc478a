"""The oracle's options: how many modules, and from which seed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options (given on the command line, they need `tests/oracle` there as well)."""
    group = parser.getgroup("oracle")
    group.addoption("--oracle-examples", type=int, default=2000, help="generated modules for Wasmtime (2000)")
    group.addoption("--oracle-seed", type=int, default=0, help="another seed tries other modules (0)")
    group.addoption("--saved-points", type=int, default=1000, help="states that go on in another process (1000)")
