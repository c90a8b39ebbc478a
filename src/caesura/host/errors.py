"""The errors of running guests: a trap, and a program's own exit.

Both say what the guest did, and both are ordinary exceptions of the caller. An exception of a host function
has no class here: it arrives in the guest's caller as the object that was raised, with a note that says where
the guest was. Wrapping it was rejected, because `except OSError` around `guest.call` is what people write.
"""

from __future__ import annotations

from typing import Final

from caesura import errors
from caesura.errors import printable

# Kinds of traps that are not WebAssembly's own.
ASYNCIFY_OVERFLOW: Final = "asyncify stack overflow"
ASYNCIFY_CORRUPTED: Final = "asyncify stack corrupted"
PAUSE_REFUSED: Final = "time slice or budget over where the guest cannot be suspended"

# WebAssembly's own, also for pointers that a guest hands to a host function.
MEMORY_OUT_OF_BOUNDS: Final = "memory out of bounds"

# WebAssembly's own, also where there is no room for a function of the ABI.
STACK_OVERFLOW: Final = "stack overflow"

_NOTE: Final = "guest backtrace, innermost first:\n"

# How many of the first of these an exception keeps, and of the last.
_MOST_NOTES: Final = 4


class GuestTrap(errors.GuestTrap):
    """The guest trapped.

    `kind` is WebAssembly's reason in a few words ("unreachable", "memory out of bounds", "integer division by
    zero", "asyncify stack overflow", ...); `backtrace` has the names of the guest's functions, innermost
    first, and ends in "..." if there were more than Wasmtime keeps. Names are as the module has them, but cut off after
    1,000 characters.
    """

    def __init__(self, kind: str, backtrace: tuple[str, ...]) -> None:
        self.kind = kind
        self.backtrace = backtrace
        where = f" in {printable(backtrace[0])}" if backtrace else ""
        super().__init__(f"the guest trapped{where}: {kind}")
        if backtrace:
            self.add_note(backtrace_note(backtrace))

    def __reduce__(self) -> tuple[type[GuestTrap], tuple[str, tuple[str, ...]]]:
        return type(self), (self.kind, self.backtrace)  # pickle would give it the whole message


class GuestExit(errors.CaesuraError):
    """The guest's program ended itself (WASI's `proc_exit`); `Guest.run` returns the code instead.

    `code` is what the program gave, 0 to 2**32 - 1; operating systems keep its low eight bits.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"the guest exited with code {code}")

    def __reduce__(self) -> tuple[type[GuestExit], tuple[int]]:
        return type(self), (self.code,)


def note_backtrace(error: BaseException, backtrace: tuple[str, ...]) -> None:
    """Note on a host function's exception where the guest was.

    Each guest that it leaves adds one. The same object may also be raised many times, as a failed future's is: then the
    first and the last of many notes are kept. An exception that refuses attributes stays as it is.
    """
    if not backtrace:
        return
    try:
        notes: list[str] = getattr(error, "__notes__", [])
        ours = [place for place, note in enumerate(notes) if note.startswith(_NOTE)]
        if len(ours) >= 2 * _MOST_NOTES:
            del notes[ours[_MOST_NOTES]]
        error.add_note(backtrace_note(backtrace))
    except Exception:  # it refuses, with an exception of its own choice
        return


def backtrace_note(backtrace: tuple[str, ...]) -> str:
    """Return the note that tells where the guest was, innermost function first."""
    return _NOTE + "\n".join(f"  {printable(name)}" for name in backtrace)
