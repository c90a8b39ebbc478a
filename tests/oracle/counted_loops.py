"""Loops that count to a bound, which run in chunks where the module has pause points: every form that is looked for.

They come to their end after so many iterations as are drawn: those of a chunk, and one more or less, among others. So
the bound is hit exactly, and it lies at the ends of the type only where the loop stops there.
"""

from __future__ import annotations

from typing import Final

from tests.oracle.encoder import signed
from tests.oracle.instructions import BLOCK, END, LOCAL_GET, LOCAL_SET, LOOP
from tests.oracle.pieces import Pieces
from tests.oracle.world import I32

_LOCAL_TEE: Final = 0x22
_CONST: Final = 0x41
_ADD: Final = b"\x6a"
_SUB: Final = b"\x6b"
_MUL: Final = b"\x6c"
_AND: Final = b"\x71"
_XOR: Final = b"\x73"
_BR_IF: Final = b"\x0d\x00"

_WORD: Final = 1 << 32
_ITERATIONS: Final = (1, 2, 3, 7, 511, 512, 513, 514, 1023, 1024, 1025, 1100)
_STEPS: Final = (1, 1, 2, 3, 4, 5, 8, 12, 40, 1 << 16, 1 << 20, (1 << 20) + 1)
_EDGES: Final = (0, 1, 77, (1 << 31) - 1, 1 << 31, _WORD - 1, _WORD - 2)
_AWAY_FROM_EDGES: Final = (1 << 30, 3 << 30, (1 << 30) + 1)

# Comparisons, rising: with the local on the left, and on the right; a falling loop has them exchanged.
_NE: Final = (b"\x47", b"\x47")
_BEFORE: Final = ((b"\x48", b"\x4a"), (b"\x49", b"\x4b"))
_NOT_BEYOND: Final = ((b"\x4c", b"\x4e"), (b"\x4d", b"\x4f"))


class Change:
    """How a local changes: by a constant, or by what another local holds; `stepper` is negative without."""

    def __init__(self, counter: int, step: int, stepper: int, *, rises: bool) -> None:
        self.counter = counter
        self.step = step
        self.stepper = stepper
        self.rises = rises


def counted_loop(body: Pieces) -> None:
    """Write one, without parameters and results; its locals are new."""
    decisions = body.decisions
    counter = body.add_local(I32, assignable=False)
    total = body.add_local(I32, assignable=True)
    step = decisions.choose(_STEPS)
    rises = decisions.below(2) == 1
    kind = decisions.below(4)
    compare = _NE if kind < 2 else decisions.choose(_BEFORE if kind == 2 else _NOT_BEYOND)
    bound = 0 if kind == 0 else decisions.choose(_AWAY_FROM_EDGES if kind == 3 else _EDGES)
    distance = step * decisions.choose(_ITERATIONS)
    _constant(body, bound - distance if rises else bound + distance)
    body.op(LOCAL_SET, counter)
    holder = body.add_local(I32, assignable=False) if kind and decisions.below(2) else -1
    if holder >= 0:
        _constant(body, bound)
        body.op(LOCAL_SET, holder)
    stepper = body.add_local(I32, assignable=False) if kind > 1 and decisions.below(3) == 2 else -1
    if stepper >= 0:
        _constant(body, step)
        body.op(LOCAL_SET, stepper)
    change = Change(counter, step, stepper, rises=rises)
    body.code += bytes((LOOP, 0x40))
    is_tee = decisions.below(2) == 1
    is_first = not is_tee and decisions.below(2) == 1
    if is_first:
        _step(body, change, LOCAL_SET)
    _work(body, counter, total)
    if not is_tee and not is_first:
        _step(body, change, LOCAL_SET)
    is_left = not kind or decisions.below(2) == 0
    if not is_left:
        _bound(body, bound, holder)
    if is_tee:
        _step(body, change, _LOCAL_TEE)
    else:
        body.op(LOCAL_GET, counter)
    if is_left and kind:
        _bound(body, bound, holder)
    if kind:
        body.code += compare[is_left != rises]
    body.code += _BR_IF + bytes((END,))


def _work(body: Pieces, counter: int, total: int) -> None:
    """Let the local that others see depend on every iteration, with a branch inside or without."""
    body.op(LOCAL_GET, total)
    _constant(body, 31)
    body.code += _MUL
    body.op(LOCAL_GET, counter)
    body.code += _XOR
    body.op(LOCAL_SET, total)
    if body.decisions.below(3) == 2:
        body.code += bytes((BLOCK, 0x40))
        body.op(LOCAL_GET, counter)
        _constant(body, 4)
        body.code += _AND + _BR_IF
        body.op(LOCAL_GET, total)
        body.op(LOCAL_SET, total)
        body.code.append(END)


def _step(body: Pieces, change: Change, instruction: int) -> None:
    """Change the counter, by adding or subtracting, the step on either side of it where it is added."""
    adds = change.rises if change.stepper >= 0 else body.decisions.below(2) == 0
    amount = change.step if adds == change.rises else -change.step
    if adds and body.decisions.below(3) == 2:
        _bound(body, amount, change.stepper)
        body.op(LOCAL_GET, change.counter)
    else:
        body.op(LOCAL_GET, change.counter)
        _bound(body, amount, change.stepper)
    body.code += _ADD if adds else _SUB
    body.op(instruction, change.counter)


def _bound(body: Pieces, bound: int, holder: int) -> None:
    """Write a bound, or a step: a local that holds it, if there is one."""
    if holder >= 0:
        body.op(LOCAL_GET, holder)
    else:
        _constant(body, bound)


def _constant(body: Pieces, value: int) -> None:
    value %= _WORD
    body.code.append(_CONST)
    body.code += signed(value - _WORD if value >> 31 else value)
