"""The progress bar: shown once a run has lasted for a second, if standard error is a terminal.

Twenty lines stand here instead of a dependency: the packages that draw bars bring colour, layout and markup along,
and take longer to import than SQLite takes to instrument.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Final

from caesura.cli.summary import counted

_PATIENCE: Final = 1.0
_INTERVAL: Final = 0.1
_WIDTH: Final = 30


class ProgressBar:
    """Draws over one line of standard error. Call it with a step's name, what is done and what is to do."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr.isatty()
        self._next = time.monotonic() + _PATIENCE
        self._drawn = False

    def __call__(self, step: str, done: int, total: int) -> None:
        """Draw, unless it is too early for that."""
        if not self._enabled or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _INTERVAL
        self._drawn = True
        share = done / total if total else 0.0
        bar = ("#" * int(share * _WIDTH)).ljust(_WIDTH, ".")
        line = f"{step} [{bar}] {share:4.0%}  {done:,} of {counted(total, 'function')}"
        with suppress(OSError):  # the terminal may be gone
            columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some terminals do not know
            sys.stderr.write(f"\r{line[: columns - 1]}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Remove the bar."""
        if self._drawn:
            with suppress(OSError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            self._drawn = False
