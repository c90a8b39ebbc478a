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

FUNCTION: Final = 0
LOOP: Final = 1
TRY: Final = 2
GROUP: Final = 3

# What a label opened at a region's head is for.
LANDING: Final = 0
INNER_REGION: Final = 1
BLOCK: Final = 2
ELSE_ARM: Final = 3


class Region:
    """One region of a function.

    `construct` is the instruction that opens it, or that a group starts with (-1: the function body), `first` the first
    instruction that is not the start of a block opened at the head anyway: a landing point there needs no label.
    `openings` has (where it ends, what for, which site, region or construct) for each label. `sites` are the region's
    own call sites as positions in the plan's list, `inner` the regions directly inside, smallest first. The `total`
    call sites in it have the numbers from `low`, its own ones coming first.
    """

    def __init__(self, kind: int, construct: int, parent: int) -> None:
        self.kind = kind
        self.construct = construct
        self.parent = parent
        self.first = construct + 1
        self.openings: list[tuple[int, int, int]] = []
        self.sites: list[int] = []
        self.inner: list[int] = []
        self.low = 0
        self.total = 0

    @property
    def own(self) -> int:
        """The number of call sites directly in the region."""
        return len(self.sites)


class Layout:
    """The regions of one body, and where in it rewinding frames land.

    `landings` and `site_regions` give for each landing point the instruction before which it stands and its region;
    `region_of` gives the region that a construct opens, `group_of` the group that starts before an instruction. From
    these follow `numbers`, the number of each landing point (`first_number` is the least), and `dispatching`: which
    regions need code at their head that looks where to land.
    """

    def __init__(
        self,
        regions: list[Region],
        region_of: dict[int, int],
        landings: list[int],
        site_regions: list[int],
        first_number: int,
    ) -> None:
        self.regions = regions
        self.region_of = region_of
        self.landings = landings
        self.group_of = {
            regions[group].construct: group for group in range(len(regions)) if regions[group].kind == GROUP
        }
        self.site_regions = site_regions
        self.numbers: list[int] = [0] * len(landings)
        # For regions that set locals late (see `late`): the code that does it.
        self.arms: dict[int, bytes] = {}
        self._number(first_number)
        self.dispatching = [region.total > 0 and self._is_dispatching(region) for region in regions]

    def has_landing_at(self, index: int) -> bool:
        """Tell whether a frame lands just before an instruction, at a call site or an inner region."""
        return index in self.landings or any(region.construct == index and region.total for region in self.regions)

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
        return self.regions[region].own + len(self.regions[region].inner) > 1

    def _number(self, first_number: int) -> None:
        """Set the ranges of all regions and the numbers; parents come before their inner regions."""
        regions = self.regions
        for index in range(len(regions) - 1, -1, -1):
            region = regions[index]
            region.total += region.own
            if region.parent >= 0:
                regions[region.parent].total += region.total
        for region in regions:
            by_size = [(regions[inner].total, inner) for inner in region.inner if regions[inner].total > 0]
            by_size.sort()
            region.inner = [pair[1] for pair in by_size]
        regions[0].low = first_number
        for region in regions:
            next_number = region.low
            for site in region.sites:
                self.numbers[site] = next_number
                next_number += 1
            for inner in region.inner:
                regions[inner].low = next_number
                next_number += regions[inner].total

    def _is_dispatching(self, region: Region) -> bool:
        for site in region.sites:
            if self.landings[site] != region.first:
                return True
        for inner in region.inner:
            if self.regions[inner].construct != region.first:
                return True
        return False
