"""What a guest tells of its stack: whether a function is on it that a list leaves out, so that it cannot be suspended.

A module for which lists were given keeps a global (docs/abi.md): not 0 while such a function is on the stack of the
present entry. To look costs a suspension one read. Each entry into the guest sets it to 0 and puts back what it was. An
entry that fails does not get to that, and one from inside of Emscripten's `invoke_*` does not begin anew by itself,
since it cannot know that this host would suspend it alone; so the host does both.
"""

from __future__ import annotations

import wasmtime

from caesura.host.native import GlobalCell


class Guard:
    """The global of an instance that says whether it cannot be suspended."""

    def __init__(self, context: int, item: wasmtime.Global) -> None:
        self._cell = GlobalCell(context, item, wide=False)

    def is_set(self) -> bool:
        """Tell whether a function that a list leaves out is on the stack of the present entry."""
        return self._cell.get() != 0

    def begin(self) -> int:
        """Begin to count for an entry from inside an import. Returns what is to be put back."""
        value = self._cell.get()
        if value:
            self._cell.set(0)
        return value

    def put_back(self, value: int) -> None:
        """Let the global be what it was before an entry."""
        self._cell.set(value)
