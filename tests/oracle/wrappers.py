"""Functions that end with a call of another one, which may need no frame; some do slightly too much for that."""

from __future__ import annotations

from tests.oracle.instructions import BLOCK, DROP, ELSE, END, IF, LOCAL_SET, RETURN
from tests.oracle.pieces import Label
from tests.oracle.plan import Callee
from tests.oracle.sequences import Sequences
from tests.oracle.world import I32, IMPORTS, is_reference


class Wrappers(Sequences):
    """Adds bodies of wrappers."""

    def wrapper(self) -> None:
        """Arguments, mostly from code without effects, and a call whose results are the function's, mostly.

        Half of these functions do something else before that does not suspend, and compute arguments in any way.
        """
        decisions = self.decisions
        results = self.function.results
        callees = self.plan.wrapped(self.quiet > 0, self.function)
        if not callees:
            self.sequence((), results, 4, 2)
            return
        usual = [c for c in callees if c.slots == 0 and c.target >= len(IMPORTS) and c.may_suspend]
        callee = decisions.choose(usual if usual and decisions.below(4) else callees)
        if decisions.below(2):
            self.quiet += 1
            self.sequence((), (), 1 + decisions.below(6), 2)
            self._conditional_call(callee)
            self.quiet -= 1
        else:
            if decisions.below(4) == 3:
                valtype = decisions.choose(self.plan.value_types)
                self.harmless(valtype, 1)
                self.op(LOCAL_SET, self.local_of(valtype))
            if decisions.below(8) == 7:
                self.effect(1)
            for param in callee.params:
                if decisions.below(12) == 11:
                    self.value(param, 2)
                else:
                    self.harmless(param, 2)
            tail = self.plan.tail_calls and callee.results == results and decisions.below(3) == 2
            self.call(callee, tail=tail)
            if tail:
                return
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

    def _conditional_call(self, callee: Callee) -> None:
        """A call with arguments from any code that does not suspend, perhaps in a block or in an arm of an `if`."""
        decisions = self.decisions
        results = self.function.results
        shape = decisions.below(4)
        if shape > 1:
            self.value(I32, 2)
        if shape:
            self.code.append(BLOCK if shape == 1 else IF)
            self.code += self.block_type((), results)
            self.labels.append(Label(results))
        if shape == 3:
            self.sequence((), results, 2, 1)
            self.code.append(ELSE)
        for param in callee.params:
            self.value(param, 2)
        self.call(callee)
        if not results:
            self.code += bytes((DROP,)) * len(callee.results)
        if shape == 2:
            self.code.append(ELSE)
            self.sequence((), results, 2, 1)
        if shape:
            self.labels.pop()
            self.code.append(END)

    def harmless(self, valtype: int, depth: int) -> None:
        """A value from code that has no effect and cannot trap."""
        decisions = self.decisions
        if depth <= 0 or is_reference(valtype) or decisions.below(2):
            self.leaf(valtype)
        else:
            operator = decisions.choose(self.plan.operators[valtype])
            for param in operator.params:
                self.harmless(param, depth - 1)
            self.code += operator.code
