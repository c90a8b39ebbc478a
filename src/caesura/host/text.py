"""Modules in the text format: told apart from others, and assembled by Wasmtime.

Its errors are drawings of several lines; they become one line with a place. Wasmtime is imported where it is needed
only, since the commands that transform modules work without it.
"""

from __future__ import annotations

import re
from typing import Final

from caesura.errors import MalformedModule, UsageError
from caesura.wasm.sections import MAGIC

_BLANKS: Final = b" \t\r\n"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def is_text(data: bytes) -> bool:
    """Tell a module as text, which starts with a bracket or a comment, from everything else."""
    if data.startswith(MAGIC):
        return False
    return data[:4096].removeprefix(_BYTE_ORDER_MARK).lstrip(_BLANKS).startswith((b"(", b";;"))


def assemble(text: bytes) -> bytes:
    """Return the binary form of a module as text.

    Raises MalformedModule with the byte offset of an error, UsageError where Wasmtime is not installed.
    """
    try:
        from wasmtime import WasmtimeError, wat2wasm
    except ImportError as error:
        raise UsageError("modules as text can be read only where the package wasmtime is installed") from error
    try:
        return bytes(wat2wasm(text.removeprefix(_BYTE_ORDER_MARK)))
    except WasmtimeError as error:
        raise _located(text, str(error)) from error


def one_line(error: Exception) -> str:
    """Return what an error of Wasmtime's says: a message and its causes, each in a line of its own there."""
    lines = [re.sub(r"^(Caused by:|\d+: )", "", line.strip()).strip() for line in str(error).splitlines()]
    return ": ".join(line for line in lines if line)


def _located(text: bytes, message: str) -> MalformedModule:
    """Turn the assembler's message, which is a drawing of several lines, into an error with a byte offset."""
    reason, _, drawing = message.partition("\n")
    place = drawing.partition("\n")[0].rpartition("<anon>:")[2].split(":")
    if len(place) != 2 or not (place[0].isdigit() and place[1].isdigit()):
        return MalformedModule(reason)
    line, column = int(place[0]), int(place[1])
    lines = text.split(b"\n")[:line]
    start = sum(len(before) + 1 for before in lines[:-1])
    offset = start + len(lines[-1].decode(errors="replace")[: column - 1].encode()) if lines else 0
    return MalformedModule(f"{reason} (line {line}, column {column})", offset)
