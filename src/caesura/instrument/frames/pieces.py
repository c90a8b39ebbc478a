"""How frames are moved in small modules: by which helpers, or inline.

In large modules one pair of helpers serves each shape of a chunk (`abi.chunks`). In small ones these helpers
were 40% and more of what instrumenting added, most used by one function only. So there, frames are cut into pieces of
one type each, and for each type the lengths of pieces are chosen, out of a few, that take the fewest bytes for all
frames together, helpers included: all choices are tried, with and without functions that make room for all helpers. A
function that calls itself moves its frames inline instead, since the stack may hold thousands of them, and calls of
helpers are what takes the time; so do functions whose frames alone have values of some type, if that takes fewer bytes.
Functions that only call each other in a circle do not count: in interpreters such circles contain nearly everything.

The best pieces can only be found when all frames are known, so the plans of all functions are held in memory at once.
That, and that with more functions most shapes have many users, is why large modules keep to chunks. Helpers for pieces
with values of several types took about as many bytes. One shared function that makes room for a frame, whose values are
then stored inline, took more.
"""

from __future__ import annotations

from typing import Final

from caesura.instrument.abi.chunks import Shape
from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.abi.stack_code import NOT_SHARED
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.moving import MOVED_INLINE, Moves, pop_inline, push_inline
from caesura.wasm.encoded import LOCAL_GET, LOCAL_SET, value_size
from caesura.wasm.leb128 import encode_unsigned
from caesura.wasm.module import Module

# How frames are moved: as the module's size says; with a helper for each shape of a chunk; in the pieces that take the
# fewest bytes; inline.
AUTOMATIC: Final = 0
SHARED: Final = 1
PIECES: Final = 2
INLINE: Final = 3

# The most instrumented functions, and bytes of their code, of a module whose frames are moved in pieces.
_MAXIMUM_FUNCTIONS: Final = 100
_MAXIMUM_CODE: Final = 262_144

# The lengths that pieces can have.
_LENGTHS: Final = (1, 2, 3, 4, 6)

# Bytes that a call of a helper may cost elsewhere to be saved, where not only size counts. Calls that push are dearer:
# engines choose registers for what they pass, which slows down code that never suspends (in Wasmtime by 8%, where a
# hot loop's 16 values are pushed by four calls instead of three or none).
_PRICE_OF_PUSH: Final = 10
_PRICE_OF_POP: Final = 2

# A call of a helper, and what a helper takes beside its code: sizes, declaration of its local, end, and its type, which
# is new as a rule.
_CALL_SIZE: Final = 2
_HELPER_SIZE: Final = 10

# In place of a shared function where only the length of code counts.
_SOME_FUNCTION: Final = 0

# More than anything costs.
_IMPOSSIBLE: Final = 1 << 40


def default_moves(module: Module, instrumented: list[bool]) -> int:
    """Return how frames are moved in a module, given which functions are instrumented."""
    functions = 0
    size = 0
    for own in range(len(module.body_starts)):
        if instrumented[module.imported_functions + own]:
            functions += 1
            size += module.body_ends[own] - module.body_starts[own]
    return PIECES if functions <= _MAXIMUM_FUNCTIONS and size <= _MAXIMUM_CODE else SHARED


def choose_moves(
    frames: list[Frame],
    calls_itself: list[bool],
    helpers: FrameHelpers,
    moves: int,
    *,
    is_for_size: bool,
    no_multivalue: bool,
) -> tuple[list[Moves], FrameHelpers]:
    """Return how each function moves its frames, and the helpers that do.

    `calls_itself` tells for each frame whether its function contains a call of itself; `moves` is PIECES or INLINE.
    """
    # Where memory grows, values are kept through the call that makes it grow, which enlarges native frames.
    inlines_recursion = not is_for_size and not helpers.stack.grows
    chosen = [moves == PIECES] * len(frames)
    for place in range(len(frames)):
        if inlines_recursion and calls_itself[place] and not frames[place].is_full():
            chosen[place] = False
    cut = [frames[place] for place in range(len(frames)) if chosen[place]]
    pushes = _choose_pushes(cut, helpers, 0 if is_for_size else _PRICE_OF_PUSH)
    room = helpers.stack.room() if pushes.is_shared else NOT_SHARED
    pops: _Cut | None = None
    release = NOT_SHARED
    if not helpers.loads_inline:
        pops = _choose_pops(cut, helpers, 0 if is_for_size else _PRICE_OF_POP, (1,) if no_multivalue else _LENGTHS)
        release = helpers.stack.release() if pops.is_shared else NOT_SHARED
    result: list[Moves] = []
    for place in range(len(frames)):
        if not chosen[place]:
            result.append(MOVED_INLINE)
            continue
        shape = frames[place].shape
        result.append(Moves(pushes.pieces(shape), [] if pops is None else pops.pieces(shape), room, release))
    return result, helpers.sharing(room, release)


def _choose_pushes(frames: list[Frame], helpers: FrameHelpers, price: int) -> _Cut:
    """Return the better of two cuts: with helpers that have all their code, and with such that share a part."""
    alone = _PushCut(frames, helpers, _LENGTHS, price, is_shared=False)
    sharing = _PushCut(frames, helpers, _LENGTHS, price, is_shared=True)
    return sharing if sharing.cost() < alone.cost() else alone


def _choose_pops(frames: list[Frame], helpers: FrameHelpers, price: int, lengths: tuple[int, ...]) -> _Cut:
    """Return the better of the same two cuts for pops."""
    alone = _PopCut(frames, helpers, lengths, price, is_shared=False)
    sharing = _PopCut(frames, helpers, lengths, price, is_shared=True)
    return sharing if sharing.cost() < alone.cost() else alone


class _Cut:
    """The pieces in which all frames are pushed, or popped. `price` is what a call may cost elsewhere to be saved.

    `is_shared` says that helpers get room, or give it back, by a function that they share.
    """

    def __init__(
        self, frames: list[Frame], helpers: FrameHelpers, lengths: tuple[int, ...], price: int, *, is_shared: bool
    ) -> None:
        self.is_shared = is_shared
        self._shared = _SOME_FUNCTION if is_shared else NOT_SHARED
        self._helpers = helpers
        self._call_cost = _CALL_SIZE + price
        self._sets = _subsets(lengths)
        # Tables of the cost of runs, by the values' type's step and the set of lengths.
        self._tables: dict[tuple[int, int], _Runs] = {}
        self._helper_sizes: dict[tuple[int, int], int] = {}
        self._counts: dict[Shape, int] = {}
        for frame in frames:
            self._counts[frame.shape] = self._counts.get(frame.shape, 0) + 1
        # For each type how many runs of each length are moved by helpers.
        self._runs: dict[int, dict[int, int]] = {}
        for shape, count in self._counts.items():
            self._add_runs(shape, count)
        self._without_helpers: set[Shape] = set()
        self._choose_inline({frame.shape for frame in frames if frame.is_full()})
        self._best = {value_type: self._best_set(value_type) for value_type in self._runs}

    def _shared_code(self) -> bytes:
        """Return the code of the function that helpers may share."""
        raise NotImplementedError

    def _helper_code(self, piece: Shape) -> bytes:
        """Return the code of the helper that moves a piece."""
        raise NotImplementedError

    def _inline_code(self, shape: Shape) -> bytes:
        """Return the code that moves a frame inline, as if its values were the function's first locals."""
        raise NotImplementedError

    def cost(self) -> int:
        """Return the bytes that moving all frames takes."""
        cost = sum(best for best, _ in self._best.values())
        cost += sum(self._counts[shape] * self._inline_cost(shape) for shape in self._without_helpers)
        if self.is_shared and self._counts:
            cost += len(self._shared_code()) + _HELPER_SIZE
        return cost

    def pieces(self, shape: Shape) -> list[Shape]:
        """Return the pieces of a frame; none if it is moved inline."""
        pieces: list[Shape] = []
        if shape not in self._without_helpers:
            for value_type, length in _runs_of(shape):
                best = self._best[value_type][1]
                pieces += [(value_type,) * piece for piece in self._table(value_type, best, length).cut(length)]
        return pieces

    def _choose_inline(self, never: set[Shape]) -> None:
        """Find frames to move inline: only those with a type that no other frame has can be worth it."""
        for shape in sorted(self._counts):
            if shape in never:
                continue
            runs = _runs_of(shape)
            if all(self._has_other_users(value_type, length, self._counts[shape]) for value_type, length in runs):
                continue
            count = self._counts[shape]
            with_helpers = sum(self._best_set(value_type)[0] for value_type, _ in runs)
            self._add_runs(shape, -count)
            others = sum(self._best_set(value_type)[0] for value_type, _ in runs)
            if others + count * self._inline_cost(shape) < with_helpers:
                self._without_helpers.add(shape)
            else:
                self._add_runs(shape, count)

    def _has_other_users(self, value_type: int, length: int, count: int) -> bool:
        """Tell whether other frames than those with this run have values of a type."""
        return len(self._runs[value_type]) > 1 or self._runs[value_type][length] > count

    def _add_runs(self, shape: Shape, count: int) -> None:
        for value_type, length in _runs_of(shape):
            lengths = self._runs.setdefault(value_type, {})
            lengths[length] = lengths.get(length, 0) + count
            if not lengths[length]:
                del lengths[length]

    def _inline_cost(self, shape: Shape) -> int:
        """Return the bytes that moving a frame inline takes beyond the locals' instructions that helpers need too."""
        return len(self._inline_code(shape)) - 2 * (len(shape) - 1)

    def _best_set(self, value_type: int) -> tuple[int, int]:
        """Return the bytes that moving all values of a type takes at least, and the number of the set of lengths."""
        runs = self._runs[value_type]
        if not runs:
            return 0, 0
        longest = max(runs)
        best = _IMPOSSIBLE
        best_set = 0
        for number in range(len(self._sets)):
            cost = sum([self._helper_size(value_type, length) for length in self._sets[number]])
            if cost >= best:
                continue
            costs = self._table(value_type, number, longest).costs
            for length, count in runs.items():
                cost += costs[length] * count
            if cost < best:
                best = cost
                best_set = number
        return best, best_set

    def _table(self, value_type: int, number: int, longest: int) -> _Runs:
        # With 64-bit addresses a piece takes a multiple of 8 bytes, so pairs of 4-byte values must not be parted.
        step = max(self._helpers.stack.pointer_size // value_size(value_type), 1)
        if (step, number) not in self._tables:
            self._tables[(step, number)] = _Runs(self._sets[number], step, self._call_cost)
        table = self._tables[(step, number)]
        table.extend(longest)
        return table

    def _helper_size(self, value_type: int, length: int) -> int:
        key = (value_type, length)
        if key not in self._helper_sizes:
            self._helper_sizes[key] = len(self._helper_code((value_type,) * length)) + _HELPER_SIZE
        return self._helper_sizes[key]


class _PushCut(_Cut):
    def _shared_code(self) -> bytes:
        return self._helpers.stack.room_code()

    def _helper_code(self, piece: Shape) -> bytes:
        return self._helpers.push_code(piece, self._shared)

    def _inline_code(self, shape: Shape) -> bytes:
        values = [LOCAL_GET + encode_unsigned(value) for value in range(len(shape) - 1)]
        return push_inline(self._helpers.stack, shape, b"\0", b"\0\0", values, self._shared, b"")


class _PopCut(_Cut):
    def _shared_code(self) -> bytes:
        return self._helpers.stack.release_code()

    def _helper_code(self, piece: Shape) -> bytes:
        return self._helpers.pop_code(piece, self._shared)

    def _inline_code(self, shape: Shape) -> bytes:
        setters = [LOCAL_SET + encode_unsigned(value) for value in range(len(shape) - 1)]
        return pop_inline(self._helpers.stack, shape, b"\0", setters, self._shared, wants_number=True)


class _Runs:
    """What moving a run of values of one type costs in calls, by its length, with helpers for some lengths."""

    def __init__(self, lengths: list[int], step: int, call_cost: int) -> None:
        self._lengths = lengths
        self._step = step
        self._call_cost = call_cost
        self._last: list[int] = [0]
        self.costs: list[int] = [0]

    def extend(self, longest: int) -> None:
        """Find the costs of runs up to this length."""
        for length in range(len(self.costs), longest + 1):
            cost = _IMPOSSIBLE
            last = 0
            for piece in self._lengths:
                before = length - piece
                if before >= 0 and before % self._step == 0 and self.costs[before] + self._call_cost < cost:
                    cost = self.costs[before] + self._call_cost
                    last = piece
            self.costs.append(cost)
            self._last.append(last)

    def cut(self, length: int) -> list[int]:
        """Return the lengths of a run's pieces, in order."""
        pieces: list[int] = []
        while length:
            pieces.append(self._last[length])
            length -= self._last[length]
        pieces.reverse()
        return pieces


def _subsets(lengths: tuple[int, ...]) -> list[list[int]]:
    """Return all sets of some lengths but the empty one."""
    return [
        [lengths[place] for place in range(len(lengths)) if bits >> place & 1] for bits in range(1, 1 << len(lengths))
    ]


def _runs_of(shape: Shape) -> list[tuple[int, int]]:
    """Return the runs of a frame's values of the same type: type and length. Each type has one."""
    runs: list[tuple[int, int]] = []
    for value_type in shape:
        if runs and runs[-1][0] == value_type:
            runs[-1] = (value_type, runs[-1][1] + 1)
        else:
            runs.append((value_type, 1))
    return runs
