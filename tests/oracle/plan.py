"""What is decided about a generated module before its bodies: signatures, who may suspend, the table, the globals."""

from __future__ import annotations

from typing import NamedTuple

from tests.oracle.operators import Operator
from tests.oracle.world import ALL_TYPES, IMPORTS

Types = tuple[int, ...]


class Callee(NamedTuple):
    """Something that can be called: a function, or a run of table slots with functions of one type."""

    target: int
    """The function's index, or the first slot."""
    params: Types
    results: Types
    slots: int
    """How many slots, or 0 for a direct call."""
    may_suspend: bool
    burns_fuel: bool
    by_reference: bool = False
    """Whether a direct call may go through a reference instead."""


class FunctionPlan:
    """A function of the guest: what is known before its body is generated, and what is learnt from that."""

    __slots__ = (
        "budget",
        "burns_fuel",
        "called",
        "calls_indirectly",
        "index",
        "interpreter",
        "may_suspend",
        "name",
        "params",
        "results",
        "wrapper",
    )

    def __init__(self, index: int, name: str, params: Types, results: Types) -> None:
        self.index = index
        self.name = name
        self.params = params
        self.results = results
        self.may_suspend = True
        self.burns_fuel = True
        self.interpreter = False
        self.wrapper = False
        self.budget = 60
        self.called: set[int] = set()
        self.calls_indirectly = False


class ModulePlan:
    """Everything that bodies refer to."""

    def __init__(self) -> None:
        self.types: dict[tuple[Types, Types], int] = {}
        self.first_function_type = 0
        """How many types of structs and arrays stand before these."""
        self.functions: list[FunctionPlan] = []
        self.suspending_mask = (1 << len(IMPORTS)) - 1
        self.indirect_may_suspend = True
        self.memory64 = False
        self.own_table = False
        self.exceptions = False
        self.legacy_exceptions = False
        self.throwing = False
        self.references = False
        self.held: Types = ()
        """The types of references that functions hold."""
        self.value_types: Types = ALL_TYPES
        """The types of locals, parameters, results and operands."""
        self.looking: dict[int, int] = {}
        """For the types above all of these, the functions that make a number of one."""
        self.never: list[FunctionPlan] = []
        """For each tag, a function that throws it, whose result has a type without values; none without such types."""
        self.referable: list[int] = []
        """The functions that references are made of."""
        self.counting = False
        """Whether there are loops that count to a bound."""
        self.wide_arithmetic = False
        self.tail_calls = False
        self.tags: list[Types] = []
        self.globals_by_type: dict[int, list[int]] = {t: [] for t in ALL_TYPES}
        self.operators: dict[int, list[Operator]] = {}
        self.trapping: dict[int, list[Operator]] = {}
        self.slots: list[FunctionPlan | None] = []
        self._callees: dict[tuple[bool, bool, int], list[Callee]] = {}
        self._groups: list[Callee] = []

    def type_index(self, params: Types, results: Types) -> int:
        """The index of a function type, new if need be."""
        key = (params, results)
        if key not in self.types:
            self.types[key] = self.first_function_type + len(self.types)
        return self.types[key]

    def set_slots(self, slots: list[FunctionPlan | None]) -> None:
        """Fill the table; neighbours of one type become one callee."""
        self.slots = slots
        start = 0
        while start < len(slots):
            first = slots[start]
            end = start + 1
            if first is not None:
                signature = (first.params, first.results)
                while end < len(slots):
                    other = slots[end]
                    if other is None or (other.params, other.results) != signature:
                        break
                    end += 1
                may_suspend = self.indirect_may_suspend
                burns = all(f.burns_fuel for f in slots[start:end] if f is not None)
                self._groups.append(Callee(start, first.params, first.results, end - start, may_suspend, burns))
            start = end

    def any_callees(self, quiet: bool, caller: FunctionPlan) -> list[Callee]:
        """What the caller may call; only what cannot suspend where `quiet`."""
        return self._list(quiet, caller.burns_fuel, 0)

    def wrapped(self, quiet: bool, caller: FunctionPlan) -> list[Callee]:
        """What a wrapper may end with a call of: also wrappers behind it, so that there are chains, but no rings."""
        later = [
            Callee(f.index, f.params, f.results, 0, f.may_suspend, burns_fuel=False)
            for f in self.functions
            if f.wrapper and f.index > caller.index and not (quiet and f.may_suspend)
        ]
        callees = [*later, *later, *self.any_callees(quiet, caller)]
        return [c for c in callees if c.results == caller.results or not caller.results]

    def callees(self, result: int, quiet: bool, caller: FunctionPlan) -> list[Callee]:
        """What the caller may call for a first result of that type."""
        return self._list(quiet, caller.burns_fuel, result)

    def _list(self, quiet: bool, from_fueled: bool, result: int) -> list[Callee]:
        key = (quiet, from_fueled, result)
        known = self._callees.get(key)
        if known is None:
            imports = [
                Callee(i, f.params, f.results, 0, bool(self.suspending_mask >> i & 1), burns_fuel=True)
                for i, f in enumerate(IMPORTS)
            ]
            functions = [
                Callee(
                    f.index,
                    f.params,
                    f.results,
                    0,
                    f.may_suspend,
                    f.burns_fuel,
                    self.indirect_may_suspend and f.may_suspend and f in self.slots,
                )
                for f in self.functions
            ]
            # Functions twice: there are fewer of them, and depth is what matters.
            known = [
                c
                for c in (*imports, *functions, *functions, *self._groups, *self._groups)
                if not (quiet and c.may_suspend)
                and (from_fueled or c.burns_fuel)
                and (not result or c.results[:1] == (result,))
            ]
            self._callees[key] = known
        return known
