"""How long a module will take, estimated: only what is quick is instrumented and compiled in a thread.

Nothing can stop a thread half-way, and the transformation, where it runs compiled, holds Python's lock until it is
done: an event loop stands still meanwhile. The size alone says little. Every value that lives across a call is saved
and restored there, so time grows with call sites times values: sixteen kilobytes of calls that take and return a
thousand values each take the transformation fifteen seconds. So the values are counted: locals, and operands on the
stack. Letting go of the lock now and then was rejected: it would have to be done in each of its loops.

Wasmtime's time is mostly in proportion to the code, but where many values live across many calls it grows with the
square of locals times call sites. That is counted in the instrumented code: what becomes a local is known afterwards.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.indices import OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.signatures import block_signature, signature, tag_params

# Nanoseconds that the compiled transformation takes at most, for each of these. An operand is saved by code of its own,
# a local mostly together with others.
_MODULE: Final = 1_000_000
_BYTE: Final = 150
_FUNCTION: Final = 6_000
_ITEM: Final = 3_000
_CALL: Final = 6_000
_BLOCK: Final = 1_000
_LOCAL: Final = 60
_OPERAND: Final = 2_000


def compiling_effort(module: Module) -> int:
    """Return how long compiling takes beyond what goes with the size, in nanoseconds; it is right within a factor of 3.

    Raises MalformedModule.
    """
    return sum(_of_function(module, number) ** 2 for number in range(len(module.body_starts)))


def _of_function(module: Module, number: int) -> int:
    """Return the product of a function's call sites and locals."""
    data, end = module.data, module.body_ends[number]
    locals_, position = read_locals(data, module.body_starts[number])
    calls = 0
    while position < end:
        code, position = read_opcode(data, position)
        _, position = read_immediates(data, position, code)
        calls += table.EFFECTS[code] == table.CALL
    params = module.function_type(module.function_of(OwnFunction(number))).params
    return calls * (len(locals_) + len(params))


def instrumenting_effort(module: Module, most: int) -> int:
    """Return how long the compiled transformation takes at most, in nanoseconds, or anything above `most`.

    Raises MalformedModule.
    """
    effort = _MODULE + len(module.data) * _BYTE + (len(module.imports) + len(module.exports)) * _ITEM
    for number in range(len(module.body_starts)):
        if effort > most:
            break
        effort += _FUNCTION + _Walk(module, number).effort(most)
    return effort


class _Block(NamedTuple):
    """An open block: how many operands are below its own; how many it takes, leaves, and a branch to it takes."""

    below: int
    params: int
    results: int
    branch: int


class _Walk:
    """A walk through a function's code that knows how many operands are on the stack."""

    def __init__(self, module: Module, number: int) -> None:
        self._module = module
        self._end = module.body_ends[number]
        definition = module.function_type(module.function_of(OwnFunction(number)))
        locals_, self._start = read_locals(module.data, module.body_starts[number])
        self._locals = [*definition.params, *locals_]
        results = len(definition.results)
        self._blocks = [_Block(0, 0, results, results)]
        self._height = 0

    def effort(self, most: int) -> int:
        """Return what the function takes, or anything above `most`."""
        data, position, effort = self._module.data, self._start, len(self._locals) * _LOCAL
        while position < self._end and self._blocks and effort <= most:
            code, position = read_opcode(data, position)
            immediates, position = read_immediates(data, position, code)
            effort += self._step(code, immediates)
        return effort

    def _step(self, code: int, immediates: list[int]) -> int:
        """Take one instruction; return what it takes."""
        flow = table.FLOWS[code]
        if table.FLOW_BLOCK <= flow <= table.FLOW_TRY:
            return self._open(code, immediates)
        if flow in (table.FLOW_ELSE, table.FLOW_CATCH):
            return self._continue(code, immediates)
        if flow in (table.FLOW_END, table.FLOW_DELEGATE):
            block = self._blocks.pop()
            self._height = block.below + block.results
            return block.results * _OPERAND
        goes_on = flow < table.FLOW_BRANCH
        if table.FLOW_BRANCH_IF <= flow <= table.FLOW_BRANCH_TABLE:
            labels = immediates[1:2] if table.IMMEDIATES[code] == table.IMMEDIATE_CAST else immediates
            effort = self._branches(labels)
            if not goes_on:
                self._height = self._blocks[-1].below
            return effort
        pops, pushes = signature(self._module, self._locals, code, immediates)
        effort = 0
        if table.EFFECTS[code] == table.CALL:
            saved = self._height + len(pops) + len(pushes)
            effort = _CALL + saved * _OPERAND + len(self._locals) * _LOCAL
        below = self._blocks[-1].below
        self._height = max(self._height - len(pops), below) + len(pushes) if goes_on else below
        return effort

    def _open(self, code: int, immediates: list[int]) -> int:
        params, results = (len(types) for types in block_signature(self._module, immediates[0]))
        below = max(self._height - (code == op.IF) - params, self._blocks[-1].below)
        clauses = self._branches(immediates[3::3]) if code == op.TRY_TABLE else 0
        self._blocks.append(_Block(below, params, results, params if code == op.LOOP else results))
        self._height = below + params
        return _BLOCK + len(self._locals) * _LOCAL + (self._height + results) * _OPERAND + clauses

    def _continue(self, code: int, immediates: list[int]) -> int:
        block = self._blocks[-1]
        caught = len(tag_params(self._module, immediates[0])) if code == op.CATCH else 0
        arriving = block.params if code == op.ELSE else caught
        self._height = block.below + arriving
        return _BLOCK + (block.results + arriving) * _OPERAND

    def _branches(self, labels: list[int]) -> int:
        depth = len(self._blocks)
        taken = sum(self._blocks[-1 - label].branch for label in labels if label < depth)
        return len(labels) * _BLOCK + len(self._locals) * _LOCAL + taken * _OPERAND
