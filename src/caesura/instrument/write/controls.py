"""What a rewriter has to do for each control instruction, as a flat list over the instruction's code."""

from __future__ import annotations

from typing import Final

from caesura.analysis.code_table import CodeTable
from caesura.wasm.instructions import CODES, NAMES

OPENING: Final = 1
CLAUSE: Final = 2
BRANCH: Final = 3
TABLE: Final = 4
CAST: Final = 5
ELSE: Final = 6
END: Final = 7
DELEGATE: Final = 8
RETURN: Final = 9

_BY_NAME: Final = {
    "block": OPENING,
    "loop": OPENING,
    "if": OPENING,
    "try": OPENING,
    "try_table": OPENING,
    "else": ELSE,
    "end": END,
    "delegate": DELEGATE,
    "catch": CLAUSE,
    "catch_all": CLAUSE,
    "rethrow": BRANCH,
    "br": BRANCH,
    "br_if": BRANCH,
    "br_on_null": BRANCH,
    "br_on_non_null": BRANCH,
    "br_table": TABLE,
    "br_on_cast": CAST,
    "br_on_cast_fail": CAST,
    "return": RETURN,
}

# What is to be done for a control instruction; 0 for all others.
CONTROLS: Final[list[int]] = [_BY_NAME.get(NAMES[code], 0) for code in range(CODES)]

# 1 for each control instruction that CONTROLS knows, else 0.
IS_CONTROL: Final = CodeTable([1 if control else 0 for control in CONTROLS])
