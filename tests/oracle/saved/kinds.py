"""The kinds of worlds, by name: each makes one from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.oracle.saved.driving import World
from tests.oracle.saved.programs import micropython, quickjs, sqlite
from tests.oracle.saved.worlds import c_program, generated, references

KINDS: Final[dict[str, Callable[[int], World]]] = {
    "generated": generated,
    "c": c_program,
    "references": references,
    "micropython": micropython,
    "quickjs": quickjs,
    "sqlite": sqlite,
}
