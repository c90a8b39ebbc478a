"""What would free a function: said by the graph of reasons, and tried by instrumenting again without it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

import caesura
from caesura.errors import UsageError
from caesura.explaining.dominators import NOTHING, immediate_dominators, nearest
from caesura.explaining.explanation import Explanation, explain
from caesura.explaining.one_function import describe_function, find_function, path_to
from caesura.explaining.reason_graph import ENTRY, IMPORT
from caesura.options import Options
from tests.explaining.modules import IMPORTS, random_module

NAMES = [f"f{number}" for number in range(12)]


def random_options(seed: int) -> Options:
    """Return lists at random."""
    chance = random.Random(-seed)

    def some(share: float) -> list[str]:
        return [name for name in NAMES if chance.random() < share]

    options = Options(imports=[f"env.{name}" for name in IMPORTS if chance.random() < 0.6], ignore_imports=True)
    kind = seed % 8
    if kind == 1:
        return replace(options, remove_list=some(0.2))
    if kind == 2:
        return replace(options, add_list=some(0.2))
    if kind == 3:
        return replace(options, add_list=some(0.2), propagate_addlist=True)
    if kind == 4:
        return replace(options, only_list=[*some(0.3), "f1*"])
    if kind == 5:
        added = some(0.3)
        return replace(options, add_list=added, remove_list=[name for name in some(0.2) if name not in added])
    if kind == 6:
        return replace(options, add_list=some(0.3), ignore_indirect=True, propagate_addlist=chance.random() < 0.5)
    if kind == 7:
        return replace(options, only_list=[*some(0.4), "f0"], ignore_indirect=True)
    return replace(options, ignore_indirect=chance.random() < 0.3)


def instrumented(module: bytes, options: Options) -> set[str]:
    """Return the names of the functions that suspensions can pass through."""
    return {report.name for report in caesura.instrument(module, options).functions if report.instrumented}


def freed_names(explanation: Explanation, node: int) -> set[str]:
    """Return the names of the instrumented functions that a node dominates."""
    found: set[str] = set()
    for own, report in enumerate(explanation.reports):
        above = explanation.graph.stands(explanation.first + own)
        while above not in (NOTHING, node):
            above = explanation.dominators[above]
        if report.instrumented and above == node:
            found.add(report.name)
    assert len(found) == explanation.freed(node).functions
    return found


def check(freed: set[str], gone: set[str], explanation: Explanation, what: object) -> None:
    """Check what is freed. What a list gives call sites by itself stays, but may have none any more."""
    assert freed <= gone, what
    graph = explanation.graph
    functions = {report.name: explanation.first + own for own, report in enumerate(explanation.reports)}
    more = {
        name
        for name in gone - freed
        if graph.stands(functions[name]) not in graph.successors[graph.listed(functions[name])]
    }
    assert more == set(), what


@pytest.mark.parametrize("seed", range(64))
def test_what_frees_what_is_what_instrumenting_again_says(seed: int) -> None:
    module = random_module(seed)
    options = random_options(seed)
    explanation = explain(module, options)
    before = instrumented(module, options)
    graph = explanation.graph
    for node, cause in explanation.causes():
        if cause.kind == IMPORT:
            changed = replace(options, imports=[name for name in options.imports if name != cause.name])
        elif cause.kind == ENTRY and options.only_list:
            changed = replace(options, only_list=[one for one in options.only_list if f"{one} on" not in cause.name])
            if not changed.only_list:
                continue
        elif cause.kind == ENTRY:
            changed = replace(options, add_list=[one for one in options.add_list if f"{one} on" not in cause.name])
        else:
            continue
        check(freed_names(explanation, node), before - instrumented(module, changed), explanation, cause)
    if not options.only_list:
        for own, name in enumerate(NAMES):
            if name not in options.add_list and name not in options.remove_list:
                changed = replace(options, remove_list=[*options.remove_list, name])
                assert graph.can_be_removed(explanation.first + own)
                node = graph.suspends(explanation.first + own)
                check(freed_names(explanation, node), before - instrumented(module, changed), explanation, name)
        changed = replace(options, ignore_indirect=True)
        if not options.add_list:  # whose functions have calls through tables all the same
            assert explanation.without_indirect().functions == len(before - instrumented(module, changed))


@pytest.mark.parametrize("seed", range(40))
def test_the_graph_reaches_what_is_instrumented(seed: int) -> None:
    explanation = explain(random_module(seed), random_options(seed))
    for own, report in enumerate(explanation.reports):
        stands = explanation.graph.stands(explanation.first + own)
        if "it has no call that may suspend" not in report.reason:  # a list names it in vain
            assert (explanation.nearest[stands] != NOTHING) == report.instrumented, report.reason
        steps = path_to(explanation, explanation.first + own)
        if report.instrumented and " -> " in report.reason:
            assert len(steps) >= 2


def test_dominators_are_what_all_paths_lead_through() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        count = chance.randrange(1, 14)
        edges = [[chance.randrange(count) for _ in range(chance.choice((0, 1, 1, 2, 4)))] for _ in range(count)]
        dominators, order = immediate_dominators(edges, 0)
        reachable = {node for node in range(count) if node == 0 or nearest(edges, [0])[node] != NOTHING}
        assert set(order) == reachable
        for node in reachable - {0}:
            chain: set[int] = set()
            above = dominators[node]
            while above != NOTHING:
                chain.add(above)
                above = dominators[above]
            without = {one for one in reachable - {node} if not _reaches(edges, node, one)}
            assert chain == without | {0}, (seed, node)


def _reaches(edges: list[list[int]], target: int, removed: int) -> bool:
    cut = [[] if node == removed else list(ends) for node, ends in enumerate(edges)]
    return removed != 0 and nearest(cut, [0])[target] != NOTHING


def test_a_long_ring_is_quick() -> None:
    """A chain of calls with a call back to the start from everywhere: quadratic for simpler algorithms."""
    count = 100_000
    edges = [[node + 1, node // 2, 0] if node + 1 < count else [0] for node in range(count)]
    dominators, _ = immediate_dominators(edges, 0)
    assert dominators[1:] == list(range(count - 1))


def test_functions_are_found_by_name_and_by_index() -> None:
    explanation = explain(random_module(3), Options())
    assert find_function(explanation, "f4") == find_function(explanation, "7") == 7
    with pytest.raises(UsageError, match=r"no function of the module is called 'f99'"):
        find_function(explanation, "f99")
    for number in range(12):
        told = describe_function(explanation, explanation.first + number)
        assert told["name"] == f"f{number}"


@pytest.mark.parametrize("seed", range(64))
def test_the_changes_that_a_function_is_told_can_be_made_and_free_it(seed: int) -> None:
    """What is claimed of one function, done by its words."""
    module, options = random_module(seed), random_options(seed)
    explanation = explain(module, options)
    before = instrumented(module, options)
    for own, name in enumerate(NAMES):
        told = describe_function(explanation, explanation.first + own)
        assert told["frees"]["functions"] == 0 or not (options.only_list or name in options.add_list)
        for change in told["changes"]:
            changed = _done(options, change["change"])
            if changed is not None:
                gone = before - instrumented(module, changed)
                assert name in gone and change["frees"]["functions"] <= len(gone), (name, change)


def _done(options: Options, change: str) -> Options | None:
    """Return options with a change that is told in words; None for one that is none of options."""
    _, what, *where = change.split(maxsplit=2)
    match where:
        case ["on the remove-list"]:
            return replace(options, remove_list=[*options.remove_list, what])
        case ["off the import list"]:
            return replace(options, imports=[one for one in options.imports if one != what])
        case ["off the add-list"]:
            return replace(options, add_list=[one for one in options.add_list if one != what])
        case ["off the only-list"] if len(options.only_list) > 1:
            return replace(options, only_list=[one for one in options.only_list if one != what])
    return None
