"""Codes of the instructions that code treats by name: control flow, calls, variables, and what a rule types.

The table in `instructions` is where instructions are defined, and a test holds these constants to it. They are repeated
because a compiled comparison with a `Final` integer costs nothing, a look-up by name does.
"""

from __future__ import annotations

from typing import Final

UNREACHABLE: Final = 0x00
NOP: Final = 0x01
BLOCK: Final = 0x02
LOOP: Final = 0x03
IF: Final = 0x04
ELSE: Final = 0x05
TRY: Final = 0x06
CATCH: Final = 0x07
THROW: Final = 0x08
RETHROW: Final = 0x09
THROW_REF: Final = 0x0A
END: Final = 0x0B
BR: Final = 0x0C
BR_IF: Final = 0x0D
BR_TABLE: Final = 0x0E
RETURN: Final = 0x0F
CALL: Final = 0x10
CALL_INDIRECT: Final = 0x11
RETURN_CALL: Final = 0x12
RETURN_CALL_INDIRECT: Final = 0x13
CALL_REF: Final = 0x14
RETURN_CALL_REF: Final = 0x15
DELEGATE: Final = 0x18
CATCH_ALL: Final = 0x19
DROP: Final = 0x1A
SELECT: Final = 0x1B
SELECT_TYPED: Final = 0x1C
TRY_TABLE: Final = 0x1F
LOCAL_GET: Final = 0x20
LOCAL_SET: Final = 0x21
LOCAL_TEE: Final = 0x22
GLOBAL_GET: Final = 0x23
GLOBAL_SET: Final = 0x24
TABLE_GET: Final = 0x25
TABLE_SET: Final = 0x26
MEMORY_GROW: Final = 0x40
I32_CONST: Final = 0x41
I64_CONST: Final = 0x42
I32_EQZ: Final = 0x45
REF_NULL: Final = 0xD0
REF_FUNC: Final = 0xD2
REF_AS_NON_NULL: Final = 0xD4
BR_ON_NULL: Final = 0xD5
BR_ON_NON_NULL: Final = 0xD6

STRUCT_NEW: Final = 0x100
STRUCT_NEW_DEFAULT: Final = 0x101
STRUCT_SET: Final = 0x105
ARRAY_NEW: Final = 0x106
ARRAY_NEW_DEFAULT: Final = 0x107
ARRAY_NEW_FIXED: Final = 0x108
ARRAY_NEW_DATA: Final = 0x109
ARRAY_NEW_ELEM: Final = 0x10A
ARRAY_SET: Final = 0x10E
ARRAY_FILL: Final = 0x110
ARRAY_COPY: Final = 0x111
ARRAY_INIT_DATA: Final = 0x112
ARRAY_INIT_ELEM: Final = 0x113
REF_TEST_NULL: Final = 0x115
REF_CAST: Final = 0x116
REF_CAST_NULL: Final = 0x117
BR_ON_CAST: Final = 0x118
BR_ON_CAST_FAIL: Final = 0x119
ANY_CONVERT_EXTERN: Final = 0x11A

MEMORY_INIT: Final = 0x208
DATA_DROP: Final = 0x209
MEMORY_COPY: Final = 0x20A
MEMORY_FILL: Final = 0x20B
TABLE_INIT: Final = 0x20C
ELEM_DROP: Final = 0x20D
TABLE_COPY: Final = 0x20E
TABLE_GROW: Final = 0x20F
TABLE_FILL: Final = 0x211
MEMORY_ATOMIC_WAIT32: Final = 0x501
MEMORY_ATOMIC_WAIT64: Final = 0x502
