"""Operands that cross: how they leave the stack and come back.

An operand crosses where it would stand on the stack across a landing point, or across a construct that contains call
sites. It goes to a temporary local right after the instruction that produced it and is read again after the last
crossing. A constant, or a read of a local that does not change meanwhile, needs no temporary: its instruction moves
to where the value is read again; `local.tee` becomes `local.set`, and the local is read again. Temporaries are shared
like a stack, by type and by how many operands below use one, since operands are.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis import actions
from caesura.analysis.actions import ACTIONS
from caesura.analysis.body import Body, block_types
from caesura.errors import InternalError, MalformedModule, UnsupportedModule
from caesura.instrument.plan.plan import SLOT, Plan
from caesura.instrument.plan.unsaved import type_behind, unsaved_value
from caesura.wasm.immediates import instruction_name
from caesura.wasm.instructions import ADDRESS, RESULTS
from caesura.wasm.module import Module
from caesura.wasm.types import I32, I64

_INSTRUCTION: Final = SLOT - 1

# Operands that cross, counted at every crossing; beyond this the time would be quadratic. SQLite has 6,000 in all.
_MAXIMUM_WORK: Final = 5_000_000


class Crossing:
    """Keeps track of crossing operands during the planner's walk, and enters them into the plan.

    `results` are the function's, `producers` is the planner's operand stack. The planner notes here what types and
    moves are found from: the last write of each local, the first operand of each untyped `select`, the types that a
    `br_if` gives again, and the start of the construct that an `end` or `else` belongs to. `used` counts, by type, the
    temporaries of operands below the current construct.
    """

    def __init__(self, module: Module, body: Body, results: tuple[int, ...], plan: Plan, producers: list[int]) -> None:
        self._module = module
        self._results = results
        self._body = body
        self._plan = plan
        self._producers = producers
        self.last_write: dict[int, int] = {}
        self.last_crossing: dict[int, int] = {}
        self.select_sources: dict[int, int] = {}
        self.branch_types: dict[int, tuple[int, ...]] = {}
        self.openers: dict[int, int] = {}
        self.used = [0, 0, 0, 0, 0]
        self._pool: dict[tuple[int, int], int] = {}
        self._place: dict[int, int] = {}
        self._work = 0

    def cross(self, low: int, high: int, moment: int, at_site: bool, forced: bool, ignored: int = _INSTRUCTION) -> None:
        """Let the operands from `low` to `high` cross: they are not on the stack until `moment`.

        Those from `ignored` on go to a call that ignores them in a rewind: frames need not save them.
        """
        plan = self._plan
        self._work += high - low
        if self._work > _MAXIMUM_WORK:
            raise UnsupportedModule(
                "too many operands stand on the stack across calls that may suspend; leave the function out with "
                "--remove-list NAME if it never suspends",
                self._body.positions[moment >> 1],
                kind="too many operands across calls",
            )
        used = self.used.copy()
        for operand in range(low, high):
            producer = self._producers[operand]
            self.last_crossing[producer] = moment
            if producer not in plan.temporaries:
                if not forced and self._move(producer, operand < ignored):
                    continue
                value_type = self._type_of(producer)
                kind = self._kind(value_type, producer)
                place = used[kind]
                if producer in plan.moved:
                    # It could move until now; others may have taken its place meanwhile.
                    # A landing point may have been among what it moved across.
                    plan.moved.discard(producer)
                    plan.temporaries[producer] = self._new_temporary(value_type)
                    plan.saved_temporaries.add(plan.temporaries[producer])
                    place = -1
                else:
                    if (kind, place) not in self._pool:
                        self._pool[(kind, place)] = self._new_temporary(value_type)
                    plan.temporaries[producer] = self._pool[(kind, place)]
                self._place[producer] = place
            temporary = plan.temporaries[producer]
            if at_site and operand < ignored:
                plan.saved_temporaries.add(temporary)
            kind = 0x7F - plan.temporary_types[temporary]
            if self._place[producer] >= used[kind]:
                used[kind] = self._place[producer] + 1

    def count_used(self, low: int, high: int) -> None:
        """Count the temporaries of the operands that go below a new construct as used."""
        for operand in range(low, high):
            producer = self._producers[operand]
            if producer in self._plan.temporaries:
                kind = 0x7F - self._plan.temporary_types[self._plan.temporaries[producer]]
                if self._place[producer] >= self.used[kind]:
                    self.used[kind] = self._place[producer] + 1

    def _move(self, producer: int, is_saved: bool) -> bool:
        """Move a producer that gives the same value later; return whether it can."""
        if producer > _INSTRUCTION:
            return False
        body = self._body
        code = body.codes[producer]
        action = ACTIONS[code]
        if action == actions.LOCAL_GET or action == actions.LOCAL_TEE:
            local = body.immediates[producer]
            if self.last_write.get(local, -1) > producer:
                return False
            if is_saved:
                self._plan.moved_locals.add(local)
        elif action == actions.GLOBAL_GET:
            if self.is_mutable_global(producer):
                return False
        elif action != actions.CONSTANT:
            return False
        self._plan.moved.add(producer)
        return True

    def _new_temporary(self, value_type: int) -> int:
        self._plan.temporary_types.append(value_type)
        return len(self._plan.temporary_types) - 1

    def take_over(self, outer: int, inner: int, moment: int) -> None:
        """Let a producer inside a construct use the temporary of the one outside that it goes on from."""
        self._plan.temporaries[inner] = self._plan.temporaries[outer]
        self._place[inner] = self._place[outer]
        self.last_crossing[inner] = moment

    def is_mutable_global(self, index: int) -> bool:
        """Tell whether a `global.get` reads a mutable global; raises MalformedModule."""
        number = self._body.immediates[index]
        if number >= len(self._module.globals):
            raise MalformedModule(f"global index {number} is out of range", self._body.positions[index])
        return self._module.globals[number].mutable

    def _kind(self, value_type: int, producer: int) -> int:
        if value_type < 0x7B or value_type > 0x7F:
            index = producer & _INSTRUCTION
            if value_type <= 0:
                value_type = type_behind(self._module, self._body, self._results, index)
            origin = instruction_name(self._body.codes[index])
            raise unsaved_value("a value", value_type, self._body.positions[index], origin)
        return 0x7F - value_type

    def _type_of(self, producer: int) -> int:
        """Return the type code of a producer's value, or -1 for a reference that only full typing could name."""
        body = self._body
        while producer in self.select_sources:
            producer = self.select_sources[producer]
        index = producer & _INSTRUCTION
        slot = producer >> 32
        if index in self._plan.several:
            return self._plan.several[index][slot]
        code = body.codes[index]
        action = ACTIONS[code]
        if action == actions.LOCAL_GET or action == actions.LOCAL_TEE:
            return body.local_type(body.immediates[index])
        if action == actions.GLOBAL_GET:
            return self._module.globals[body.immediates[index]].type
        if action == actions.CALL:
            return self._module.function_type(body.immediates[index]).results[0]
        if action == actions.CALL_INDIRECT or action == actions.CALL_REF:
            return self._module.types[body.immediates[index]].results[0]
        if action == actions.BR_IF:
            return self.branch_types[index][0]
        if action == actions.CONSTRUCT:
            return block_types(self._module, body.immediates[index], body.positions[index] + 1)[0][0]
        if action == actions.END or action == actions.HANDLER:
            start = self.openers[index]
            return block_types(self._module, body.immediates[start], body.positions[start] + 1)[1][0]
        if action == actions.ELSE:
            start = self.openers[index]
            return block_types(self._module, body.immediates[start], body.positions[start] + 1)[0][0]
        results = RESULTS[code]
        if not results:
            raise InternalError(f"no type for the value of {instruction_name(code)}")
        if results[0] == ADDRESS:
            return self._address_type(index, code)
        return results[0]

    def _address_type(self, index: int, code: int) -> int:
        number = self._body.immediates[index]
        if instruction_name(code).startswith("memory"):
            return I64 if self._module.memories[number].is64 else I32
        return I64 if self._module.tables[number].limits.is64 else I32

    def collect_reads(self) -> None:
        """Say in the plan, for each moment, whose values are read again then."""
        order = [(producer & _INSTRUCTION, producer >> 32, producer) for producer in self.last_crossing]
        order.sort()
        reads = self._plan.reads
        for _, _, producer in order:
            moment = self.last_crossing[producer]
            if moment in reads:
                reads[moment].append(producer)
            else:
                reads[moment] = [producer]
