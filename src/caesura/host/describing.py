"""Describing a drivable module: what the host keeps of it besides the compiled code (see `description`)."""

from __future__ import annotations

from caesura.abi import ASYNCIFY_MEMORY, ENTRY_PREFIX, STATE_GLOBAL, STATE_PREFIX
from caesura.analysis.instrumented import asyncify_exports, preempt_of
from caesura.analysis.stack_limits import find_stack_limits
from caesura.analysis.stack_region import find_region
from caesura.host.description import NONE, THUNKS, Description, FunctionShape, StackDescription
from caesura.host.drivable import Drivable
from caesura.host.exported import export_name, exported_index, guest_memory
from caesura.host.import_shapes import import_shapes
from caesura.host.instantiation import instantiation_of
from caesura.host.record_claims import record_entries
from caesura.options import NO_PREEMPT
from caesura.snapshots.section import read_section
from caesura.wasm import types as t
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND, MEMORY_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.module import Module


def describe(drivable: Drivable) -> Description:
    """Return the description of a drivable module. Raises UnsupportedModule for imports that contradict each other."""
    module = drivable.module
    functions = {
        item.name: _shape(module, item.index)
        for item in module.exports
        if item.kind == FUNCTION_KIND and item.name != drivable.held_start and not item.name.startswith(STATE_PREFIX)
    }
    instrumented = drivable.abi != NONE
    memory = guest_memory(module, instrumented=instrumented)
    has_own_memory = instrumented and exported_index(module, MEMORY_KIND, ASYNCIFY_MEMORY) is not None
    asyncify = ASYNCIFY_MEMORY if has_own_memory else memory
    thunks = drivable.abi == THUNKS
    imports, numbers = import_shapes(module)
    return Description(
        abi=drivable.abi,
        functions={name: shape for name, shape in functions.items() if not name.startswith(ENTRY_PREFIX)},
        imports=imports,
        imported_functions=module.imported_functions,
        unsuspended=_numbers_of(drivable.unsuspended, numbers),
        state_changes=asyncify_exports(module),
        entries={
            name.removeprefix(ENTRY_PREFIX): shape.index
            for name, shape in functions.items()
            if thunks and name.startswith(ENTRY_PREFIX)
        },
        memory=memory,
        asyncify_memory=asyncify,
        preempt=preempt_of(module) if thunks else NO_PREEMPT,
        pauses_without_thunks=not thunks and preempt_of(module) != NO_PREEMPT,
        wide=_is_wide(module, asyncify),
        wide_memory=_is_wide(module, memory),
        shared=max([(item.maximum or 0) << item.page_size_log2 for item in module.memories if item.shared], default=0),
        stack=_describe_stack(drivable),
        forgets_by_rewinding=instrumented and _may_hold_references(module),
        instantiation=instantiation_of(module),
        held_start=drivable.held_start,
        guarded=drivable.guarded,
        unguarded=drivable.unguarded,
        guard_section=drivable.guard_section,
        original_functions=drivable.original_functions,
        uninstrumented=drivable.uninstrumented,
        names=drivable.names,
        added_tables=read_section(drivable.state).added_tables if drivable.state else 0,
        state_section=drivable.state,
        why_unsaved=drivable.why_unsaved,
        recorded=record_entries(module) if instrumented else "",
    )


def _may_hold_references(module: Module) -> bool:
    """Tell whether frames may have references and no function forgets those of a call: where modules share the state.

    Which tables are for them is not told; they begin empty and have no limit.
    """
    names = [item.name for item in module.imports] + [item.name for item in module.exports]
    return STATE_GLOBAL in names and any(
        not item.limits.minimum and item.limits.maximum is None for item in module.tables
    )


def _is_wide(module: Module, memory: str) -> bool:
    """Tell whether the memory that is exported under a name, if there is one, has 64-bit addresses."""
    index = exported_index(module, MEMORY_KIND, memory) if memory else None
    return index is not None and module.memories[index].is64


def _describe_stack(drivable: Drivable) -> StackDescription:
    module = drivable.module
    pointer = drivable.stack.pointer
    limits = find_stack_limits(module, pointer)
    region = find_region(module, pointer) if pointer is not None else None
    return StackDescription(
        pointer=export_name(module, GLOBAL_KIND, pointer) if pointer is not None else "",
        wide=pointer is not None and module.globals[pointer].type == t.I64,
        thunks_switch=drivable.thunks_switch,
        low=region.low if region is not None else 0,
        high=region.high if region is not None else 0,
        lows=tuple(export_name(module, GLOBAL_KIND, index) for index in limits.low),
        highs=tuple(export_name(module, GLOBAL_KIND, index) for index in limits.high),
        unclear=drivable.stack.unclear,
        is_fixed=drivable.stack.is_fixed,
    )


def _numbers_of(functions: frozenset[int], numbers: list[int]) -> tuple[int, ...]:
    """Return the numbers under which imported functions are connected; of several imports of one, the last counts."""
    latest = {number: function in functions for function, number in enumerate(numbers)}
    return tuple(sorted(number for number, is_one in latest.items() if is_one))


def _shape(module: Module, index: int) -> FunctionShape:
    definition = module.function_type(FunctionIndex(index))
    return FunctionShape(index, definition.params, definition.results)
