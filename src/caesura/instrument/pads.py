"""Unwind pads: where call sites branch to when they unwind, grouped by which locals are live there.

All call sites of a function save the same frame. If all branched to one place, every saved local would have to keep a
register or a stack slot at every call site, although most of them are dead at most. So the call sites of large
functions are put into a few groups with similar live locals; each group's pad zeroes the others and goes on to where
the frame is pushed. Grouping begins with the sets that occur and unites, again and again, the two sets whose union
makes the fewest dead locals live, counted over call sites. One pad for each set would be larger than what it saves.
"""

from __future__ import annotations

from typing import Final

# Pads of one function. In SQLite's interpreter V8's code for both bodies is 861 KB with one pad, 655 KB with four,
# 609 KB with eight, 596 KB with sixteen; each costs some 120 bytes.
_PADS: Final = 4
# Sets that are compared with each other; beyond this, rarer ones join the group that they fit best.
_MAXIMUM_SETS: Final = 256


class Pads:
    """`of_site` is the pad of each call site, `live` the locals live at each pad, as bits. Pad 0 zeroes least."""

    def __init__(self, of_site: list[int], live: list[int]) -> None:
        self.of_site = of_site
        self.live = live


def group_by_live(each_landing: list[int], moved_locals: set[int]) -> Pads:
    """Group call sites with similar live locals (as bits); those that moved code reads count as live at all of them."""
    always = 0
    for local in moved_locals:
        always |= 1 << local
    weights: dict[int, int] = {}
    for live in each_landing:
        weights[live | always] = weights.get(live | always, 0) + 1
    sets = [(-weight, live) for live, weight in weights.items()]
    sets.sort()
    groups = _unite([live for _, live in sets[:_MAXIMUM_SETS]], [-weight for weight, _ in sets[:_MAXIMUM_SETS]])
    for _, live in sets[_MAXIMUM_SETS:]:
        groups[_best(live, groups)] |= live
    groups.sort(key=int.bit_count, reverse=True)
    pad_of = {live: _smallest_around(live, groups) for live in weights}
    return Pads([pad_of[live | always] for live in each_landing], groups)


def _unite(groups: list[int], weights: list[int]) -> list[int]:
    """Unite groups until few are left."""
    partners = [_partner(place, groups, weights) for place in range(len(groups))]
    while len(groups) > _PADS:
        first = 0
        for place in range(len(groups)):
            if partners[place][0] < partners[first][0]:
                first = place
        second = partners[first][1]
        groups[first] |= groups[second]
        weights[first] += weights[second]
        last = len(groups) - 1
        for values in (groups, weights):
            values[second] = values[last]
            values.pop()
        partners[second] = partners[last]
        partners.pop()
        for place in range(len(groups)):
            partner = partners[place][1]
            if place == first or place == second or partner == first or partner == second or partner == last:
                partners[place] = _partner(place, groups, weights)
    return groups


def _partner(place: int, groups: list[int], weights: list[int]) -> tuple[int, int]:
    """Return what uniting a group with the best other one costs, and that one."""
    mine = groups[place]
    weight = weights[place]
    best = -1
    best_cost = 0
    for other in range(len(groups)):
        if other != place:
            added = (groups[other] & ~mine).bit_count() * weight + (mine & ~groups[other]).bit_count() * weights[other]
            if best < 0 or added < best_cost:
                best, best_cost = other, added
    return best_cost, best


def _best(live: int, groups: list[int]) -> int:
    costs = [((live ^ group).bit_count(), place) for place, group in enumerate(groups)]
    return min(costs)[1]


def _smallest_around(live: int, groups: list[int]) -> int:
    """Return the last, that is smallest, group that contains a set."""
    for place in range(len(groups) - 1, -1, -1):
        if live & ~groups[place] == 0:
            return place
    raise ValueError("a set of locals is in no group")
