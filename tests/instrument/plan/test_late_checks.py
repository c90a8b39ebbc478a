"""Which call sites are checked behind the instruction that takes the call's result."""

from __future__ import annotations

import pytest

from caesura.analysis.liveness import live_locals
from caesura.instrument.plan.late_checks import checked_late
from tests.instrument.plan.listing import plan_of

# The code, and the calls in it that are checked late.
CASES: dict[str, tuple[str, set[int]]] = {
    "a result that is dropped": ("i32.const 1\ncall $ask\ndrop", {1}),
    "a result put in a local that is dead": ("i32.const 1\ncall $ask\nlocal.set 0\nlocal.get 0\ndrop", {1}),
    "a local that is live, since the argument is read from it": ("local.get 0\ncall $ask\nlocal.set 0", set()),
    "a local that another branch reads": (
        "block\ni32.const 1\ncall $ask\nlocal.set 1\nlocal.get 0\nbr_if 0\nend\nlocal.get 1\ndrop",
        {2},
    ),
    "a result that is used": ("i32.const 1\ncall $ask\ni32.eqz\ndrop", set()),
    "no result": ("call $wait\ni32.const 1\ndrop", set()),
    "two results": ("call $pair\ndrop\ndrop", set()),
    "a result that crosses": ("i32.const 1\ncall $ask\ncall $wait\ni32.eqz\ndrop", set()),
    "no result, but what stands below is dropped": ("i32.const 1\ncall $ask\ncall $wait\ndrop", {2}),
    "a local that code reads which has moved behind the call": (
        "local.get 0\ni32.const 8\ni32.load\ncall $ask\nlocal.set 0\ndrop",
        set(),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_calls_that_are_checked_late(name: str) -> None:
    code, expected = CASES[name]
    planned = plan_of(code, "(param i32) (local i32)")
    sites = planned.plan.sites
    data = planned.sample.module.data
    liveness = live_locals(data, planned.body, sites.landings, sites.calls, sites.ignored_reads, set())
    assert checked_late(planned.body, planned.plan, liveness.each_landing) == expected


def test_none_where_it_is_not_known_what_is_live() -> None:
    planned = plan_of("i32.const 1\ncall $ask\ndrop")
    assert checked_late(planned.body, planned.plan, []) == set()
