"""The locals that a function gets: those of its frame, and those that its bodies take while they are written.

Both bodies of a function have the same ones, so that they share what they take.
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.analysis.limits import check_locals
from caesura.instrument.frames.frame import Frame
from caesura.wasm.indices import LocalIndex
from caesura.wasm.types import I32


class AddedLocals:
    """The added locals of a function whose frame is known."""

    def __init__(self, frame: Frame) -> None:
        self._first = frame.first_added
        self._types = frame.added_types.copy()
        self._site = frame.site_local() if frame.has_site_local else None
        self._number = self._site
        self._address: LocalIndex | None = None

    def scratch(self, value_type: int) -> LocalIndex:
        """Return a new local for a moment's use."""
        self._types.append(value_type)
        return LocalIndex(self._first + len(self._types) - 1)

    def address(self, pointer: int) -> LocalIndex:
        """Return the local that holds the frame's address where the function moves it itself."""
        if self._address is None:
            self._address = self.scratch(pointer)
        return self._address

    def number(self) -> LocalIndex:
        """Return a local that holds the number of the call site while the frame is pushed."""
        if self._number is None:
            self._number = self.scratch(I32)
        return self._number

    def names(self) -> list[tuple[LocalIndex, str]]:
        """Return the locals with names."""
        names: list[tuple[LocalIndex, str]] = []
        for place in range(len(self._types)):
            local = LocalIndex(self._first + place)
            if local == self._site:
                names.append((local, "asyncify_site"))
            elif local == self._address:
                names.append((local, "asyncify_address"))
            elif local == self._number:
                names.append((local, "asyncify_number"))
            else:
                names.append((local, f"asyncify_temporary{place}"))
        return names

    def check_count(self, body: Body) -> None:
        """Raise UnsupportedModule where the function would have more locals than engines allow."""
        check_locals(self._first + len(self._types), body.code_start)

    def runs(self) -> list[tuple[int, int]]:
        """Return the locals as (type, count) runs."""
        runs: list[tuple[int, int]] = []
        for value_type in self._types:
            if runs and runs[-1][0] == value_type:
                runs[-1] = (value_type, runs[-1][1] + 1)
            else:
                runs.append((value_type, 1))
        return runs
