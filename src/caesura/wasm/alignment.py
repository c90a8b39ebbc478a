"""Natural alignment: how many bytes a memory access touches, as the exponent that a memory argument would hold.

Derived from the instructions' names, which follow a strict pattern: the width stands behind `load`, `store`, `rmw` or
`wait` (`load8x8` loads 8 times 8 bits), and where it does not, the type in front gives it.
"""

from __future__ import annotations

import re
from typing import Final

from caesura.wasm import instructions as table

NO_ACCESS: Final = -1

_WIDTH: Final = re.compile(r"(?:load|store|rmw|wait)(\d+)(?:x(\d+))?")
_TYPE_WIDTHS: Final = {"i32": 32, "i64": 64, "f32": 32, "f64": 64, "v128": 128, "memory": 32}


def _exponents() -> list[int]:
    exponents = [NO_ACCESS] * table.CODES
    for code in range(table.CODES):
        if table.IMMEDIATES[code] not in (table.IMMEDIATE_MEMARG, table.IMMEDIATE_MEMARG_LANE):
            continue
        name = table.NAMES[code]
        bits = _TYPE_WIDTHS[name.split(".")[0]]
        found = _WIDTH.search(name)
        if found is not None:
            bits = int(found.group(1)) * int(found.group(2) or "1")
        exponents[code] = (bits // 8).bit_length() - 1
    return exponents


# Exponent of the natural alignment by code; NO_ACCESS where the instruction accesses no memory at an address.
NATURAL_ALIGNMENT: Final[list[int]] = _exponents()
