"""Catch clauses that a thrown exception is compared with: how many stand around one place of a function.

An exception that is thrown looks at every catch clause around each call on the stack until one takes it, and nothing
can pause the guest meanwhile. Engines take some nanoseconds for each, so a recursion as deep as the stack allows, in
which each activation calls the next inside thousands of clauses for other tags, keeps its thread for seconds by one
`throw`. So modules with pause points may have MOST_CLAUSES around a place: far more than compilers emit, which
write one or two for each block, and nest a few blocks. Counting clauses as instructions was rejected: `throw` cannot
look whether to pause on its way, wherever looks stand.

Clauses of `try_table` and those of the older `try`, around what is tried and not around its handlers, count alike. What
neither calls nor throws counts for nothing.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.path_lengths import read_branch
from caesura.errors import UnsupportedModule
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import ByteOffset, OwnFunction
from caesura.wasm.module import Module

# Catch clauses that may stand around one place, in a module as it was given. With so many, one `throw` out of the
# deepest recursion for which there is room takes 1.5 ms here (6,500 activations) and 33 ms in V8 (15,700), of which 22
# are for a recursion without any clause: less than a guest may go on for that cannot be suspended. Programs that
# compilers have made have up to 7.
MOST_CLAUSES: Final = 64

# The same in a module that is instrumented: the transformation puts at most as many of its own around a call.
MOST_CLAUSES_INSTRUMENTED: Final = 2 * MOST_CLAUSES

# Of a place in which nothing calls or throws.
_NOTHING: Final = -1


class Clauses:
    """How many clauses stand around a place, at most, and the offset of a call or a `throw` that has so many."""

    def __init__(self, count: int, place: ByteOffset) -> None:
        self.count: Final = count
        self.place: Final = place


def refuse_clauses(module: Module, most: int) -> None:
    """Raise UnsupportedModule if more catch clauses stand around a call than `most`; the code is well formed."""
    if not module.tags:  # no clause lets an exception pass that takes all
        return
    for own in module.own_functions():
        found = most_clauses(module, own)
        if found.count > most:
            raise UnsupportedModule(
                f"{found.count:,} catch clauses stand around one instruction of the function, and an exception is "
                f"compared with each of them, where nothing can pause the guest: modules with pause points may have "
                f"{most} (leave preempt out, or let fewer clauses catch, by fewer tags)",
                found.place,
                f"function {module.function_of(own)}",
            )


def most_clauses(module: Module, own: OwnFunction) -> Clauses:
    """Return the most clauses around a call or a `throw` in one of the module's own functions."""
    data = module.data
    position: int = skip_locals(data, module.body_starts[own])
    end = module.body_ends[own]
    # Of each open construct, the function first: its clauses; the most around a place of what is tried, and of its
    # handlers, besides its own, and where that is. While handlers are read, what stands in them is none of `tried`.
    clauses = [0]
    tried = [_NOTHING]
    handled = [_NOTHING]
    places = [0]
    in_handlers = [False]
    while position < end:
        start = position
        code, immediates, position = read_instruction(data, position)
        flow = table.FLOWS[code]
        if table.EFFECTS[code] == table.CALL or (flow == table.FLOW_RAISE and code != op.UNREACHABLE):
            _note(tried, handled, places, in_handlers, 0, start)
        elif table.FLOW_BLOCK <= flow <= table.FLOW_TRY:
            clauses.append(len(read_branch(data, code, flow, immediates)))
            tried.append(_NOTHING)
            handled.append(_NOTHING)
            places.append(start)
            in_handlers.append(False)
        elif flow == table.FLOW_CATCH:
            clauses[-1] += 1
            in_handlers[-1] = True
        elif (flow == table.FLOW_END or flow == table.FLOW_DELEGATE) and len(clauses) > 1:
            own_clauses, inside, after, place = clauses.pop(), tried.pop(), handled.pop(), places.pop()
            in_handlers.pop()
            around = max(inside + own_clauses, after) if inside != _NOTHING else after
            if around != _NOTHING:
                _note(tried, handled, places, in_handlers, around, place)
    return Clauses(max(tried[0], 0), ByteOffset(places[0]))


def _note(
    tried: list[int], handled: list[int], places: list[int], in_handlers: list[bool], around: int, place: int
) -> None:
    """Note in the innermost construct that clauses stand around a place in it."""
    if around > max(tried[-1], handled[-1]):
        places[-1] = place
    if in_handlers[-1]:
        handled[-1] = max(handled[-1], around)
    else:
        tried[-1] = max(tried[-1], around)
