"""Which nodes of a graph break all its cycles, as few as is quickly found; and the order of a graph without cycles.

To find the fewest is hard in theory, and the graphs are calls of programs: a few functions that nearly everything leads
to and from (an interpreter's main loop, an allocator's callback) stand on most cycles. So the node with the largest
product of edges in and out is taken from each strongly connected component, and the rest looked at again. In large
components several are taken at once: else a module with twenty thousand functions would be looked at hundreds of times.

Components are found by Tarjan's algorithm, without recursion: chains of calls are longer than Python's stack.
"""

from __future__ import annotations

from typing import Final

# One node in so many is taken from a component at once.
_PORTION: Final = 48

# In place of the number of a node that has not been visited.
_UNVISITED: Final = -1


def break_cycles(successors: list[list[int]], eligible: int, removed: list[bool] | None = None) -> list[int]:
    """Return nodes such that every cycle goes through one of them, ascending; only nodes below `eligible` are taken.

    Every cycle must go through a node below `eligible`. Nodes that are `removed` are taken already, and returned too.
    """
    taken = [False] * len(successors) if removed is None else removed.copy()
    work = [list(range(len(successors)))]
    while work:
        for component in components(successors, work.pop(), taken):
            candidates = _by_edges(successors, component, eligible)
            chosen = candidates[-(1 + len(candidates) // _PORTION) :]
            for node in chosen:
                taken[node] = True
            if len(component) > 1:
                work.append([node for node in component if not taken[node]])
    return [node for node in range(eligible) if taken[node]]


def components(successors: list[list[int]], nodes: list[int], removed: list[bool]) -> list[list[int]]:
    """Return the strongly connected components of some nodes that contain cycles, callees first."""
    found: list[list[int]] = []
    for component in _Search(successors, nodes, removed).run():
        if len(component) > 1 or component[0] in successors[component[0]]:
            found.append(component)
    return found


def callees_first(successors: list[list[int]], removed: list[bool]) -> list[int]:
    """Return all nodes but those removed, each behind those that it leads to, but for nodes on the same cycle."""
    nodes = list(range(len(successors)))
    return [node for component in _Search(successors, nodes, removed).run() for node in component]


def all_components(successors: list[list[int]]) -> list[list[int]]:
    """Return all strongly connected components, also nodes that are in no cycle, those that others lead to first."""
    return _Search(successors, list(range(len(successors))), [False] * len(successors)).run()


def _by_edges(successors: list[list[int]], component: list[int], eligible: int) -> list[int]:
    """Return the nodes of a component that can be taken, those with the most edges last."""
    inside = dict.fromkeys(component, 0)
    out: dict[int, int] = {}
    for node in component:
        count = 0
        for successor in successors[node]:
            if successor in inside:
                inside[successor] += 1
                count += 1
        out[node] = count
    candidates = [(inside[node] * out[node], -node) for node in component if node < eligible]
    candidates.sort()
    return [-negative for _, negative in candidates]


class _Search:
    """Tarjan's algorithm on the part of a graph that some nodes span, but for those removed."""

    def __init__(self, successors: list[list[int]], nodes: list[int], removed: list[bool]) -> None:
        self._successors = successors
        self._nodes = [node for node in nodes if not removed[node]]
        self._number: dict[int, int] = dict.fromkeys(self._nodes, _UNVISITED)
        self._low: dict[int, int] = {}
        self._open: list[int] = []
        self._is_open: dict[int, bool] = {}
        self._found: list[list[int]] = []
        self._count = 0

    def run(self) -> list[list[int]]:
        """Return all components, those that others lead to first."""
        for node in self._nodes:
            if self._number[node] == _UNVISITED:
                self._visit(node)
        return self._found

    def _visit(self, root: int) -> None:
        path = [root]
        places = [0]
        self._begin(root)
        while path:
            node = path[-1]
            place = places[-1]
            successors = self._successors[node]
            if place < len(successors):
                places[-1] = place + 1
                successor = successors[place]
                number = self._number.get(successor)
                if number is None:  # removed, or outside
                    continue
                if number == _UNVISITED:
                    path.append(successor)
                    places.append(0)
                    self._begin(successor)
                elif self._is_open[successor] and number < self._low[node]:
                    self._low[node] = number
                continue
            path.pop()
            places.pop()
            if path and self._low[node] < self._low[path[-1]]:
                self._low[path[-1]] = self._low[node]
            if self._low[node] == self._number[node]:
                self._close(node)

    def _begin(self, node: int) -> None:
        self._number[node] = self._count
        self._low[node] = self._count
        self._count += 1
        self._open.append(node)
        self._is_open[node] = True

    def _close(self, node: int) -> None:
        component: list[int] = []
        while True:
            member = self._open.pop()
            self._is_open[member] = False
            component.append(member)
            if member == node:
                break
        self._found.append(component)
