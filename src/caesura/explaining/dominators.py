"""Dominators of a graph: through which nodes all paths from the root to a node lead.

In the graph of reasons (see `reason_graph`) these are the nodes without which a function would not be instrumented. By
Lengauer and Tarjan, with path compression but without balancing: O(m log n) whatever the graph looks like. The
iterative algorithm of Cooper, Harvey and Kennedy is shorter, and quadratic in graphs that a hostile module can have,
such as a long chain of calls with calls back to each link. Without recursion: chains of calls are longer than Python's
stack.
"""

from __future__ import annotations

from typing import Final

NOTHING: Final = -1


def immediate_dominators(successors: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    """Return the last dominator of each node but itself, and all nodes that can be reached, dominators first.

    The root has none (NOTHING), nor has what cannot be reached.
    """
    order, parents = _depth_first(successors, root)
    number_of = [NOTHING] * len(successors)
    for number, node in enumerate(order):
        number_of[node] = number
    predecessors: list[list[int]] = [[] for _ in order]
    for number, node in enumerate(order):
        for successor in successors[node]:
            predecessors[number_of[successor]].append(number)
    by_number = _Forest(parents).dominators(predecessors)
    dominators = [NOTHING] * len(successors)
    for number in range(1, len(order)):
        dominators[order[number]] = order[by_number[number]]
    return dominators, order


def nearest(successors: list[list[int]], roots: list[int]) -> list[int]:
    """Return for each node the one before it on a shortest path from a root; NOTHING for what cannot be reached."""
    before = [NOTHING] * len(successors)
    for root in roots:
        before[root] = root
    work = roots.copy()
    for node in work:
        for successor in successors[node]:
            if before[successor] == NOTHING:
                before[successor] = node
                work.append(successor)
    for root in roots:
        before[root] = NOTHING
    return before


def _depth_first(successors: list[list[int]], root: int) -> tuple[list[int], list[int]]:
    """Return the nodes in the order of a depth-first search, and the number of each one's parent in that."""
    order = [root]
    parents = [NOTHING]
    seen = [False] * len(successors)
    seen[root] = True
    path = [(0, iter(successors[root]))]
    while path:
        number, rest = path[-1]
        for successor in rest:
            if not seen[successor]:
                seen[successor] = True
                parents.append(number)
                order.append(successor)
                path.append((len(order) - 1, iter(successors[successor])))
                break
        else:
            path.pop()
    return order, parents


class _Forest:
    """The part of the depth-first tree that has been looked at; nodes go by their numbers in that search."""

    def __init__(self, parents: list[int]) -> None:
        self._parents = parents
        self._semi = list(range(len(parents)))
        self._best = list(range(len(parents)))
        self._ancestor = [NOTHING] * len(parents)

    def dominators(self, predecessors: list[list[int]]) -> list[int]:
        """Return the last dominator of each node but itself."""
        semi = self._semi
        dominators = [0] * len(semi)
        waiting: list[list[int]] = [[] for _ in semi]
        for node in range(len(semi) - 1, 0, -1):
            for predecessor in predecessors[node]:
                semi[node] = min(semi[node], semi[self._lowest(predecessor)])
            waiting[semi[node]].append(node)
            parent = self._parents[node]
            self._ancestor[node] = parent
            for other in waiting[parent]:
                lowest = self._lowest(other)
                dominators[other] = lowest if semi[lowest] < semi[other] else parent
            waiting[parent] = []
        for node in range(1, len(semi)):
            if dominators[node] != semi[node]:
                dominators[node] = dominators[dominators[node]]
        return dominators

    def _lowest(self, node: int) -> int:
        """Return the node with the lowest semidominator between a node and the root of its tree."""
        ancestor, best, semi = self._ancestor, self._best, self._semi
        if ancestor[node] == NOTHING:
            return node
        path: list[int] = []
        above = node
        while ancestor[ancestor[above]] != NOTHING:
            path.append(above)
            above = ancestor[above]
        for below in reversed(path):
            higher = ancestor[below]
            if semi[best[higher]] < semi[best[below]]:
                best[below] = best[higher]
            ancestor[below] = ancestor[higher]
        return best[node]
