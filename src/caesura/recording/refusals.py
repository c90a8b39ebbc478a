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

# Frames of WebAssembly, and lines of a stack that are of others. V8: `at name (wasm://wasm/1a2b:wasm-function[3]:0x45)`,
# and without a name `at wasm://wasm/1a2b:wasm-function[3]:0x45`; Firefox: `name@file:wasm-function[3]:0x45`.
_V8: Final = re.compile(r"at (?:(?P<name>.+) \()?\S*wasm-function\[(?P<index>\d{1,10})\]")
_FIREFOX: Final = re.compile(r"(?P<name>[^@\n]*)@\S*wasm-function\[(?P<index>\d{1,10})\]")
_WASMTIME: Final = re.compile(r"\d+: +(?:0x[0-9a-f]+ - )?[^!\s]*!(?P<name>.+)")
_FRAMES: Final = (_V8, _FIREFOX, _WASMTIME)
_OTHER_FRAME: Final = re.compile(r"\s*at |[^\s@]*@\S+:\d+:\d+$|\s*\d+: ")
# A line end in a string in quotes.
_ESCAPED_LINE_END: Final = "\\n"


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


def read_refusals(lines: Iterable[str]) -> Refusals:
    """Return what lines of output say of functions that are missing in a list."""
    entries: dict[str, None] = {}
    stacks: list[list[StackFrame]] = []
    is_open = False
    for line in lines:
        entries.update(dict.fromkeys(_entries(line)))
        for part in line.split(_ESCAPED_LINE_END):
            frame = _frame(part)
            if frame is not None and frame.name is not None and frame.name.endswith(NOT_INSTRUMENTED_FUNCTION):
                stacks.append([])
                is_open = True
            elif is_open and frame is not None:
                stacks[-1].append(frame)
            elif is_open and stacks[-1] and not _OTHER_FRAME.match(part):
                is_open = False
    return Refusals(tuple(entries), tuple(dict.fromkeys([tuple(stack) for stack in stacks if stack])))


def _entries(line: str) -> list[str]:
    """Return the entries that a line has behind the words of our errors, if any."""
    _, words, rest = line.partition(MISSING)
    if not words:
        return []
    for text in (rest, _unquoted(rest)):
        try:
            found, _ = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, list):
            return [entry for entry in found if isinstance(entry, str)]
    return []


def _unquoted(text: str) -> str:
    """Return the rest of a string in quotes, in which quotes and backslashes have a backslash before them."""
    return re.sub(r'\\(["\\])', r"\1", text)


def _frame(line: str) -> StackFrame | None:
    for form in _FRAMES:
        found = form.search(line)
        if found is not None:
            fields = found.groupdict()
            index = fields.get("index")
            return StackFrame(None if index is None else int(index), fields.get("name"))
    return None
