"""The options of the mutations: how many, and from which seed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options (given on the command line, they need `tests/instrument` there as well)."""
    group = parser.getgroup("mutations")
    group.addoption("--mutations", type=int, default=1500, help="mutated modules to instrument and print (1500)")
    group.addoption("--mutations-seed", type=int, default=0, help="another seed tries other modules (0)")
