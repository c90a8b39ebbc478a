"""Warnings of threads that work for loops: of what makes loading slower.

Whoever loads waits for another thread, so no line of the caller's is on the stack of the one that warns, and a line of
ours would tell nobody anything: the place is `caesura`. Warning in the caller's loop was rejected, since it might be
cancelled, or have ended, and several may wait.
"""

from __future__ import annotations

import warnings
from typing import Final

from caesura.errors import printable_lines

_PLACE: Final = "caesura"

# Where Python notes what it has shown, as each module has it.
_shown: Final[dict[str | tuple[str, type[Warning], int], int]] = {}


def warn(message: str, category: type[Warning]) -> None:
    """Warn, as Python's filters want it: by default once."""
    warnings.warn_explicit(printable_lines(message), category, _PLACE, 1, _PLACE, _shown)
