"""What is written around an instruction that fills or copies as its operand says: a count before, a look behind.

The operand is kept in a local, one for each of its types in a function. Before the instruction it is counted, where the
guest counts; behind it the guest looks whether to pause if it was much:

    local.tee $n  global.get $fuel  local.get $n  (i32.const 5  i32.shr_u)  i64.extend_i32_u  i64.sub  global.set $fuel
    memory.fill
    local.get $n  i32.const 0xffff  i32.gt_u  if  look  end

Where the code says how much it is, it is counted as a constant, and looked without a condition, or not at all.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.bulk import BYTES_FOR_A_UNIT, MOST_UNITS, Bulk, count_type, is_of_memory
from caesura.instrument.added_scratch import AddedScratch
from caesura.wasm import encoded as c
from caesura.wasm.immediates import read_instruction
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.types import I32, I64

_I32_GT_U: Final = b"\x4b"
_I64_GT_U: Final = b"\x56"
_I32_SHR_U: Final = b"\x76"
_I64_SUB: Final = b"\x7d"
_I64_SHR_U: Final = b"\x88"
_I32_WRAP_I64: Final = b"\xa7"
_I64_EXTEND_I32_U: Final = b"\xad"

# In place of the counter's global.
NO_FUEL: Final = -1


class CountedBulk:
    """Writes this for a function, which gets further locals; `fuel` is the counter's global, if there is one, and
    `look` the code that looks.
    """

    def __init__(self, module: Module, scratch: AddedScratch, fuel: int, look: bytes) -> None:
        self._module = module
        self._scratch = scratch
        self._fuel = fuel
        self._look = look

    def before(self, bulk: Bulk) -> bytes:
        """Return what stands before an instruction."""
        if bulk.is_constant and not bulk.may_be_long():
            units = bulk.units + bulk.least
            return self.count(units) if units else b""
        counts = self._fuel != NO_FUEL
        if not counts and bulk.is_constant:
            return b""
        instruction, value_type, local = self._read(bulk)
        if not counts:
            return c.LOCAL_TEE + local
        count = c.LOCAL_GET + local
        if is_of_memory(instruction):
            count += c.constant(value_type, BYTES_FOR_A_UNIT) + (_I32_SHR_U if value_type == I32 else _I64_SHR_U)
        if value_type == I64:
            count += _I32_WRAP_I64  # no memory or table has more, and sums stay below what a counter can hold
        fuel = encode_unsigned(self._fuel)
        code = c.LOCAL_TEE + local + c.GLOBAL_GET + fuel + count + _I64_EXTEND_I32_U + _I64_SUB + c.GLOBAL_SET + fuel
        return code + self.count(bulk.least) if bulk.least else code

    def behind(self, bulk: Bulk) -> bytes:
        """Return what stands behind an instruction."""
        if not bulk.may_be_long():
            return b""
        if bulk.is_constant:
            return self._look
        instruction, value_type, local = self._read(bulk)
        most = (MOST_UNITS << BYTES_FOR_A_UNIT if is_of_memory(instruction) else MOST_UNITS) - 1
        is_much = c.LOCAL_GET + local + c.constant(value_type, most) + (_I32_GT_U if value_type == I32 else _I64_GT_U)
        return is_much + c.IF_EMPTY + self._look + c.END

    def count(self, units: int) -> bytes:
        """Return the code that counts so many, if anything is counted."""
        if self._fuel == NO_FUEL:
            return b""
        fuel = encode_unsigned(self._fuel)
        return c.GLOBAL_GET + fuel + c.constant(I64, units) + _I64_SUB + c.GLOBAL_SET + fuel

    def _read(self, bulk: Bulk) -> tuple[int, int, bytes]:
        """Return an instruction's code, the type of its operand, and the local for that."""
        instruction, immediates, _ = read_instruction(self._module.data, bulk.start)
        value_type = count_type(self._module, instruction, immediates)
        return instruction, value_type, encode_unsigned(self._scratch.local(value_type))
