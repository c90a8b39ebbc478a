"""What an instruction does to the operand stack, in the few classes that placing landing points distinguishes.

Derived from the one table of instructions, as flat lists over the instruction's code.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.code_table import CodeTable
from caesura.wasm import instructions as table

# Not an instruction.
UNKNOWN_CODE: Final = 0
LOCAL_GET: Final = 1
LOCAL_SET: Final = 2
LOCAL_TEE: Final = 3
GLOBAL_GET: Final = 4
CONSTANT: Final = 5
# A value from operands alone: can be run again with the same result.
PURE: Final = 6
# The same, but it may trap: running it again takes the very same operands.
TRAPPING: Final = 7
# A value from mutable state: can be run again, perhaps with another result.
READ: Final = 8
READ_TRAPPING: Final = 9
EFFECT: Final = 10
DROP: Final = 11
SELECT: Final = 12
CALL: Final = 13
CALL_INDIRECT: Final = 14
CALL_REF: Final = 15
CONSTRUCT: Final = 16
ELSE: Final = 17
END: Final = 18
HANDLER: Final = 19
BR_IF: Final = 20
# Control does not go on behind it.
LEAVE: Final = 21
NOP: Final = 22
# A conversion of a reference, whose type follows from the operand's: otherwise like PURE, or like TRAPPING.
CONVERSION: Final = 23
NON_NULL: Final = 24
# An effect that takes as many operands as its immediates say, and gives one.
CREATION: Final = 25
# A branch by a reference, or on.
BR_ON: Final = 26

# Instructions with an action of their own.
_BY_NAME: Final = {
    "local.get": LOCAL_GET,
    "local.set": LOCAL_SET,
    "local.tee": LOCAL_TEE,
    "global.get": GLOBAL_GET,
    "drop": DROP,
    "select": SELECT,
    "call": CALL,
    "call_indirect": CALL_INDIRECT,
    "call_ref": CALL_REF,
    "nop": NOP,
    "any.convert_extern": CONVERSION,
    "extern.convert_any": CONVERSION,
    "ref.as_non_null": NON_NULL,
    "struct.new": CREATION,
    "array.new_fixed": CREATION,
}

_BY_FLOW: Final = {
    table.FLOW_BLOCK: CONSTRUCT,
    table.FLOW_LOOP: CONSTRUCT,
    table.FLOW_IF: CONSTRUCT,
    table.FLOW_TRY: CONSTRUCT,
    table.FLOW_ELSE: ELSE,
    table.FLOW_CATCH: HANDLER,
    table.FLOW_DELEGATE: HANDLER,
    table.FLOW_END: END,
    table.FLOW_BRANCH_IF: BR_IF,
    table.FLOW_BRANCH_ON: BR_ON,
    table.FLOW_BRANCH: LEAVE,
    table.FLOW_BRANCH_TABLE: LEAVE,
    table.FLOW_RETURN: LEAVE,
    table.FLOW_RAISE: LEAVE,
}

_BY_EFFECT: Final = {
    table.PURE: PURE,
    table.TRAPPING: TRAPPING,
    table.READ: READ,
    table.READ_TRAPPING: READ_TRAPPING,
    table.EFFECT: EFFECT,
}


def _action(row: table.Instruction) -> int:
    if row.name in _BY_NAME:
        return _BY_NAME[row.name]
    if table.FLOWS[row.code] != table.FLOW_NEXT:
        return _BY_FLOW[table.FLOWS[row.code]]
    if row.params == "" and row.effect == "pure":
        return CONSTANT
    return _BY_EFFECT[table.EFFECTS[row.code]]


ACTIONS: Final[list[int]] = [UNKNOWN_CODE] * table.CODES

# Operands taken and given; meaningful for PURE to EFFECT, CONVERSION and NON_NULL only.
TAKEN: Final[list[int]] = [0] * table.CODES
GIVEN: Final[list[int]] = [0] * table.CODES


def _fill() -> None:
    for row in table.ROWS:
        ACTIONS[row.code] = _action(row)
        TAKEN[row.code] = len(row.params.split())
        GIVEN[row.code] = len(row.results.split())


_fill()

ACTION_TABLE: Final = CodeTable(ACTIONS)
