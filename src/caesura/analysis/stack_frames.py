"""Follow what functions do with globals, to see which of them open frames of a shadow stack, as LLVM's code does.

A function that opens a frame sets a global to its own value less the frame's size, uses that value as an address, and
sets the global back to what it was wherever it ends:

    global.get 0   i32.const 32   i32.sub   local.tee 1   global.set 0   ...   i32.store
    ...
    local.get 1   i32.const 32   i32.add   global.set 0

Values are followed through locals and the operand stack, in the order of the text. Where control flow joins, what the
arm that falls through knows is taken, or what was known before the block if no arm does: code between the two ends of a
frame leaves the pointer alone, so that nothing finer is needed. Only values that come from a global are followed.

In code that was instrumented, functions also end in the middle of everything, while they unwind, and what restores the
frame's locals stands beside what computes them. There, `strict` being off, one restoration somewhere is enough, and
locals stay known behind code that does not fall through.
"""

from __future__ import annotations

from typing import Final

from caesura.wasm import instructions as table
from caesura.wasm import opcodes as op
from caesura.wasm.decode import read_immediates, read_locals, read_opcode
from caesura.wasm.indices import LabelDepth, OwnFunction
from caesura.wasm.module import Module
from caesura.wasm.signatures import block_signature, signature, tag_params
from caesura.wasm.types import I32


def _of_integers(*names: str) -> frozenset[int]:
    """Return the codes of instructions of both integer types."""
    return frozenset([table.CODE_BY_NAME[f"{value_type}.{name}"] for value_type in ("i32", "i64") for name in names])


_ADDITIONS: Final = _of_integers("add")
_SUBTRACTIONS: Final = _of_integers("sub")
_CONJUNCTIONS: Final = _of_integers("and")
# What tells before from behind.
_COMPARISONS: Final = _of_integers("lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u")

# A value: a global's, as it was when the function began, and how far beside it; or a constant; or unknown.
_Value = tuple[int, int]
_CONSTANT: Final = -1
_UNKNOWN: Final[_Value] = (-2, 0)

# Stand for distances that are not known: of an address within the frame, and of anything else.
_SOMEWHERE: Final = -(1 << 66)
_ANYWHERE: Final = -(1 << 67)

_FRAME_ALIGNMENT: Final = 16


class StackFrames:
    """How functions use the globals that may be the pointer of a shadow stack: counts, by global.

    `closed` counts functions that open frames and close them wherever they end, `addressed` those among them that use
    the frame as an address, `broken` those that end with a frame of fixed size open (to leave one of any size is what
    functions do that allocate for their callers), and `raised` those that move the global the other way. `crooked`
    counts frames whose size is no multiple of 16. `compared` has the constants that values from such globals were
    compared with, `most_addressed` is the largest of `addressed`.
    """

    def __init__(self, module: Module, candidates: list[bool], *, strict: bool) -> None:
        self.closed = [0] * len(module.globals)
        self.addressed = [0] * len(module.globals)
        self.broken = [0] * len(module.globals)
        self.raised = [0] * len(module.globals)
        self.crooked = [0] * len(module.globals)
        self.most_addressed = 0
        self.compared: set[int] = set()
        self._module = module
        self._candidates = candidates
        self._strict = strict

    def read(self, own: OwnFunction) -> None:
        """Follow one of the module's own functions, and count."""
        walk = _Walk(self._module, self._candidates, own, strict=self._strict)
        walk.run()
        self.compared |= walk.compared
        for index in walk.opened:
            if index in walk.open_ends and self._strict:
                self.broken[index] += index in walk.sized
            elif index in walk.closed:
                self.closed[index] += 1
                self.addressed[index] += index in walk.addressed
                self.most_addressed = max(self.most_addressed, self.addressed[index])
        for index in walk.raised:
            self.raised[index] += 1
        for index in walk.crooked:
            self.crooked[index] += 1


class _Block:
    """A block that is open: where its operands begin, and what was known before it and behind its first arm."""

    def __init__(self, walk: _Walk, code: int, height: int) -> None:
        self.code = code
        self.height = height
        self.params = 0
        self.results = 0
        self.dead = walk.dead
        self.locals = walk.locals.copy()
        self.globals = walk.globals.copy()
        self.arm_locals: dict[int, _Value] = {}
        self.arm_globals: dict[int, int] = {}
        self.arm_lives = False


class _Walk:
    """The way through one function. `globals` has the distances of globals from their values at the beginning."""

    def __init__(self, module: Module, candidates: list[bool], own: OwnFunction, *, strict: bool) -> None:
        self.locals: dict[int, _Value] = {}
        self.globals: dict[int, int] = {}
        self.dead = False
        self.opened: set[int] = set()
        self.closed: set[int] = set()
        self.open_ends: set[int] = set()
        self.addressed: set[int] = set()
        self.raised: set[int] = set()
        self.sized: set[int] = set()
        self.crooked: set[int] = set()
        self.compared: set[int] = set()
        self._module = module
        self._candidates = candidates
        self._strict = strict
        self._stack: list[_Value] = []
        self._blocks: list[_Block] = []
        function = module.function_of(own)
        declared, self._position = read_locals(module.data, module.body_starts[own])
        self._types = [*module.function_type(function).params, *declared]
        self._end = module.body_ends[own]

    def run(self) -> None:
        """Go through the function; raises MalformedModule for what is no code."""
        data = self._module.data
        position = self._position
        while position < self._end:
            code, position = read_opcode(data, position)
            numbers, position = read_immediates(data, position, code)
            if table.EFFECTS[code] == table.CONTROL or table.EFFECTS[code] == table.CALL:
                self._transfer(code, numbers)
            elif not self._compute(code, numbers):
                self._apply(code, numbers)

    def _compute(self, code: int, numbers: list[int]) -> bool:
        """Follow an instruction that makes or moves values; False: it is none of these."""
        stack = self._stack
        if code == op.I32_CONST or code == op.I64_CONST:
            stack.append((_CONSTANT, numbers[0]))
        elif code == op.LOCAL_GET:
            stack.append(self.locals.get(numbers[0], _UNKNOWN))
        elif code == op.LOCAL_SET or code == op.LOCAL_TEE:
            value = self._pop()
            self.locals.pop(numbers[0], None)
            if value != _UNKNOWN:
                self.locals[numbers[0]] = value
            if code == op.LOCAL_TEE:
                stack.append(value)
        elif code == op.GLOBAL_GET:
            distance = self.globals.get(numbers[0], 0)
            known = self._is_candidate(numbers[0]) and distance != _ANYWHERE
            stack.append((numbers[0], distance) if known else _UNKNOWN)
        elif code == op.GLOBAL_SET:
            self._set_global(numbers[0], self._pop())
        elif code in _ADDITIONS or code in _SUBTRACTIONS or code in _CONJUNCTIONS:
            right = self._pop()
            stack.append(_combined(code, self._pop(), right))
        else:
            return False
        return True

    def _is_candidate(self, index: int) -> bool:
        return index < len(self._candidates) and self._candidates[index]

    def _set_global(self, index: int, value: _Value) -> None:
        if not self._is_candidate(index) or self.dead:
            return
        before = self.globals.get(index, 0)
        distance = value[1] if value[0] == index else _ANYWHERE
        self.globals[index] = distance
        if value[0] != index:
            return
        if distance == 0:
            if index in self.opened:
                self.closed.add(index)
        elif distance > 0:
            self.raised.add(index)
        elif before == 0:
            self.opened.add(index)
            if distance != _SOMEWHERE:
                self.sized.add(index)
                if distance % _FRAME_ALIGNMENT:
                    self.crooked.add(index)

    def _apply(self, code: int, numbers: list[int]) -> None:
        """Follow any other instruction: it takes and gives values that are not followed."""
        params, results = signature(self._module, self._types, code, numbers)
        taken = [self._pop() for _ in params]
        kind = table.IMMEDIATES[code]
        if code in _COMPARISONS:
            self._compare(taken[1], taken[0])
            self._compare(taken[0], taken[1])
        if kind == table.IMMEDIATE_MEMARG or kind == table.IMMEDIATE_MEMARG_LANE:
            self._use_address(taken[-1])
        elif code == op.MEMORY_COPY:
            self._use_address(taken[-1])
            self._use_address(taken[-2])
        elif code == op.MEMORY_FILL:
            self._use_address(taken[-1])
        self._push_unknown(len(results))

    def _compare(self, value: _Value, other: _Value) -> None:
        if value[0] >= 0 and other[0] == _CONSTANT:
            self.compared.add(other[1] & (0xFFFF_FFFF_FFFF_FFFF if self._wide(value[0]) else 0xFFFF_FFFF))

    def _wide(self, index: int) -> bool:
        return self._module.globals[index].type != I32

    def _use_address(self, value: _Value) -> None:
        if value[0] >= 0 and not self.dead:
            self.addressed.add(value[0])

    def _transfer(self, code: int, numbers: list[int]) -> None:
        """Follow an instruction of control flow."""
        flow = table.FLOWS[code]
        if flow == table.FLOW_END or flow == table.FLOW_DELEGATE:
            self._close_block()
        elif flow == table.FLOW_ELSE or flow == table.FLOW_CATCH:
            self._next_arm(code, numbers)
        elif table.FLOW_BLOCK <= flow <= table.FLOW_TRY:
            self._open_block(code, numbers[0])
        elif flow == table.FLOW_BRANCH_IF:
            self._pop()
            self._leave(LabelDepth(numbers[0]))
        elif flow == table.FLOW_BRANCH or flow == table.FLOW_BRANCH_TABLE:
            for label in numbers:
                self._leave(LabelDepth(label))
            self._die()
        elif flow == table.FLOW_RETURN:
            self._leave(LabelDepth(len(self._blocks)))
            self._die()
        elif flow == table.FLOW_RAISE:
            self._die()
        elif flow == table.FLOW_NEXT:  # a call
            params, results = signature(self._module, self._types, code, numbers)
            for _ in params:
                self._pop()
            self._push_unknown(len(results))
        else:
            self._stack.clear()  # branches on references
            if self._blocks:
                self._push_unknown(self._blocks[-1].height)

    def _open_block(self, code: int, block_type: int) -> None:
        if code == op.IF:
            self._pop()
        params, results = block_signature(self._module, block_type)
        block = _Block(self, code, max(0, len(self._stack) - len(params)))
        block.params = len(params)
        block.results = len(results)
        self._blocks.append(block)

    def _next_arm(self, code: int, numbers: list[int]) -> None:
        if not self._blocks:
            return
        block = self._blocks[-1]
        if not self.dead:
            block.arm_locals, block.arm_globals, block.arm_lives = self.locals, self.globals, True
        self.locals = block.locals.copy()
        self.globals = block.globals.copy()
        self.dead = block.dead
        del self._stack[block.height :]
        self._push_unknown(
            block.params if code == op.ELSE else len(tag_params(self._module, numbers[0])) if code == op.CATCH else 0
        )

    def _close_block(self) -> None:
        if not self._blocks:
            self._leave(LabelDepth(0))
            return
        block = self._blocks.pop()
        if self.dead:
            self._leave_dead(block)
        elif block.code == op.IF:
            for index, value in block.locals.items():
                self.locals.setdefault(index, value)
        self.dead = block.dead
        del self._stack[block.height :]
        self._push_unknown(block.results)

    def _leave_dead(self, block: _Block) -> None:
        """Know behind a block, which does not fall through, what an arm knew that does, or what was known before it."""
        self.globals = block.arm_globals if block.arm_lives else block.globals
        known = block.arm_locals if block.arm_lives else block.locals
        self.locals = known if self._strict else self.locals | known

    def _leave(self, label: LabelDepth) -> None:
        """Note in which state the function ends, if a branch to a label ends it."""
        if label == len(self._blocks) and not self.dead:
            for index in self.opened:
                if self.globals.get(index, 0) not in (0, _ANYWHERE):
                    self.open_ends.add(index)

    def _die(self) -> None:
        self.dead = True
        del self._stack[self._blocks[-1].height if self._blocks else 0 :]

    def _pop(self) -> _Value:
        height = self._blocks[-1].height if self._blocks else 0
        return self._stack.pop() if len(self._stack) > height else _UNKNOWN

    def _push_unknown(self, count: int) -> None:
        for _ in range(count):
            self._stack.append(_UNKNOWN)


def _combined(code: int, left: _Value, right: _Value) -> _Value:
    """Return the sum, difference or conjunction of two values, if it comes from a global."""
    if code in _ADDITIONS and left[0] < 0:
        left, right = right, left
    if left[0] < 0 or right[0] >= 0:
        return _UNKNOWN
    if code in _CONJUNCTIONS:
        return left[0], _SOMEWHERE
    if right[0] != _CONSTANT:
        return (left[0], _SOMEWHERE) if code in _SUBTRACTIONS else _UNKNOWN
    if left[1] == _SOMEWHERE:
        return left
    return left[0], left[1] + right[1] if code in _ADDITIONS else left[1] - right[1]
