"""Loops that count, so that it is known beforehand how many iterations are sure to follow.

Such a loop has no type, ends with its only branch to its own head, and holds no loop, no call, no handler, nothing that
leaves it otherwise but a trap, and nothing that fills or copies. It changes one local, *i*, once in each iteration, by
a constant or by a local that it does not set, and goes on while *i* compares with a bound that it does not change: a
constant, a local, or zero:

    loop  ...  local.get $i  i32.const step  i32.add  local.tee $i  $x  i32.ne  br_if 0  end

What stands at the outermost level of such a loop is passed in every iteration, since nothing in it branches over that.

**How many iterations are sure** (`ChunkedLoops` writes what is said here.) Let *i* be the local when an iteration
begins, x the bound, q the step's amount, which is added or taken away, from 1 to 2^32 - 1, and d how far the bound is
ahead: x - i where i rises, i - x where it falls, modulo 2^32, so from 0 to 2^32 - 1. With m + 1 iterations none is too
many if the comparison holds after each of the first m; whether it holds after the last is asked by the comparison
itself. After k iterations *i* has come kq further. m = 0 is right always. Otherwise:

* *ne*: m = (d - 1) / q rounded down, modulo 2^32. For k from 1 to m, kq is at least 1 and at most d - 1, so *i* has not
  come to the bound. If d is 0, d - 1 is 2^32 - 1, and kq lies between 1 and that: *i* has not come round to where it
  was. Whether q divides d, so whether it is ever hit, does not matter.
* *lt* and *gt*, where the comparison holds at the beginning: the same m. Then d is the true distance, and *i* stays
  between where it was and the bound, wrapping nowhere. Where it does not hold at the beginning, m = 0.
* *le* and *ge*: likewise, with d / q, for *i* may come to the bound itself.

So nothing is assumed of overflow: if *i* wraps, it does so in an iteration after which the comparison is asked. The
inner loop asks instead whether *i* has become i + (m + 1)q, modulo 2^32. It has not earlier, since what is missing
after k of these iterations is jq with j = m + 1 - k from 1 to m, between 1 and 2^32 - 1. A smaller m does as well. If
q is a local, and 0, then *i* has become that after one iteration, so m has to be 0.

Not looked for: 64-bit counters; comparisons that rise away from their bound, and *ne* where the step is a local, since
that could go the other way in another sense, with m = 0 always; loops that other branches leave, which count less than
was counted at their beginning. A loop that counts its iterations in a further local, which would do for all loops, is
as slow in Wasmtime as one that looks whether to pause.
"""

from __future__ import annotations

from typing import Final

from caesura.analysis.bulk import is_bulk
from caesura.analysis.path_lengths import read_branch
from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.immediates import read_instruction
from caesura.wasm.indices import ByteOffset
from caesura.wasm.instructions import CODE_BY_NAME
from caesura.wasm.leb128 import read_s32, read_u32

# In place of a local: the step is a constant.
NO_LOCAL: Final = -1

# What a loop goes on for: while the local has not come to the bound, has not passed it, or both are excluded.
NOT_EQUAL: Final = 0
BEFORE: Final = 1
NOT_BEYOND: Final = 2

_I32_ADD: Final = 0x6A
_I32_SUB: Final = 0x6B
_EMPTY: Final = 0x40

# So many instructions stand before the one that sets the local: of the local, the step, and their sum.
_STEP: Final = 3

# Comparisons whose left operand is the local: by what they go on for, rising and falling.
_RISING: Final[dict[int, int]] = {
    CODE_BY_NAME["i32.ne"]: NOT_EQUAL,
    CODE_BY_NAME["i32.lt_s"]: BEFORE,
    CODE_BY_NAME["i32.lt_u"]: BEFORE,
    CODE_BY_NAME["i32.le_s"]: NOT_BEYOND,
    CODE_BY_NAME["i32.le_u"]: NOT_BEYOND,
}
_FALLING: Final[dict[int, int]] = {
    CODE_BY_NAME["i32.ne"]: NOT_EQUAL,
    CODE_BY_NAME["i32.gt_s"]: BEFORE,
    CODE_BY_NAME["i32.gt_u"]: BEFORE,
    CODE_BY_NAME["i32.ge_s"]: NOT_BEYOND,
    CODE_BY_NAME["i32.ge_u"]: NOT_BEYOND,
}

# The same comparisons with their operands exchanged.
_EXCHANGED: Final[dict[int, int]] = {CODE_BY_NAME["i32.ne"]: CODE_BY_NAME["i32.ne"]}
for _sign in "su":
    for _one, _other in (("lt", "gt"), ("gt", "lt"), ("le", "ge"), ("ge", "le")):
        _EXCHANGED[CODE_BY_NAME[f"i32.{_one}_{_sign}"]] = CODE_BY_NAME[f"i32.{_other}_{_sign}"]

# What instructions no such loop has, by where control goes: branches are looked at one by one.
_NOT_INSIDE: Final = (table.FLOW_LOOP, table.FLOW_TRY, table.FLOW_CATCH, table.FLOW_DELEGATE, table.FLOW_RETURN)


class _Change:
    """A change of a local: whether something is added, and how much: a constant, or what another local has."""

    def __init__(self, amount: int, local: int, *, rises: bool) -> None:
        self.amount: Final = amount
        self.local: Final = local
        self.rises: Final = rises


class CountedLoop:
    """One of them: the local, how much it changes by, and what it is compared with. `step_local` is the local that is
    the step, or NO_LOCAL where that is `step`.

    `start` is behind the loop's block type, `branch` its last branch, and `behind` what follows that. The bound's code
    goes from `bound` to `bound_end`, the comparison's from `comparison` to `branch`; both are empty where the bound is
    zero and nothing compares. `compare` is the comparison's code with the local as its left operand.
    """

    def __init__(self, start: int, branch: int, behind: int, local: int, change: _Change) -> None:
        self.start: Final = ByteOffset(start)
        self.branch: Final = ByteOffset(branch)
        self.behind: Final = ByteOffset(behind)
        self.local: Final = local
        self.rises: Final = change.rises
        self.step: Final = change.amount
        self.step_local: Final = change.local
        self.compare = CODE_BY_NAME["i32.ne"]
        self.bound = self.bound_end = self.comparison = branch

    def goes_on(self) -> int:
        """Return what it goes on for: NOT_EQUAL, BEFORE or NOT_BEYOND."""
        return _RISING[self.compare] if self.rises else _FALLING[self.compare]


def find_counted(data: bytes, start: int, end: int) -> CountedLoop | None:
    """Return what a loop counts, if it does so; its body goes from `start`, behind its block type, to `end`."""
    if data[start - 2] != op.LOOP or data[start - 1] != _EMPTY:
        return None
    body = _Body(data)
    if not body.read(start, end):
        return None
    return body.counted(start)


class _Body:
    """The instructions of a loop: their codes, where they stand and their immediates, and how deep they are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._codes: list[int] = []
        self._starts: list[int] = []
        self._immediates: list[int] = []
        self._depths: list[int] = []
        self._sets: dict[int, int] = {}

    def read(self, position: int, end: int) -> bool:
        """Read them; tell whether control goes through it as it should."""
        data = self._data
        flows = table.FLOWS
        depth = 0
        branches = 0
        while position < end:
            start = position
            code, immediates, position = read_instruction(data, position)
            flow = flows[code]
            if table.EFFECTS[code] == table.CALL or is_bulk(code) or flow in _NOT_INSIDE:
                return False
            if flow == table.FLOW_RAISE and code != op.UNREACHABLE:
                return False
            for label in read_branch(data, code, flow, immediates):
                if label > depth:
                    return False
                branches += label == depth
            if flow == table.FLOW_END:
                depth -= 1
            self._codes.append(code)
            self._starts.append(start)
            self._immediates.append(immediates)
            self._depths.append(depth)
            if flow == table.FLOW_BLOCK or flow == table.FLOW_IF:
                depth += 1
            elif code == op.LOCAL_SET or code == op.LOCAL_TEE:
                local = read_u32(data, immediates)[0]
                self._sets[local] = self._sets.get(local, 0) + 1
        last = len(self._codes) - 2
        return branches == 1 and last >= 0 and self._codes[last] == op.BR_IF and self._depths[last] == 0

    def counted(self, start: int) -> CountedLoop | None:
        """Return what its last branch depends on, if that is a local that counts."""
        loop = self._compared(start)
        if loop is None or loop.compare not in (_RISING if loop.rises else _FALLING):
            return None
        return None if loop.step_local != NO_LOCAL and loop.goes_on() == NOT_EQUAL else loop

    def _compared(self, start: int) -> CountedLoop | None:
        last = len(self._codes) - 2
        compare = self._codes[last - 1] if last > 0 else op.NOP
        if compare not in _EXCHANGED:
            return self._loop(start, last - 1)
        if self._is_bound(last - 2):
            loop = self._loop(start, last - 3)
            bound = last - 2
        else:
            loop = self._loop(start, last - 2)
            bound = last - 3 if last > 1 and self._codes[last - 2] == op.LOCAL_GET else last - 3 - _STEP
            compare = _EXCHANGED[compare]
        if loop is None or not self._is_bound(bound):
            return None
        loop.compare = compare
        loop.bound, loop.bound_end = self._starts[bound], self._starts[bound + 1]
        loop.comparison = self._starts[last - 1]
        return loop

    def _loop(self, start: int, value: int) -> CountedLoop | None:
        """Return the loop that counts in the local that an instruction reads, or sets, when it has been changed."""
        if value < 0 or self._codes[value] not in (op.LOCAL_GET, op.LOCAL_TEE):
            return None
        local = self._local(value)
        place = value
        if self._codes[value] == op.LOCAL_GET:
            place = self._last_set(local, value)
        change = self._change(local, place)
        if change is None:
            return None
        last = len(self._codes) - 2
        return CountedLoop(start, self._starts[last], self._starts[last + 1], local, change)

    def _last_set(self, local: int, before: int) -> int:
        """Return the last instruction before another one that sets a local; -1 if there is none."""
        place = before - 1
        while place >= 0:
            if self._codes[place] in (op.LOCAL_SET, op.LOCAL_TEE) and self._local(place) == local:
                return place
            place -= 1
        return -1

    def _change(self, local: int, place: int) -> _Change | None:
        """Return how an instruction changes a local, if it is the only one, and always run."""
        if place < _STEP or self._sets[local] != 1 or self._depths[place] != 0:
            return None
        code = self._codes[place - 1]
        one, other = place - 3, place - 2
        if code == _I32_ADD and not self._reads(one, local):
            one, other = other, one
        if code not in (_I32_ADD, _I32_SUB) or not self._reads(one, local) or not self._is_bound(other):
            return None
        adds = code == _I32_ADD
        if self._codes[other] == op.LOCAL_GET:
            return _Change(0, self._local(other), rises=adds)
        amount = read_s32(self._data, self._immediates[other])[0]
        return _Change(abs(amount), NO_LOCAL, rises=adds == (amount > 0)) if amount else None

    def _reads(self, place: int, local: int) -> bool:
        return self._codes[place] == op.LOCAL_GET and self._local(place) == local

    def _is_bound(self, place: int) -> bool:
        """Tell whether an instruction is a constant, or reads a local that the loop does not set."""
        if place < 0:
            return False
        if self._codes[place] == op.LOCAL_GET:
            return self._local(place) not in self._sets
        return self._codes[place] == op.I32_CONST

    def _local(self, place: int) -> int:
        return read_u32(self._data, self._immediates[place])[0]
