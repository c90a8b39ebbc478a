"""What counts of one function's code for pause points: its loops, and its calls with the loop of each."""

from __future__ import annotations

from typing import Final

from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction, skip_locals
from caesura.wasm.indices import ByteOffset, OwnFunction
from caesura.wasm.leb128 import read_u32
from caesura.wasm.module import Module

# In place of a loop: what stands in none.
NO_LOOP: Final = -1


class LoopedCalls:
    """The loops of a function, and its calls; the code goes from `start` to `end`.

    `loop_starts` (ascending) are the positions behind the loops' block types, `loop_ends` those behind their ends, and
    `parents` the loops around them. A callee from 0 on is a function; one below that is -1 less the index of the type
    by which something is called through a table or a reference. `call_loops` has the innermost loop around each call.
    """

    def __init__(self, start: int, end: int) -> None:
        self.start: Final = start
        self.end: Final = end
        self.loop_starts: list[ByteOffset] = []
        self.loop_ends: list[ByteOffset] = []
        self.parents: list[int] = []
        self.callees: list[int] = []
        self.call_loops: list[int] = []


def read_looped_calls(module: Module, own: OwnFunction) -> LoopedCalls:
    """Read those of one of the module's own functions."""
    data = module.data
    flows = table.FLOWS
    position: int = skip_locals(data, module.body_starts[own])
    code = LoopedCalls(position, module.body_ends[own])
    open_loops: list[int] = []  # of each open construct, the innermost loop around it
    loop = NO_LOOP
    while position < code.end:
        opcode, immediates, position = read_instruction(data, position)
        flow = flows[opcode]
        if flow == table.FLOW_LOOP:
            open_loops.append(loop)
            code.parents.append(loop)
            code.loop_ends.append(ByteOffset(0))
            loop = len(code.loop_starts)
            code.loop_starts.append(ByteOffset(position))
        elif flow == table.FLOW_BLOCK or flow == table.FLOW_IF or flow == table.FLOW_TRY:
            open_loops.append(loop)
        elif flow == table.FLOW_END or flow == table.FLOW_DELEGATE:
            if open_loops:
                outer = open_loops.pop()
                if outer != loop:
                    code.loop_ends[loop] = ByteOffset(position)
                loop = outer
            continue
        if opcode == op.CALL or opcode == op.RETURN_CALL:
            code.callees.append(read_u32(data, immediates)[0])
            code.call_loops.append(loop)
        elif table.EFFECTS[opcode] == table.CALL:
            code.callees.append(-1 - read_u32(data, immediates)[0])
            code.call_loops.append(loop)
    return code
