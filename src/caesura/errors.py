"""The error classes of caesura, distinguished by whose fault it is.

A caller needs to know one thing first: who has to act. `ModuleError` is the module's fault (its author or its
compiler acts), `UsageError` the caller's (a bad option, a bad list, an unreadable file), `GuestTrap` the running
guest's, `ResourceError` the machine's, `SnapshotError` that of the bytes of a saved state, which come from elsewhere,
`InternalError` ours. Each carries its whole message; `ModuleError` adds where:
function and byte offset. A class per cause was rejected: nobody catches "bad LEB128 in the element section" differently
from "unknown opcode".

Names of imports, exports and functions are whatever the module's author wrote, and messages end in logs and terminals,
which act upon some characters. So what cannot be printed is escaped in all messages, but for line ends, since some have
several lines; those who put a name into a message escape these, too (`printable`).
"""

from __future__ import annotations

from typing import Final

# In place of a byte offset where none applies.
NO_OFFSET: Final = -1


def printable(text: str) -> str:
    """Return a text, such as a name that a module has given, with escapes for what cannot be printed as it is."""
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else ascii(one)[1:-1] for one in text])


def among_words(name: str) -> str:
    """Return a name as it can stand among words: in quotes if it is empty, or has blanks at its ends."""
    return name if name and name == name.strip() else f'"{name}"'


def printable_lines(text: str) -> str:
    """Return a text that may have several lines with escapes for what cannot be printed as it is."""
    return text if text.isprintable() else "\n".join([printable(line) for line in text.split("\n")])


class CaesuraError(Exception):
    """Base class of every error that caesura raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable_lines(message))


class ModuleError(CaesuraError):
    """The module's fault: it is malformed, or uses what caesura does not support.

    `offset` is a byte offset into the module's file, or -1 where none applies. `function` describes the function
    concerned (name and index), or is empty.
    """

    def __init__(self, message: str, offset: int = NO_OFFSET, function: str = "") -> None:
        self.reason = message
        self.offset = offset
        self.function = function
        where = ""
        if function:
            where += f"in {function}"
        if offset != NO_OFFSET:
            where += f"{' ' if where else ''}at byte offset {offset} (0x{offset:x})"
        super().__init__(f"{where}: {message}" if where else message)


class MalformedModule(ModuleError):
    """The bytes are not a WebAssembly module."""


class UnsupportedModule(ModuleError):
    """A valid module uses something that caesura refuses to transform.

    `kind` says in a few words what that is, without names and numbers. Where functions are refused, `refusals` has an
    error for each of them, this one's function first; the message tells how many there are, and of which kinds.
    """

    def __init__(
        self,
        message: str,
        offset: int = NO_OFFSET,
        function: str = "",
        kind: str = "",
        refusals: tuple[UnsupportedModule, ...] = (),
    ) -> None:
        self.kind = kind
        self.refusals = refusals
        super().__init__(message, offset, function)


class UsageError(CaesuraError):
    """The user's fault: a bad option, a bad list, a file that cannot be read or written."""


class GuestTrap(CaesuraError):
    """The guest trapped."""


class ResourceError(CaesuraError):
    """The machine's fault: it had too little of something, such as memory. The same may succeed later."""


class SnapshotError(CaesuraError):
    """A saved state cannot be used: it is damaged, of an unknown version, or holds changes of another one only."""


class InternalError(CaesuraError):
    """Our fault: caesura has a bug. The message asks for a report."""

    def __init__(self, message: str) -> None:
        self.reason = message
        super().__init__(f"{message} (this is a bug in caesura; please report it with the module that shows it)")

    def __reduce__(self) -> tuple[type[InternalError], tuple[str]]:
        return type(self), (self.reason,)  # pickle would give it the whole message
