"""The new body of a function that can suspend only by leaving: by tail calls, with no call sites besides.

It is never on the stack at a suspension, so it needs no frame. But its caller enters it again in a rewind, and it must
leave for whatever took its place (see `abi.tail_dispatch`).
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.instrument.write.output import Output
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.instructions import FLOW_RETURN, FLOWS
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.pieces import join_pieces


def write_leaving_body(output: Output, function: FunctionIndex, body: Body, *, is_entered: bool) -> bytes:
    """Return the encoded body without its size field; `is_entered`: others than instrumented functions can enter it."""
    data = output.module.data
    runtime = output.helpers.runtime
    results = output.module.function_type(function).results
    out = [data[output.module.body_starts[output.module.own_of(function)] : body.code_start]]
    out.append(output.helpers.stack.state_get + c.IF_EMPTY)
    if is_entered:
        out.append(runtime.is_unwinding() + c.IF_EMPTY + output.dummies.values(results) + c.RETURN + c.END)
    else:
        out.append(runtime.refuse_entry())
    out.append(output.tail_dispatch.leave(function) + c.END)
    out.append(write_other_calls(output, body, body.code_start))
    return join_pieces(out)


def write_other_calls(output: Output, body: Body, start: int) -> bytes:
    """Return the code of a body from a byte on; of what may suspend it must have only what `other_call` knows."""
    data = output.module.data
    out: list[bytes] = []
    copied = start
    for call in sorted([*body.tail_calls, *body.catch_sites]):
        out.append(data[copied : body.positions[call]])
        out.append(other_call(output, body, call))
        copied = body.positions[call + 1]
    out.append(data[copied : body.positions[-1]])
    return join_pieces(out)


def other_call(output: Output, body: Body, call: int) -> bytes:
    """Return a tail call, or a call in a handler of a foreign exception, which may not suspend.

    What may suspend and has no frame is tail-called through a function that has one.
    """
    if FLOWS[body.codes[call]] != FLOW_RETURN:
        return output.foreign_handlers.call_instead(output.module.data, body.positions[call])
    if body.codes[call] == op.RETURN_CALL and body.immediates[call] in output.framing:
        return c.RETURN_CALL + encode_unsigned(output.framing[FunctionIndex(body.immediates[call])])
    return output.module.data[body.positions[call] : body.positions[call + 1]]
