"""Groups of call sites that rewinding frames enter together, in functions with one body.

Where a rewinding frame lands, what it brings meets what the ordinary run has: each local that is live there is merged,
at each landing point. Compilers of engines pay for merges with moves and registers, and beyond some thousands of values
in one function with a poor register allocator. But a local that is not written between two landing points need be
merged only at the first of them, if frames for the second one come by there. So stretches of code with several call
sites become regions, as loops are: frames land at their head, whose dispatch takes them on. That costs some bytes, and
ordinary runs a look at the state.

Groups are found by dynamic programming over what each construct contains, innermost constructs first: of all ways to
unite neighbours, the one that saves most merges. Groups everywhere were rejected: in functions with few merges they
took bytes, and nothing was gained that could be measured.

What a look costs decides where groups may begin. A group of several arms of a switch begins in front of the switch, and
so do all the others: whichever arm is run, control passes the heads of all of them. SQLite's parser had 50 such heads,
and took two thirds more than its time by that. So a group in front of a switch has to save much more; and so does any
group in a function that is below the bound of V8's better register allocator anyway, where merges cost little.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body, block_types
from caesura.analysis.interpreters import blocks_around_switches
from caesura.analysis.writes import Writes
from caesura.instrument.plan.plan import Plan
from caesura.instrument.plan.regions import Group
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex
from caesura.wasm.module import Module

# Landing points in one group. More would save little, and finding them takes long.
_MAXIMUM_LANDINGS: Final = 64

# Call sites times locals. The search looks at so many bits up to 64 times; functions beyond this bound, which no
# compiler makes (PHP's largest has a five-hundredth of it), go without groups.
_MAXIMUM_BITS: Final = 1 << 24

# What the search comes by besides call sites, which are numbered from 0.
_OPEN: Final = -1
_CLOSE: Final = -2
_ELSE: Final = -3

# In place of the first child of a group that a child is the last one of.
_IN_NO_GROUP: Final = -1

# A set of locals as bits.
_ALL_LOCALS: Final = -1

# Which functions have groups, and which groups: how many merges a function has to have at its landing points; how many
# a group has to save, besides those at its head; and how many more where ordinary runs often look at its head for
# nothing, or where merges cost little.
GroupRule = tuple[int, int, int]

# A group takes about 15 bytes. Below 200 merges no gain could be measured (see docs/measurements.md). In small modules
# the bound lies above C libraries' printf (1,171 merges), whose groups would be 7% of what is added to a small C
# program.
LARGE_FUNCTIONS: Final[GroupRule] = (200, 8, 50)
IN_SMALL_MODULES: Final[GroupRule] = (1_500, 8, 50)
NO_GROUPS: Final[GroupRule] = (1 << 62, 0, 0)
# For tests: whatever can be a group.
EVERYWHERE: Final[GroupRule] = (0, -(1 << 30), 0)

# From how many values in V8 on merges cost much: about one for so many bytes of code, and one for each merge. V8's
# better register allocator takes 8,192, but the guess is too low for some functions (by 2,500 for PHP's
# `zend_compile_stmt`).
_MANY_VALUES: Final = 4_500
_BYTES_OF_A_VALUE: Final = 5

# Where a frame lands: the place there among what writes locals (see `analysis.writes`), the locals live there as bits,
# and how many of them are merged there.
_Landing = tuple[int, int, int]


class _Child:
    """A call site, or a construct with call sites, inside of another construct.

    `landings` are the places where frames land in it, or the first of them if they are too many for a group; `live`
    are the locals live at any. `may_begin` tells whether a group may begin with it, `leads_to_switch` whether control
    comes by its start on the way to any arm of a switch.
    """

    def __init__(
        self,
        *,
        start: InstructionIndex,
        may_begin: bool,
        live: int,
        landings: list[_Landing],
        leads_to_switch: bool = False,
    ) -> None:
        self.start: Final = start
        self.may_begin: Final = may_begin
        self.live: Final = live
        self.landings: Final = landings
        self.leads_to_switch: Final = leads_to_switch


class _Search:
    """Finds the groups of one function: `groups` are ranges of instructions."""

    def __init__(self, module: Module, body: Body, plan: Plan, live: list[int], rule: GroupRule) -> None:
        self.groups: list[Group] = []
        self._module = module
        self._body = body
        self._landings = plan.sites.landings
        self._regions = plan.constructs.regions
        self._live = live
        self._worth = rule[1]
        self._costly = rule[2]
        self._leading_to_switches = blocks_around_switches(module.data, body)
        size = body.positions[-1] - body.positions[0]
        self._has_many_values = _merges(live) + size // _BYTES_OF_A_VALUE >= _MANY_VALUES
        self._writes = Writes(body)
        # The open constructs with call sites, and what was found in each; the function's own children come first.
        self._constructs: list[InstructionIndex] = []
        self._children: list[list[_Child]] = [[]]
        # The heads of the open loops and tries, as places among what writes locals.
        self._heads: list[int] = []

    def run(self) -> None:
        """Walk over the landing points and the constructs around them."""
        body = self._body
        events: list[tuple[int, int]] = []
        for construct in body.with_sites:
            events.append((2 * construct, _OPEN))
            events.append((2 * body.ends[construct], _CLOSE))
            if construct in body.elses:
                events.append((2 * body.elses[construct], _ELSE))
        for site in range(len(self._live)):
            events.append((2 * self._landings[site] - 1, site))
        events.sort()
        for moment, event in events:
            index = InstructionIndex((moment + 1) >> 1)
            if event == _OPEN:
                self._open(index)
            elif event == _CLOSE:
                self._close(index)
            elif event == _ELSE:
                self._else(index)
            else:
                live = self._live[event]
                self._children[-1].append(
                    _Child(start=index, may_begin=True, live=live, landings=[self._landing(index, live)])
                )
        self._group(self._children[0], len(body.codes))

    def _landing(self, index: InstructionIndex, live: int) -> _Landing:
        place = self._writes.place_of(index)
        return place, live, (live & self._written_before(place)).bit_count()

    def _written_before(self, place: int) -> int:
        """Return the locals that must be merged where frames land at a place, if they are live there, as bits.

        These are all where frames come from the head of the function.
        """
        return self._writes.between_places(self._heads[-1], place) if self._heads else _ALL_LOCALS

    def _open(self, index: InstructionIndex) -> None:
        self._constructs.append(index)
        self._children.append([])
        if index in self._regions:
            self._heads.append(self._writes.place_of(index))

    def _else(self, index: InstructionIndex) -> None:
        """Group the children of a construct's arm, and keep only where frames land in it."""
        children = self._children[-1]
        if children:
            landings = self._group(children, index)
            self._children[-1] = [
                _Child(start=self._constructs[-1], may_begin=False, live=_live_in(children), landings=landings)
            ]

    def _close(self, index: InstructionIndex) -> None:
        construct = self._constructs.pop()
        children = self._children.pop()
        is_region = construct in self._regions
        live = _live_in(children)
        landings = self._group(children, index)
        if is_region:
            self._heads.pop()
        if not landings:
            return
        if is_region:
            landings = [self._landing(construct, live)]
        may_begin = self._body.codes[construct] != op.IF and not self._has_parameters(construct)
        self._children[-1].append(
            _Child(
                start=construct,
                may_begin=may_begin,
                live=live,
                landings=landings,
                leads_to_switch=construct in self._leading_to_switches,
            )
        )

    def _has_parameters(self, construct: InstructionIndex) -> bool:
        body = self._body
        return len(block_types(self._module, body.immediates[construct], body.positions[construct] + 1)[0]) > 0

    def _group(self, children: list[_Child], end: int) -> list[_Landing]:
        """Group children of one construct, which ends at an instruction, and return where frames land then."""
        count = len(children)
        saved = [0] * (count + 1)
        begins = [_IN_NO_GROUP] * (count + 1)
        for first in range(count):
            if saved[first] > saved[first + 1]:
                saved[first + 1] = saved[first]
                begins[first + 1] = _IN_NO_GROUP
            if children[first].may_begin:
                self._extend(children, first, saved, begins)
        landings: list[_Landing] = []  # the last one first
        behind = count
        while behind > 0:
            first = begins[behind]
            if first == _IN_NO_GROUP:
                behind -= 1
                landings += reversed(children[behind].landings)
                continue
            start = children[first].start
            self.groups.append((start, children[behind].start if behind < count else end))
            landings.append(self._landing(start, _live_in(children[first:behind])))
            behind = first
        landings.reverse()
        return landings[: _MAXIMUM_LANDINGS + 1]

    def _extend(self, children: list[_Child], first: int, saved: list[int], begins: list[int]) -> None:
        """Look at all groups that begin with a child."""
        writes = self._writes
        reached = writes.place_of(children[first].start)
        outer = self._written_before(reached)
        head = children[first].landings[0][1]
        worth = self._worth
        if children[first].leads_to_switch or not self._has_many_values:
            worth += self._costly
        written = 0
        union = 0
        gain = 0
        count = 0
        for last in range(first, len(children)):
            count += len(children[last].landings)
            if count > _MAXIMUM_LANDINGS:
                break
            for place, live, merged in children[last].landings:
                if place != reached:
                    written |= writes.between_places(reached, place)
                    reached = place
                union |= live
                gain += merged - (live & written).bit_count()
            if count > 1:
                # What is not live at the head is kept there all the same: it counts twice.
                costs = (union & outer).bit_count() + (union & ~head).bit_count() + worth
                net = saved[first] + gain - costs
                if net > saved[last + 1]:
                    saved[last + 1] = net
                    begins[last + 1] = first


def _merges(live: list[int]) -> int:
    return sum([mask.bit_count() for mask in live])


def _live_in(children: list[_Child]) -> int:
    live = 0
    for child in children:
        live |= child.live
    return live


def default_rule(optimize: str, *, is_small: bool) -> GroupRule:
    """Return which groups are made at a level of optimization, in a small module or a large one."""
    if optimize == "size":
        return NO_GROUPS
    return IN_SMALL_MODULES if is_small and optimize == "balanced" else LARGE_FUNCTIONS


def group_sites(module: Module, body: Body, plan: Plan, live: list[int], rule: GroupRule) -> list[Group]:
    """Return groups of call sites; `live` are the locals live at each landing point, as bits."""
    if len(live) * body.local_count > _MAXIMUM_BITS or _merges(live) < rule[0]:
        return []
    search = _Search(module, body, plan, live, rule)
    search.run()
    return search.groups
