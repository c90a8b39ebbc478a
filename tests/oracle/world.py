"""The vocabulary that a guest and its hosts share: imports, globals, tags, the ledger's layout, behaviours.

Each call of an import consumes one byte of the *behaviours* (what the import does to the guest's world, and when) and
one byte of the *suspensions* (how often it suspends before it returns). A run without suspensions performs the same
behaviours in the same order, so everything in the log must be equal. `host_modules` puts all this into practice.
"""

from __future__ import annotations

from typing import Final, NamedTuple

I32: Final = 0x7F
I64: Final = 0x7E
F32: Final = 0x7D
F64: Final = 0x7C
V128: Final = 0x7B
I31REF: Final = 0x6C
STRUCTREF: Final = 0x6B
ANYREF: Final = 0x6E

EXTERNREF: Final = 0x6F
FUNCREF: Final = 0x70
EXNREF: Final = 0x69
# Types that take several bytes: references that cannot be null, and those of the struct that modules begin with.
REF_ANY: Final = 0x16E
NEVER: Final = 0x171
REF_EXTERN: Final = 0x16F
REF_CELL: Final = 0x200
CELL_OR_NULL: Final = 0x300

NON_NULL: Final = (REF_ANY, REF_EXTERN, REF_CELL)
# What references are to, encoded.
HEAPS: Final = {
    ANYREF: b"\x6e",
    REF_ANY: b"\x6e",
    STRUCTREF: b"\x6b",
    EXTERNREF: b"\x6f",
    REF_EXTERN: b"\x6f",
    FUNCREF: b"\x70",
    EXNREF: b"\x69",
    REF_CELL: b"\x00",
    CELL_OR_NULL: b"\x00",
}
# References that functions can hold: where the engine knows garbage collection, and everywhere.
HELD_TYPES: Final = (ANYREF, REF_ANY, STRUCTREF, CELL_OR_NULL, REF_CELL, EXTERNREF, REF_EXTERN, FUNCREF)
OLD_HELD_TYPES: Final = (FUNCREF,)


def is_reference(valtype: int) -> bool:
    """Whether a type is one of references."""
    return valtype in HEAPS


TYPE_NAMES: Final = {I32: "i32", I64: "i64", F32: "f32", F64: "f64", V128: "v128"}
ALL_TYPES: Final = (I32, I64, F32, F64, V128)


class Import(NamedTuple):
    """An imported function of the world."""

    name: str
    params: tuple[int, ...]
    results: tuple[int, ...]


IMPORTS: Final = (
    Import("now", (), ()),
    Import("ask", (I32,), (I32,)),
    Import("tell", (I32,), ()),
    Import("next", (), (I32,)),
    Import("wide", (I64, I32), (I64,)),
    Import("single", (F32, F64), (F32,)),
    Import("double", (F64,), (F64,)),
    Import("vector", (V128, I32), (V128,)),
    Import("many", (I32, I64, F32, F64, V128), (I32, F64)),
    Import("pair", (I64,), (V128, I32)),
    Import("quick", (I32,), (I32,)),
    Import("quick_wide", (F32, I64), (I64,)),
)
"""The guest's imports, all of module `env`; their positions are their numbers in masks and logs."""

ENTRY_TYPES: Final = ALL_TYPES
"""Parameters and results of both entries, so that one driver fits every guest."""

TAGS: Final = ((I32,), (F64, I64), ())
"""The payloads of the world's tags `tag0`, `tag1`, ..."""

GLOBALS: Final = ALL_TYPES
"""The types of the world's mutable globals `global0`, `global1`, ..., which imports may change."""

TABLE_SIZE: Final = 16
VOLATILE_SLOTS: Final = 8
"""Table entries from here on are rotated by imports: only functions that cannot suspend may stand there."""

FUEL: Final = 40
"""How many guest calls an entry may make before every function returns at once."""

# Behaviours: the low three bits say what an import does, the next two when.
NOTHING: Final = 0
SCRIBBLE: Final = 1
CHANGE_GLOBALS: Final = 2
ROTATE_TABLE: Final = 3
NESTED_ENTRY: Final = 4
THROW_SMALL: Final = 5
THROW_LARGE: Final = 6
SCRIBBLE_AND_CHANGE: Final = 7
WHEN_CALLED: Final = 0 << 3
WHILE_SUSPENDED: Final = 1 << 3
BEFORE_RETURN: Final = 2 << 3

# Suspensions: the low two bits say how often, and a bit whether the host calls an entry while the guest unwinds.
POKE: Final = 4

# The ledger.
LOG_POSITION: Final = 8
BEHAVIOUR_COUNT: Final = 16
SUSPENSION_COUNT: Final = 20
SUSPENDING_MASK: Final = 24
SEED: Final = 36
UNWINDS: Final = 40
ENTRY_CALLS: Final = 44
PORTIONS: Final = 48
PAUSES: Final = 52
FUEL_USED: Final = 56
HEADER_SIZE: Final = 64
BEHAVIOURS: Final = 512
BEHAVIOURS_MAXIMUM: Final = 256
SUSPENSIONS: Final = 768
SUSPENSIONS_MAXIMUM: Final = 256
LOG: Final = 4096

# The guest's memory: what guest and imports touch lies below GROUND_USED, asyncify stacks begin at STACKS.
GROUND_USED: Final = 0x2000
STACKS: Final = 0x10000
STACK_SIZE: Final = 0xF000
GROUND_PAGES: Final = 3
GROUND_PAGES_MAXIMUM: Final = 8
SECONDARY_PAGES: Final = 2
SECONDARY_STACKS: Final = 0x200

FAULTS: Final = {
    1: "rewinding reached another import than the one that suspended",
    2: "an import got other arguments when it was rewound to",
    3: "the asyncify stack is not empty when rewinding is done",
    4: "an import was called while the guest unwinds",
    5: "an import was called anew instead of being rewound to",
    6: "the guest returned or threw while its state is not normal",
    7: "the guest unwound without writing a frame",
    9: "the guest paused with nothing to pause for",
    8: "an entry called while the guest unwinds changed the state or the asyncify stack",
}
