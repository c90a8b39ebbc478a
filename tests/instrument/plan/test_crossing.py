"""Operands that cross: which go to temporaries, which move, and when they are put on the operand stack again."""

from __future__ import annotations

import pytest

from caesura.wasm.types import FUNCREF, I32
from tests.instrument.plan.listing import plain, plan_of

LISTINGS: dict[str, tuple[str, str]] = {
    "what can be run again stays": (
        "(param i32)",
        """
        ;; land 0
        local.get 0
        i32.const 1
        i32.add
        i64.const 5
        call $wait
        drop
        drop
        """,
    ),
    "constants and locals that do not change move": (
        "(param i32)",
        """
        local.get 0         ;; moved
        i64.const 5         ;; moved
        i32.const 8
        i32.load            ;; to t0
        ;; land 0
        ;; again local.get 0, i64.const 5, t0
        call $wait
        drop
        drop
        drop
        """,
    ),
    "what is computed does not": (
        "(param i32)",
        """
        local.get 0
        i32.eqz             ;; to t0
        i32.const 8
        i32.load            ;; to t1
        ;; land 0
        ;; again t0, t1
        call $wait
        drop
        drop
        """,
    ),
    "a local.tee that moves only sets": (
        "(param i32) (local i32)",
        """
        local.get 0
        i32.load
        local.tee 1         ;; moved
        i32.const 8
        i32.load            ;; to t0
        ;; land 0
        ;; again local.tee 1, t0
        call $wait
        drop
        drop
        """,
    ),
    "a local that is written meanwhile": (
        "(param i32)",
        """
        local.get 0         ;; to t0
        i32.const 3
        local.set 0
        ;; land 0
        ;; again t0
        call $wait
        drop
        """,
    ),
    "a local that is written between two landing points": (
        "(param i32)",
        """
        ;; land 0
        local.get 0         ;; to t0
        call $wait
        i32.const 3
        local.set 0
        ;; land 1
        ;; again t0
        call $wait
        drop
        """,
    ),
    "temporaries are shared like a stack, by type": (
        "(param i32)",
        """
        local.get 0
        i32.load            ;; to t0
        local.get 0
        i64.load            ;; to t1
        ;; land 0
        call $wait
        local.get 0
        i32.load            ;; to t2
        ;; land 1
        ;; again t0, t1, t2
        call $wait
        drop
        drop
        drop
        i32.const 0
        i32.load            ;; to t0
        ;; land 2
        ;; again t0
        call $wait
        drop
        """,
    ),
    "below a construct": (
        "(param i32)",
        """
        local.get 0
        i32.load            ;; to t0
        block
        ;; land 0
        call $wait
        local.get 0
        i32.load            ;; to t1
        ;; land 1
        ;; again t1
        call $wait
        drop
        end
        i32.const 0
        i32.load            ;; to t1
        ;; land 2
        ;; again t0, t1
        call $wait
        drop
        drop
        """,
    ),
    "what moves across a construct": (
        "",
        """
        i32.const 1         ;; moved
        block
        ;; land 0
        call $wait
        end
        ;; again i32.const 1
        drop
        """,
    ),
    "a local that is written in a construct, when it was to move": (
        "(param i32)",
        """
        local.get 0         ;; to t0
        block
        i32.const 3
        local.set 0
        ;; land 0
        call $wait
        end
        ;; again t0
        drop
        """,
    ),
    "a local that is written in a construct without call sites": (
        "(param i32)",
        """
        local.get 0         ;; to t0
        block
        i32.const 3
        local.set 0
        end
        ;; land 0
        ;; again t0
        call $wait
        drop
        """,
    ),
    "the parameters of an if with two arms": (
        "(param i32)",
        """
        i32.const 1
        i32.load            ;; to t0
        local.get 0
        if (param i32) (result i32)
        ;; land 0
        ;; again t0
        call $wait
        else
        i32.const 1
        i32.add
        end
        drop
        """,
    ),
    "the branch around a single arm gives its parameters again": (
        "(param i32)",
        """
        i32.const 1
        i32.load
        local.get 0
        if (param i32)      ;; to t0
        ;; land 0
        ;; again t0
        call $wait
        drop
        end
        """,
    ),
    "parameters of a loop leave the stack for its head": (
        "",
        """
        i32.const 8
        i64.load            ;; to t0
        i32.const 8
        i32.load            ;; to t1
        ;; again t0, t1
        loop (param i64 i32) ;; to t0, t1
        ;; land 0
        ;; again t0, t1
        call $wait
        drop
        drop
        end
        """,
    ),
    "parameters of a block stay": (
        "",
        """
        i32.const 2
        i32.load            ;; to t0
        block (param i32)
        ;; land 0
        ;; again t0
        call $wait
        drop
        end
        """,
    ),
    "results of a construct": (
        "",
        """
        block (result i32 f64)
        ;; land 0
        call $wait
        i32.const 1
        f64.const 1
        end                 ;; to t0, t1
        ;; land 1
        ;; again t0, t1
        call $wait
        drop
        drop
        """,
    ),
    "br_if gives the results of a block again": (
        "(param i32)",
        """
        block (result i32)
        local.get 0
        i32.load
        local.get 0
        br_if 0             ;; to t0
        ;; land 0
        ;; again t0
        call $wait
        end
        drop
        """,
    ),
    "one of two results": (
        "",
        """
        i32.const 8
        i64.load            ;; to t0
        ;; land 0
        call $pair          ;; to t1, stack
        drop
        ;; land 1
        ;; again t0, t1
        call $wait
        drop
        drop
        """,
    ),
    "a select has the type of its operands": (
        "(param f32)",
        """
        local.get 0
        f32.const 2
        i32.const 8
        i32.load
        select              ;; to t0
        ;; land 0
        ;; again t0
        call $wait
        drop
        """,
    ),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_operands(name: str) -> None:
    head, listing = LISTINGS[name]
    assert plan_of(listing, head).listing() == plain(listing)


def test_types_of_temporaries() -> None:
    code = (
        """
        i32.const 8
        i64.load
        i32.const 8
        f32.load
        memory.size
        i32.const 8
        v128.load
        call $pair
        call $wait
        """
        + "drop\n" * 6
    )
    assert plan_of(code).plan.saved.temporary_types == [0x7E, 0x7D, 0x7F, 0x7B, 0x7F, 0x7E]


def test_what_frames_hold() -> None:
    """Temporaries that stand across a landing point, and locals that are read again behind one."""
    planned = plan_of(
        """
        local.get 0
        i32.const 8
        i32.load
        call $wait
        drop
        drop
        i32.const 8
        i32.load
        if (result i32)
        i32.const 1
        call $ask
        else
        local.get 1
        end
        drop
        """,
        "(param i32 i32)",
    )
    assert (planned.plan.saved.temporaries, planned.plan.saved.moved_locals) == ({0}, {0})


def test_a_temporary_that_no_frame_holds() -> None:
    """An argument that the callee ignores in a rewind leaves the stack, but no frame has to bring it back."""
    planned = plan_of(
        """
        i32.const 8
        i32.load
        i32.const 8
        i32.load
        i32.const 0
        i32.const 0
        i32.store
        call $instrumented
        drop
        """
    )
    assert planned.plan.crossing.temporaries == {1: 0, 3: 1}
    assert planned.plan.saved.temporaries == set()


def test_parameters_of_blocks_where_there_are_two_bodies() -> None:
    """The normal body has the block in its place, where some parameters may be on the stack, some not."""
    code = """
        i32.const 2
        block (param i32)
        call $wait
        drop
        end
        """
    one = plan_of(code).plan
    two = plan_of(code, handoff_loops=set()).plan
    assert (one.constructs.without_parameters, one.crossing.moved) == (set(), {0})
    assert (two.constructs.without_parameters, two.crossing.temporaries) == ({1}, {0: 0})


def test_parameters_of_else_arms() -> None:
    code = """
        i32.const 5
        i32.const 6
        i32.const 0
        if (param i32 i32)
        call $wait
        drop
        drop
        else
        drop
        drop
        end
        """
    assert plan_of(code).plan.constructs.else_parameters == {7: [0, 1]}


def test_temporaries_of_references_can_be_null() -> None:
    """The type of this reference follows from what it was made from."""
    code = """
        ref.null func
        ref.as_non_null
        i32.const 3
        i32.load
        call $wait
        drop
        drop
        """
    plan = plan_of(code).plan
    assert (plan.saved.temporary_types, plan.saved.temporaries) == ([FUNCREF, I32], {0, 1})
    assert (plan.crossing.temporaries, plan.crossing.non_null) == ({1: 0, 3: 1}, {1})
