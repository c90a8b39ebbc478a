"""Which functions a program's output says are missing in a list.

Where a guest cannot be suspended because a list leaves a function out, our hosts say so in an error, with all that is
missing in one line. A test runner may have put words around it, or the whole in a string of its own. Other runtimes
only have a trap in a function of the module, and its stack: V8's, Firefox's and Wasmtime's are understood. From a stack
alone nobody can tell what is missing, so frames are returned, innermost first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from caesura.abi import NOT_INSTRUMENTED_FUNCTION

# What stands before a JSON array of entries in our hosts' errors.
MISSING: Final = "Missing in the list: "

# What stands for a function of WebAssembly in the stacks of V8 and Firefox, behind the module's address. V8 has
# `at name (wasm://wasm/1a2b:wasm-function[3]:0x45)`, and without a name `at wasm://wasm/1a2b:wasm-function[3]:0x45`;
# Firefox has `name@file:wasm-function[3]:0x45`.
_FUNCTION: Final = re.compile(r"wasm-function\[(\d{1,10})\]")
_AT: Final = "at "
_WASMTIME: Final = re.compile(r"(?<!\d)\d{1,10}: +(?:0x[0-9a-f]{1,16} - )?[^!\s]*!(.+)")
# Lines of a stack that are of others.
_OTHER_FRAME: Final = re.compile(r"\s*at |[^\s@]*@\S+:\d+:\d+$|\s*\d+: ")
# A line end in a string in quotes, and how often a string may be in another one.
_ESCAPED_LINE_END: Final = "\\n"
_MOST_QUOTED: Final = 3
_DECODER: Final = json.JSONDecoder()

# How many characters of entries and stacks are kept: a program may print new ones for ever.
_MOST_KEPT: Final = 1 << 26
# What a frame takes besides its name.
_FRAME: Final = 100


@dataclass(frozen=True)
class StackFrame:
    """A function of WebAssembly on a stack: its index in the module that ran, and its name, where the text has them."""

    index: int | None
    name: str | None


@dataclass(frozen=True)
class Refusals:
    """What an output says: `entries` for a list, each once, and `stacks` of traps, innermost frame first."""

    entries: tuple[str, ...]
    stacks: tuple[tuple[StackFrame, ...], ...]


class RefusalReader:
    """Reads an output, some lines at a time. What it keeps has an end, and it takes time linear in the length."""

    def __init__(self) -> None:
        self._entries: dict[str, None] = {}
        self._stacks: dict[tuple[StackFrame, ...], None] = {}
        # The stack that lines belong to, each function once: how often it called itself does not matter.
        self._open: dict[StackFrame, None] | None = None
        self._left = _MOST_KEPT

    def read(self, lines: Iterable[str]) -> None:
        """Read lines, without their ends."""
        for line in lines:
            for entry in _entries(line) if MISSING in line else ():
                if entry not in self._entries and self._take(len(entry)):
                    self._entries[entry] = None
            if self._open is not None or NOT_INSTRUMENTED_FUNCTION in line:
                for part in line.split(_ESCAPED_LINE_END):
                    self._read_part(part)

    def refusals(self) -> Refusals:
        """Return what was found."""
        self._close()
        return Refusals(tuple(self._entries), tuple(self._stacks))

    def _read_part(self, part: str) -> None:
        frame = _frame(part)
        if self._open is None:
            # Further below, a function of that name is one of the module's own.
            if frame is not None and frame.name is not None and frame.name.endswith(NOT_INSTRUMENTED_FUNCTION):
                self._open = {}
        elif frame is not None:
            if frame not in self._open and self._take(_FRAME + len(frame.name or "")):
                self._open[frame] = None
        elif self._open and not _OTHER_FRAME.match(part):
            self._close()

    def _close(self) -> None:
        stack, self._open = tuple(self._open or ()), None
        if stack in self._stacks:
            self._left += sum([_FRAME + len(frame.name or "") for frame in stack])
        elif stack:
            self._stacks[stack] = None

    def _take(self, characters: int) -> bool:
        """Tell whether so much more can be kept."""
        if characters > self._left:
            return False
        self._left -= characters
        return True


def read_refusals(lines: Iterable[str]) -> Refusals:
    """Return what lines of output say of functions that are missing in a list."""
    reader = RefusalReader()
    reader.read(lines)
    return reader.refusals()


def _entries(line: str) -> list[str]:
    """Return the entries that a line has behind the words of our errors, wherever these stand in it."""
    _, *rests = line.split(MISSING)
    entries: list[str] = []
    for rest in rests:
        entries += _array(rest)
    return entries


def _array(text: str) -> list[str]:
    """Return the strings of the JSON array that a text begins with, which may be in a string in quotes."""
    for _ in range(_MOST_QUOTED + 1):
        try:
            found, _ = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            if "\\" not in text:
                return []
            text = _unquoted(text)
            continue
        return [entry for entry in found if isinstance(entry, str)] if isinstance(found, list) else []
    return []


def _unquoted(text: str) -> str:
    """Return the rest of a string in quotes, in which quotes and backslashes have a backslash before them."""
    return re.sub(r'\\(["\\])', r"\1", text)


def _frame(line: str) -> StackFrame | None:
    """Return the frame that a line of a stack tells of, if it does."""
    found = _FUNCTION.search(line)
    if found is None:
        frame = _WASMTIME.search(line)
        return None if frame is None else StackFrame(None, frame[1])
    index = int(found[1])
    words = line[: found.start()].split()
    address = words[-1] if words and not line[found.start() - 1].isspace() else ""
    head = line[: found.start() - len(address)]
    _, at, name = head.partition(_AT)
    if at and address.startswith("(") and name.strip():
        return StackFrame(index, name[:-1])
    if head.endswith(_AT):
        return StackFrame(index, None)
    before, at, _ = address.partition("@")
    if not at:
        return None
    return StackFrame(index, (head + before).rpartition("@")[2])
