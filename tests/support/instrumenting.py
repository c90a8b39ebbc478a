"""The one place where the tests call the transformation.

Every test of a guest goes through `instrument` or `instrument_file`. A run of the tests against another implementation
of the same ABI (to see whether a failure is the test's or the transformation's) replaces `transform`.
"""

from __future__ import annotations

from pathlib import Path

import caesura


def transform(module: bytes, options: caesura.Options) -> bytes:
    """Return the instrumented module."""
    return caesura.instrument(module, options).module


def instrument(module: bytes, options: caesura.Options | None = None) -> bytes:
    """Return the instrumented module; without options, with the defaults (every import may suspend)."""
    return transform(module, options or caesura.Options())


def instrument_file(source: Path, target: Path, options: caesura.Options | None = None) -> Path:
    """Instrument a file into another one, whose folder is made, and return the latter."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(instrument(source.read_bytes(), options))
    return target
