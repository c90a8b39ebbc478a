"""Code with which a module notes, while it unwinds, which functions are on the stack: the option `record`.

Each function that pushes frames has a mutable i64 global of its own: its lower half counts how often the function was
unwound, the upper half is one more than the number of what it had called when that was noted first, or 0. What was
called is the function that was noted just before; of the innermost function it is an import, which is told by the call
site. All of it stands in front of the push of a frame, so it runs only while the guest unwinds, and a function of the
original with a frame takes as long as without. A function that left by a tail call is on no stack. But a rewind enters
it again, so a list needs it: it is noted where it leaves once more.

Globals, since there is no memory for it: that of the guest has no room that is ours, and some engines take no second
one. They are no part of the guest's state (docs/abi.md): a restored guest counts from zero.

Functions are numbered in the order in which they are written, behind the imports that may suspend. Wrapping these
imports was rejected, since each call of one would take longer. Only what is called through a table or a reference,
which no call site names, is called through a function that notes it (see `adding`).
"""

from __future__ import annotations

from typing import Final

from caesura.abi import RECORD_CHANGED, RECORDED
from caesura.analysis.body import Body
from caesura.instrument.abi.index_spaces import AddedFunctions, GlobalPool
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex, InstructionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.pieces import join_pieces
from caesura.wasm.types import I32, I64

# The function that reads globals chooses among so many of them at most; the next one goes on.
_MOST_TARGETS: Final = 1_000

# How far the upper half of a global is shifted.
_HALF: Final = c.CONST_I64 + encode_signed(32)

_I64_SHL: Final = b"\x86"
_I64_ADD: Final = b"\x7c"
_I32_WRAP: Final = b"\xa7"
_I64_EXTEND_U: Final = b"\xad"


class RecordingCode:
    """Returns this code, and adds the functions and globals for it.

    `imports` are the imported functions that may suspend; functions from `end` on are none of the original's, and are
    not noted. `last` is the global with one more than the number of what was noted last. Where modules share their
    state, the function that is noted just before may be another module's: then `follows_calls` is False, and what
    functions call is unknown, but for imports.
    """

    def __init__(
        self,
        functions: AddedFunctions,
        pool: GlobalPool,
        imports: list[FunctionIndex],
        end: int,
        *,
        follows_calls: bool,
    ) -> None:
        self._functions = functions
        self._pool = pool
        self._end = end
        self._follows_calls = follows_calls
        self._last = encode_unsigned(pool.add(I32, "asyncify_record_last"))
        self.changed: Final = pool.add(I32, RECORD_CHANGED)
        self.imports: Final = imports
        self.functions: Final[list[FunctionIndex]] = []
        self._import_numbers: dict[int, int] = {imports[place]: place for place in range(len(imports))}
        self._numbers: dict[int, int] = {}
        self._globals: list[int] = []
        self._note = functions.add("asyncify_note", (I64, I32), (I64,), [], self._note_code())
        self._note_import = functions.add("asyncify_note_import", (I32,), (), [], self._note_import_code())
        begin = c.CONST_I32 + b"\0" + c.GLOBAL_SET + self._last
        self.begin: Final = functions.add("asyncify_begin_record", (), (), [], begin)

    def note(self, function: FunctionIndex) -> bytes:
        """Return the code that notes that a function is on the stack."""
        if function >= self._end:
            return b""
        place = encode_unsigned(self._global_of(function))
        number = c.CONST_I32 + encode_signed(self._numbers[function] + 1)
        return c.GLOBAL_GET + place + number + c.CALL + encode_unsigned(self._note) + c.GLOBAL_SET + place

    def note_leaving(self, function: FunctionIndex) -> bytes:
        """Return the code that notes that a function was on the stack, and has left it by a tail call."""
        return c.CONST_I32 + b"\0" + c.GLOBAL_SET + self._last + self.note(function)

    def note_import(self, function: int) -> bytes:
        """Return the code that notes that the innermost function called an import, if nothing else was noted."""
        number = c.CONST_I32 + encode_signed(self._import_numbers[function] + 1)
        return number + c.CALL + encode_unsigned(self._note_import)

    def import_called_at(self, body: Body, call: InstructionIndex) -> int | None:
        """Return the import that may suspend which a call instruction names, if it does."""
        if body.codes[call] != op.CALL:
            return None
        callee = body.immediates[call]
        return callee if callee in self._import_numbers else None

    def export(self) -> list[tuple[str, int]]:
        """Add the function that reads a global by its number, and return it by its name."""
        first = len(self.imports)
        globals_ = self._globals
        otherwise = c.CONST_I64 + b"\0"
        start = max(len(globals_) - 1, 0) // _MOST_TARGETS * _MOST_TARGETS
        while start > 0:
            code = _choose(first + start, globals_[start : start + _MOST_TARGETS], otherwise)
            following = self._functions.add("asyncify_recorded_more", (I32,), (I64,), [], code)
            otherwise = c.LOCAL_GET + b"\0" + c.CALL + encode_unsigned(following)
            start -= _MOST_TARGETS
        code = _choose(first, globals_[:_MOST_TARGETS], otherwise)
        return [(RECORDED, self._functions.add(RECORDED, (I32,), (I64,), [], code))]

    def _global_of(self, function: FunctionIndex) -> int:
        if function not in self._numbers:
            self._numbers[function] = len(self.imports) + len(self.functions)
            self.functions.append(function)
            self._globals.append(self._pool.add(I64, ""))
        return self._globals[self._numbers[function] - len(self.imports)]

    def _note_code(self) -> bytes:
        """Return the code of the function that takes a global's value and the number that is last now, and returns the
        new value.
        """
        value, number = c.LOCAL_GET + b"\0", c.LOCAL_GET + b"\1"
        code = value + c.I64_EQZ + c.IF_EMPTY + c.CONST_I32 + b"\1" + c.GLOBAL_SET + encode_unsigned(self.changed)
        code += c.GLOBAL_GET + self._last + _I64_EXTEND_U + _HALF + _I64_SHL + c.LOCAL_SET + b"\0" + c.END
        if self._follows_calls:
            code += number + c.GLOBAL_SET + self._last
        else:
            code += c.CONST_I32 + b"\0" + c.GLOBAL_SET + self._last
        is_below = value + _I32_WRAP + c.CONST_I32 + encode_signed(-1) + c.I32_NE
        return code + value + is_below + _I64_EXTEND_U + _I64_ADD

    def _note_import_code(self) -> bytes:
        code = c.GLOBAL_GET + self._last + c.I32_EQZ + c.IF_EMPTY
        return code + c.LOCAL_GET + b"\0" + c.GLOBAL_SET + self._last + c.END


def _choose(low: int, globals_: list[int], otherwise: bytes) -> bytes:
    """Return the code that gives one of some globals, by the parameter, which is `low` for the first."""
    count = len(globals_)
    if not globals_:
        return otherwise
    table = encode_unsigned(count) + join_pieces([encode_unsigned(place) for place in range(count)])
    out = [c.BLOCK_EMPTY * (count + 1), c.LOCAL_GET, b"\0", c.CONST_I32, encode_signed(low), c.I32_SUB]
    out += [c.BR_TABLE, table, encode_unsigned(count), c.END]
    for place in globals_:
        out += [c.GLOBAL_GET, encode_unsigned(place), c.RETURN, c.END]
    out.append(otherwise)
    return join_pieces(out)
