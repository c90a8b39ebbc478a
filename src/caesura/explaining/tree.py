"""The dominator tree as people read it: one node for each cause and function, the largest first.

It is a flat list, parents before children: a chain of calls can be longer than what nested data is read and written by.
The nodes that a function has in the graph of reasons are one here, and imports are one with their cause.
"""

from __future__ import annotations

from dataclasses import dataclass

from caesura.explaining.explanation import Explanation, Freed
from caesura.explaining.one_function import FUNCTION, function_name
from caesura.explaining.reason_graph import ROOT


@dataclass(frozen=True)
class TreeNode:
    """A node: `parent` is its parent's place in the list, None at the top, where several causes can do without."""

    kind: str
    name: str
    index: int | None
    parent: int | None
    frees: Freed


def dominator_tree(explanation: Explanation) -> list[TreeNode]:
    """Return all nodes that free something, parents first, and among siblings what frees most bytes."""
    graph = explanation.graph
    representative = list(range(len(graph.successors)))  # by node: the first of those that are shown as one
    children: dict[int, list[int]] = {ROOT: []}
    for node in explanation.order[1:]:
        above = explanation.dominators[node]
        function = graph.function_of(node)
        is_import = function is not None and function < explanation.first
        if is_import or (function is not None and graph.function_of(above) == function):
            representative[node] = representative[above]
        elif explanation.freed(node).functions:
            children[node] = []
            children[representative[above]].append(node)
    found: list[TreeNode] = []
    work: list[tuple[int, int | None]] = [(ROOT, None)]
    while work:
        node, parent = work.pop()
        place = None
        if node != ROOT:
            place = len(found)
            found.append(_tree_node(explanation, node, parent))
        inner = sorted(children[node], key=lambda one: (explanation.freed(one).bytes, explanation.freed(one).functions))
        work += [(one, place) for one in inner]
    return found


def _tree_node(explanation: Explanation, node: int, parent: int | None) -> TreeNode:
    function = explanation.graph.function_of(node)
    if function is None:
        cause = explanation.graph.cause_of(node)
        return TreeNode(cause.kind, cause.name, None, parent, explanation.freed(node))
    index = explanation.report(function).index if explanation.is_given(function) else None
    return TreeNode(FUNCTION, function_name(explanation, function), index, parent, explanation.freed(node))
