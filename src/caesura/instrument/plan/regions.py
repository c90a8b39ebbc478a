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

from typing import Final, NamedTuple

from caesura.analysis.body import Body
from caesura.wasm import opcodes as op

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

# Where a region's head sends a frame: LANDING and a site, or INNER_REGION and a region.
Destination = tuple[int, int]

# The first instruction of a group, and the one behind it.
Group = tuple[int, int]


class Region(NamedTuple):
    """One region of a function.

    `start` is the instruction that opens it, that a group starts with, or START_OF_BODY; `parent` the region around it
    (the function's is its own). `openings` are the labels to open at its head, outermost first. A landing point just
    behind the head needs none, nor does a region whose call sites are all dead code. `destinations` are its call sites
    and then the regions directly inside, in the order of their numbers; `numbers` those of all call sites in it.
    """

    kind: int
    start: int
    parent: int
    openings: list[Opening]
    destinations: list[Destination]
    numbers: range


class Layout(NamedTuple):
    """The regions of one body, and where in it rewinding frames land.

    `heads` gives the region whose head stands at a moment: behind the instruction that opens a construct, or before the
    first one of a group. `landings`, `site_regions` and `numbers` give for each landing point the instruction before
    which it stands, its region and its number. `dispatching` tells which regions need code at their head that looks
    where to land.
    """

    regions: list[Region]
    heads: dict[int, int]
    landings: list[int]
    site_regions: list[int]
    numbers: list[int]
    dispatching: list[bool]

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
        return len(self.regions[region].destinations) > 1


class _Outline:
    """Where the regions of a body are, outer ones first: each as the moment of its head, and where it ends."""

    def __init__(self, body: Body) -> None:
        self.kinds = [FUNCTION]
        self.heads = [2 * START_OF_BODY + 1]
        self.ends = [len(body.codes)]
        self.parents = [0]

    def add(self, kind: int, head: int, end: int) -> None:
        """Add a region behind the start of the one added last."""
        parent = len(self.heads) - 1
        while self.ends[parent] <= head >> 1:
            parent = self.parents[parent]
        self.kinds.append(kind)
        self.heads.append(head)
        self.ends.append(end)
        self.parents.append(parent)

    def around(self, instructions: list[int]) -> list[int]:
        """Return, for each instruction (ascending), the innermost region that it stands in."""
        heads = self.heads
        found: list[int] = []
        innermost = 0
        following = 1
        for instruction in instructions:
            while following < len(heads) and heads[following] <= 2 * instruction:
                innermost = following
                following += 1
            while self.ends[innermost] <= instruction:
                innermost = self.parents[innermost]
            found.append(innermost)
        return found


def lay_out(
    body: Body,
    constructs: list[int],
    regions: set[int],
    landings: list[int],
    first_number: int,
    groups: list[Group] | None = None,
) -> Layout:
    """Return the regions of a body and the numbers of its landing points, the least being `first_number`.

    `constructs` (ascending) are those that landing points stand in; of these, `regions` have heads of their own, and
    the labels of the others are opened at the head of the region around them. `landings` (ascending) are the
    instructions before which frames land.
    """
    outline = _outline(body, regions, groups or [])
    site_regions = outline.around(landings)
    totals = _totals(outline.parents, site_regions)
    destinations = _destinations(outline.parents, site_regions, totals)
    numbers = [0] * len(landings)
    lows = _number(destinations, totals, first_number, numbers)
    blocks = [construct for construct in constructs if construct not in regions]
    openings = _openings(body, blocks, outline)
    firsts = _firsts(body, blocks, outline)
    dispatching: list[bool] = []
    finished: list[Region] = []
    for place in range(len(totals)):
        dispatching.append(_open_destinations(openings[place], destinations[place], landings, outline, firsts[place]))
        openings[place].sort(reverse=True)
        start = outline.heads[place] >> 1
        own_numbers = range(lows[place], lows[place] + totals[place])
        finished.append(
            Region(
                outline.kinds[place], start, outline.parents[place], openings[place], destinations[place], own_numbers
            )
        )
    heads = {outline.heads[place]: place for place in range(1, len(finished))}
    return Layout(finished, heads, landings, site_regions, numbers, dispatching)


def _outline(body: Body, constructs: set[int], groups: list[Group]) -> _Outline:
    """Return where the constructs that are regions and the groups are."""
    found = [(2 * start, -end, GROUP) for start, end in groups]
    for construct in constructs:
        kind = LOOP if body.codes[construct] == op.LOOP else TRY
        found.append((2 * construct + 1, -body.ends[construct], kind))
    found.sort()  # outer ones first: a group may start with the loop that begins it
    outline = _Outline(body)
    for head, end, kind in found:
        outline.add(kind, head, -end)
    return outline


def _totals(parents: list[int], site_regions: list[int]) -> list[int]:
    """Return how many call sites are in each region, those of regions inside of it included."""
    totals = [0] * len(parents)
    for region in site_regions:
        totals[region] += 1
    for region in range(len(parents) - 1, 0, -1):
        totals[parents[region]] += totals[region]
    return totals


def _destinations(parents: list[int], site_regions: list[int], totals: list[int]) -> list[list[Destination]]:
    """Return where each region's head sends frames, in the order of their numbers."""
    destinations: list[list[Destination]] = [[] for _ in parents]
    for site in range(len(site_regions)):
        destinations[site_regions[site]].append((LANDING, site))
    by_size = [(totals[region], region) for region in range(1, len(parents)) if totals[region] > 0]
    by_size.sort()
    for _, region in by_size:
        destinations[parents[region]].append((INNER_REGION, region))
    return destinations


def _number(
    destinations: list[list[Destination]], totals: list[int], first_number: int, numbers: list[int]
) -> list[int]:
    """Fill in the numbers of call sites, and return the least one of each region that has any."""
    lows = [first_number] * len(totals)
    for region in range(len(totals)):
        number = lows[region]
        for kind, which in destinations[region]:
            if kind == LANDING:
                numbers[which] = number
                number += 1
            else:
                lows[which] = number
                number += totals[which]
    return lows


def _openings(body: Body, blocks: list[int], outline: _Outline) -> list[list[Opening]]:
    """Return the labels to open at the head of each region for blocks, ifs and else arms."""
    openings: list[list[Opening]] = [[] for _ in outline.heads]
    block_regions = outline.around(blocks)
    for place in range(len(blocks)):
        block = blocks[place]
        opened = openings[block_regions[place]]
        opened.append((2 * body.ends[block] + 1, BLOCK, block))
        if block in body.elses:
            opened.append((2 * body.elses[block] + 1, ELSE_ARM, block))
    return openings


def _open_destinations(
    opened: list[Opening], destinations: list[Destination], landings: list[int], outline: _Outline, first: int
) -> bool:
    """Add the labels for a region's destinations; return whether its head needs code that looks where to land.

    `first` is the region's first instruction (see `_firsts`): what stands there, or before it, needs no label.
    """
    dispatches = False
    for kind, which in destinations:
        instruction = landings[which] if kind == LANDING else outline.heads[which] >> 1
        if instruction != first:
            dispatches = True
            if instruction > first:
                opened.append((2 * instruction, kind, which))
    return dispatches


def _firsts(body: Body, blocks: list[int], outline: _Outline) -> list[int]:
    """Return, for each region, the first instruction that is not the start of a block opened at its head anyway."""
    opened = {block for block in blocks if body.codes[block] == op.BLOCK}
    firsts: list[int] = []
    for head in outline.heads:
        first = (head + 1) >> 1
        while first in opened:
            first += 1
        firsts.append(first)
    for region in range(1, len(firsts)):
        parent = outline.parents[region]
        firsts[parent] = min(firsts[parent], outline.heads[region] >> 1)
    return firsts
