"""Counting the work that code does, instead of timing it.

Work is counted in executed lines of Python: a count is the same on every machine and in every run, where times, even
those of one process compared with each other, fail whenever a machine is busy. Lines can only be counted in the
interpreted form of caesura; the compiled form runs the same lines. What a line does inside the interpreter, such as
copying a list, is not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest

from caesura.cli.command import is_compiled

interpreted_only: Final = pytest.mark.skipif(
    is_compiled(), reason="native code executes no lines that could be counted"
)


def executed_lines(run: Callable[[], object]) -> int:
    """Return how many lines of Python a call executes; each iteration of a comprehension counts as one."""
    count = 0

    def trace(_frame: FrameType, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return count
