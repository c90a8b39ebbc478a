"""Loops that count run in chunks: looks whether to pause, and counts, stand between chunks, not in each iteration.

    loop                                        ;; its own head, and its pause point
      look
      local.get $x  local.get $i  i32.sub  i32.const 1  i32.sub  i32.const step  i32.div_u  i32.const 255  i32.and
      i32.const 1  i32.add  local.tee $n                                  ;; m + 1
      count $n times weight                                               ;; where the guest counts
      i32.const step  i32.mul  local.get $i  i32.add  local.set $n
      loop
        ...  local.get $n  i32.ne  br_if 0      ;; instead of the loop's own bound and comparison
      end
      local.get $i  $x  i32.lt_u  br_if 0
    end

`analysis.counted_loops` says why so many iterations are sure to run. All of them are counted before the first: nothing
leaves the inner loop but a trap. So the guest counts what it would without this, and $n does not live at the look. With
*lt* and its like m is multiplied with the comparison, which is 0 where it does not hold. The bits that are left of m
make the first chunk shorter instead of the last, in fewer bytes than a minimum takes; and where the step is a power of
two they are those of m times the step, without division. Where the step is a local it is divided by 1 instead of 0, and
m multiplied with whether it is not 0.

A loop that goes on to zero by a power of two needs no limit. Instead of the whole local its inner loop looks at the
bits that the mask has: they become zero after as many iterations as they can count at most, if the local does, too.

    loop  look  count  loop  ...  local.tee $i  i32.const 255  i32.and  br_if 0  end  local.get $i  br_if 0  end
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.counted_loops import NO_LOCAL, NOT_BEYOND, NOT_EQUAL, CountedLoop
from caesura.analysis.pause_points import MOST_IN_A_CHUNK
from caesura.instrument.added_scratch import AddedScratch
from caesura.instrument.counted_bulk import NO_FUEL
from caesura.wasm import encoded as c
from caesura.wasm import opcodes as op
from caesura.wasm.leb128 import encode_unsigned, read_s32
from caesura.wasm.types import I32

_I32_DIV_U: Final = b"\x6e"
_I32_MUL: Final = b"\x6c"
_I32_AND: Final = b"\x71"
_I32_OR: Final = b"\x72"
_I32_SHR_U: Final = b"\x76"
_I64_EXTEND_I32_U: Final = b"\xad"
_I64_SUB: Final = b"\x7d"

_WORD: Final = 0xFFFF_FFFF
_HIGHEST_BIT: Final = 31

# Code in the place of a stretch of a function's own: where that begins, the code, and where it ends.
Edit = tuple[int, bytes, int]


class ChunkedLoops:
    """Writes this for a function, which gets a further local; `fuel` is the counter's global, if there is one."""

    def __init__(self, data: bytes, scratch: AddedScratch, fuel: int) -> None:
        self._data = data
        self._scratch = scratch
        self._fuel = fuel

    def edits(self, loop: CountedLoop, look: bytes, weight: int) -> list[Edit]:
        """Return what changes in a loop that looks so, and counts so much for each iteration."""
        if loop.bound == loop.bound_end and _is_power(loop):
            return self._without_limit(loop, look, weight)
        local = c.LOCAL_GET + encode_unsigned(loop.local)
        bound = self._bound(loop)
        limit = encode_unsigned(self._scratch.local(I32))
        further = self._steps(loop, weight)
        if self._fuel != NO_FUEL:
            further += c.LOCAL_TEE + limit + self._count(c.LOCAL_GET + limit, loop, weight)
        if not _is_power(loop):
            further += _step(loop) + _I32_MUL
        code = further + local + c.I32_ADD if loop.rises else local + further + c.I32_SUB
        edits: list[Edit] = [(loop.start, look + code + c.LOCAL_SET + limit + c.LOOP_EMPTY, loop.start)]
        if not bound:
            edits.append((loop.branch, c.LOCAL_GET + limit + c.I32_NE, loop.branch))
            edits.append((loop.behind, c.END + local + c.BR_IF + b"\0", loop.behind))
            return edits
        edits.append((loop.bound, c.LOCAL_GET + limit, loop.bound_end))
        edits.append((loop.comparison, c.I32_NE, loop.branch))
        edits.append((loop.behind, c.END + local + bound + bytes([loop.compare]) + c.BR_IF + b"\0", loop.behind))
        return edits

    def _without_limit(self, loop: CountedLoop, look: bytes, weight: int) -> list[Edit]:
        """Return the same for a loop that goes on to zero by a power of two.

        Its step is taken away first, not 1, so that what is counted is right, too, if it never comes to zero.
        """
        local = c.LOCAL_GET + encode_unsigned(loop.local)
        step = c.unsigned_constant(I32, loop.step)
        mask = c.unsigned_constant(I32, _mask(loop, weight)) + _I32_AND
        ahead = c.constant(I32, -1) + local + c.I32_SUB if loop.rises else local + step + c.I32_SUB
        count = self._count(ahead + mask + step + c.I32_ADD, loop, weight)
        return [
            (loop.start, look + count + c.LOOP_EMPTY, loop.start),
            (loop.branch, mask, loop.branch),
            (loop.behind, c.END + local + c.BR_IF + b"\0", loop.behind),
        ]

    def _steps(self, loop: CountedLoop, weight: int) -> bytes:
        """Return the code for the iterations of a chunk, m + 1, times the step if that is a power of two."""
        code = self._distance(loop)
        one = loop.step
        is_local = loop.step_local != NO_LOCAL
        if not _is_power(loop):
            step = _step(loop)
            code += step + (step + c.I32_EQZ + _I32_OR) * is_local + _I32_DIV_U
            one = 1
        code += c.unsigned_constant(I32, _mask(loop, weight)) + _I32_AND
        if loop.goes_on() != NOT_EQUAL:
            code += c.LOCAL_GET + encode_unsigned(loop.local) + self._bound(loop) + bytes([loop.compare]) + _I32_MUL
        if is_local:
            code += _step(loop) + c.I32_EQZ + c.I32_EQZ + _I32_MUL
        return code + c.unsigned_constant(I32, one) + c.I32_ADD

    def _distance(self, loop: CountedLoop) -> bytes:
        """Return the code for how far the local may come: to the bound, or to just before."""
        local = c.LOCAL_GET + encode_unsigned(loop.local)
        bound = self._bound(loop)
        before = 0 if loop.goes_on() == NOT_BEYOND else 1
        if bound and self._data[loop.bound] == op.LOCAL_GET:
            code = bound + local if loop.rises else local + bound
            return code + c.I32_SUB + (c.constant(I32, 1) + c.I32_SUB) * before
        value = read_s32(self._data, loop.bound + 1)[0] if bound else 0
        if loop.rises:
            return c.unsigned_constant(I32, (value - before) & _WORD) + local + c.I32_SUB
        return local + c.unsigned_constant(I32, (value + before) & _WORD) + c.I32_SUB

    def _bound(self, loop: CountedLoop) -> bytes:
        """Return the code of a loop's bound, nothing for zero."""
        return self._data[loop.bound : loop.bound_end]

    def _count(self, steps: bytes, loop: CountedLoop, weight: int) -> bytes:
        """Return the code that counts so much for each iteration of a chunk, as `_steps` says how many there are."""
        if self._fuel == NO_FUEL:
            return b""
        fuel = encode_unsigned(self._fuel)
        shift = loop.step.bit_length() - 1 if _is_power(loop) else 0
        units = steps + (c.constant(I32, shift) + _I32_SHR_U if shift else b"")
        units += c.constant(I32, weight) + _I32_MUL + _I64_EXTEND_I32_U
        return c.GLOBAL_GET + fuel + units + _I64_SUB + c.GLOBAL_SET + fuel


def _is_power(loop: CountedLoop) -> bool:
    """Tell whether the step is a constant and a power of two."""
    return loop.step_local == NO_LOCAL and loop.step & (loop.step - 1) == 0


def _step(loop: CountedLoop) -> bytes:
    """Return the code for a step that is a local or no power of two."""
    if loop.step_local == NO_LOCAL:
        return c.constant(I32, loop.step)
    return c.LOCAL_GET + encode_unsigned(loop.step_local)


def _mask(loop: CountedLoop, weight: int) -> int:
    """Return the bits that are left of m, or of m times a step that is a power of two, so that with one step more it
    has 32 bits.
    """
    bits = (MOST_IN_A_CHUNK // weight).bit_length() - 1
    if not _is_power(loop):
        return (1 << bits) - 1
    shift = loop.step.bit_length() - 1
    return (1 << min(bits + shift, _HIGHEST_BIT)) - (1 << shift)
