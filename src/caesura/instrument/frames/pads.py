"""Unwind pads: where call sites branch to when they unwind, grouped by which locals are live there.

All call sites of a function save the same frame. If all branched to one place, every saved local would have to keep a
register or a stack slot at every call site, although most of them are dead at most. So the call sites of large
functions are put into groups with similar live locals, and each group has a pad. The pads form a tree: each zeroes the
locals that are dead there and live at its parent and goes on to its parent; the root has nothing to zero, it is where
the frame is pushed. The tree comes from uniting, again and again, the two groups whose union makes the fewest dead
locals live, counted over call sites; pads that are not worth their bytes are taken out of it. Pads that each zero all
that is dead were built first: for the same bytes there were four instead of ten.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from caesura.wasm.indices import LocalIndex

# Sets that are compared with each other; beyond this, rarer ones get the smallest pad that fits.
_MAXIMUM_SETS: Final = 256
# Bytes of a pad besides what it zeroes (a block and a branch), and of what zeroes one local.
_PAD_BYTES: Final = 5
_ZERO_BYTES: Final = 4
# How many dead locals, counted over call sites, one byte has to keep from being saved. (With 1, V8's code for QuickJS's
# interpreter is smaller, but SQLite's has more values than V8's allocator takes: see docs/measurements.md.)
_WORTH: Final = 4

# In place of a group: none has been looked at.
_NONE: Final = -1


class Pads(NamedTuple):
    """`of_site` is the pad of each call site, `live` the locals live at each pad, as bits, `parents` the pad behind it.

    Pad 0 is the root, its own parent. Parents come before their children.
    """

    of_site: list[int]
    live: list[int]
    parents: list[int]


# One place to unwind to from all call sites, with nothing to zero.
ONE_PAD: Final = Pads([], [], [])


class _Tree:
    """Groups of call sites: what is live in each, how many sites have just that, and the groups united in it."""

    def __init__(self, live: list[int], weights: list[int]) -> None:
        self.live = live
        self.weights = weights
        self.totals = weights.copy()
        self.children: list[list[int]] = [[] for _ in live]

    def unite(self, first: int, second: int) -> int:
        """Return the group of two groups, which is one of them if it has all that is live in the other."""
        union = self.live[first] | self.live[second]
        if union == self.live[first]:
            return self._put_below(second, first)
        if union == self.live[second]:
            return self._put_below(first, second)
        self.live.append(union)
        self.weights.append(0)
        self.totals.append(self.totals[first] + self.totals[second])
        self.children.append([first, second])
        return len(self.live) - 1

    def _put_below(self, child: int, parent: int) -> int:
        self.totals[parent] += self.totals[child]
        self.children[parent].append(child)
        return parent

    def unite_all(self) -> int:
        """Unite until one group is left, and return it."""
        active = list(range(len(self.live)))
        partners = [self._partner(place, active) for place in range(len(active))]
        while len(active) > 1:
            first = 0
            for place in range(len(active)):
                if partners[place][0] < partners[first][0]:
                    first = place
            second = partners[first][1]
            active[first] = self.unite(active[first], active[second])
            last = len(active) - 1
            active[second] = active[last]
            active.pop()
            partners[second] = partners[last]
            partners.pop()
            for place in range(len(active)):
                partner = partners[place][1]
                if place == first or place == second or partner == first or partner == second or partner == last:
                    partners[place] = self._partner(place, active)
        return active[0]

    def _partner(self, place: int, active: list[int]) -> tuple[int, int]:
        """Return what uniting a group with the best other one costs, and the place of that one."""
        mine = self.live[active[place]]
        weight = self.totals[active[place]]
        best = _NONE
        best_cost = 0
        for other in range(len(active)):
            if other == place:
                continue
            theirs = self.live[active[other]]
            cost = (theirs & ~mine).bit_count() * weight + (mine & ~theirs).bit_count() * self.totals[active[other]]
            if best == _NONE or cost < best_cost:
                best, best_cost = other, cost
        return best_cost, best

    def top_down(self, root: int) -> list[int]:
        """Return the groups in a tree, parents before children, the first child right behind its parent."""
        order: list[int] = []
        work = [root]
        while work:
            group = work.pop()
            order.append(group)
            work += reversed(self.children[group])
        return order

    def prune(self, root: int) -> None:
        """Take out the groups that are not worth the bytes of a pad; their children go to their parents."""
        order = self.top_down(root)
        for place in range(len(order) - 1, -1, -1):
            parent = order[place]
            kept: list[int] = []
            for child in self.children[parent]:
                if self._is_worth(child, (self.live[parent] & ~self.live[child]).bit_count()):
                    kept.append(child)
                else:
                    kept += self.children[child]
                    self.weights[parent] += self.weights[child]
            self.children[parent] = kept

    def _is_worth(self, group: int, zeroed: int) -> bool:
        below = len(self.children[group])
        # Without this pad, its children would zero all that it zeroes.
        saved_bytes = _PAD_BYTES + _ZERO_BYTES * zeroed * (1 - below)
        return zeroed > 0 and self.weights[group] * zeroed >= _WORTH * saved_bytes


def group_by_live(each_landing: list[int], moved_locals: set[LocalIndex]) -> Pads:
    """Group call sites with similar live locals (as bits); those that moved code reads count as live at all of them."""
    always = 0
    for local in moved_locals:
        always |= 1 << local
    everything = always
    for live in each_landing:
        everything |= live
    distinct: list[int] = []
    number_of = _number_sets([live | always for live in each_landing], everything.bit_length(), distinct)
    weights = [0] * len(distinct)
    for number in number_of:
        weights[number] += 1
    sets = [(-weights[number], distinct[number]) for number in range(len(distinct))]
    sets.sort()
    del sets[_MAXIMUM_SETS:]
    tree = _Tree([live for _, live in sets], [-weight for weight, _ in sets])
    root = tree.unite_all()
    tree.live[root] = everything
    tree.prune(root)
    order = tree.top_down(root)
    place_of = {order[place]: place for place in range(len(order))}
    parents = [0] * len(order)
    for group in order:
        for child in tree.children[group]:
            parents[place_of[child]] = place_of[group]
    groups = [tree.live[group] for group in order]
    pad_of = [_smallest_around(live, groups) for live in distinct]
    return Pads([pad_of[number] for number in number_of], groups, parents)


def _number_sets(sets: list[int], bits: int, distinct: list[int]) -> list[int]:
    """Return numbers of sets, equal for equal ones; `distinct` gets the set of each number.

    They are told apart by their bytes: an integer's hash is its remainder by 2**61 - 1, so sets of a row of locals have
    few hashes, and each look-up would compare with a good part of all.
    """
    numbers: dict[bytes, int] = {}
    number_of: list[int] = []
    size = (bits + 7) // 8
    for live in sets:
        key = live.to_bytes(size, "little")
        if key not in numbers:
            numbers[key] = len(distinct)
            distinct.append(live)
        number_of.append(numbers[key])
    return number_of


def _smallest_around(live: int, groups: list[int]) -> int:
    """Return the smallest group that contains a set; the first contains all."""
    best = 0
    for place in range(1, len(groups)):
        if live & ~groups[place] == 0 and groups[place].bit_count() < groups[best].bit_count():
            best = place
    return best
