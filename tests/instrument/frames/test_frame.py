"""What a frame holds, in which order, and the locals that are added to its function."""

from __future__ import annotations

from caesura.instrument.frames.added_locals import AddedLocals
from caesura.instrument.frames.frame import Frame, number_bias
from caesura.instrument.frames.late_locals import NOTHING_LATE, LateLocals, code_of
from caesura.instrument.plan.plan import Saved, Temporary
from caesura.instrument.plan.regions import lay_out
from caesura.wasm import encoded as c
from caesura.wasm.indices import LocalIndex
from caesura.wasm.types import EXTERN, EXTERNREF, F32, F64, FUNCREF, I32, I64, make_reference
from tests.instrument.frames.making import body_with, frame_of


def saved(types: list[int], *temporaries: int) -> Saved:
    """Return what is saved of temporaries with these types."""
    return Saved(types, {Temporary(number) for number in temporaries}, set())


def test_values_are_ordered_by_type() -> None:
    frame = frame_of(F64, I32, I64, I32)
    assert frame.values == [1, 3, 2, 0]
    assert frame.shape == (I32, I32, I32, I64, F64)
    assert frame.added_types == []


def test_temporaries_follow_the_site_local_and_only_some_are_saved() -> None:
    frame = frame_of(I64, saved=saved([F32, I32, I32], 0, 2), has_site_local=True)
    assert frame.site_local() == 1
    assert frame.added_types == [I32, I32, I32, F32]
    assert [frame.temporary(Temporary(number)) for number in range(3)] == [4, 2, 3]
    assert frame.values == [3, 0, 4]
    assert frame.shape == (I32, I32, I64, F32)


def test_moved_locals_are_saved_though_they_are_not_live() -> None:
    body = body_with((I32, I32))
    frame = Frame(
        body, Saved([], set(), {LocalIndex(1)}), [], lay_out(body, [], set(), [], 0), NOTHING_LATE, has_site_local=False
    )
    assert frame.values == [1]


def test_without_a_frame_nothing_is_saved() -> None:
    body = body_with((I32,))
    layout = lay_out(body, [], set(), [], 0)
    frame = Frame(body, saved([I32]), None, layout, NOTHING_LATE, has_site_local=False)
    assert not frame.is_saved
    assert frame.values == []
    assert frame.added_types == [I32]


def test_a_reference_is_a_number_in_the_frame() -> None:
    """What is put back can be null, but for parameters, which there are none of. Those of a type lie together."""
    frame = frame_of(I64, EXTERNREF, FUNCREF, make_reference(EXTERN, nullable=False), I32)
    assert (frame.values, frame.shape) == ([4, 1, 3, 2, 0], (I32, I32, I32, I32, I32, I64))
    assert frame.references == {1: EXTERNREF, 2: FUNCREF, 3: EXTERNREF}


def test_numbers_of_many_call_sites_begin_below_0() -> None:
    assert [number_bias(sites) for sites in (1, 74, 75, 1_000)] == [0, 0, 63, 63]


def test_bodies_take_locals_behind_those_of_the_frame() -> None:
    frame = frame_of(I64, saved=saved([F32], 0))
    added = AddedLocals(frame)
    assert [added.address(I32), added.address(I32), added.number(), added.number(), added.scratch(I64)] == [
        2,
        2,
        3,
        3,
        4,
    ]
    assert added.runs() == [(F32, 1), (I32, 2), (I64, 1)]
    names = ["asyncify_temporary0", "asyncify_address", "asyncify_number", "asyncify_temporary3"]
    assert added.names() == list(zip(range(1, 5), names, strict=True))
    assert frame.added_types == [F32]


def test_the_local_with_the_number_serves_to_push_it() -> None:
    added = AddedLocals(frame_of(I64, has_site_local=True))
    assert added.number() == 1
    assert added.names() == [(1, "asyncify_site")]


def test_late_locals_pass_through_globals() -> None:
    """Local 3 is needed early as well: the cold arm keeps it."""
    three, four = LocalIndex(3), LocalIndex(4)
    late = code_of(LateLocals({2: [three, four], 5: [four]}, [three, four], {three}), {three: 7, four: 8})
    assert late.setters == {3: c.LOCAL_TEE + b"\3" + c.GLOBAL_SET + b"\7", 4: c.GLOBAL_SET + b"\x08"}
    set_4 = c.GLOBAL_GET + b"\x08" + c.LOCAL_SET + b"\4"
    assert late.arms == {2: c.GLOBAL_GET + b"\7" + c.LOCAL_SET + b"\3" + set_4, 5: set_4}
