"""How a rewind gets past tail calls: frames that say whose they are, and functions that dispatch by that.

Say f calls g, g leaves by a tail call of h, and h is suspended. On the stack are the frames of f and h. In the rewind f
calls g again; g looks whose frame is on top of the stack, finds that it is not its own, and leaves by a tail call once
more: of a dispatch function, which leaves by a tail call of h. However many tail calls there were, there is one frame,
and as many native frames as before. So

* every function that can leave or be entered by a tail call that may suspend pushes its *identity*, one more i32, on
  top of its frame; none of these is frameless;
* a function that can leave by one, and is entered in a rewind, pops its identity if that is on top, else goes to the
  dispatch function for its results; what else was on the stack there would have been entered by a call, not by this;
* a dispatch function, one for each list of result types, calls any function that it may stand for with zeros for
  arguments: in a rewind they are ignored.

What is called through a table or a reference may also be a function of the host's, or of another module, which pushes
no identity. Where such a function was entered by a tail call, and was suspended, the rewind traps in a function whose
name says so; nothing else can be done, as its arguments and the reference of it are gone. Identities are therefore
numbers from a range that depends on the module's bytes, so that anything else there is not taken for one.

A function of another instance that has left for one of this module's is not on the stack either, and would be called
again, in the normal state, where what called it is rewound. Nobody can know that but a host, which makes the state of
such instances `ELSEWHERE` meanwhile (docs/abi.md): then whatever looks at identities traps as well.

That each function compares the identity itself, instead of being told by its caller which one to call, is because
callers can be hosts, and calls through tables.
"""

from __future__ import annotations

import zlib
from typing import Final

from caesura.abi import TAIL_CALLED_FUNCTION, State
from caesura.analysis.tail_calls import TailCalls
from caesura.instrument.abi.chunks import chunk_places
from caesura.instrument.abi.dummies import Dummies
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.recording import RecordingCode
from caesura.wasm import encoded as c
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_signed, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.pieces import join_pieces
from caesura.wasm.type_matching import are_subtypes, same_types
from caesura.wasm.types import I32, type_name

# Identities lie from here on, in a range that is as likely as any other, but for small numbers, positive and negative.
_LEAST_IDENTITY: Final = 0x8000_0000
_RANGE: Final = 0x6000_0000

# A dispatch function chooses among so many functions at most; the next one goes on.
_MOST_TARGETS: Final = 1_000

# In place of a function that has not been added.
_NONE: Final = -1

_IDENTITY: Final = (I32,)


class TailDispatch:
    """Adds these functions to a module when they are asked for.

    `framed` are the functions that push their identities, those of `tail_calls` that have frames. Identities are
    `numbers`, by function, counted from `first_identity`.
    """

    def __init__(
        self,
        module: Module,
        helpers: FrameHelpers,
        dummies: Dummies,
        framed: list[FunctionIndex],
        tail_calls: TailCalls,
        recording: RecordingCode | None,
    ) -> None:
        self._dummies = dummies
        self._module = module
        self._helpers = helpers
        self._tail_calls = tail_calls
        self._recording = recording
        self._same = same_types(module) if tail_calls.leaving else []
        # Functions with the same results follow each other, so that a dispatch function's table has no holes.
        by_results: dict[tuple[int, ...], list[FunctionIndex]] = {}
        for function in framed:
            by_results.setdefault(module.function_type(function).results, []).append(function)
        self._by_results = by_results
        self.numbers: Final[dict[int, int]] = {}
        for functions in by_results.values():
            for function in functions:
                self.numbers[function] = len(self.numbers)
        self.first_identity: Final = _LEAST_IDENTITY + zlib.crc32(module.data) % _RANGE if framed else 0
        # The functions that were added, the last ones by results.
        self._push = _NONE
        self._own = _NONE
        self._expect = _NONE
        self._trap = _NONE
        self._dispatch: dict[tuple[int, ...], int] = {}

    def push(self, function: FunctionIndex) -> bytes:
        """Return the code that pushes the identity of a function, if it has one."""
        if function not in self.numbers:
            return b""
        if self._push == _NONE:
            code = c.LOCAL_GET + b"\0" + self._first_identity() + c.I32_ADD
            code += c.CALL + encode_unsigned(self._helpers.push(_IDENTITY))
            self._push = self._add("asyncify_push_identity", (I32,), (), code)
        return self._number(function) + c.CALL + encode_unsigned(self._push)

    def recognise(self, function: FunctionIndex) -> bytes:
        """Return the code that pops the identity of a function in a rewind, if it has one.

        Where the frame on top is another function's, it leaves for that one.
        """
        if function not in self.numbers:
            return b""
        if function not in self._tail_calls.leaving:
            return self._number(function) + c.CALL + encode_unsigned(self._expecting())
        own = self._number(function) + c.CALL + encode_unsigned(self._recognising())
        return own + c.I32_EQZ + c.IF_EMPTY + self.leave(function) + c.END

    def leave(self, function: FunctionIndex) -> bytes:
        """Return the code by which a function leaves for the one whose frame is on top."""
        results = self._module.function_type(function).results
        noted = b"" if self._recording is None else self._recording.note_leaving(function)
        if results not in self._dispatch:
            self._dispatch[results] = self._add_dispatch(results)
        return noted + c.RETURN_CALL + encode_unsigned(self._dispatch[results])

    def _number(self, function: FunctionIndex) -> bytes:
        return c.CONST_I32 + encode_signed(self.numbers[function])

    def _first_identity(self, number: int = 0) -> bytes:
        return c.CONST_I32 + encode_signed(self.first_identity + number - (1 << 32))

    def _top(self) -> bytes:
        """Return the code that reads what is on top of the stack, where an identity should be."""
        stack = self._helpers.stack
        size = chunk_places(_IDENTITY, stack.pointer_size)[1]
        return stack.load_current + stack.subtract(size) + c.load(I32, stack.memory, 0)

    def _recognising(self) -> int:
        """Return the function that pops an identity if it has this number, and tells whether it has."""
        if self._own == _NONE:
            code = self._refuse_elsewhere()
            code += self._top() + self._first_identity() + c.I32_SUB + c.LOCAL_GET + b"\0" + c.I32_NE
            code += c.IF_EMPTY + c.CONST_I32 + b"\0" + c.RETURN + c.END
            code += c.CALL + encode_unsigned(self._helpers.pop(_IDENTITY)) + c.DROP + c.CONST_I32 + b"\1"
            self._own = self._add("asyncify_pop_identity", (I32,), (I32,), code)
        return self._own

    def _expecting(self) -> int:
        """Return the function that pops an identity with this number, or traps."""
        if self._expect == _NONE:
            code = c.LOCAL_GET + b"\0" + c.CALL + encode_unsigned(self._recognising())
            code += c.I32_EQZ + c.IF_EMPTY + c.CALL + encode_unsigned(self._trapping()) + c.END
            self._expect = self._add("asyncify_expect_identity", (I32,), (), code)
        return self._expect

    def _trapping(self) -> int:
        """Return the function that traps since what is on top of the stack is no function's identity."""
        if self._trap == _NONE:
            self._trap = self._add(TAIL_CALLED_FUNCTION, (), (), self._helpers.runtime.trap_in_normal_state())
        return self._trap

    def _refuse_elsewhere(self) -> bytes:
        """Return the code that traps if other instances are rewound and not this one, where a host can say so."""
        if not self._tail_calls.are_open:
            return b""
        code = self._helpers.stack.state_get + c.CONST_I32 + encode_signed(State.ELSEWHERE) + c.I32_EQ + c.IF_EMPTY
        return code + c.CALL + encode_unsigned(self._trapping()) + c.END

    def _add_dispatch(self, results: tuple[int, ...]) -> int:
        """Add the functions that dispatch to all functions whose results these may be; return the first."""
        targets: list[FunctionIndex] = []
        for others, functions in self._by_results.items():
            if are_subtypes(self._module, self._same, others, results):
                targets += [function for function in functions if function in self._tail_calls.entered]
        name = "_".join(["asyncify_dispatch", *[type_name(result) for result in results]])
        otherwise = c.CALL + encode_unsigned(self._trapping()) + c.UNREACHABLE
        start = max(len(targets) - 1, 0) // _MOST_TARGETS * _MOST_TARGETS
        while start > 0:
            following = self._add(name, (), results, self._choose(targets[start : start + _MOST_TARGETS], otherwise))
            otherwise = c.RETURN_CALL + encode_unsigned(following)
            start -= _MOST_TARGETS
        return self._add(name, (), results, self._choose(targets[:_MOST_TARGETS], otherwise))

    def _choose(self, targets: list[FunctionIndex], otherwise: bytes) -> bytes:
        """Return the code that leaves for the function among these whose identity is on top of the stack.

        `targets` come in the order of their numbers.
        """
        count = len(targets)
        if not targets:
            return otherwise
        low = self.numbers[targets[0]]
        labels = [count] * (self.numbers[targets[-1]] + 1 - low)
        for place in range(count):
            labels[self.numbers[targets[place]] - low] = place
        table = encode_unsigned(len(labels)) + join_pieces([encode_unsigned(label) for label in labels])
        out = [self._refuse_elsewhere(), c.BLOCK_EMPTY * (count + 1), self._top(), self._first_identity(low), c.I32_SUB]
        out += [c.BR_TABLE, table, encode_unsigned(count), c.END]
        for target in targets:
            out += [
                self._dummies.arguments(self._module.function_type(target).params),
                c.RETURN_CALL,
                encode_unsigned(target),
                c.END,
            ]
        out.append(otherwise)
        return join_pieces(out)

    def _add(self, name: str, params: tuple[int, ...], results: tuple[int, ...], code: bytes) -> int:
        return self._helpers.stack.functions.add(name, params, results, [], code)
