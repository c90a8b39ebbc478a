"""The transformation from end to end: read, find out what may suspend, rewrite those functions, write.

    module, with shared calls, renumbered -> calls, lists, who may suspend, who needs no frame for it, who gets two
    bodies -> results get values -> functions with frames for imports that tail calls reach -> what is outdated goes ->
    how frames are moved, what is grouped -> memory, globals, runtime, import thunks -> each function: decode, plan,
    liveness, late checks, groups, numbers, frame, write; or only checks -> exports, sections for hosts, entry thunks ->
    sections -> exports of the state, if they are asked for

Each step stands in a file of its own; this one says in which order.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from caesura.abi import FRAMES_SECTION, GUARD_SECTION, RECORD_SECTION
from caesura.analysis.calls import CallGraph
from caesura.analysis.reasons import Reasons
from caesura.errors import MalformedModule
from caesura.instrument.abi.outdated import drop_outdated
from caesura.instrument.abi.runtime import Runtime
from caesura.instrument.adding import Abi, Added, add_abi, add_exports, is_idle
from caesura.instrument.assembly import assemble
from caesura.instrument.facts import Facts, find_facts
from caesura.instrument.frames.pieces import AUTOMATIC, PIECES, default_moves
from caesura.instrument.framing import add_framing
from caesura.instrument.given import Given, read_given, retype
from caesura.instrument.guard_section import guard_section
from caesura.instrument.plan.grouping import GroupRule, default_rule
from caesura.instrument.planned_function import FunctionPlanner
from caesura.instrument.recorded import record_section
from caesura.instrument.rewriting import FunctionRewriter, Progress, Rewritten
from caesura.instrument.state_exports.exports import add_state_exports
from caesura.instrument.state_exports.guest_state import Bounds, FrameReferences, Origin
from caesura.instrument.valueless import has_valueless_results
from caesura.options import Options
from caesura.report import NO_STACK_POINTER, FunctionReport, Instrumented
from caesura.wasm import sections as sec
from caesura.wasm.indices import FunctionIndex, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.moved import MovedTwice
from caesura.wasm.renumber import redirect_in_code
from caesura.wasm.shortest import has_padding


@dataclass(frozen=True)
class Transformed:
    """A module that was instrumented, and what was known of it: for who asks why it is as it is."""

    instrumented: Instrumented
    given: Given
    facts: Facts


def instrument_as(
    module: bytes | bytearray | memoryview,
    options: Options,
    progress: Progress | None,
    moves: int,
    group_rule: GroupRule | None,
) -> Instrumented:
    """Do what `caesura.instrument.api.instrument` says, in a form that matters for bytes and time only.

    `moves` says how frames are moved (`frames.pieces`), `group_rule` which call sites are grouped
    (`plan.grouping`; None: as options and module say). Tests use it, so that small modules stand for large ones.
    """
    return transform(module, options, progress, moves, group_rule).instrumented


def transform(
    module: bytes | bytearray | memoryview,
    options: Options,
    progress: Progress | None,
    moves: int,
    group_rule: GroupRule | None,
) -> Transformed:
    """Do what `instrument_as` does, and keep what was known for it."""
    try:
        return _run(bytes(module), options, progress, moves, group_rule)
    except IndexError:
        raise MalformedModule("unexpected end of the module, or an index that is out of range", len(module)) from None


def _run(
    data: bytes, options: Options, progress: Progress | None, moves: int, group_rule: GroupRule | None
) -> Transformed:
    start = time.perf_counter()
    warnings: list[str] = []

    given = read_given(data, options)
    list_warnings: list[str] = []
    facts = find_facts(given, options, list_warnings)
    if facts.roles.suspension.suspends_anything() and has_valueless_results(given.module):
        given = retype(given, options)
        facts = find_facts(given, options, [])
    if facts.roles.tail_calls.unframed:
        given = add_framing(given, sorted(facts.roles.tail_calls.unframed))
        facts = find_facts(given, options, [])
    module = given.module
    shortens = not options.keep_padding and has_padding(module)
    if progress is not None:
        progress("reading", 0, len(module.body_starts))
    added = Added(module)
    drop_outdated(module, added.edits, warnings, keep_dwarf=options.keep_dwarf)
    warnings += list_warnings
    for entry in given.bodies.functions:
        moved = given.bodies.moved(entry)
        if moved:
            warnings.append(moved)

    if moves == AUTOMATIC:
        moves = default_moves(module, facts.roles.framed())
    if group_rule is None:
        group_rule = default_rule(options.optimize, is_small=moves == PIECES)

    abi = add_abi(given, facts, options, added, moves)

    is_for_size = options.optimize == "size"
    planner = FunctionPlanner(
        facts.catches.module, facts.decoder, facts.roles, abi.pool, group_rule, is_for_size=is_for_size
    )
    rewriter = FunctionRewriter(given, facts, options, added, abi, planner)
    rewritten = rewriter.run(moves, progress, shortens=shortens)
    bodies = _redirect_references(module, rewritten, facts.graph, abi.references)

    exports = add_exports(given, facts, options, added, abi, rewritten.helpers)
    if rewritten.layouts is not None:
        added.edits.custom[FRAMES_SECTION] = rewritten.layouts
    if abi.recording is not None:
        added.edits.custom[RECORD_SECTION] = record_section(given, abi.recording)
    if abi.guard is not None:
        added.edits.custom[GUARD_SECTION] = guard_section(given, options, abi.guard)
    bodies = _connect_stubs(module, bodies, abi.helpers.runtime)
    idle = is_idle(options, facts)
    output = assemble(
        given,
        options,
        added,
        abi,
        bodies,
        exports,
        rewritten.branches,
        rewritten.moved,
        is_idle=idle,
        shortens=shortens,
    )
    if options.snapshots:
        output = _with_state(data, output, given, facts, options, abi)
    functions = _report(given, facts, options, rewritten)
    instrumented = Instrumented(
        module=output,
        functions=functions,
        bytes_before=len(data),
        bytes_after=len(output),
        code_before=_code_size(data),
        code_after=_code_size(output),
        seconds=time.perf_counter() - start,
        stack_pointer=NO_STACK_POINTER if facts.shadow_stack.pointer is None else facts.shadow_stack.pointer,
        warnings=tuple(warnings),
    )
    return Transformed(instrumented, given, facts)


def _with_state(data: bytes, output: bytes, given: Given, facts: Facts, options: Options, abi: Abi) -> bytes:
    """Return what came out, with what makes its state readable and settable; `data` is what was given."""
    module = given.module
    suspending = [
        f"{item.module}.{item.name}"
        for item in module.function_imports()
        if facts.roles.suspension.may_suspend(FunctionIndex(item.index))
    ]
    references = abi.helpers.references
    frames = FrameReferences(references.state_globals(), references.state_tables(), has_runs=references.has_runs())
    bounds = Bounds(
        len(module.memories),
        len(module.globals),
        len(module.tables),
        frames,
        [module.imported_globals - 2, module.imported_globals - 1] if options.import_globals else [],
    )
    return add_state_exports(Module(output), Origin(data, suspending, options.identity()), bounds)


def _redirect_references(
    module: Module, rewritten: Rewritten, graph: CallGraph, references: dict[int, int]
) -> list[bytes]:
    """Return bodies in which references that code makes of imports are references to what stands for them.

    What is noted of places in them follows.
    """
    if not references:
        return rewritten.bodies
    redirected = rewritten.bodies.copy()
    for own in graph.referring:
        body = redirected[own] or module.data[module.body_starts[own] : module.body_ends[own]]
        result = redirect_in_code(body, references)
        if not result.is_changed:
            continue
        redirected[own] = result.code
        if own in rewritten.moved:
            rewritten.moved[own] = MovedTwice(rewritten.moved[own], result)
        elif rewritten.bodies[own]:
            rewritten.branches.move(module.function_of(own), result)
        else:
            rewritten.moved[own] = result
    return redirected


def _connect_stubs(module: Module, bodies: list[bytes], runtime: Runtime) -> list[bytes]:
    """Return bodies with those of the functions that stand for the module's `asyncify` imports."""
    connected = bodies.copy()
    for function, body in runtime.stub_bodies.items():
        connected[function - module.imported_functions] = body
    return connected


def _report(given: Given, facts: Facts, options: Options, rewritten: Rewritten) -> tuple[FunctionReport, ...]:
    """Return what became of the functions of the module that was given."""
    module = given.module
    names = given.names
    reasons = Reasons(
        facts.graph, facts.roles.suspension, facts.lists, names.names, has_imports=len(options.imports) > 0
    )
    frameless = facts.roles.frameless()
    sites = rewritten.sites
    reports: list[FunctionReport] = []
    for own in range(len(sites) - given.added_functions()):
        function = module.function_of(OwnFunction(own))
        index = given.renumbered.original_function(function)
        reports.append(
            FunctionReport(
                index=index,
                name=names.name(function, index),
                instrumented=sites[own] > 0,
                sites=sites[own],
                reason=reasons.of(function, sites[own]),
                frameless=function in frameless,
                saved=rewritten.saved[own],
                merges=rewritten.merges[own],
                other_bodies=rewritten.other_bodies[own],
            )
        )
    return tuple(reports)


def _code_size(data: bytes) -> int:
    for section in sec.read_sections(data):
        if section.id == sec.CODE:
            return section.end - section.payload
    return 0
