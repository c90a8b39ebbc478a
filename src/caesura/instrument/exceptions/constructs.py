"""What a function's code has to be known of before its old-form exceptions can be written in the new form.

`try_table` names its handlers at its beginning, an old-form `try` at the end: so one pass over the code finds, before
another one writes, the catch clauses of each `try`, which of them are rethrown from, and where exceptions go that pass
a `delegate`.

A `delegate` names a construct, and means: an exception goes on as if that construct had thrown it. What catches it
then, its *catcher*, is the innermost construct around that has handlers and whose body (not whose handlers) it is in;
where that one ends with a `delegate` itself, the search goes on from the construct that this one names. Constructs are
numbered as they open, those outside first, so the catchers of all are found one after the other, each from one that is
known. In most code a `delegate` names what would catch its exceptions anyway: then its `try` is a plain block.
"""

from __future__ import annotations

from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import (
    FORM_LEB,
    FORM_MEMARG,
    FORM_NONE,
    FORM_UNKNOWN,
    FORMS,
    read_instruction,
    read_prefixed,
    skip_immediates,
    skip_locals,
    unknown_opcode,
)
from caesura.wasm.indices import OwnFunction
from caesura.wasm.instructions import (
    FLOW_BLOCK,
    FLOW_CATCH,
    FLOW_DELEGATE,
    FLOW_END,
    FLOW_NEXT,
    FLOW_TRY,
    FLOWS,
)
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module

# Stands for the tag of a clause that catches all exceptions.
CATCH_ALL: Final = -1

# The function itself is the outermost construct.
FUNCTION: Final = 0
_NO_CODE: Final = -1

_TRY_BYTE: Final = b"\x06"


class Clause:
    """A catch clause of an old-form `try`: its tag, or CATCH_ALL, and whether a `rethrow` throws what it caught."""

    def __init__(self, tag: int) -> None:
        self.tag: Final = tag
        self.is_rethrown = False


class Constructs:
    """The constructs of a function, numbered in the order in which they open; the function itself is FUNCTION.

    `clauses` has the catch clauses of each old-form `try` that has any. `redirects` has, by number, the old-form tries
    with a `delegate` whose exceptions go elsewhere than they would by themselves, and the construct that catches them
    (FUNCTION: none in this function); `landings` are these catchers.
    """

    def __init__(self) -> None:
        self.clauses: dict[int, list[Clause]] = {}
        self.redirects: dict[int, int] = {}
        self.landings: set[int] = set()


def has_old_form(module: Module, own: OwnFunction) -> bool:
    """Tell whether a function has an old-form `try`; raises MalformedModule.

    Where exceptions may be translated, every function of every module is looked at, so this loop does in place what
    `read_instruction` does.
    """
    data = module.data
    start = module.body_starts[own]
    last = data.rfind(_TRY_BYTE, start, module.body_ends[own])
    if last < 0:
        return False
    forms = FORMS
    position = skip_locals(data, start)
    while position <= last:
        opcode = position
        code = data[position]
        position += 1
        if code == op.TRY:
            return True
        if code >= 0xFB:
            code, position = read_prefixed(data, opcode)
        form = forms[code]
        if form == FORM_NONE:
            continue
        if form == FORM_LEB and data[position] < 0x80:
            position += 1
        elif form == FORM_MEMARG and data[position] < 0x40 and data[position + 1] < 0x80:
            position += 2
        elif form == FORM_UNKNOWN:
            raise unknown_opcode(code, opcode)
        else:
            position = skip_immediates(data, position, form)
    return False


def find_constructs(module: Module, own: OwnFunction) -> Constructs:
    """Return the constructs of a function; raises MalformedModule, with the offset, where they do not fit together."""
    return _Search(module, own).run()


class _Search:
    """One pass over a function's code. `_kinds`, `_parents` and `_in_body` have an entry for each construct: the code
    that opened it, the one around it, and whether it stands in the body of that one, not in a handler.
    """

    def __init__(self, module: Module, own: OwnFunction) -> None:
        self._data = module.data
        self._start = skip_locals(module.data, module.body_starts[own])
        self._end = module.body_ends[own]
        self._found = Constructs()
        self._kinds: list[int] = [_NO_CODE]
        self._parents: list[int] = [FUNCTION]
        self._in_body: list[bool] = [True]
        # The constructs that are open, and whether we are in a handler of each.
        self._open: list[int] = [FUNCTION]
        self._in_handler: list[bool] = [False]
        # By try with a `delegate`: the construct that it names, and whether the try stands in the body of that one.
        self._named: dict[int, int] = {}
        self._named_body: dict[int, bool] = {}

    def run(self) -> Constructs:
        position = self._start
        while position < self._end and self._open:
            opcode = position
            code, immediates, position = read_instruction(self._data, opcode)
            flow = FLOWS[code]
            if flow == FLOW_NEXT:
                continue
            if FLOW_BLOCK <= flow <= FLOW_TRY:
                self._enter(code)
            elif flow == FLOW_END:
                self._open.pop()
                self._in_handler.pop()
            elif flow == FLOW_CATCH:
                tag = CATCH_ALL if code == op.CATCH_ALL else read_u32(self._data, immediates)[0]
                self._catch(tag, opcode)
            elif flow == FLOW_DELEGATE:
                self._delegate(read_u32(self._data, immediates)[0], opcode)
            elif code == op.RETHROW:
                self._rethrow(read_u32(self._data, immediates)[0], opcode)
        self._find_catchers()
        return self._found

    def _enter(self, code: int) -> None:
        self._parents.append(self._open[-1])
        self._in_body.append(not self._in_handler[-1])
        self._open.append(len(self._kinds))
        self._in_handler.append(False)
        self._kinds.append(code)

    def _catch(self, tag: int, offset: int) -> None:
        construct = self._innermost_try("catch", offset)
        clauses = self._found.clauses
        if construct not in clauses:
            clauses[construct] = []
        elif clauses[construct][-1].tag == CATCH_ALL:
            raise MalformedModule("catch clause behind catch_all", offset)
        clauses[construct].append(Clause(tag))
        self._in_handler[-1] = True

    def _delegate(self, depth: int, offset: int) -> None:
        construct = self._innermost_try("delegate", offset)
        if self._in_handler[-1]:
            raise MalformedModule("delegate behind a catch clause", offset)
        self._open.pop()
        self._in_handler.pop()
        place = self._place(depth, offset)
        self._named[construct] = self._open[place]
        self._named_body[construct] = not self._in_handler[place]

    def _rethrow(self, depth: int, offset: int) -> None:
        place = self._place(depth, offset)
        if not self._in_handler[place]:
            raise MalformedModule("rethrow outside of the catch clause that it names", offset)
        self._found.clauses[self._open[place]][-1].is_rethrown = True

    def _innermost_try(self, what: str, offset: int) -> int:
        construct = self._open[-1]
        if self._kinds[construct] != op.TRY:
            raise MalformedModule(f"{what} without try", offset)
        return construct

    def _place(self, depth: int, offset: int) -> int:
        """Return where among the open constructs one stands that a label names."""
        place = len(self._open) - 1 - depth
        if place < 0:
            raise MalformedModule(f"label {depth} is out of range; there are {len(self._open)} around", offset)
        return place

    def _find_catchers(self) -> None:
        """Find what catches the exceptions of each `try` with a `delegate`."""
        if not self._named:
            return
        # What catches exceptions that are thrown right beside a construct, and in its body.
        beside: list[int] = [FUNCTION]
        inside: list[int] = [FUNCTION]
        for construct in range(1, len(self._kinds)):
            around = self._parents[construct]
            beside.append(inside[around] if self._in_body[construct] else beside[around])
            if construct in self._named:
                named = self._named[construct]
                catcher = inside[named] if self._named_body[construct] else beside[named]
                inside.append(catcher)
                if catcher != beside[construct]:
                    self._found.redirects[construct] = catcher
                    self._found.landings.add(catcher)
            elif construct in self._found.clauses or self._kinds[construct] == op.TRY_TABLE:
                inside.append(construct)
            else:
                inside.append(beside[construct])
