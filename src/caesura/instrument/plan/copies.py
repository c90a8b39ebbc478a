"""Which instrumented functions get a copy that is not instrumented, for callers that a list leaves out.

While a function that is left out is on the stack nothing can be suspended, so what it calls need not be prepared for
it: instead of the instrumented function, behind one that marks (see `abi.guard`), it can call the original's code,
which marks its own ways out as all code does that is left out. Where these are not taken, as mostly in functions that
free what nothing refers to any more, that costs no time at all. A function that marks takes a nanosecond or more in
Node 20, a twentieth of the time of PHP's generators.

A copy takes as many bytes as the function, so those are copied that take few, as long as all of them take little of the
code. And it is done only where a list names little of a program: the more it names, the fewer of the calls come from
what it leaves out, and the more bytes it has taken already. What is copied can call others that are.

Instead, marks at the calls were tried, also of calls through tables: they took 14 bytes each, 25 with the look at the
state behind them, and PHP no less time.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import CallGraph
from caesura.analysis.guarded import INSTRUMENTED, LEFT_OUT, Guarded
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module

# How much of the code all copies may take, in thousandths, and how much of it is named at most.
_SHARE: Final = 3
_NAMED_SHARE: Final = 50


def select_copies(module: Module, graph: CallGraph, guarded: Guarded) -> list[FunctionIndex]:
    """Return the functions that get one, ascending.

    Left out are those whose original code is not what would stand there if they were left out of the list, too: with
    handlers of exceptions, tail calls, or references of imports.
    """
    code = sum([_size(module, module.function_of(own)) for own in module.own_functions()])
    named = [module.function_of(own) for own in module.own_functions()]
    named = [function for function in named if guarded.kinds[function] == INSTRUMENTED]
    if 1_000 * sum([_size(module, function) for function in named]) > _NAMED_SHARE * code:
        return []
    others = {*graph.catching, *graph.tail_calling, *graph.referring}
    costs = [
        (_size(module, function), function)
        for function in _called_by_name(module, graph, guarded)
        if module.own_of(function) not in others
    ]
    costs.sort()
    left = code * _SHARE // 1_000
    chosen: list[FunctionIndex] = []
    for cost, function in costs:
        if cost > left:
            break
        left -= cost
        chosen.append(function)
    chosen.sort()
    return chosen


def _size(module: Module, function: FunctionIndex) -> int:
    own = module.own_of(function)
    return module.body_ends[own] - module.body_starts[own]


def _called_by_name(module: Module, graph: CallGraph, guarded: Guarded) -> set[FunctionIndex]:
    """Return the instrumented functions that code which is left out calls by name, or what these call so, and so on."""
    found: set[FunctionIndex] = set()
    todo = [module.function_of(own) for own in module.own_functions()]
    todo = [function for function in todo if guarded.kinds[function] == LEFT_OUT]
    while todo:
        for callee in graph.callees[module.own_of(todo.pop())]:
            if guarded.kinds[callee] == INSTRUMENTED and callee not in found:
                found.add(callee)
                todo.append(callee)
    return found
