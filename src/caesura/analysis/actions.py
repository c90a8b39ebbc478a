"""What an instruction does to the operand stack, in the few classes that placing landing points distinguishes.

Derived from the one table of instructions, as flat lists over the instruction's code.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.code_table import CodeTable
from caesura.wasm.instructions import CODES, ROWS

# Not an instruction, or one whose operand count takes a rule that is not supported in instrumented functions.
UNSUPPORTED: Final = 0
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

_BY_NAME: Final = {
    "local.get": LOCAL_GET,
    "local.set": LOCAL_SET,
    "local.tee": LOCAL_TEE,
    "global.get": GLOBAL_GET,
    "ref.null": CONSTANT,
    "ref.func": CONSTANT,
    "drop": DROP,
    "select": SELECT,
    "call": CALL,
    "call_indirect": CALL_INDIRECT,
    "call_ref": CALL_REF,
    "block": CONSTRUCT,
    "loop": CONSTRUCT,
    "if": CONSTRUCT,
    "try": CONSTRUCT,
    "try_table": CONSTRUCT,
    "else": ELSE,
    "end": END,
    "catch": HANDLER,
    "catch_all": HANDLER,
    "delegate": HANDLER,
    "br_if": BR_IF,
    "br": LEAVE,
    "br_table": LEAVE,
    "return": LEAVE,
    "unreachable": LEAVE,
    "throw": LEAVE,
    "rethrow": LEAVE,
    "throw_ref": LEAVE,
    "return_call": LEAVE,
    "return_call_indirect": LEAVE,
    "return_call_ref": LEAVE,
    "nop": NOP,
}

_BY_EFFECT: Final = {
    "pure": PURE,
    "trapping": TRAPPING,
    "read": READ,
    "read_trapping": READ_TRAPPING,
    "effect": EFFECT,
}

ACTIONS: Final[list[int]] = [UNSUPPORTED] * CODES

# Operands taken and given; meaningful for PURE to EFFECT only.
TAKEN: Final[list[int]] = [0] * CODES
GIVEN: Final[list[int]] = [0] * CODES


def _fill() -> None:
    for row in ROWS:
        taken = row.params.split()
        given = row.results.split()
        TAKEN[row.code] = len(taken)
        GIVEN[row.code] = len(given)
        if row.name in _BY_NAME:
            ACTIONS[row.code] = _BY_NAME[row.name]
        elif "*" in taken or "*" in given or row.effect not in _BY_EFFECT:
            ACTIONS[row.code] = UNSUPPORTED
        elif not taken and row.effect == "pure":
            ACTIONS[row.code] = CONSTANT
        else:
            ACTIONS[row.code] = _BY_EFFECT[row.effect]


_fill()

ACTION_TABLE: Final = CodeTable(ACTIONS)
