"""Decoded bodies, some of them kept, since up to three steps look at the same body.

Which functions have tail sites, and which get two bodies, is known only from decoded bodies; in the end most of these
are rewritten. Keeping all until then would take more memory than everything else together, so there is a bound: in
modules of some 200 KB of code every body is decoded once, in larger ones some are decoded again.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body, decode_body
from caesura.analysis.suspension import Suspension
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

# Instructions of the bodies that are kept; some 60 bytes each.
_MAXIMUM_KEPT: Final = 1 << 18


class Decoder:
    """Decodes the bodies of a module's functions; `ignores_catches` is the option `ignore_unwind_from_catch`."""

    def __init__(self, module: Module, suspension: Suspension, *, ignores_catches: bool) -> None:
        self._module = module
        self._suspension = suspension
        self._ignores_catches = ignores_catches
        self._kept: dict[FunctionIndex, Body] = {}
        self._instructions = 0
        self._refused: dict[FunctionIndex, MalformedModule | UnsupportedModule] = {}

    def look_at(self, function: FunctionIndex) -> Body:
        """Return a function's body, which is not to be changed, and keep it; raises what `decode_body` raises."""
        if function in self._kept:
            return self._kept[function]
        body = self._decode(function)
        if self._instructions + len(body.codes) <= _MAXIMUM_KEPT:
            self._instructions += len(body.codes)
            self._kept[function] = body
        return body

    def take(self, function: FunctionIndex) -> Body:
        """Return a function's body for the last time; raises what `decode_body` raises."""
        if function not in self._kept:
            return self._decode(function)
        body = self._kept[function]
        self._forget(function)
        return body

    def refuse(self, function: FunctionIndex, error: MalformedModule | UnsupportedModule) -> None:
        """Raise an error whenever a function is asked for."""
        self._forget(function)
        self._refused[function] = error

    def replace(self, module: Module, functions: list[FunctionIndex]) -> None:
        """Decode what is asked for from now on in another module, in which some functions have other bodies.

        The others have the same bytes at the same offsets there.
        """
        self._module = module
        for function in functions:
            self._forget(function)

    def _forget(self, function: FunctionIndex) -> None:
        if function in self._kept:
            self._instructions -= len(self._kept.pop(function).codes)

    def _decode(self, function: FunctionIndex) -> Body:
        if function in self._refused:
            raise self._refused[function]
        return decode_body(self._module, function, self._suspension, ignore_catch_sites=self._ignores_catches)
