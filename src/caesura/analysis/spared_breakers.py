"""Which of the nodes that were taken to break all cycles of a graph (`cycles`) need not be taken.

Nodes are taken by their edges, several at once, and what is taken later often breaks the same cycles: QuickJS frees
values in a function that a tenth of its calls name, and that stands on cycles through what it calls only. Whether a
node is needed shows a search, from what it leads to, for the node itself, through what is not taken. What is not taken
has no cycles: so its nodes have levels, each a higher one than all that it leads to, and the search can leave out what
is below all that lead to the node.
"""

from __future__ import annotations

from caesura.analysis.cycles import callees_first


def spare_breakers(successors: list[list[int]], taken: list[bool], candidates: list[int]) -> None:
    """Let candidates be taken no longer, in their order, where what is taken breaks all cycles without them, too."""
    graph = _Graph(successors, taken)
    for node in candidates:
        if taken[node] and not graph.comes_back(node):
            graph.put_back(node)


class _Graph:
    """A graph from which the nodes that are taken are gone."""

    def __init__(self, successors: list[list[int]], taken: list[bool]) -> None:
        nodes = range(len(successors))
        self._successors = successors
        self._predecessors: list[list[int]] = [[] for _ in nodes]
        for node in nodes:
            for successor in successors[node]:
                self._predecessors[successor].append(node)
        self._taken = taken
        self._levels = [0] * len(successors)
        for node in callees_first(successors, taken):
            self._levels[node] = self._level_above(node)

    def comes_back(self, node: int) -> bool:
        """Tell whether a cycle goes through a node that is taken, and through no other one."""
        before = [self._levels[other] for other in self._predecessors[node] if not self._taken[other]]
        least = min(before) if before else len(self._levels)
        seen = {node: True}
        work = [node]
        while work:
            for successor in self._successors[work.pop()]:
                if successor == node:
                    return True
                if not self._taken[successor] and successor not in seen and self._levels[successor] >= least:
                    seen[successor] = True
                    work.append(successor)
        return False

    def put_back(self, node: int) -> None:
        """Let a node be taken no longer, on which no cycle goes through other nodes."""
        self._taken[node] = False
        self._levels[node] = self._level_above(node)
        work = [node]
        for raised in work:
            above = self._levels[raised] + 1
            for other in self._predecessors[raised]:
                if not self._taken[other] and self._levels[other] < above:
                    self._levels[other] = above
                    work.append(other)

    def _level_above(self, node: int) -> int:
        """Return the least level above all nodes that a node leads to."""
        below = [self._levels[successor] for successor in self._successors[node] if not self._taken[successor]]
        return max(below) + 1 if below else 0
