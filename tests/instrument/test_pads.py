"""Unwind pads: each keeps what is live at its call sites, and its parent keeps what the pad keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caesura.instrument.frames.pads import group_by_live
from caesura.wasm.indices import LocalIndex
from tests.support.counting import interpreted_only

LOCALS = 24
MASKS = st.integers(0, (1 << LOCALS) - 1)
# Few sets, many sites, as in real functions.
LANDINGS = st.lists(MASKS, min_size=1, max_size=12).flatmap(lambda sets: st.lists(st.sampled_from(sets), min_size=1))


@given(LANDINGS, st.sets(st.integers(0, LOCALS - 1).map(LocalIndex), max_size=3))
def test_nothing_live_is_zeroed(each_landing: list[int], moved: set[LocalIndex]) -> None:
    pads = group_by_live(each_landing, moved)
    always = sum(1 << local for local in moved)
    assert len(pads.of_site) == len(each_landing)
    for live, pad in zip(each_landing, pads.of_site, strict=True):
        assert (live | always) & ~pads.live[pad] == 0
    assert pads.parents[0] == 0
    for pad in range(1, len(pads.live)):
        assert 0 <= pads.parents[pad] < pad
        assert pads.live[pad] & ~pads.live[pads.parents[pad]] == 0
        assert pads.live[pad] != pads.live[pads.parents[pad]]


def test_pads_that_pay() -> None:
    rare, common = 0xFFFF, 0x0F
    pads = group_by_live([rare] * 2 + [common] * 100, set())
    assert pads.live == [rare, common]
    assert pads.of_site == [0] * 2 + [1] * 100


def test_pads_that_do_not_pay() -> None:
    pads = group_by_live([0xFF] * 10 + [0x7F] * 3, set())
    assert pads.live == [0xFF]


def test_pads_build_on_each_other() -> None:
    everything, half, little = (1 << 24) - 1, (1 << 12) - 1, 0xF
    pads = group_by_live([everything] * 2 + [half] * 50 + [little] * 50, set())
    assert (pads.live, pads.parents) == ([everything, half, little], [0, 0, 1])


def test_more_sets_than_are_compared() -> None:
    each_landing = [1 << 20 | number for number in range(1_000)] + [1 << 20] * 100
    pads = group_by_live(each_landing, {LocalIndex(3)})
    assert pads.live[0] == 1 << 20 | 1023
    for live, pad in zip(each_landing, pads.of_site, strict=True):
        assert live & ~pads.live[pad] == 0


@interpreted_only
def test_sets_are_not_compared_with_each_other() -> None:
    """Sets of a row of locals have 61 hashes in all, so a dictionary of them would compare each with many."""
    compared: list[int] = []

    class Live(int):
        def __or__(self, other: int) -> Live:
            return Live(int(self) | int(other))

        def __eq__(self, other: object) -> bool:
            compared.append(1)
            return int(self) == other

        __hash__ = int.__hash__

    count = 1_500
    everything = (1 << count) - 1
    pads = group_by_live([Live(everything >> place << place) for place in range(count)], set())
    assert len(pads.of_site) == count
    assert len(compared) < 10 * count
