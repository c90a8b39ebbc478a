"""A program with a C stack of its own (`own_stack.wat`), as a guest whose calls wait."""

from __future__ import annotations

from typing import Any, Final

import caesura
from tests.host.support import instrumented
from tests.support.paths import GUESTS

PROGRAM: Final = (GUESTS / "wat" / "own_stack.wat").read_text(encoding="utf-8")

# Where its stack ends, and how large it is.
OWN: Final = 65536
OWN_SIZE: Final = 65536 - 1024


def unused(*arguments: int) -> int:
    """Stand for the import `again` where nothing calls it."""
    raise AssertionError(f"called with {arguments}")


async def load_program(abi: str, wait: Any, again: Any = unused, **options: Any) -> caesura.Guest:
    """Load the program with functions for its imports."""
    imports = {"env": {"wait": wait, "again": again}}
    return await caesura.load(instrumented(PROGRAM.encode(), abi), imports, cache=False, **options)
