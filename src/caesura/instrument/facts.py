"""What is known of a module before anything is added to it: who may suspend, and which functions need what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from caesura.analysis.calls import CallGraph, read_calls
from caesura.analysis.decoder import Decoder
from caesura.analysis.entries import entered_from_outside
from caesura.analysis.guarded import Guarded, find_guarded
from caesura.analysis.lists import resolve_lists, without_lists
from caesura.analysis.pause_points import NO_PAUSE
from caesura.analysis.profile import ProfiledFunctions
from caesura.analysis.shadow_stack import ShadowStack, find_shadow_stack
from caesura.analysis.suspension import Lists, Suspension, find_suspending
from caesura.analysis.tail_calls import find_tail_calls
from caesura.analysis.tail_sites import find_tail_sites
from caesura.analysis.wrappers import find_wrappers
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.instrument.catches.moved import MovedCatches, move_catches
from caesura.instrument.given import Given
from caesura.instrument.plan.roles import Roles
from caesura.instrument.plan.selection import select_two_bodies
from caesura.options import Options
from caesura.wasm.indices import FunctionIndex


@dataclass(frozen=True, kw_only=True)
class Facts:
    """`decoder` keeps bodies that were decoded to find this out, for those who decode them next. They are those of
    `catches.module`, where no catch clause contains a call site. `guarded` is what lists leave out, if that is guarded.
    """

    graph: CallGraph
    lists: Lists
    catches: MovedCatches
    decoder: Decoder
    roles: Roles
    shadow_stack: ShadowStack
    guarded: Guarded | None


def find_facts(given: Given, options: Options, warnings: list[str]) -> Facts:
    """Look at a whole module; what is odd about the lists goes to `warnings`."""
    module = given.module
    names = given.names.names
    shadow_stack = find_shadow_stack(module)
    graph = read_calls(module)
    imports = [f"{item.module}.{item.name}" for item in module.function_imports()]
    bodies = given.body_entries()
    lists = resolve_lists(options, imports, names, warnings, bodies)
    profiled = ProfiledFunctions(options.profile_times(), names, len(imports), given.renumbered.shift)
    warnings += profiled.warnings()
    for function, framing in given.framing.items():
        lists.remove[framing] = lists.add[framing] = False
        lists.only[framing] = function >= module.imported_functions or lists.imports[function]
    if given.pause != NO_PAUSE:
        lists.remove[given.pause] = lists.add[given.pause] = lists.only[given.pause] = False
    suspension = find_suspending(module, graph, lists, given.renumbered.runtime_functions, given.pause)
    ignores_catches = options.ignore_unwind_from_catch
    decoder = Decoder(module, suspension, ignores_catches=ignores_catches)
    catches = move_catches(module, graph, suspension, decoder, ignores_catches=ignores_catches)
    module = catches.module
    tail_calls = find_tail_calls(module, graph, suspension, decoder)
    for function, framing in given.framing.items():
        if function in tail_calls.unframed:
            tail_calls.entered.add(framing)
    wrappers: dict[FunctionIndex, FunctionIndex] = {}
    tails: dict[FunctionIndex, FunctionIndex] = {}
    if not options.record:  # what has no frame is not noted
        wrappers = find_wrappers(module, graph, suspension, tail_calls)
        tails = find_tail_sites(module, graph, suspension, wrappers, tail_calls, decoder)
    frameless = {**wrappers, **tails}
    entered = entered_from_outside(module, graph, suspension.instrumented, frameless)
    roles = Roles(
        suspension=suspension,
        wrappers=wrappers,
        tails=tails,
        entered=entered,
        two_bodies=set(),
        tail_calls=tail_calls,
        identified=[],
    )
    identified = _identified(roles, decoder)
    unlisted = _unlisted(given, options, imports, graph, suspension)
    two_bodies = select_two_bodies(module, graph, roles, unlisted, options, names, bodies, profiled.shares, decoder)
    roles = replace(roles, two_bodies=two_bodies, identified=identified)
    guarded: Guarded | None = None
    if unlisted is not None and options.guards():
        guarded = find_guarded(given.module, graph, suspension, unlisted, given.renumbered.runtime_functions)
    return Facts(
        graph=graph,
        lists=lists,
        catches=catches,
        decoder=decoder,
        roles=roles,
        shadow_stack=shadow_stack,
        guarded=guarded,
    )


def _unlisted(
    given: Given, options: Options, imports: list[str], graph: CallGraph, suspension: Suspension
) -> Suspension | None:
    """Return what could suspend if no function was left out; None where none is, or nothing can suspend."""
    if not options.leaves_out_functions() or not suspension.suspends_anything():
        return None
    module = given.module
    lists = without_lists(options, imports, len(module.function_types))
    return find_suspending(module, graph, lists, given.renumbered.runtime_functions)


def _identified(roles: Roles, decoder: Decoder) -> list[FunctionIndex]:
    """Return the functions that can leave or be entered by tail calls that may suspend, and have frames."""
    identified: list[FunctionIndex] = []
    frameless = roles.frameless()
    for function in sorted(roles.tail_calls.leaving | roles.tail_calls.entered):
        try:
            if function not in frameless and decoder.look_at(function).sites:
                identified.append(function)
        except (MalformedModule, UnsupportedModule, IndexError, KeyError):
            continue  # refused, with its place, when it is rewritten
    return identified
