"""The catch clauses of old-form tries in a function: which contain call sites, and which throw on what they caught.

One walk over the body. What a call site stands in are all clauses around it: those of the tries in whose catch bodies
it stands, however deep.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.errors import MalformedModule
from caesura.wasm import opcodes as op
from caesura.wasm.instructions import (
    FLOW_CATCH,
    FLOW_DELEGATE,
    FLOW_END,
    FLOW_NEXT,
    FLOW_TRY,
    FLOWS,
)

# In place of the tag of a clause that has none.
NO_TAG: Final = -1


class Clause:
    """One `catch` or `catch_all`.

    `start` is its instruction, `end` the one behind its body: the next clause, or the end of the try. `tag` is NO_TAG
    for `catch_all`. `has_sites` tells whether its body contains call sites, `is_rethrown` whether a `rethrow` throws
    what it has caught.
    """

    def __init__(self, start: int, tag: int) -> None:
        self.start: Final = start
        self.tag: Final = tag
        self.end = start
        self.has_sites = False
        self.is_rethrown = False


class _Open:
    """An open construct: its clauses, if it is a try, and whether what was read of it, or of the part of it that is
    being read (its body, or a clause's), contains call sites.
    """

    def __init__(self, clauses: list[Clause]) -> None:
        self.clauses: Final = clauses
        self.has_sites = False
        self.part_has_sites = False

    def end_part(self, index: int) -> None:
        """End the body of the construct, or of its last clause, before an instruction."""
        if self.clauses:
            self.clauses[-1].end = index
            self.clauses[-1].has_sites = self.part_has_sites
        self.has_sites = self.has_sites or self.part_has_sites
        self.part_has_sites = False


def clauses_with_sites(body: Body) -> dict[int, list[Clause]]:
    """Return the clauses of all tries that have call sites in any of them, by the instruction that opens the try."""
    tries: dict[int, list[Clause]] = {}
    codes = body.codes
    immediates = body.immediates
    sites = body.catch_sites
    next_site = 0
    open_constructs: list[_Open] = []
    for index in range(len(codes)):
        code = codes[index]
        flow = FLOWS[code]
        if flow == FLOW_NEXT:
            if next_site < len(sites) and sites[next_site] == index:
                open_constructs[-1].part_has_sites = True
                next_site += 1
        elif flow <= FLOW_TRY:
            clauses: list[Clause] = []
            if code == op.TRY:
                tries[index] = clauses
            open_constructs.append(_Open(clauses))
        elif flow == FLOW_CATCH:
            construct = open_constructs[-1]
            construct.end_part(index)
            construct.clauses.append(Clause(index, immediates[index] if code == op.CATCH else NO_TAG))
        elif flow == FLOW_END or flow == FLOW_DELEGATE:
            if open_constructs:
                construct = open_constructs.pop()
                construct.end_part(index)
                if open_constructs and construct.has_sites:
                    open_constructs[-1].part_has_sites = True
        elif code == op.RETHROW:
            rethrown = open_constructs[-1 - immediates[index]].clauses
            if not rethrown:
                raise MalformedModule("rethrow outside of a catch clause", body.positions[index])
            rethrown[-1].is_rethrown = True
    return {start: clauses for start, clauses in tries.items() if any(clause.has_sites for clause in clauses)}
