"""Regions: the code with one entry at whose head a rewinding frame is dispatched, and the numbers of call sites.

A function body, and every loop and try body that contains call sites, is a region; so is a group of call sites (see
`grouping`). Its head opens one label for each landing point in it (its own call sites, and inner regions, which are
landed before) and for each block that contains call sites; they nest by where they end. Call sites are numbered from 0,
or from 1 where number 0 says not to land: a region's own ones before those of its inner regions, and inner regions by
size. So a site's number lies in exactly the ranges of the regions around it, a number left over from an outer region is
below every inner range, and the largest inner region comes last, which keeps the dispatch tables of a deep nest
O(n log n) instead of quadratic.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.body import Body
from caesura.instrument.plan.plan import Moment
from caesura.wasm import opcodes as op
from caesura.wasm.indices import InstructionIndex, SiteNumber

FUNCTION: Final = 0
LOOP: Final = 1
TRY: Final = 2
GROUP: Final = 3

# In place of the instruction that opens a region: none opens the function body.
START_OF_BODY: Final = -1

# What a label opened at a region's head is for.
LANDING: Final = 0
INNER_REGION: Final = 1
BLOCK: Final = 2
ELSE_ARM: Final = 3

# A label opened at a region's head: the moment where it ends, what for, and which site, region or construct.
Opening = tuple[int, int, int]

# The first instruction of a group, and the one behind it.
Group = tuple[int, int]


class Destinations:
    """Where a region's head sends frames.

    `sites` are its own call sites and `inner` the regions directly inside, both in the order of their numbers;
    `numbers` has those of all sites in it.
    """

    def __init__(self, sites: list[SiteNumber], inner: list[int], numbers: range) -> None:
        self.sites: Final = sites
        self.inner: Final = inner
        self.numbers: Final = numbers

    def count(self) -> int:
        """Return how many places these are."""
        return len(self.sites) + len(self.inner)


class Region:
    """One region of a function.

    `start` is the instruction that opens it, that a group starts with, or START_OF_BODY; `parent` the region around it
    (the function's is its own). `openings` are the labels to open at its head, outermost first. A landing point just
    behind the head needs none, nor does a region whose call sites are all dead code.
    """

    def __init__(self, kind: int, start: int, parent: int, openings: list[Opening], destinations: Destinations) -> None:
        self.kind: Final = kind
        self.start: Final = start
        self.parent: Final = parent
        self.openings: Final = openings
        self.destinations: Final = destinations


class Layout:
    """The regions of one body, and where in it rewinding frames land.

    `heads` gives the region whose head stands at a moment: behind the instruction that opens a construct, or before the
    first one of a group. `landings`, `site_regions` and `numbers` give for each landing point the instruction before
    which it stands, its region and its number. `dispatching` tells which regions need code at their head that looks
    where to land.
    """

    def __init__(
        self,
        regions: list[Region],
        heads: dict[Moment, int],
        landings: list[InstructionIndex],
        site_regions: list[int],
        numbers: list[int],
        dispatching: list[bool],
    ) -> None:
        self.regions: Final = regions
        self.heads: Final = heads
        self.landings: Final = landings
        self.site_regions: Final = site_regions
        self.numbers: Final = numbers
        self.dispatching: Final = dispatching

    def needs_site_local(self) -> bool:
        """Tell whether a local must hold the number while landing: whether any loop or try needs it."""
        for region in range(1, len(self.regions)):
            if self.dispatching[region] and self.needs_number(region):
                return True
        return False

    def dispatches(self) -> bool:
        """Tell whether any loop or try has code at its head that looks where to land."""
        return True in self.dispatching[1:]

    def needs_number(self, region: int) -> bool:
        """Tell whether a region's dispatch has more than one place to go."""
        return self.regions[region].destinations.count() > 1


def lay_out(
    body: Body,
    constructs: list[InstructionIndex],
    regions: set[InstructionIndex],
    landings: list[InstructionIndex],
    first_number: int,
    groups: list[Group] | None = None,
) -> Layout:
    """Return the regions of a body and the numbers of its landing points, the least being `first_number`.

    `constructs` (ascending) are those that landing points stand in; of these, `regions` have heads of their own, and
    the labels of the others are opened at the head of the region around them. `landings` (ascending) are the
    instructions before which frames land.
    """
    builder = _Builder(body, landings)
    builder.add_regions(regions, groups or [])
    builder.open_blocks(constructs, regions)
    builder.land()
    builder.enter_inner_regions()
    builder.number(first_number)
    return builder.layout()


class _Builder:
    """The regions of a body while they are built, as parallel lists, parents before their inner regions.

    Of each, `heads` has the moment where its head stands, and `ends` the instruction behind it; `firsts` the first
    instruction that is not the start of a block opened at its head anyway; `totals` how many call sites are in it, and
    `lows` the number of the first of these.
    """

    def __init__(self, body: Body, landings: list[InstructionIndex]) -> None:
        self._body = body
        self._landings = landings
        self._kinds = [FUNCTION]
        self._heads = [2 * START_OF_BODY + 1]
        self._ends = [len(body.codes)]
        self._parents = [0]
        self._firsts = [0]
        self._openings: list[list[Opening]] = [[]]
        self._sites: list[list[SiteNumber]] = [[]]
        self._inner: list[list[int]] = [[]]
        self._dispatching = [False]
        self._site_regions: list[int] = []
        self._totals: list[int] = []
        self._lows: list[int] = []
        self._numbers: list[int] = []

    def add_regions(self, constructs: set[InstructionIndex], groups: list[Group]) -> None:
        """Add constructs that are regions, and groups."""
        body = self._body
        found = [(2 * start, -end, GROUP) for start, end in groups]
        for construct in constructs:
            kind = LOOP if body.codes[construct] == op.LOOP else TRY
            found.append((2 * construct + 1, -body.ends[construct], kind))
        found.sort()  # outer ones first: a group may start with the loop that begins it
        for head, end, kind in found:
            parent = len(self._heads) - 1
            while self._ends[parent] <= head >> 1:
                parent = self._parents[parent]
            self._kinds.append(kind)
            self._heads.append(head)
            self._ends.append(-end)
            self._parents.append(parent)
            self._firsts.append((head + 1) >> 1)
            self._openings.append([])
            self._sites.append([])
            self._inner.append([])
            self._dispatching.append(False)

    def _around(self, instructions: list[InstructionIndex]) -> list[int]:
        """Return, for each instruction (ascending), the innermost region that it stands in."""
        count = len(self._heads)
        if count == 1:
            return [0] * len(instructions)
        found: list[int] = []
        innermost = 0
        following = 1
        for instruction in instructions:
            while following < count and self._heads[following] <= 2 * instruction:
                innermost = following
                following += 1
            while self._ends[innermost] <= instruction:
                innermost = self._parents[innermost]
            found.append(innermost)
        return found

    def open_blocks(self, constructs: list[InstructionIndex], regions: set[InstructionIndex]) -> None:
        """Open labels for the constructs that are no regions."""
        body = self._body
        codes = body.codes
        firsts = self._firsts
        around = self._around(constructs)
        for place in range(len(constructs)):
            construct = constructs[place]
            code = codes[construct]
            if code != op.BLOCK and code != op.IF and construct in regions:
                continue
            region = around[place]
            opened = self._openings[region]
            opened.append((2 * body.ends[construct] + 1, BLOCK, construct))
            if code == op.IF:
                if construct in body.elses:
                    opened.append((2 * body.elses[construct] + 1, ELSE_ARM, construct))
            elif code == op.BLOCK and construct == firsts[region]:
                firsts[region] = construct + 1

    def land(self) -> None:
        """Find the region of each landing point, and open labels for them."""
        landings = self._landings
        regions = self._around(landings)
        for site in range(len(landings)):
            self._sites[regions[site]].append(SiteNumber(site))
            self._open(regions[site], landings[site], LANDING, site)
        self._site_regions = regions

    def enter_inner_regions(self) -> None:
        """Count the call sites in each region, order inner regions by that, and open labels for them."""
        parents = self._parents
        self._totals = [len(sites) for sites in self._sites]
        for region in range(len(parents) - 1, 0, -1):
            self._totals[parents[region]] += self._totals[region]
        by_size = [(self._totals[region], region) for region in range(1, len(parents)) if self._totals[region] > 0]
        by_size.sort()
        for _, region in by_size:
            self._inner[parents[region]].append(region)
            start = self._heads[region] >> 1
            self._open(parents[region], start, INNER_REGION, region, is_apart=start in self._body.pausing_loops)

    def _open(self, region: int, instruction: int, kind: int, which: int, *, is_apart: bool = False) -> None:
        """Open a label before an instruction, unless that is the region's first one, or stands before it.

        With `is_apart` it is opened in any case: frames that go on into the region must not come by the code that ends
        a pause, which stands before it.
        """
        first = self._firsts[region]
        if instruction != first or is_apart:
            self._dispatching[region] = True
            if instruction >= first:
                self._openings[region].append((2 * instruction, kind, which))

    def number(self, first_number: int) -> None:
        """Number the call sites: each region's own ones first, then those of its inner regions."""
        self._numbers = [0] * len(self._landings)
        self._lows = [first_number] * len(self._heads)
        for region in range(len(self._heads)):
            number = self._lows[region]
            for site in self._sites[region]:
                self._numbers[site] = number
                number += 1
            for inner in self._inner[region]:
                self._lows[inner] = number
                number += self._totals[inner]

    def layout(self) -> Layout:
        """Return the finished layout."""
        return Layout(
            [self._region(place) for place in range(len(self._heads))],
            {Moment(self._heads[place]): place for place in range(1, len(self._heads))},
            self._landings,
            self._site_regions,
            self._numbers,
            self._dispatching,
        )

    def _region(self, place: int) -> Region:
        openings = self._openings[place]
        if len(openings) > 1:
            openings.sort(reverse=True)
        low = self._lows[place]
        return Region(
            self._kinds[place],
            self._heads[place] >> 1,
            self._parents[place],
            openings,
            Destinations(self._sites[place], self._inner[place], range(low, low + self._totals[place])),
        )
