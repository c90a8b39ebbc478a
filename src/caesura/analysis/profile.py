"""Which functions of a module a profile is about.

Functions go by their names, and those without any by their index: V8 does not know the names that things are exported
under. What a module of caesura's spends in a second body, or a copy, counts for the function that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from caesura.abi import COPY_PREFIX, RESUME_PREFIX
from caesura.wasm.indices import FunctionIndex

# How many functions that the module does not have are told.
_SHOWN: Final = 5


class ProfiledFunctions:
    """`shares` is what part of its time a module spends in each of its functions itself, from 0 to 1."""

    def __init__(self, times: Sequence[tuple[str, float]], names: list[str], imported: int, shift: int) -> None:
        """`names` has the names of all functions, `imported` of them imported; `shift` is how much higher the indices
        of the module's own ones are in the file that was given.
        """
        by_name: dict[str, list[FunctionIndex]] = {}
        for function in range(imported, len(names)):
            by_name.setdefault(names[function], []).append(FunctionIndex(function))
        total = sum([time for _, time in times])
        self.shares: dict[FunctionIndex, float] = {}
        self._missing: list[str] = []
        self._missing_share = 0.0
        for name, time in times:
            share = time / total if total > 0 else 0.0
            if name not in by_name:  # a module may have functions with such names itself
                name = name.removeprefix(RESUME_PREFIX).removeprefix(COPY_PREFIX)
            functions = by_name.get(name, [])
            if not functions and name.isdecimal() and imported <= int(name) - shift < len(names):
                functions = [FunctionIndex(int(name) - shift)]
            for function in functions:
                self.shares[function] = self.shares.get(function, 0.0) + share
            if not functions:
                self._missing.append(name)
                self._missing_share += share

    def warnings(self) -> list[str]:
        """Return what is to be said of functions that the module does not have."""
        if not self._missing:
            return []
        if not self.shares:
            return ["none of the profile's functions is in this module: it is of another program, or of another build"]
        shown = ", ".join([f"'{name}'" for name in self._missing[:_SHOWN]])
        more = f" and {len(self._missing) - _SHOWN} more" if len(self._missing) > _SHOWN else ""
        return [
            f"the profile has functions that this module has not: {shown}{more} "
            f"({100 * self._missing_share:.1f}% of its time)"
        ]
