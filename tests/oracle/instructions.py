"""The opcodes of control, calls and variables that generated bodies use by name."""

from __future__ import annotations

from typing import Final

END: Final = 0x0B
BLOCK: Final = 0x02
LOOP: Final = 0x03
IF: Final = 0x04
ELSE: Final = 0x05
BR: Final = 0x0C
BR_IF: Final = 0x0D
BR_TABLE: Final = 0x0E
RETURN: Final = 0x0F
CALL: Final = 0x10
CALL_INDIRECT: Final = 0x11
RETURN_CALL: Final = 0x12
RETURN_CALL_INDIRECT: Final = 0x13
RETURN_CALL_REF: Final = 0x15
DROP: Final = 0x1A
SELECT: Final = 0x1B
SELECT_TYPED: Final = 0x1C
LOCAL_GET: Final = 0x20
LOCAL_SET: Final = 0x21
LOCAL_TEE: Final = 0x22
GLOBAL_GET: Final = 0x23
GLOBAL_SET: Final = 0x24
UNREACHABLE: Final = 0x00
THROW: Final = 0x08
TRY_TABLE: Final = 0x1F
LEGACY_TRY: Final = 0x06
LEGACY_CATCH: Final = 0x07
LEGACY_RETHROW: Final = 0x09
LEGACY_DELEGATE: Final = 0x18
LEGACY_CATCH_ALL: Final = 0x19
CALL_REF: Final = 0x14
REF_FUNC: Final = 0xD2
NOP: Final = 0x01
BR_ON_NULL: Final = 0xD5
BR_ON_NON_NULL: Final = 0xD6
