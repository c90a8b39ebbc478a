"""Where frames land: as far back as the code up to the call can be run again."""

from __future__ import annotations

import pytest

from tests.instrument.plan.listing import plain, plan_of

# By what stands before the call: each with the parameters of the function.
LISTINGS: dict[str, tuple[str, str]] = {
    "no operands": (
        "",
        """
        ;; land 0
        call $wait
        """,
    ),
    "arguments of an import are computed again from locals and constants": (
        "(param i32)",
        """
        ;; land 0
        local.get 0
        i32.const 3
        i32.mul
        call $ask
        drop
        """,
    ),
    "what may trap is run again on the same operands": (
        "(param i32 i32)",
        """
        ;; land 0
        local.get 0
        local.get 1
        i32.div_s
        call $ask
        drop
        """,
    ),
    "memory may have changed, and an import must get what it got": (
        "(param i32)",
        """
        local.get 0
        i32.load       ;; to t0
        ;; land 0
        ;; again t0
        call $ask
        drop
        """,
    ),
    "so may a mutable global": (
        "",
        """
        global.get $counter   ;; to t0
        ;; land 0
        ;; again t0
        call $ask
        drop
        """,
    ),
    "an immutable global has not": (
        "",
        """
        ;; land 0
        global.get $fixed
        call $ask
        drop
        """,
    ),
    "what is instrumented ignores its arguments": (
        "(param i32 i32)",
        """
        ;; land 0
        local.get 0    ;; ignored
        local.get 1    ;; ignored
        i32.const 4
        i32.add
        call $instrumented
        drop
        """,
    ),
    "a load for an argument that is ignored needs an address that does not trap": (
        "(param i32 i32)",
        """
        ;; land 0
        local.get 0
        i32.load
        local.get 1    ;; ignored
        call $instrumented
        drop
        """,
    ),
    "a load on top of a load would have another address": (
        "(param i32 i32)",
        """
        local.get 0
        i32.load
        i32.load       ;; to t0
        ;; land 0
        ;; again t0
        local.get 1    ;; ignored
        call $instrumented
        drop
        """,
    ),
    "a call through a table may reach an import": (
        "(param i32)",
        """
        local.get 0
        i32.load       ;; to t0
        ;; land 0
        ;; again t0
        local.get 0
        i32.const 1
        call_indirect (type $binary)
        drop
        """,
    ),
    "not back over a store": (
        "(param i32)",
        """
        local.get 0    ;; moved
        local.get 0
        i32.const 1
        i32.store
        ;; land 0
        ;; again local.get 0
        call $ask
        drop
        """,
    ),
    "not back over a call": (
        "(param i32)",
        """
        i32.const 5    ;; moved
        local.get 0
        call $plain
        drop
        ;; land 0
        ;; again i32.const 5
        call $ask
        drop
        """,
    ),
    "back over a local that nothing read before it was written": (
        "(param i32) (local i32)",
        """
        ;; land 0
        local.get 0
        local.tee 1
        local.get 1
        i32.add
        call $ask
        drop
        """,
    ),
    "not back over a local that was read before it was written": (
        "(param i32)",
        """
        local.get 0    ;; to t0
        i32.const 1
        local.set 0
        ;; land 0
        ;; again t0
        call $ask
        drop
        """,
    ),
    "back over a select": (
        "(param i32 i32)",
        """
        ;; land 0
        local.get 0
        i32.const 2
        local.get 1
        select
        call $ask
        drop
        """,
    ),
    "not back over the start of a block": (
        "(param i32)",
        """
        local.get 0
        i32.load            ;; to t0
        block
        ;; land 0
        call $wait
        end
        ;; again t0
        drop
        """,
    ),
    "not back over a conditional branch": (
        "(param i32)",
        """
        block
        i32.const 5         ;; moved
        local.get 0
        br_if 0
        ;; land 0
        ;; again i32.const 5
        call $ask
        drop
        end
        """,
    ),
    "each call site of several": (
        "(param i32)",
        """
        ;; land 0
        local.get 0
        call $ask
        drop
        ;; land 1
        i32.const 1
        call $ask
        drop
        """,
    ),
    "a call that gives the argument of another one": (
        "(param i32)",
        """
        ;; land 0
        local.get 0
        call $ask           ;; to t0
        ;; land 1
        ;; again t0
        call $ask
        drop
        """,
    ),
    "none where control cannot come": (
        "(param i32)",
        """
        block
        ;; land 0
        call $wait
        br 0
        call $wait          ;; unreachable
        end
        return
        call $wait          ;; unreachable
        """,
    ),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_landing_points(name: str) -> None:
    head, listing = LISTINGS[name]
    assert plan_of(listing, head).listing() == plain(listing)


def test_operands_behind_calls() -> None:
    """They are counted from where the operands of the region begin."""
    planned = plan_of(
        """
        i32.const 1
        i32.const 2
        call $ask
        block
        i32.const 3
        call $ask
        drop
        end
        drop
        drop
        call $pair
        drop
        drop
        """
    )
    assert planned.plan.sites.operands_behind == [2, 1, 2]


def test_the_end() -> None:
    assert plan_of("call $wait").plan.ends_live
    assert plan_of("call $wait\nblock\nbr 0\nend").plan.ends_live
    assert not plan_of("call $wait\nunreachable").plan.ends_live
    assert not plan_of("loop\ncall $wait\nbr 0\nend\nreturn").plan.ends_live


def test_a_function_that_restores_nothing() -> None:
    """Its locals hold anything in a rewind: so it lands behind what may trap, and a frame would hold nothing."""
    code = """
        local.get 0
        local.get 1
        i32.div_s
        call $ask
        """
    restoring = plan_of(code, "(param i32 i32) (result i32)")
    assert restoring.plan.sites.landings == [0]
    nothing = plan_of(code, "(param i32 i32) (result i32)", restores_nothing=True)
    assert nothing.plan.sites.landings == [3]
    assert (nothing.plan.saved.temporaries, nothing.plan.saved.moved_locals) == (set(), set())
    assert nothing.plan.saved.temporary_types == [0x7F]


def test_constructs() -> None:
    """Those with call sites that control can reach; loops and tries are regions, but for hand-off loops."""
    code = """
        block
        loop
        call $wait
        br 0
        end
        end
        loop
        nop
        end
        try
        call $wait
        catch_all
        end
        return
        loop
        call $wait
        end
        """
    constructs = plan_of(code).plan.constructs
    assert (constructs.reached, constructs.regions) == ([0, 1, 9], {1, 9})


def test_hand_off_loops() -> None:
    """What holds the operands below them is told, since the normal body goes on there."""
    code = """
        local.get 0
        i32.load
        local.get 1
        i32.const 7
        loop
        call $wait
        br 0
        end
        drop
        drop
        drop
        """
    constructs = plan_of(code, "(param i32 i32)", handoff_loops={4}).plan.constructs
    assert (constructs.reached, constructs.regions) == ([4], set())
    assert constructs.below == {4: ({0}, {1})}
