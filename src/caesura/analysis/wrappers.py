"""Which functions pass a suspension on without a frame of their own: frameless wrappers.

Such a function computes arguments and ends with a call of another function that may suspend, whose results it returns:

    (func $wrapper (param i32 i64) (result i64)  local.get 0  local.get 1  i32.const 3  call $g)

There are hundreds of them in a large program, many of them hot and of ten bytes, which a prologue, a check and a frame
would make four times as long. They stay as they are, byte for byte, under these conditions:

* The last thing that happens is a direct call of $g, and it is the only call. Where the guest unwinds, $g has saved its
  frame and returns zeros; so does the wrapper. Where $g suspends again after a rewind, likewise.
* $g is a function of the module's own that is instrumented, or itself a frameless wrapper, so that a chain ends in one
  that is. An instrumented function that is entered in a rewind pops its frame and ignores its arguments. So the callers
  of a wrapper may give it anything, as they may an instrumented function: the arguments that it computes from those are
  ignored in turn. An import, the guest's own runtime, and what is called through a table or a reference must get their
  real arguments again; a wrapper of these keeps a frame.
* What comes before the call can run again, on garbage: it has no effect outside the wrapper's own locals, which are new
  in every activation, and it cannot trap. Reads of mutable globals do, for what they give is ignored; loads do not,
  since garbage may be an address beyond the memory. Control instructions are not looked into.
* The wrapper's results are those of $g. Nothing comes behind the call but `return`, or, in a function without results,
  `drop`. Arithmetic and constants could be allowed, but then the wrapper would not return zeros while the guest
  unwinds, which hosts are promised (docs/abi.md), and there are few of these.
* A function that leaves by a tail call of $g, instead of calling it at its end, is a wrapper just as well: it is never
  on the stack. But one that calls $g, and can be entered by a tail call itself, is none: who left by that tail call
  must find its frame (see `tail_calls`).
* A ring of wrappers that call each other keeps its frames. It could do without, as nothing ever suspends in it; but
  whoever enters it while the guest unwinds is promised to come back.

A frameless wrapper that is entered from outside while the guest unwinds calls $g, which must then be able to leave at
once (see `entries`). One that a host calls to rewind works as any other caller of $g.

A load could be allowed if its address depends on the arguments alone, callers gave the real ones again, and no host
could enter the wrapper. That is 8 more functions of QuickJS and 21 of PHP, and their callers would have to save the
arguments. There is no bound on a wrapper's size, as reading stops at the first instruction that is not allowed.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.calls import CallGraph
from caesura.analysis.suspension import Suspension
from caesura.analysis.tail_calls import TailCalls
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import ByteOffset, FunctionIndex, OwnFunction
from caesura.wasm.instructions import EFFECTS, LOCAL, PURE, READ
from caesura.wasm.module import Module

# By code: it has no effect outside the wrapper's own locals, and cannot trap.
_CAN_RUN_AGAIN: Final[list[bool]] = [effect in (PURE, READ, LOCAL) for effect in EFFECTS]


def find_wrappers(
    module: Module, graph: CallGraph, suspension: Suspension, tail_calls: TailCalls
) -> dict[FunctionIndex, FunctionIndex]:
    """Return the frameless wrappers, and the function that each calls.

    The module's code must have been read by `read_calls`, which refuses what is malformed.
    """
    found: dict[FunctionIndex, FunctionIndex] = {}
    for own in range(len(graph.callees)):
        function = module.function_of(OwnFunction(own))
        callees = graph.callees[own]
        if suspension.instrumented[function] and len(callees) == 1 and suspension.instrumented[callees[0]]:
            if function in tail_calls.leaving:
                if call_at_end(module, function, op.RETURN_CALL) is not None:
                    found[function] = callees[0]
            elif function not in tail_calls.entered and _only_calls(module, function, callees[0]):
                found[function] = callees[0]
    for function in in_rings(found):
        del found[function]
    return found


def passing_functions(
    module: Module, graph: CallGraph, instrumented: list[bool], left_out: list[bool]
) -> set[FunctionIndex]:
    """Return the functions that lists leave out, and that pass a suspension on as they are: frameless wrappers.

    One that an instrumented function calls by name is none, since that is no call site there. In a module with tail
    calls there are none: who left by one must find a frame.
    """
    if graph.tail_calling:
        return set()
    is_called = [False] * len(instrumented)
    found: dict[FunctionIndex, FunctionIndex] = {}
    for own in range(len(graph.callees)):
        function = module.function_of(OwnFunction(own))
        callees = graph.callees[own]
        if instrumented[function]:
            for callee in callees:
                is_called[callee] = True
        elif left_out[function] and len(callees) == 1 and (instrumented[callees[0]] or left_out[callees[0]]):
            if _only_calls(module, function, callees[0]):
                found[function] = callees[0]
    passing: set[FunctionIndex] = set()
    for function in found:
        chain: list[FunctionIndex] = []
        last = function
        while last in found and not is_called[last] and last not in passing and last not in chain:
            chain.append(last)
            last = found[last]
        if instrumented[last] or last in passing:
            passing.update(chain)
    return passing


def _only_calls(module: Module, function: FunctionIndex, callee: FunctionIndex) -> bool:
    """Tell whether a function ends with its only call, that of `callee`, and does nothing else but prepare it."""
    call = call_at_end(module, function, op.CALL)
    if call is None:
        return False
    results = module.function_type(function).results
    return not results or results == module.function_type(callee).results


def call_at_end(module: Module, function: FunctionIndex, opcode: int) -> ByteOffset | None:
    """Return where a function makes its only call, which an opcode stands for, if it does nothing else but prepare it
    and return what it gives, or, without results, nothing; else None.
    """
    data = module.data
    has_results = bool(module.function_type(function).results)
    own = module.own_of(function)
    end = module.body_ends[own]
    position = skip_locals(data, module.body_starts[own])
    call: ByteOffset | None = None
    while position < end:
        start = position
        code, _, position = read_instruction(data, start)
        if call is None:
            if code == opcode:
                call = ByteOffset(start)
            elif not _CAN_RUN_AGAIN[code]:
                return None
        elif code == op.END or code == op.RETURN:
            is_last = position == end if code == op.END else position + 1 == end
            return call if is_last else None
        elif code != op.DROP or has_results:
            return None
    return None


def in_rings(calls: dict[FunctionIndex, FunctionIndex]) -> list[FunctionIndex]:
    """Return the functions that call themselves, directly or through others."""
    rings: list[FunctionIndex] = []
    walk_of: dict[FunctionIndex, FunctionIndex] = {}  # in the walk from which function each was met first
    for first in calls:
        function = first
        while function in calls and function not in walk_of:
            walk_of[function] = first
            function = calls[function]
        if function in calls and walk_of[function] == first:
            start = function
            rings.append(start)
            while calls[function] != start:
                function = calls[function]
                rings.append(function)
    return rings
