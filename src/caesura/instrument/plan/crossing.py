"""Operands that cross: how they leave the stack and come back.

An operand crosses where it would stand on the stack across a landing point, or across a construct that contains call
sites. It goes to a temporary local right after the instruction that produced it and is read again after the last
crossing. A constant, or a read of a local that does not change meanwhile, needs no temporary: its instruction moves
to where the value is read again; `local.tee` becomes `local.set`, and the local is read again. Temporaries are shared
like a stack, by type and by how many operands below use one, since operands are.

A temporary for references can be null, whatever its operands are: it has a value only while one of them crosses. Those
that cannot be null are told apart, since the code that reads them again has to say so; and since it would trap in a
rewind on what was not restored, frames save them wherever they cross, even if a call ignores them.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis import actions
from caesura.analysis.actions import ACTIONS
from caesura.analysis.body import Body
from caesura.errors import UnsupportedModule
from caesura.instrument.plan.operand_stack import OperandStack
from caesura.instrument.plan.operand_types import OperandTypes
from caesura.instrument.plan.plan import (
    SLOT,
    CrossingOperands,
    Moment,
    Producer,
    Saved,
    Temporary,
    instruction_of,
)
from caesura.wasm.indices import LocalIndex
from caesura.wasm.types import I32, V128, is_non_null, is_number, is_reference, nullable

# Operands that cross, counted at every crossing; beyond this the time would be quadratic. SQLite has 6,000 in all.
_MAXIMUM_WORK: Final = 5_000_000

# For a temporary of its own, which is shared with no other operand, in place of its place among those of its type.
_UNSHARED: Final = -1

# In place of the instruction that wrote a local last: none has.
_NEVER: Final = -1

# The types of numbers and vectors, each with a place in lists by type.
_NUMBER_TYPES: Final = I32 - V128 + 1


class Crossing:
    """Keeps track of crossing operands during the planner's walk."""

    def __init__(self, body: Body, stack: OperandStack, types: OperandTypes) -> None:
        self._body = body
        self._stack = stack
        self._types = types
        self._temporaries: dict[Producer, Temporary] = {}
        self._temporary_types: list[int] = []
        self._saved: set[Temporary] = set()
        self._moved: set[Producer] = set()
        self._moved_locals: set[LocalIndex] = set()
        self._last_write: dict[int, int] = {}
        self._last_crossing: dict[Producer, Moment] = {}
        # Temporaries by type and by place among those of this type; and the place of each producer's.
        self._pool: dict[tuple[int, int], Temporary] = {}
        self._place: dict[Producer, int] = {}
        # How many temporaries of each type the operands below the innermost construct use; and those around it.
        self._used = [0] * _NUMBER_TYPES
        # The places of reference types in such lists, which grow with them.
        self._reference_places: dict[int, int] = {}
        self._non_null: set[Producer] = set()
        self._outer_used: list[list[int]] = []
        self._work = 0

    def note_write(self, index: int) -> None:
        """Note an instruction that writes a local."""
        self._last_write[self._body.immediates[index]] = index

    def cross(self, low: int, high: int, moment: Moment, *, forced: bool) -> None:
        """Let the operands from height `low` to `high` cross: they are not on the stack until `moment`.

        Where that is `forced` they cannot move, but must be in temporaries.
        """
        self._check_work(high - low, moment)
        used = self._used.copy()
        for operand in range(low, high):
            producer = Producer(self._stack.producers[operand])
            self._last_crossing[producer] = moment
            if producer in self._temporaries or forced or not self._move(producer, is_saved=True):
                self._use(producer, used)

    def cross_site(self, low: int, high: int, moment: Moment, ignored: int) -> None:
        """Let the operands from height `low` to `high` cross where frames are saved.

        Those from `ignored` on go to a call that ignores them in a rewind: frames need not save them.
        """
        self._check_work(high - low, moment)
        used = self._used.copy()
        for operand in range(low, high):
            producer = Producer(self._stack.producers[operand])
            self._last_crossing[producer] = moment
            if producer in self._temporaries or not self._move(producer, is_saved=operand < ignored):
                temporary = self._use(producer, used)
                if operand < ignored or producer in self._non_null:
                    self._saved.add(temporary)

    def open_construct(self, low: int, high: int, end_moment: Moment) -> None:
        """Let the operands from height `low` to `high` cross a construct with call sites, which is opened now."""
        self._outer_used.append(self._used)
        if low == high:
            return
        self.cross_site(low, high, end_moment, high)
        self._used = self._used.copy()
        for operand in range(low, high):
            producer = Producer(self._stack.producers[operand])
            if producer in self._temporaries:
                self._count(producer, self._used)

    def close_construct(self) -> None:
        """Leave the construct that was opened last."""
        self._used = self._outer_used.pop()

    def _check_work(self, crossing: int, moment: Moment) -> None:
        """Count operands that cross; raises UnsupportedModule where they are too many."""
        self._work += crossing
        if self._work > _MAXIMUM_WORK:
            raise UnsupportedModule(
                "too many operands stand on the stack across calls that may suspend; leave the function out with "
                "--remove-list NAME if it never suspends",
                self._body.positions[moment >> 1],
                kind="too many operands across calls",
            )

    def _use(self, producer: Producer, used: list[int]) -> Temporary:
        """Return the temporary of an operand, and count it as used."""
        if producer not in self._temporaries:
            self._choose(producer, used)
        self._count(producer, used)
        return self._temporaries[producer]

    def _choose(self, producer: Producer, used: list[int]) -> None:
        """Choose a temporary for an operand."""
        value_type = self._types.type_of(producer)
        if is_non_null(value_type):
            self._non_null.add(producer)
            value_type = nullable(value_type)
        place = used[self._place_of_type(value_type, used)]
        if producer in self._moved:
            # It could move until now; others may have taken its place meanwhile, and a landing point may have been
            # among what it moved across.
            self._moved.discard(producer)
            self._temporaries[producer] = self._new_temporary(value_type)
            self._saved.add(self._temporaries[producer])
            place = _UNSHARED
        else:
            if (value_type, place) not in self._pool:
                self._pool[(value_type, place)] = self._new_temporary(value_type)
            self._temporaries[producer] = self._pool[(value_type, place)]
        self._place[producer] = place

    def _count(self, producer: Producer, used: list[int]) -> None:
        """Count an operand's temporary as used."""
        number = self._place_of_type(self._temporary_types[self._temporaries[producer]], used)
        if self._place[producer] >= used[number]:
            used[number] = self._place[producer] + 1

    def _move(self, producer: Producer, *, is_saved: bool) -> bool:
        """Move a producer that gives the same value later; return whether it can."""
        if producer >= SLOT:
            return False
        body = self._body
        code = body.codes[producer]
        action = ACTIONS[code]
        if action == actions.LOCAL_GET or action == actions.LOCAL_TEE:
            local = LocalIndex(body.immediates[producer])
            if self._last_write.get(local, _NEVER) > producer:
                return False
            if is_saved or (body.has_non_null and is_non_null(body.local_type(local))):
                self._moved_locals.add(local)
        elif action == actions.GLOBAL_GET:
            if self._types.is_mutable_global(instruction_of(producer)):
                return False
        elif action != actions.CONSTANT:
            return False
        self._moved.add(producer)
        return True

    def _new_temporary(self, value_type: int) -> Temporary:
        self._temporary_types.append(value_type)
        return Temporary(len(self._temporary_types) - 1)

    def take_over(self, outer: Producer, inner: Producer, value_type: int, moment: Moment) -> None:
        """Let a producer inside a construct use the temporary of the one outside that it goes on from.

        `value_type` is that of the parameter.
        """
        if is_reference(value_type):
            self._widen(outer, inner, value_type)
        self._temporaries[inner] = self._temporaries[outer]
        self._place[inner] = self._place[outer]
        self._last_crossing[inner] = moment

    def _widen(self, outer: Producer, inner: Producer, value_type: int) -> None:
        """Give a reference that becomes a parameter a temporary of the parameter's type: others come into it later.

        If that cannot be null frames save it: a frame that lands inside of the construct comes by its beginning.
        """
        before = self._temporaries[outer]
        widened = self._new_temporary(nullable(value_type))
        if before in self._saved or is_non_null(value_type):
            self._saved.add(widened)
        self._temporaries[outer] = widened
        self._place[outer] = _UNSHARED
        self._non_null.discard(outer)
        if is_non_null(value_type):
            self._non_null.update((outer, inner))

    def _place_of_type(self, value_type: int, used: list[int]) -> int:
        """Return where a list by types has what belongs to a type, which it may get now."""
        if is_number(value_type):
            return I32 - value_type
        place = self._reference_places.setdefault(value_type, _NUMBER_TYPES + len(self._reference_places))
        while len(used) <= place:
            used.append(0)
        return place

    def holding(self, producers: list[Producer]) -> tuple[set[Temporary], set[LocalIndex]]:
        """Return the temporaries and the locals that hold some operands, when it is known which could move."""
        temporaries: set[Temporary] = set()
        locals_: set[LocalIndex] = set()
        for producer in producers:
            if producer in self._temporaries:
                temporaries.add(self._temporaries[producer])
            elif ACTIONS[self._body.codes[producer]] in (actions.LOCAL_GET, actions.LOCAL_TEE):
                locals_.add(LocalIndex(self._body.immediates[producer]))
        return temporaries, locals_

    def operands(self) -> CrossingOperands:
        """Return how the operands cross, when the walk is over."""
        return CrossingOperands(self._temporaries, self._moved, self._reads(), self._types.several, self._non_null)

    def saved(self) -> Saved:
        """Return what frames have to hold for them."""
        return Saved(self._temporary_types, self._saved, self._moved_locals)

    def _reads(self) -> dict[Moment, list[Producer]]:
        """Return, for each moment, whose values are read again then."""
        order = [(instruction_of(producer), producer // SLOT, producer) for producer in self._last_crossing]
        order.sort()
        reads: dict[Moment, list[Producer]] = {}
        for _, _, producer in order:
            moment = self._last_crossing[producer]
            if moment in reads:
                reads[moment].append(producer)
            else:
                reads[moment] = [producer]
        return reads
