"""What a rewriter has to do for each control instruction, as a flat list over the instruction's code."""

from __future__ import annotations

from typing import Final

from caesura.analysis.code_table import CodeTable
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op

OPENING: Final = 1
CLAUSE: Final = 2
BRANCH: Final = 3
TABLE: Final = 4
CAST: Final = 5
ELSE: Final = 6
END: Final = 7
DELEGATE: Final = 8
RETURN: Final = 9

_BY_FLOW: Final = {
    table.FLOW_BLOCK: OPENING,
    table.FLOW_LOOP: OPENING,
    table.FLOW_IF: OPENING,
    table.FLOW_TRY: OPENING,
    table.FLOW_ELSE: ELSE,
    table.FLOW_CATCH: CLAUSE,
    table.FLOW_DELEGATE: DELEGATE,
    table.FLOW_END: END,
}

# Instructions that refer to labels otherwise: branches, and `rethrow`.
_BY_IMMEDIATES: Final = {
    table.IMMEDIATE_LABEL: BRANCH,
    table.IMMEDIATE_LABELS: TABLE,
    table.IMMEDIATE_CAST: CAST,
}


def _control(code: int) -> int:
    if code == op.RETURN:
        return RETURN
    return _BY_FLOW.get(table.FLOWS[code], 0) or _BY_IMMEDIATES.get(table.IMMEDIATES[code], 0)


# What is to be done for a control instruction; 0 for all others.
CONTROLS: Final[list[int]] = [_control(code) for code in range(table.CODES)]

# 1 for each control instruction that CONTROLS knows, else 0.
IS_CONTROL: Final = CodeTable([1 if control else 0 for control in CONTROLS])
