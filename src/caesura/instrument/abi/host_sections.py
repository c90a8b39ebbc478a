"""Custom sections that tell hosts what they cannot see otherwise (docs/abi.md has their layout).

Hosts see names and kinds, JavaScript not even types. So the module tells which functions may be on the stack at a
suspension, which results its imports have, and, by flags, whether that knowledge is sure: where lists said which
functions may suspend, and where functions of others may be called through references, a host has to look at the stack
before it lets a call unwind. Modules with thunks always tell, and those whose state can be saved; others of the plain
ABI, which serve as drop-ins, only where lists were given, where frames hold references, where functions of others may
come in by another way than a table that hosts see, or where calls that overlap would go wrong unnoticed, since hosts
have no way to the shadow stack; and nothing if the module has a runtime of its own, which looks at none of this, and no
guard, or no instrumented function, in which a suspension could go wrong.

Whatever tells anything also tells the version of the contract, in the first of the sections. Modules without any follow
Binaryen's ABI, which has no versions.
"""

from __future__ import annotations

from caesura.abi import (
    BUILTIN_MODULES,
    BUILTIN_RESULTS,
    CONTRACT_SECTION,
    CONTRACT_VERSION,
    EXPORTED_IMPORTS_SECTION,
    FUNCTIONS_SECTION,
    LINKER_STACK_POINTER,
    MOST_RESULTS_TOLD,
    NUMBER_RESULT,
    REFERENCE_RESULT,
    RESULTS_SECTION,
    SECOND_VERSION,
    THIRD_VERSION,
    Fact,
)
from caesura.analysis.calls import CallGraph
from caesura.analysis.foreign_functions import may_call_others
from caesura.analysis.shadow_stack import ShadowStack
from caesura.analysis.stack_region import find_region
from caesura.analysis.suspension import Suspension
from caesura.options import NO_PREEMPT, PREEMPT_FLAG, PREEMPT_FUEL, Options
from caesura.wasm.definitions import FUNCTION_KIND, GLOBAL_KIND
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import is_reference


def write_host_sections(
    module: Module,
    options: Options,
    graph: CallGraph,
    suspension: Suspension,
    shadow_stack: ShadowStack,
    passing: set[FunctionIndex],
    edits: SectionEdits,
    *,
    adds_memory: bool,
    has_runs: bool,
) -> None:
    """Add the sections that this module's hosts need.

    `passing` are functions that are not instrumented and pass a suspension on. `adds_memory`: the transformation gave
    it its memory; `has_runs`: its frames hold references.
    """
    functions = _functions(module, options, suspension, passing)
    is_counting = options.preempt == PREEMPT_FUEL
    results = _results(module, suspension, is_counting=is_counting, is_telling=functions is not None)
    exported = _exported_imports(module, suspension) if options.thunks else b""
    facts = _facts(module, options, shadow_stack, adds_memory=adds_memory)
    starts = starts_late(module, suspension, options) or (options.snapshots and module.start is not None)
    if options.preempt != NO_PREEMPT and module.start is not None and not starts:
        if suspension.may_suspend(module.start):
            facts |= Fact.STARTED_BY_ENGINE
    stop_pushes = has_runs and not options.thunks
    tells_else = functions is not None or bool(results) or (facts != 0 and any(suspension.instrumented))
    pauses = options.preempt != NO_PREEMPT
    tells_else = tells_else or options.snapshots or pauses or stop_pushes
    calls_others = may_call_others(module, graph)
    # Where nothing is told hosts see tables that others can reach, and take it that there are calls through them.
    is_seen = not all(graph.private_tables) or not any(suspension.instrumented)
    if not tells_else and (is_seen or not calls_others):
        return
    if calls_others:
        facts |= Fact.CALLS_REFERENCES
    is_second = options.linked or stop_pushes or starts
    version = THIRD_VERSION if pauses else SECOND_VERSION if is_second else CONTRACT_VERSION
    contract = encode_unsigned(version) + encode_unsigned(facts)
    region = find_region(module, shadow_stack.pointer) if shadow_stack.pointer is not None else None
    edits.custom[CONTRACT_SECTION] = contract + (encode_unsigned(region.low) if region is not None else b"")
    if functions is not None:
        edits.custom[FUNCTIONS_SECTION] = functions
    if results:
        edits.custom[RESULTS_SECTION] = results
    if exported:
        edits.custom[EXPORTED_IMPORTS_SECTION] = exported


def starts_late(module: Module, suspension: Suspension, options: Options) -> bool:
    """Tell whether hosts call the start function, as they call exports, since it may suspend."""
    return options.thunks and module.start is not None and suspension.may_suspend(module.start)


def _facts(module: Module, options: Options, shadow_stack: ShadowStack, *, adds_memory: bool) -> int:
    """Return the flags of what a host needs to know even if nothing else is told."""
    facts = (Fact.BY_LISTS if options.leaves_out_functions() else 0) | (Fact.ADDED_MEMORY if adds_memory else 0)
    if shadow_stack.unclear:
        facts |= Fact.UNCLEAR_STACK
    if shadow_stack.is_fixed:
        facts |= Fact.FIXED_STACK
    if options.linked:
        facts |= Fact.LINKED
    if options.preempt == PREEMPT_FLAG:
        facts |= Fact.PAUSES_BY_REQUEST
    if options.preempt == PREEMPT_FUEL:
        facts |= Fact.PAUSES_BY_FUEL
    if not options.thunks and _is_hidden(module, shadow_stack):
        facts |= Fact.HIDDEN_STACK
    return facts


def _functions(module: Module, options: Options, suspension: Suspension, passing: set[FunctionIndex]) -> bytes | None:
    """Return which functions can be on the stack at a suspension, if that is told: of imports, or of all."""
    if options.thunks or options.leaves_out_functions():
        bits = bytearray(suspending_bitmap(suspension, len(suspension.reason)))
        for function in passing:
            bits[function >> 3] |= 1 << (function & 7)
        return bytes(bits)
    if options.imports or options.ignore_imports:
        return suspending_bitmap(suspension, module.imported_functions)
    return None


def _is_hidden(module: Module, shadow_stack: ShadowStack) -> bool:
    """Tell whether there is a shadow stack whose pointer is not exported so that hosts find it."""
    return shadow_stack.pointer is not None and not any(
        item.kind == GLOBAL_KIND and item.name == LINKER_STACK_POINTER and item.index == shadow_stack.pointer
        for item in module.exports
    )


def suspending_bitmap(suspension: Suspension, count: int) -> bytes:
    """Return one bit for each of the first `count` functions: whether it can be on the stack at a suspension.

    Function i has bit i & 7 of byte i >> 3. Set are instrumented functions, imports that may suspend, and the guest's
    own runtime; bits behind the last function are set too, as the transformation adds functions there.
    """
    bits = bytearray((count + 7) // 8)
    for function in range(count):
        if suspension.may_suspend(FunctionIndex(function)) or suspension.bottommost[function]:
            bits[function >> 3] |= 1 << (function & 7)
    for function in range(count, 8 * len(bits)):
        bits[function >> 3] |= 1 << (function & 7)
    return bytes(bits)


def _exported_imports(module: Module, suspension: Suspension) -> bytes:
    """Return, for each export that is a thunk of an import, its number and the function index of the import."""
    out = b""
    for number, export in enumerate(module.exports):
        if export.kind == FUNCTION_KIND and export.index < module.imported_functions:
            if suspension.may_suspend(FunctionIndex(export.index)):
                out += encode_unsigned(number) + encode_unsigned(export.index)
    return out


def _results(module: Module, suspension: Suspension, *, is_counting: bool, is_telling: bool) -> bytes:
    """Return, for each imported function, how many results it has, and a byte with the kind of each.

    Returns nothing where a host needs none of it: each import that may suspend has a number for a result, or none, and
    none can be one of an engine's built-in functions, which JavaScript does not see among the imports. Hosts of guests
    that count convert results themselves. Where a host is told anything, it is told of the others' results, too: it
    spares a look at the stack where an object that such an import returns is a reference, and not to be converted.
    """
    out = bytearray()
    needed = is_counting
    for item in module.function_imports():
        results = module.function_type(FunctionIndex(item.index)).results
        is_builtin = item.module.startswith(BUILTIN_MODULES)
        out.append(min(len(results), MOST_RESULTS_TOLD) | (BUILTIN_RESULTS if is_builtin else 0))
        told = results[:MOST_RESULTS_TOLD]
        out += bytes([REFERENCE_RESULT if is_reference(result) else NUMBER_RESULT for result in told])
        is_plain = len(results) == 0 or (len(results) == 1 and not is_reference(results[0]))
        is_asked = is_telling or suspension.may_suspend(FunctionIndex(item.index))
        needed = needed or is_builtin or (is_asked and not is_plain)
    return bytes(out) if needed else b""
