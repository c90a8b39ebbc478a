"""What is refused in a module, function by function: all of it is told at once.

Who has to change a program, or to write lists, wants to see everything that is in the way, not one function after the
other. So a function that is refused does not end the work; only when all have been looked at is there one error.
"""

from __future__ import annotations

from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.catches.moved import MovedCatches
from caesura.instrument.given import Given
from caesura.wasm.indices import OwnFunction


class Refusals:
    """The functions of a module that were refused; errors say where in the file that was given."""

    def __init__(self, given: Given, catches: MovedCatches) -> None:
        self._given = given
        self._catches = catches
        self._errors: dict[int, UnsupportedModule] = {}

    def add(self, own: OwnFunction, error: UnsupportedModule) -> None:
        """Note an own function that is refused."""
        offset, function = self._place(own, error.offset)
        self._errors[own] = UnsupportedModule(error.reason, offset, function, error.kind)

    def located(self, own: OwnFunction, error: Exception) -> MalformedModule:
        """Return what is wrong with an own function, which ends the work, as an error that says where."""
        if isinstance(error, MalformedModule):
            return MalformedModule(error.reason, *self._place(own, error.offset))
        return MalformedModule("this is not valid code", *self._place(own, self._given.module.body_starts[own]))

    def _place(self, own: OwnFunction, offset: int) -> tuple[int, str]:
        function = self._given.module.function_of(own)
        return self._given.place(own, self._catches.original_offset(function, offset))

    def check(self) -> None:
        """Raise UnsupportedModule, for the first function and with what there is besides, if any was refused."""
        errors = [self._errors[own] for own in sorted(self._errors)]
        if not errors:
            return
        first = errors[0]
        reason = first.reason
        if len(errors) > 1:
            counts: dict[str, int] = {}
            for error in errors:
                counts[error.kind] = counts.get(error.kind, 0) + 1
            kinds = ", ".join([f"{kind} ({count:,})" for kind, count in counts.items()])
            more = "1 more function" if len(errors) == 2 else f"{len(errors) - 1:,} more functions"
            reason += f". Of {more} something is refused too; all are: {kinds} (--verbose lists them)"
        raise UnsupportedModule(reason, first.offset, first.function, first.kind, tuple(errors))
