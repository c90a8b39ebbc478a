"""What all measurements of one run share: how much to measure, the variants' files, notes for the report."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from benchmarks.running.builds import VARIANTS, Input, NotBuilt, Variant, build

LEAST_MILLISECONDS: Final = 100
QUICK_MILLISECONDS: Final = 1


@dataclass
class Session:
    """One run of the benchmarks."""

    rounds: int
    is_quick: bool = False
    cached_only: bool = False
    notes: list[str] = field(default_factory=list)
    _built: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def least_milliseconds(self) -> float:
        """How long a part has to be measured to count."""
        return QUICK_MILLISECONDS if self.is_quick else LEAST_MILLISECONDS

    def files(self, source: Input, variants: Iterable[Variant] = VARIANTS) -> dict[str, str]:
        """Return the files of a program by the names of the variants.

        A variant that cannot be had is left out and noted, so that the report says so; that of caesura must be there.
        """
        files: dict[str, str] = {}
        for variant in variants:
            key = (source.name, variant.name)
            if key not in self._built:
                self.say(f"{source.name}: {variant.name}")
                try:
                    self._built[key] = str(build(source, variant, cached_only=self.cached_only))
                except NotBuilt as error:
                    if variant.tool != "binaryen":
                        raise
                    self._built[key] = ""
                    self.notes.append(f"NOT MEASURED: {variant.name} of {source.name}. {error}")
            if self._built[key]:
                files[variant.name] = self._built[key]
        return files

    def say(self, what: str) -> None:
        """Tell the user what is going on."""
        end = "\x1b[K\r" if sys.stderr.isatty() else "\n"
        print(what, end=end, file=sys.stderr, flush=True)
