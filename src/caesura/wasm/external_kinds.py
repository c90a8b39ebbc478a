"""The kinds of what modules import and export, as both write them (the specification's externidx).

A file of its own for those who need nothing else of `definitions`, which a program that compiles nothing does without.
"""

from __future__ import annotations

from typing import Final

FUNCTION_KIND: Final = 0
TABLE_KIND: Final = 1
MEMORY_KIND: Final = 2
GLOBAL_KIND: Final = 3
TAG_KIND: Final = 4
KIND_NAMES: Final = ["function", "table", "memory", "global", "tag"]
