"""Regions: what their heads open and where these send frames, and the numbers of call sites."""

from __future__ import annotations

from typing import Final

from caesura.instrument.frames.two_bodies import normal_layout
from caesura.instrument.plan.regions import (
    BLOCK,
    ELSE_ARM,
    FUNCTION,
    GROUP,
    INNER_REGION,
    LANDING,
    LOOP,
    TRY,
    Group,
    Layout,
    lay_out,
)
from caesura.wasm.indices import InstructionIndex
from tests.instrument.plan.listing import Planned, plain, plan_of

_REGIONS: Final = {FUNCTION: "function", LOOP: "loop", TRY: "try", GROUP: "group"}
_LABELS: Final = {LANDING: "landing", INNER_REGION: "region", BLOCK: "block", ELSE_ARM: "else of"}


def described(layout: Layout) -> str:
    """Return what each region's head opens, outermost first, and what numbers it sends where.

    Blocks and regions are named by the instruction that they begin with.
    """
    lines: list[str] = []
    for region in layout.regions:
        start = "" if region.kind == FUNCTION else f" {region.start}"
        lines.append(f"{_REGIONS[region.kind]}{start}")
        for _, kind, which in region.openings:
            lines.append(f"opens {_LABELS[kind]} {layout.regions[which].start if kind == INNER_REGION else which}")
        lines += [f"{layout.numbers[site]}: landing {site}" for site in region.destinations.sites]
        for inner in [layout.regions[number] for number in region.destinations.inner]:
            lines.append(
                f"{inner.destinations.numbers.start} to {inner.destinations.numbers.stop - 1}: region {inner.start}"
            )
    return "\n".join(lines)


def laid_out(planned: Planned, groups: list[Group] | None = None, first_number: int = 1) -> Layout:
    """Return the layout of the one body of a function."""
    constructs = planned.plan.constructs
    landings = planned.plan.sites.landings
    return lay_out(planned.body, constructs.reached, constructs.regions, landings, first_number, groups)


def test_a_landing_point_at_the_head_has_no_label() -> None:
    layout = laid_out(plan_of("call $wait\ncall $wait"))
    assert described(layout) == plain(
        """
        function
          opens landing 1
          1: landing 0
          2: landing 1
        """
    )
    assert layout.dispatching == [True]
    assert not laid_out(plan_of("call $wait")).dispatching[0]


def test_numbers_begin_where_they_are_told_to() -> None:
    planned = plan_of("call $wait\ncall $wait")
    assert laid_out(planned, first_number=0).numbers == [0, 1]
    assert laid_out(planned, first_number=1).regions[0].destinations.numbers == range(1, 3)


def test_blocks_are_opened_at_the_head() -> None:
    """Labels nest by where they end; the start of a block that is opened anyway is still at the head."""
    code = """
        block
        block
        call $wait
        end
        call $wait
        local.get 0
        if
        call $wait
        else
        call $wait
        end
        end
        """
    assert described(laid_out(plan_of(code, "(param i32)"))) == plain(
        """
        function
          opens block 0
          opens block 6
          opens landing 3
          opens else of 6
          opens landing 2
          opens landing 1
          opens block 1
          1: landing 0
          2: landing 1
          3: landing 2
          4: landing 3
        """
    )


def test_own_call_sites_come_before_inner_regions_and_small_regions_before_large_ones() -> None:
    code = """
        loop
        call $wait
        call $wait
        loop
        call $wait
        end
        end
        try
        call $wait
        catch_all
        end
        call $wait
        """
    layout = laid_out(plan_of(code))
    assert described(layout) == plain(
        """
        function
          opens landing 4
          opens region 7
          1: landing 4
          2 to 2: region 7
          3 to 5: region 0
        loop 0
          opens region 3
          opens landing 1
          3: landing 0
          4: landing 1
          5 to 5: region 3
        loop 3
          5: landing 2
        try 7
          2: landing 3
        """
    )
    assert layout.site_regions == [1, 1, 2, 3, 0]
    assert layout.dispatching == [True, True, False, False]
    assert layout.needs_site_local()


def test_a_number_is_needed_where_there_are_several_ways() -> None:
    one_way = laid_out(plan_of("call $wait\nloop\nloop\ncall $wait\nend\nend"))
    assert not one_way.needs_site_local()
    assert not one_way.dispatches()
    behind = laid_out(plan_of("loop\nnop\ncall $wait\nend"))
    assert (behind.dispatches(), behind.needs_site_local()) == (True, False)


def test_groups_stand_between_regions() -> None:
    """A group may begin with a loop; its head stands before it, and what begins a region there needs no label."""
    code = """
        call $wait
        loop
        call $wait
        end
        block
        call $wait
        end
        call $wait
        """
    layout = laid_out(plan_of(code), groups=[(1, 7)])
    assert described(layout) == plain(
        """
        function
          opens landing 3
          opens region 1
          1: landing 0
          2: landing 3
          3 to 4: region 1
        group 1
          opens block 4
          opens landing 2
          3: landing 2
          4 to 4: region 1
        loop 1
          4: landing 1
        """
    )
    assert layout.heads == {2: 1, 3: 2}
    assert layout.dispatching == [True, True, False]


def test_a_group_that_begins_with_blocks() -> None:
    layout = laid_out(plan_of("nop\nblock\nblock\ncall $wait\nend\ncall $wait\nend"), groups=[(1, 7)])
    assert described(layout) == plain(
        """
        function
          opens region 1
          1 to 2: region 1
        group 1
          opens block 1
          opens landing 1
          opens block 2
          1: landing 0
          2: landing 1
        """
    )


def test_a_region_whose_call_sites_are_dead_code() -> None:
    """Control reaches the loop, but none of its calls: no frame lands there."""
    layout = laid_out(plan_of("call $wait\nloop\nbr 0\ncall $wait\nend"))
    assert described(layout) == plain(
        """
        function
          1: landing 0
        loop 1
        """
    )


def test_the_normal_body_lands_at_hand_off_loops() -> None:
    """Labels are opened only for what stands around these; other loops around them dispatch as well."""
    code = """
        block
        call $wait
        block
        call $wait
        end
        loop
        nop
        loop
        block
        call $wait
        end
        br 0
        end
        end
        end
        """
    planned = plan_of(code, handoff_loops={7})
    assert described(normal_layout(planned.body, [InstructionIndex(7)])) == plain(
        """
        function
          opens block 0
          opens region 5
          1 to 1: region 5
        loop 5
          opens region 7
          1 to 1: region 7
        loop 7
          1: landing 0
        """
    )
    assert described(laid_out(planned)) == plain(
        """
        function
          opens block 0
          opens region 5
          opens block 2
          opens landing 1
          1: landing 0
          2: landing 1
          3 to 3: region 5
        loop 5
          opens block 7
          opens block 8
          opens landing 2
          3: landing 2
        """
    )


def test_hand_off_loops_that_begin_at_the_same_place() -> None:
    """A frame for the outer one lands just behind its head, although the inner one begins there."""
    planned = plan_of("loop\nloop\ncall $wait\nbr 0\nend\nend", handoff_loops={0, 1})
    layout = normal_layout(planned.body, [InstructionIndex(0), InstructionIndex(1)])
    assert (layout.landings, layout.site_regions, layout.numbers) == ([1, 2], [1, 2], [1, 2])


def test_deep_nests_take_tables_of_n_log_n() -> None:
    """A head tells its largest inner region apart without entries, which comes last for that."""
    depth = 200
    layout = laid_out(plan_of("\n".join(["loop", "call $wait"] * depth + ["end"] * depth)))
    entries = sum(region.destinations.count() for region in layout.regions)
    assert entries == 2 * depth
    assert [region.destinations.numbers.start for region in layout.regions[1:]] == list(range(1, depth + 1))
