"""The plan of one function: what the planner found out, and what the bodies are written from."""

from __future__ import annotations

from typing import Final

from caesura.instrument.plan.regions import FUNCTION, Region

# A producer is the index of the instruction that gave an operand, plus SLOT times the number of its result.
# Moments: before instruction i is 2 * i, behind it is 2 * i + 1.
SLOT: Final = 1 << 32


class Plan:
    """What the walk found out about one function.

    * `site_calls`, `site_landings`, `site_regions`: of each call site, its call instruction, the instruction before
      which a rewinding frame lands, and its region (an index into `regions`).
    * `operands_behind`: of each call site, how many operands are on the region's stack behind the call.
    * `checked_late`: call instructions that are checked behind the next instruction (see `checks`).
    * `temporaries`: producer → number of the temporary local that holds its value; `temporary_types` their types;
      `saved_temporaries` those that stand across a landing point.
    * `moved`: producers that are not executed where they stand but where their value is read again.
    * `reads`: moment → producers whose values are read again then, lowest operand first.
    * `dead`: the instruction behind one that does not go on → the next one that can be reached.
    * `moved_locals`: locals that moved producers read: they must be saved.
    * `ignored_reads`: reads of locals for arguments that the callee ignores in a rewind, behind the landing point.
    * `region_of`: construct → the region that it opens.
    * `else_parameters`: `else` → the producers whose temporaries hold the parameters of the else arm.
    * `without_parameters`: blocks and ifs that read their parameters from temporaries.
    * `below`: hand-off loop → temporaries and locals that hold operands below it.
    * `several`: the types of what an instruction gives, where it gives more than one value.
    * `ends_live`: control reaches the end of the body.
    """

    def __init__(self) -> None:
        self.regions: list[Region] = [Region(FUNCTION, -1, -1)]
        self.site_calls: list[int] = []
        self.site_landings: list[int] = []
        self.site_regions: list[int] = []
        self.operands_behind: list[int] = []
        self.checked_late: set[int] = set()
        self.temporaries: dict[int, int] = {}
        self.temporary_types: list[int] = []
        self.saved_temporaries: set[int] = set()
        self.moved: set[int] = set()
        self.reads: dict[int, list[int]] = {}
        self.dead: dict[int, int] = {}
        self.moved_locals: set[int] = set()
        self.ignored_reads: set[int] = set()
        self.region_of: dict[int, int] = {}
        self.else_parameters: dict[int, list[int]] = {}
        self.without_parameters: set[int] = set()
        self.several: dict[int, tuple[int, ...]] = {}
        self.below: dict[int, tuple[set[int], set[int]]] = {}
        self.ends_live = False
