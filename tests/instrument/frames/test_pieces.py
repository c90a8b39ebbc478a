"""Which pieces the frames of small modules are moved in, given the frames of all their functions."""

from __future__ import annotations

from caesura.instrument.abi.helpers import FrameHelpers
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.moving import MOVED_INLINE, Moves, move_in_chunks
from caesura.instrument.frames.pieces import INLINE, PIECES, choose_moves
from caesura.wasm.types import F64, I32, I64
from tests.instrument.frames.making import frame_of, helpers_of


def choose(
    frames: list[Frame],
    *,
    moves: int = PIECES,
    recursive: bool = False,
    is_for_size: bool = False,
    no_multivalue: bool = False,
    helpers: FrameHelpers | None = None,
) -> list[Moves]:
    """Return how frames are moved."""
    return choose_moves(
        frames,
        [recursive] * len(frames),
        helpers or helpers_of(),
        moves,
        is_for_size=is_for_size,
        no_multivalue=no_multivalue,
    )[0]


def test_few_frames_are_moved_inline() -> None:
    assert choose([frame_of(I32, I32)]) == [MOVED_INLINE]


def test_many_frames_share_helpers() -> None:
    frames = [frame_of(*[I32] * (1 + number % 5)) for number in range(40)]
    for frame, moves in zip(frames, choose(frames), strict=True):
        assert moves.pushed and moves.popped
        for pieces in (moves.pushed, moves.popped):
            assert tuple(value for piece in pieces for value in piece) == frame.shape


def test_pieces_have_values_of_one_type() -> None:
    frames = [frame_of(I32, I64, F64)] * 40
    for moves in choose(frames, is_for_size=True):
        assert all(len(set(piece)) == 1 for piece in moves.pushed + moves.popped)


def test_a_type_that_one_function_has_alone_makes_it_move_its_frame_inline() -> None:
    frames = [frame_of(I32, I32)] * 40 + [frame_of(I32, F64, F64, F64, F64, F64)]
    *others, alone = choose(frames, is_for_size=True)
    assert all(moves.pushed for moves in others)
    assert not alone.pushed


def test_recursion_moves_its_frames_inline_unless_size_counts() -> None:
    frames = [frame_of(I32, I32)] * 40
    assert choose(frames, recursive=True) == [MOVED_INLINE] * 40
    assert all(moves.pushed for moves in choose(frames, recursive=True, is_for_size=True))


def test_recursion_uses_helpers_where_memory_grows() -> None:
    """Values kept through the call that makes it grow would enlarge native frames."""
    frames = [frame_of(I32, I32)] * 40
    assert all(moves.pushed for moves in choose(frames, recursive=True, helpers=helpers_of(grows=True)))


def test_all_frames_inline() -> None:
    assert choose([frame_of(I32)] * 40, moves=INLINE) == [MOVED_INLINE] * 40


def test_without_multivalue_pops_give_one_value_each() -> None:
    for moves in choose([frame_of(I32, I32)] * 40, is_for_size=True, no_multivalue=True):
        assert all(len(piece) == 1 for piece in moves.popped)
    for moves in choose([frame_of(I32, I32)] * 40, helpers=helpers_of(loads_inline=True)):
        assert moves.pushed and not moves.popped


def test_helpers_that_are_there_already_stay_when_others_share() -> None:
    helpers = helpers_of()
    before = helpers.push((I32,))
    sharing = helpers.sharing(helpers.stack.room(), helpers.stack.release())
    assert sharing.push((I32,)) == before
    assert sharing.push((I64,)) != sharing.push((I32, I32))
    assert len(helpers.push_code((I32, I32), helpers.stack.room())) < len(helpers.push_code((I32, I32), -1))


def test_large_modules_move_chunks_or_parts_of_them() -> None:
    shape = frame_of(*[I32] * 8).shape
    chunks = [(I32,) * 6, (I32,) * 3]
    assert move_in_chunks(shape, helpers_of(), is_for_size=True) == Moves(chunks, chunks)
    moves = move_in_chunks(shape, helpers_of(), is_for_size=False)
    assert [len(piece) for piece in moves.pushed] == [3, 3, 3]
    assert [len(piece) for piece in moves.popped] == [2, 2, 2, 2, 1]
    assert move_in_chunks(shape, helpers_of(loads_inline=True), is_for_size=True) == Moves(chunks, [])
