"""Which call sites are grouped: neighbours that share what is live, with few locals written between them."""

from __future__ import annotations

from typing import Final

import pytest

from caesura.analysis.liveness import live_locals
from caesura.instrument.plan.grouping import EVERYWHERE, NO_GROUPS, GroupRule, default_rule, group_sites
from tests.instrument.plan.listing import plan_of

LOCALS: Final = 24
# Groups wherever that saves more than it takes.
WORTHWHILE: Final[GroupRule] = (0, 8, 0)

READ_ALL: Final = "\n".join(f"local.get {local}\ndrop" for local in range(LOCALS))


def groups_of(code: str, rule: GroupRule = WORTHWHILE) -> list[list[int]]:
    """Return the call sites in each group, in a function of 24 locals that are all read behind the code."""
    planned = plan_of(f"{code}\n{READ_ALL}", f"(local{' i32' * LOCALS})")
    sites = planned.plan.sites
    data = planned.sample.module.data
    live = live_locals(data, planned.body, sites.landings, sites.calls, sites.ignored_reads, set()).each_landing
    groups = sorted(group_sites(planned.sample.module, planned.body, planned.plan, live, rule))
    return [[site for site, landing in enumerate(sites.landings) if start <= landing < end] for start, end in groups]


def write(local: int) -> str:
    return f"i32.const 0\nlocal.set {local}\n"


WRITE_ALL: Final = "".join(write(local) for local in range(LOCALS))

# By what the code is like: the code, and the call sites in each group.
GROUPS: dict[str, tuple[str, list[list[int]]]] = {
    "one call site": ("call $wait", []),
    "neighbours, nothing written between": ("call $wait\ncall $wait", [[0, 1]]),
    "neighbours, one local written between": (f"call $wait\n{write(3)}call $wait", [[0, 1]]),
    "neighbours, all locals written between": (f"call $wait\n{READ_ALL}\n{WRITE_ALL}call $wait", []),
    "two of three": (f"call $wait\n{READ_ALL}\n{WRITE_ALL}call $wait\ncall $wait", [[1, 2]]),
    "in a block, and behind it": ("block\ncall $wait\nend\ncall $wait", [[0, 1]]),
    "before an if, and in its arms": ("call $wait\ni32.const 0\nif\ncall $wait\nelse\ncall $wait\nend", [[0, 1, 2]]),
    "in one arm of an if": ("i32.const 0\nif\ncall $wait\ncall $wait\nend", [[0, 1]]),
    "in the arms of an if: it cannot begin with the if": (
        "i32.const 0\nif\ncall $wait\nelse\ncall $wait\nend\ncall $wait",
        [],
    ),
    "before a loop, and in it": ("call $wait\nloop\ncall $wait\nend", [[0, 1]]),
    "in a loop that writes nothing, whose head merges nothing": ("loop\ncall $wait\ncall $wait\nend", []),
    "in a loop that writes all locals": (f"loop\n{WRITE_ALL}call $wait\ncall $wait\nend", [[0, 1]]),
}


@pytest.mark.parametrize("name", GROUPS)
def test_groups(name: str) -> None:
    code, expected = GROUPS[name]
    assert groups_of(code) == expected


def test_what_a_group_has_to_save() -> None:
    """With all 24 locals live at two landing points and none written between, a group saves 24 merges."""
    code = "call $wait\ncall $wait"
    assert groups_of(code, (0, 23, 0)) == [[0, 1]]
    assert groups_of(code, (0, 24, 0)) == []


def test_what_a_group_has_to_save_where_merges_cost_little() -> None:
    """In a function with few values in all: here 48 merges and some hundred bytes of code."""
    code = "call $wait\ncall $wait"
    assert groups_of(code, (0, 8, 15)) == [[0, 1]]
    assert groups_of(code, (0, 8, 16)) == []


def switch(cases: int, calls: int) -> str:
    """Return a switch each of whose cases calls so many times, and writes no local."""
    opened = "block\n" * (cases + 1)
    targets = " ".join(str(case) for case in range(cases))
    arms = "".join("end\n" + "call $wait\n" * calls + f"br {cases - 1 - case}\n" for case in range(cases))
    return f"{opened}i32.const 0\nbr_table {targets}\n{arms}end"


@pytest.mark.parametrize(("cases", "in_front"), [(15, True), (16, False)])
def test_groups_in_front_of_a_switch_are_costly(cases: int, in_front: bool) -> None:
    """Those of several arms stand there: control would pass their heads whichever arm it goes to.

    With so much code merges do not cost little; a switch with few arms has few heads in front of it.
    """
    much_code = "i32.const 0\ndrop\n" * 10_000
    groups = groups_of(much_code + switch(cases, 4), (0, 8, 1_000))
    assert any(len(sites) > 4 for sites in groups) == in_front
    if not in_front:
        assert groups == [[4 * case + call for call in range(4)] for case in range(cases)]


def test_how_many_merges_a_function_has_to_have() -> None:
    code = "call $wait\ncall $wait"
    assert groups_of(code, (2 * LOCALS, 8, 0)) == [[0, 1]]
    assert groups_of(code, (2 * LOCALS + 1, 8, 0)) == []
    assert groups_of(code, NO_GROUPS) == []
    assert groups_of(f"call $wait\n{READ_ALL}\n{WRITE_ALL}call $wait", EVERYWHERE) == [[0, 1]]


def test_no_group_has_more_than_64_landing_points() -> None:
    assert [len(sites) for sites in groups_of("call $wait\n" * 130)] == [2, 64, 64]


@pytest.mark.parametrize(
    ("optimize", "is_small", "merges"),
    [
        ("size", False, NO_GROUPS[0]),
        ("balanced", True, 1_500),
        ("balanced", False, 200),
        ("speed", True, 200),
        ("speed", False, 200),
    ],
)
def test_the_rule(optimize: str, is_small: bool, merges: int) -> None:
    assert default_rule(optimize, is_small=is_small)[0] == merges
