"""The new body of a function that can suspend only by leaving: by tail calls, with no call sites besides.

It is never on the stack at a suspension, so it needs no frame. But its caller enters it again in a rewind, and it must
leave for whatever took its place (see `abi.tail_dispatch`).
"""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.instrument.write.output import Output
from caesura.instrument.write.unwinding import zeros_of
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.indices import FunctionIndex
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.pieces import join_pieces


def write_leaving_body(output: Output, function: FunctionIndex, body: Body, *, is_entered: bool) -> bytes:
    """Return the encoded body without its size field; `is_entered`: others than instrumented functions can enter it.

    Raises UnsupportedModule where a result has no value at all.
    """
    data = output.module.data
    runtime = output.helpers.runtime
    results = output.module.function_type(function).results
    out = [data[output.module.body_starts[output.module.own_of(function)] : body.code_start]]
    out.append(output.helpers.stack.state_get + c.IF_EMPTY)
    if is_entered:
        out.append(
            runtime.is_unwinding() + c.IF_EMPTY + zeros_of(results, output.dummies, body.code_start) + c.RETURN + c.END
        )
    else:
        out.append(runtime.refuse_entry())
    out.append(output.tail_dispatch.leave(results) + c.END)
    copied = body.code_start
    for call in body.tail_calls:
        out.append(data[copied : body.positions[call]])
        out.append(tail_call_of(output, body, call))
        copied = body.positions[call + 1]
    out.append(data[copied : body.positions[-1]])
    return join_pieces(out)


def tail_call_of(output: Output, body: Body, call: int) -> bytes:
    """Return a tail call; what may suspend and has no frame is called through a function that has one."""
    if body.codes[call] == op.RETURN_CALL and body.immediates[call] in output.framing:
        return c.RETURN_CALL + encode_unsigned(output.framing[FunctionIndex(body.immediates[call])])
    return output.module.data[body.positions[call] : body.positions[call + 1]]
