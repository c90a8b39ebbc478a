"""Which clauses of a try move, and in which locals what they have caught waits for their bodies."""

from __future__ import annotations

from typing import Final

from caesura.instrument.catches.clauses import NO_TAG, Clause
from caesura.instrument.catches.reused_locals import ReusedLocals
from caesura.wasm.module import Module
from caesura.wasm.signatures import tag_params
from caesura.wasm.types import I32

# In place of a local where none is needed.
NO_LOCAL: Final = -1


class MovedClause:
    """A clause whose body moves.

    `tags` are those of the exceptions that come here, none for a `catch_all` without `rethrow`; `payloads` the locals
    that hold what each carries, if they do, and `which` the local that says which tag it was, or NO_LOCAL.
    """

    def __init__(self, clause: Clause, tags: list[int], payloads: list[list[int]], which: int) -> None:
        self.clause: Final = clause
        self.tags: Final = tags
        self.payloads: Final = payloads
        self.which: Final = which

    def give_back(self, locals_: ReusedLocals) -> None:
        """Give all its locals back, when its body is written."""
        for local in sorted({local for payload in self.payloads for local in payload}):
            locals_.give_back(local)
        if self.which != NO_LOCAL:
            locals_.give_back(self.which)


def moved_clauses(module: Module, clauses: list[Clause], locals_: ReusedLocals) -> list[MovedClause]:
    """Return the clauses of a try that move, with the locals that hold what they have caught."""
    moved: list[MovedClause] = []
    for clause in clauses:
        if not clause.has_sites:
            continue
        tags = [] if clause.tag == NO_TAG else [clause.tag]
        if clause.tag == NO_TAG and clause.is_rethrown:
            caught = {other.tag for other in clauses}
            tags = [tag for tag in range(len(module.tags)) if tag not in caught]
            if not tags:
                continue  # only foreign exceptions come here
        payloads = _take_payloads(module, clause, tags, locals_)
        moved.append(MovedClause(clause, tags, payloads, locals_.take(I32) if len(tags) > 1 else NO_LOCAL))
    return moved


def is_passed(module: Module, clause: Clause, tag: int) -> bool:
    """Tell whether the only value of a tag is passed to the clause's body on the operand stack."""
    return not clause.is_rethrown and len(tag_params(module, tag)) == 1


def _take_payloads(module: Module, clause: Clause, tags: list[int], locals_: ReusedLocals) -> list[list[int]]:
    """Take locals for what the tags carry that is not passed. Several tags share them."""
    payloads: list[list[int]] = []
    taken: dict[int, list[int]] = {}
    for tag in tags:
        if is_passed(module, clause, tag):
            continue
        used: dict[int, int] = {}
        payload: list[int] = []
        for value_type in tag_params(module, tag):
            place = used.get(value_type, 0)
            used[value_type] = place + 1
            of_type = taken.setdefault(value_type, [])
            if place == len(of_type):
                of_type.append(locals_.take(value_type))
            payload.append(of_type[place])
        payloads.append(payload)
    return payloads
