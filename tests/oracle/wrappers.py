"""Functions that do little but call another one, which may need no frame; some do slightly too much for that."""

from __future__ import annotations

from tests.oracle.instructions import DROP, LOCAL_SET, RETURN
from tests.oracle.sequences import Sequences
from tests.oracle.world import ALL_TYPES, IMPORTS


class Wrappers(Sequences):
    """Adds bodies of wrappers."""

    def wrapper(self) -> None:
        """Arguments, mostly from code without effects, and a call whose results are the function's, mostly."""
        decisions = self.decisions
        results = self.function.results
        callees = self.plan.wrapped(self.quiet > 0, self.function)
        if not callees:
            self.sequence((), results, 4, 2)
            return
        if decisions.below(4) == 3:
            valtype = decisions.choose(ALL_TYPES)
            self.harmless(valtype, 1)
            self.op(LOCAL_SET, self.local_of(valtype))
        if decisions.below(8) == 7:
            self.effect(1)
        usual = [c for c in callees if c.slots == 0 and c.target >= len(IMPORTS) and c.may_suspend]
        callee = decisions.choose(usual if usual and decisions.below(4) else callees)
        for param in callee.params:
            if decisions.below(12) == 11:
                self.value(param, 2)
            else:
                self.harmless(param, 2)
        self.call(callee)
        if not results:
            self.code += bytes((DROP,)) * len(callee.results)
        kind = decisions.below(8)
        if kind == 7:
            self.sequence(results, results, 2, 1)
        elif kind == 6:
            self.code += bytes((DROP,)) * len(results)
            for valtype in results:
                self.harmless(valtype, 1)
        elif kind > 3:
            self.code.append(RETURN)

    def harmless(self, valtype: int, depth: int) -> None:
        """A value from code that has no effect and cannot trap."""
        decisions = self.decisions
        if depth <= 0 or decisions.below(2):
            self.leaf(valtype)
        else:
            operator = decisions.choose(self.plan.operators[valtype])
            for param in operator.params:
                self.harmless(param, depth - 1)
            self.code += operator.code
