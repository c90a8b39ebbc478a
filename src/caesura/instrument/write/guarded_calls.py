"""Calls in finished bodies become calls of functions of the guard (see `abi.guard`), where these have to be between.

That is the last thing that is done to a body, be it one of the original's that stays or one that was written anew:
other steps know nothing of it. The instruction stays as it is but for the index of what is called; a call through a
table or a reference becomes one by name, the operands being the same. Some functions are called by a copy of theirs
(see `plan.copies`), which is redirected in the same way. Where padding is kept a call is as long as it
was, if that can be: with a padded index, and instructions behind it that do nothing.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import BUILTIN_MODULES, COPY_PREFIX
from caesura.analysis.calls import ANY_INDEX, NO_TABLE, CallGraph, constant_index
from caesura.analysis.guarded import ENDING, INSTRUMENTED, LEFT_OUT, OTHER, Guarded
from caesura.instrument.abi.guard import CLEARING, KEEPING, MARKING, Guard
from caesura.instrument.abi.index_spaces import AddedFunctions
from caesura.instrument.plan.copies import select_copies
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import (
    FORM_LEB,
    FORM_MEMARG,
    FORM_NONE,
    FORMS,
    read_prefixed,
    skip_immediates,
    skip_locals,
)
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import MOST_BYTES_OF_U32, encode_padded, encode_unsigned, read_u32
from caesura.wasm.module import Module
from caesura.wasm.moved import Redirected
from caesura.wasm.shortest import shorten_body

# A call of a function by name that stays.
_STAYS: Final = -1
_UNKNOWN: Final = -2


class GuardedCalls:
    """Does this for the functions of a module, whose own ones are guarded as `guarded` says; `keeps_padding` says that
    code is to stay where it is, `no_multivalue` that blocks take no parameters.
    """

    def __init__(
        self,
        module: Module,
        graph: CallGraph,
        guarded: Guarded,
        guard: Guard,
        *,
        keeps_padding: bool,
        no_multivalue: bool,
    ) -> None:
        self._keeps_padding = keeps_padding
        self._no_multivalue = no_multivalue
        self._module = module
        self._graph = graph
        self._guarded = guarded
        self._guard = guard
        self._functions = len(module.function_types)
        # What is called instead of each function, by the kind of the caller.
        self._instead: list[list[int]] = [[_UNKNOWN] * self._functions for _ in range(ENDING + 1)]
        self._builtin = [item.module.startswith(BUILTIN_MODULES) for item in module.function_imports()]
        # By function.
        self._copies: dict[FunctionIndex, int] = {}

    def add_copies(self, functions: AddedFunctions, names: list[str]) -> None:
        """Let code that is left out call copies of functions, which are written later."""
        if self._guard.does_nothing(CLEARING):
            return
        for function in select_copies(self._module, self._graph, self._guarded):
            type_index = self._module.function_types[function]
            copy = functions.add_body(COPY_PREFIX + names[function], type_index, b"")
            self._copies[function] = copy
            self._guard.copies[copy] = function
            self._instead[LEFT_OUT][function] = copy

    def add_second_body(self, function: FunctionIndex, body: int) -> None:
        """Note that a function was added that is the second body of another one."""
        self._guard.second_bodies[body] = function

    def write_copies(self, functions: AddedFunctions, *, shortens: bool) -> dict[FunctionIndex, int]:
        """Write these functions; return how many bytes each has, by what it is a copy of."""
        sizes: dict[FunctionIndex, int] = {}
        for function, copy in self._copies.items():
            own = self._module.own_of(function)
            body = self._module.data[self._module.body_starts[own] : self._module.body_ends[own]]
            if shortens:
                body = shorten_body(body).code
            code = self._redirect(function, body, LEFT_OUT).code
            functions.replace_body(copy, code)
            sizes[function] = len(code)
        return sizes

    def may_concern(self, function: FunctionIndex) -> bool:
        """Tell whether anything in a function may have to be redirected."""
        own = self._module.own_of(function)
        kind = self._guarded.kinds[function]
        if kind != OTHER and (own in self._graph.open_calls or own in self._graph.table_callees):
            return True
        if kind == LEFT_OUT and function in self._guarded.tail_calling:
            return True  # what it leaves for need not be what others call
        for callee in self._graph.callees[own]:
            if self._target(kind, callee) != _STAYS:
                return True
        return False

    def redirect(self, function: FunctionIndex, body: bytes) -> Redirected:
        """Return a body of a function (locals and code, without size field) anew."""
        return self._redirect(function, body, self._guarded.kinds[function])

    def _redirect(self, function: FunctionIndex, body: bytes, kind: int) -> Redirected:
        """Return it as that of a function of a kind."""
        start = skip_locals(body, 0)
        marks_entry = function in self._guarded.tail_calling and self._leaves_for_good(function, body, start)
        walk = _Walk(body, start, keeps_padding=self._keeps_padding)
        if marks_entry:
            self._add_prologue(function, walk)
        instead = self._instead[kind]
        data = body
        position = start
        end = len(body)
        before = -1
        while position < end:
            opcode = position
            code = data[position]
            position += 1
            if 0xFB <= code <= 0xFE:
                code, position = read_prefixed(data, opcode)
            form = FORMS[code]
            if form == FORM_LEB:
                if code == op.CALL or code == op.RETURN_CALL:
                    called, position = read_u32(data, position)
                    if called < self._functions:
                        if code == op.RETURN_CALL and marks_entry:
                            other = self._behind_mark(FunctionIndex(called))
                        else:
                            other = instead[called]
                            if other == _UNKNOWN:
                                other = self._target(kind, FunctionIndex(called))
                        if other != _STAYS:
                            walk.put_call(opcode, code, other, position)
                elif code == op.CALL_REF or code == op.RETURN_CALL_REF:
                    type_index, position = read_u32(data, position)
                    if code == op.CALL_REF or not marks_entry:
                        self._redirect_call(walk, function, kind, opcode, position, (NO_TABLE, type_index, ANY_INDEX))
                elif data[position] < 0x80:
                    position += 1
                else:
                    position = skip_immediates(data, position, form)
            elif form == FORM_NONE:
                pass
            elif form == FORM_MEMARG and data[position] < 0x40 and data[position + 1] < 0x80:
                position += 2
            elif code == op.CALL_INDIRECT or code == op.RETURN_CALL_INDIRECT:
                type_index, position = read_u32(data, position)
                table, position = read_u32(data, position)
                if code == op.CALL_INDIRECT or not marks_entry:
                    is_constant = before >= 0 and data[before] == op.I32_CONST
                    index = constant_index(data, before) if is_constant else ANY_INDEX
                    self._redirect_call(walk, function, kind, opcode, position, (table, type_index, index))
            else:
                position = skip_immediates(data, position, form)
            before = opcode
        return walk.finish()

    def _redirect_call(
        self, walk: _Walk, function: FunctionIndex, kind: int, opcode: int, behind: int, call: tuple[int, int, int]
    ) -> None:
        """Redirect a call through a table or a reference, if it has to be."""
        guarded = self._guarded
        is_tail_call = walk.data[opcode] in (op.RETURN_CALL_INDIRECT, op.RETURN_CALL_REF)
        if kind == ENDING:
            if not guarded.leaves(call) or self._guard.does_nothing(CLEARING):
                return
            other = self._guard.indirect(call[0], call[1], CLEARING)
        elif kind == LEFT_OUT and guarded.leaves(call):
            if is_tail_call and self._guard.does_nothing(CLEARING):
                return
            other = self._guard.indirect(call[0], call[1], MARKING)
        elif kind == INSTRUMENTED and guarded.leaves(call) and guarded.is_left_out_in(function, call):
            if is_tail_call and self._guard.does_nothing(CLEARING):
                return
            if is_tail_call and not self._no_multivalue:
                leave = bytes(walk.data[opcode:behind])
                walk.put(opcode, self._guard.leaving(call[0], call[1], leave), behind)
                return
            if is_tail_call:
                other = self._guard.indirect_leaving(call[0], call[1])
            else:
                other = self._guard.indirect(call[0], call[1], MARKING)
        else:
            return
        walk.put_call(opcode, op.RETURN_CALL if is_tail_call else op.CALL, other, behind)

    def _target(self, kind: int, called: FunctionIndex) -> int:
        """Return what functions of a kind call instead of a function, or _STAYS."""
        instead = self._instead[kind]
        if instead[called] == _UNKNOWN:
            way = self._way(kind, called)
            stays = way < 0 or self._guard.does_nothing(way)
            instead[called] = _STAYS if stays else self._guard.function(called, way)
        return instead[called]

    def _way(self, kind: int, called: FunctionIndex) -> int:
        """Return which function of the guard goes between, or _STAYS."""
        guarded = self._guarded
        if called < len(self._builtin):
            if kind == LEFT_OUT and guarded.suspends[called]:
                return MARKING
            if kind == INSTRUMENTED and guarded.taken_out[called]:
                return MARKING
            return _STAYS if self._builtin[called] else KEEPING
        if not guarded.suspends[called]:
            return _STAYS
        return MARKING if kind == LEFT_OUT else CLEARING if kind == ENDING else _STAYS

    def _behind_mark(self, called: FunctionIndex) -> int:
        """Return what a function that marks where it is entered leaves for instead of a function, or _STAYS.

        Another mark would stand for this function, which has left, below whoever called it.
        """
        if called >= len(self._builtin) or self._builtin[called]:
            return _STAYS
        return self._guard.kept(called)

    def _leaves_for_good(self, function: FunctionIndex, body: bytes, position: int) -> bool:
        """Tell whether a function that is left out makes tail calls of what may suspend."""
        if self._guarded.kinds[function] != LEFT_OUT or self._guard.does_nothing(CLEARING):
            return False
        before = -1
        while position < len(body):
            opcode = position
            code = body[position]
            position += 1
            if 0xFB <= code <= 0xFE:
                code, position = read_prefixed(body, opcode)
            immediates = position
            position = skip_immediates(body, position, FORMS[code])
            if code == op.RETURN_CALL:
                called = read_u32(body, immediates)[0]
                if called < self._functions and self._guarded.suspends[called]:
                    return True
            elif code == op.RETURN_CALL_REF:
                return True
            elif code == op.RETURN_CALL_INDIRECT:
                type_index, behind = read_u32(body, immediates)
                table = read_u32(body, behind)[0]
                is_constant = before >= 0 and body[before] == op.I32_CONST
                index = constant_index(body, before) if is_constant else ANY_INDEX
                if self._guarded.leaves((table, type_index, index)):
                    return True
            before = opcode
        return False

    def _add_prologue(self, function: FunctionIndex, walk: _Walk) -> None:
        """Begin the body with what marks where the function is entered."""
        walk.put(walk.start, self._guard.prologue(function), walk.start)


class _Walk:
    """A body that is copied with other code in some places."""

    def __init__(self, data: bytes, start: int, *, keeps_padding: bool) -> None:
        self._keeps_padding = keeps_padding
        self.data: Final = data
        self.start: Final = start
        self._out: list[bytes] = []
        self._copied = 0
        self._added = 0
        self._result = Redirected()

    def put(self, start: int, code: bytes, end: int) -> None:
        """Put code in the place of what there is between two positions."""
        self._out += [self.data[self._copied : start], code]
        self._copied = end
        added = len(code) - (end - start)
        if added:
            self._added += added
            self._result.ends.append(end)
            self._result.added.append(self._added)

    def put_call(self, start: int, code: int, called: int, end: int) -> None:
        """Put a call of a function by name in the place of another call."""
        if not self._keeps_padding:
            self.put(start, bytes([code]) + encode_unsigned(called), end)
            return
        call = bytes([code]) + encode_padded(called, min(end - start - 1, MOST_BYTES_OF_U32))
        self.put(start, call + bytes([op.NOP]) * (end - start - len(call)), end)

    def finish(self) -> Redirected:
        """Return the body."""
        self._result.is_changed = len(self._out) > 0
        self._out.append(self.data[self._copied :])
        self._result.code = b"".join(self._out)
        return self._result
