"""The instruction table: every instruction of WebAssembly 3.0, its name, immediates, signature, effect, control flow.

This is the only place that says what an instruction is; reader, writer, printer, stack typing and the analyses are
derived from it. A row (in the `instructions_*` files beside this one) reads

    code name : immediates : operands -> results : effect : flow

* code: hexadecimal. One-byte opcodes are themselves; those behind a prefix follow it: 0xFB n is 0x100 + n, 0xFC n
  is 0x200 + n, 0xFD n is 0x300 + n, 0xFE n is 0x500 + n.
* immediates: what follows the opcode, in binary order: `local global func type table memory tag data elem label field`
  and `u32` are indices and numbers, `labels` the targets of br_table, `block` a block type, `catches` the clauses of
  try_table, `heap` a heap type, `types` a vector of value types, `cast` flags, label and two heap types, `memarg`
  alignment, memory and offset, `lane` and `byte` one byte, `lanes16` sixteen, the rest constants.
* operands and results: value types; `addr` is the address type of the memory or table in question, `ref` a reference
  of any type, `?` one value whose type takes a rule, `*` any number of them. `caesura.wasm.signatures` has the rules.
* effect: `pure` depends on its operands only and cannot trap; `trapping` is the same but may trap; `read` reads mutable
  state, `read_trapping` also may trap; `local` is local.get, local.set and local.tee; `call` and `control` transfer
  control; `effect` is everything else.
* flow: where control goes, left out where it goes on to the next instruction. `block`, `loop`, `if` and `try` open a
  construct of that kind (whose label stands for its end, but for its start in a loop; a try has handlers), `else`,
  `catch`, `delegate` and `end` divide or close it. `branch` goes to a label, `branch_if` to a label or on, by a
  number, `branch_on` likewise, by a reference, and `branch_table` to one of its labels. `return` leaves the function,
  `raise` traps or throws.

Below the rows stand the same facts as flat lists over the code, for loops that cannot afford an object per row.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from caesura.wasm import (
    instructions_atomics,
    instructions_core,
    instructions_gc,
    instructions_numeric,
    instructions_simd,
)
from caesura.wasm.types import (
    ARRAYREF,
    EQREF,
    F32,
    F64,
    I31,
    I31REF,
    I32,
    I64,
    V128,
    make_reference,
)

CODES: Final = 0x600

# Stand-ins among the type codes of PARAMS and RESULTS, for `?`, `addr` and `ref`.
UNKNOWN: Final = -1
ADDRESS: Final = -2
ANY_REFERENCE: Final = -3

# A number of operands that the code alone does not give.
VARIABLE: Final = -1

PURE: Final = 0
TRAPPING: Final = 1
READ: Final = 2
READ_TRAPPING: Final = 3
LOCAL: Final = 4
CALL: Final = 5
CONTROL: Final = 6
EFFECT: Final = 7

FLOW_NEXT: Final = 0
FLOW_BLOCK: Final = 1
FLOW_LOOP: Final = 2
FLOW_IF: Final = 3
FLOW_TRY: Final = 4
FLOW_ELSE: Final = 5
FLOW_CATCH: Final = 6
FLOW_DELEGATE: Final = 7
FLOW_END: Final = 8
FLOW_BRANCH_IF: Final = 9
FLOW_BRANCH_ON: Final = 10
# From here on control never goes on to the next instruction.
FLOW_BRANCH: Final = 11
FLOW_BRANCH_TABLE: Final = 12
FLOW_RETURN: Final = 13
FLOW_RAISE: Final = 14

NO_INSTRUCTION: Final = -1
IMMEDIATE_NONE: Final = 0
IMMEDIATE_LOCAL: Final = 1
IMMEDIATE_GLOBAL: Final = 2
IMMEDIATE_FUNC: Final = 3
IMMEDIATE_TYPE: Final = 4
IMMEDIATE_TABLE: Final = 5
IMMEDIATE_MEMORY: Final = 6
IMMEDIATE_TAG: Final = 7
IMMEDIATE_DATA: Final = 8
IMMEDIATE_ELEM: Final = 9
IMMEDIATE_LABEL: Final = 10
IMMEDIATE_LABELS: Final = 11
IMMEDIATE_BLOCK: Final = 12
IMMEDIATE_BLOCK_CATCHES: Final = 13
IMMEDIATE_I32: Final = 14
IMMEDIATE_I64: Final = 15
IMMEDIATE_F32: Final = 16
IMMEDIATE_F64: Final = 17
IMMEDIATE_V128: Final = 18
IMMEDIATE_LANE: Final = 19
IMMEDIATE_LANES16: Final = 20
IMMEDIATE_BYTE: Final = 21
IMMEDIATE_MEMARG: Final = 22
IMMEDIATE_MEMARG_LANE: Final = 23
IMMEDIATE_TYPES: Final = 24
IMMEDIATE_HEAP: Final = 25
IMMEDIATE_CAST: Final = 26
IMMEDIATE_TYPE_TABLE: Final = 27
IMMEDIATE_TYPE_FIELD: Final = 28
IMMEDIATE_TYPE_U32: Final = 29
IMMEDIATE_TYPE_TYPE: Final = 30
IMMEDIATE_TYPE_DATA: Final = 31
IMMEDIATE_TYPE_ELEM: Final = 32
IMMEDIATE_ELEM_TABLE: Final = 33
IMMEDIATE_TABLE_TABLE: Final = 34
IMMEDIATE_DATA_MEMORY: Final = 35
IMMEDIATE_MEMORY_MEMORY: Final = 36

_IMMEDIATES: Final[dict[str, int]] = {
    "": IMMEDIATE_NONE,
    "local": IMMEDIATE_LOCAL,
    "global": IMMEDIATE_GLOBAL,
    "func": IMMEDIATE_FUNC,
    "type": IMMEDIATE_TYPE,
    "table": IMMEDIATE_TABLE,
    "memory": IMMEDIATE_MEMORY,
    "tag": IMMEDIATE_TAG,
    "data": IMMEDIATE_DATA,
    "elem": IMMEDIATE_ELEM,
    "label": IMMEDIATE_LABEL,
    "labels": IMMEDIATE_LABELS,
    "block": IMMEDIATE_BLOCK,
    "block catches": IMMEDIATE_BLOCK_CATCHES,
    "i32": IMMEDIATE_I32,
    "i64": IMMEDIATE_I64,
    "f32": IMMEDIATE_F32,
    "f64": IMMEDIATE_F64,
    "v128": IMMEDIATE_V128,
    "lane": IMMEDIATE_LANE,
    "lanes16": IMMEDIATE_LANES16,
    "byte": IMMEDIATE_BYTE,
    "memarg": IMMEDIATE_MEMARG,
    "memarg lane": IMMEDIATE_MEMARG_LANE,
    "types": IMMEDIATE_TYPES,
    "heap": IMMEDIATE_HEAP,
    "cast": IMMEDIATE_CAST,
    "type table": IMMEDIATE_TYPE_TABLE,
    "type field": IMMEDIATE_TYPE_FIELD,
    "type u32": IMMEDIATE_TYPE_U32,
    "type type": IMMEDIATE_TYPE_TYPE,
    "type data": IMMEDIATE_TYPE_DATA,
    "type elem": IMMEDIATE_TYPE_ELEM,
    "elem table": IMMEDIATE_ELEM_TABLE,
    "table table": IMMEDIATE_TABLE_TABLE,
    "data memory": IMMEDIATE_DATA_MEMORY,
    "memory memory": IMMEDIATE_MEMORY_MEMORY,
}

_EFFECTS: Final[dict[str, int]] = {
    "pure": PURE,
    "trapping": TRAPPING,
    "read": READ,
    "read_trapping": READ_TRAPPING,
    "local": LOCAL,
    "call": CALL,
    "control": CONTROL,
    "effect": EFFECT,
}

_FLOWS: Final[dict[str, int]] = {
    "": FLOW_NEXT,
    "block": FLOW_BLOCK,
    "loop": FLOW_LOOP,
    "if": FLOW_IF,
    "try": FLOW_TRY,
    "else": FLOW_ELSE,
    "catch": FLOW_CATCH,
    "delegate": FLOW_DELEGATE,
    "end": FLOW_END,
    "branch_if": FLOW_BRANCH_IF,
    "branch_on": FLOW_BRANCH_ON,
    "branch": FLOW_BRANCH,
    "branch_table": FLOW_BRANCH_TABLE,
    "return": FLOW_RETURN,
    "raise": FLOW_RAISE,
}

_TYPES: Final[dict[str, int]] = {
    "i32": I32,
    "i64": I64,
    "f32": F32,
    "f64": F64,
    "v128": V128,
    "addr": ADDRESS,
    "ref": ANY_REFERENCE,
    "?": UNKNOWN,
    "eqref": EQREF,
    "arrayref": ARRAYREF,
    "i31ref": I31REF,
    "(ref_i31)": make_reference(I31, nullable=False),
}


class Instruction(NamedTuple):
    """One row of the table."""

    code: int
    name: str
    immediates: str
    params: str
    results: str
    effect: str
    flow: str
    proposal: str


def _parse(groups: list[tuple[str, str]]) -> list[Instruction]:
    rows: list[Instruction] = []
    for proposal, text in groups:
        for line in text.strip().split("\n"):
            head, immediates, signature, effect, *flow = line.split(":")
            code, name = head.split()
            params, results = signature.split("->")
            rows.append(
                Instruction(
                    int(code, 16),
                    name,
                    immediates.strip(),
                    params.strip(),
                    results.strip(),
                    effect.strip(),
                    flow[0].strip() if flow else "",
                    proposal,
                )
            )
    return rows


ROWS: Final[list[Instruction]] = _parse(
    instructions_core.GROUPS
    + instructions_numeric.GROUPS
    + instructions_gc.GROUPS
    + instructions_simd.GROUPS
    + instructions_atomics.GROUPS
)

# Text name by code; the empty string where the code is no instruction.
NAMES: Final[list[str]] = [""] * CODES

# IMMEDIATE_ constant by code; NO_INSTRUCTION where the code is none.
IMMEDIATES: Final[list[int]] = [NO_INSTRUCTION] * CODES

# Effect constant by code.
EFFECTS: Final[list[int]] = [EFFECT] * CODES

# FLOW_ constant by code; FLOW_NEXT where the code is no instruction.
FLOWS: Final[list[int]] = [FLOW_NEXT] * CODES

# Number of operands by code; VARIABLE where it depends on the immediates or on the place (blocks, branches, calls).
POPS: Final[list[int]] = [VARIABLE] * CODES

# Types of operands and results by code, stand-ins among them; empty where the number is not fixed either.
PARAMS: Final[list[tuple[int, ...]]] = [()] * CODES
RESULTS: Final[list[tuple[int, ...]]] = [()] * CODES

# Code by text name. Where two codes share one (select, ref.test, ref.cast) it is the first: untyped, not nullable.
CODE_BY_NAME: Final[dict[str, int]] = {}


def _types(signature: str) -> tuple[int, ...]:
    return tuple([_TYPES[name] for name in signature.split()])


def _derive() -> None:
    by_signature: dict[str, tuple[int, ...]] = {"*": ()}
    for row in ROWS:
        code = row.code
        for signature in (row.params, row.results):
            if signature not in by_signature:
                by_signature[signature] = _types(signature)
        NAMES[code] = row.name
        IMMEDIATES[code] = _IMMEDIATES[row.immediates]
        EFFECTS[code] = _EFFECTS[row.effect]
        FLOWS[code] = _FLOWS[row.flow]
        PARAMS[code] = by_signature[row.params]
        RESULTS[code] = by_signature[row.results]
        if row.params != "*":
            POPS[code] = len(PARAMS[code])
        CODE_BY_NAME.setdefault(row.name, code)


_derive()
