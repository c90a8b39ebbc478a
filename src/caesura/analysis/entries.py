"""Which functions can be entered by others than instrumented functions: by hosts, or by code that is not instrumented.

Only these can be called while the guest unwinds, and have to leave at once then: an instrumented caller returns itself
as soon as it finds the guest unwinding. A function without a frame (see `wrappers`) has no code that leaves; so where
it can be entered from outside, what it calls can be too. Exported functions count, the start function, every function
that a reference can be made of (in tables, globals and element segments, which is where `ref.func` in code must be
declared too), and what is called by functions that are not instrumented.
"""

from __future__ import annotations

from caesura.analysis.calls import CallGraph
from caesura.wasm.constant import referenced_functions
from caesura.wasm.definitions import FUNCTION_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module
from caesura.wasm.segments import read_element_segments


def entered_from_outside(
    module: Module, graph: CallGraph, instrumented: list[bool], wrappers: dict[FunctionIndex, FunctionIndex]
) -> list[bool]:
    """Tell for each function whether others than instrumented functions can enter it.

    `wrappers` are the instrumented functions that have no frame, and what each calls.
    """
    entered = may_be_referenced(module)
    if module.start is not None:
        entered[module.start] = True
    for own in range(len(graph.callees)):
        if not instrumented[module.imported_functions + own]:
            for callee in graph.callees[own]:
                entered[callee] = True
    for wrapper in wrappers:
        function = wrapper
        while entered[function] and function in wrappers and not entered[wrappers[function]]:
            function = wrappers[function]
            entered[function] = True
    return entered


def may_be_referenced(module: Module, *, by_exports: bool = True) -> list[bool]:
    """Tell for each function whether a reference of it may exist, within the module or with its host.

    Exports do not count unless `by_exports`.
    """
    referenced = [False] * len(module.function_types)
    for export in module.exports:
        if by_exports and export.kind == FUNCTION_KIND:
            referenced[export.index] = True
    expressions = [(item.init_start, item.init_end) for item in module.globals]
    expressions += [(table.init_start, table.init_end) for table in module.tables]
    for segment in read_element_segments(module):
        expressions += segment.expressions
        for function in segment.functions:
            if function < len(referenced):
                referenced[function] = True
    for start, end in expressions:
        for function in referenced_functions(module.data, start, end):
            if function < len(referenced):
                referenced[function] = True
    return referenced
