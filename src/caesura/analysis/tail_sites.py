"""Which functions need no frame since the last thing that they do is their only call that may suspend.

Such a function may do anything before, and has one call site, in tail position:

    (func $set_value (param i32 i32 i64)  ...store the new value...  local.get 0  local.get 3  call $free)

Where the guest unwinds, $free has saved its frame and returns zeros, and so does $set_value, as nothing comes behind
the call. In a rewind it must only get to the call again: what comes before is skipped, and $free, which pops its own
frame, ignores its arguments. So it needs neither a frame nor a check behind the call, only a look at the state before
it begins. These are often small functions that are called very often, such as what counts references and frees.

The conditions are those of frameless wrappers (see `wrappers`), but for what may come before the call: it is a direct
call of an instrumented function of the module's own, or of another function without a frame; the results are the
callee's; rings keep their frames. *Tail position* means that from the call only `end`, `else`, `br` and `return` lead
out of the function, and `drop` where it has no results. A call inside of a try is left out, since its handlers would
need their locals, and one with references for arguments, which cannot always be made again; so is a function with
locals that cannot be null, which have no value before they are set.

Functions with several call sites keep their frames even if all of these are in tail position: which of them a frame on
the asyncify stack came from could not be told. So do functions that can leave or be entered by a tail call (see
`tail_calls`), since their frames say whose they are.
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.analysis.calls import CallGraph
from caesura.analysis.decoder import Decoder
from caesura.analysis.suspension import Suspension
from caesura.analysis.tail_calls import TailCalls
from caesura.analysis.wrappers import in_rings
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.wasm import opcodes as op
from caesura.wasm.definitions import TypeDefinition
from caesura.wasm.indices import FunctionIndex, InstructionIndex, OwnFunction
from caesura.wasm.instructions import FLOW_TRY, FLOWS
from caesura.wasm.module import Module
from caesura.wasm.types import is_number


def find_tail_sites(
    module: Module,
    graph: CallGraph,
    suspension: Suspension,
    wrappers: dict[FunctionIndex, FunctionIndex],
    tail_calls: TailCalls,
    decoder: Decoder,
) -> dict[FunctionIndex, FunctionIndex]:
    """Return the functions whose only call site is in tail position, and the function that each calls there.

    `wrappers` are left out.
    """
    found: dict[FunctionIndex, FunctionIndex] = {}
    for own in range(len(graph.callees)):
        function = module.function_of(OwnFunction(own))
        if not suspension.instrumented[function] or function in wrappers or tail_calls.concern(function):
            continue
        callee = _only_suspending_callee(graph.callees[own], suspension)
        if callee is None or not _fits(module.function_type(function), module.function_type(callee)):
            continue
        try:
            body = decoder.look_at(function)
        except (MalformedModule, UnsupportedModule, IndexError, KeyError):
            continue  # refused, with its place, when it is rewritten
        if len(body.sites) != 1 or body.codes[body.sites[0]] != op.CALL or body.has_non_null:
            continue
        has_results = bool(module.function_type(function).results)
        if body.immediates[body.sites[0]] != callee:
            continue
        if _is_in_tail_position(body, body.sites[0], has_results=has_results):
            found[function] = callee
    for function in in_rings({**wrappers, **found}):
        found.pop(function, None)
    return found


def _fits(caller: TypeDefinition, callee: TypeDefinition) -> bool:
    """Tell whether a function can end with a call of another: by the types of results and arguments."""
    if caller.results and caller.results != callee.results:
        return False
    for value_type in callee.params:
        if not is_number(value_type):
            return False
    return True


def _only_suspending_callee(callees: list[FunctionIndex], suspension: Suspension) -> FunctionIndex | None:
    """Return the only callee of a function that may suspend, if that is instrumented; else None."""
    found: FunctionIndex | None = None
    for callee in callees:
        if suspension.may_suspend(callee):
            if found is not None or not suspension.instrumented[callee]:
                return None
            found = callee
    return found


def _is_in_tail_position(body: Body, call: InstructionIndex, *, has_results: bool) -> bool:
    """Tell whether all that a function does behind a call is to return what that gave, or nothing."""
    codes = body.codes
    around: list[InstructionIndex] = []  # the constructs that the call stands in
    for place in range(call):
        while around and body.ends[around[-1]] <= place:
            around.pop()
        if place in body.ends:
            construct = InstructionIndex(place)
            if FLOWS[codes[construct]] == FLOW_TRY and body.ends[construct] > call:
                return False
            around.append(construct)
    while around and body.ends[around[-1]] < call:
        around.pop()
    last = len(codes) - 1
    index = InstructionIndex(call + 1)
    while index < last:
        code = codes[index]
        if code == op.RETURN:
            return True
        if code == op.END:
            around.pop()
            index = InstructionIndex(index + 1)
        elif code == op.DROP and not has_results:
            index = InstructionIndex(index + 1)
        elif code == op.ELSE:
            index = body.ends[around[-1]]
        elif code == op.BR:
            depth = body.immediates[index]
            if depth >= len(around):
                return True
            target = around[-1 - depth]
            if codes[target] == op.LOOP:
                return False
            del around[len(around) - 1 - depth :]
            index = InstructionIndex(body.ends[target] + 1)
        else:
            return False
    return True
