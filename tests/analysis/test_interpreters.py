"""Facts about loops: what makes a function an interpreter, and where its resume body hands over."""

from __future__ import annotations

from caesura.analysis.body import Body
from caesura.analysis.interpreters import handoff_loops, innermost_loops, loop_facts
from tests.analysis.sample import function_of

# A br_table with 16 different targets among 18, and the blocks that they are the ends of.
SWITCH = "block " * 16 + "i32.const 0 br_table " + " ".join(str(label) for label in range(16)) + " 0 1 " + "end " * 16


def loops_of(code: str) -> tuple[bytes, Body]:
    sample = function_of(code)
    return sample.module.data, sample.body()


def facts_of(code: str) -> tuple[int, int, int]:
    facts = loop_facts(*loops_of(code))
    return facts.sites_in_loops, facts.calls_through_table_in_loops, facts.sites_around_switch


def test_call_sites_in_loops() -> None:
    assert facts_of("call $wait") == (0, 0, 0)
    assert facts_of("call $wait loop call $wait loop call $wait end end loop call $wait end") == (3, 0, 0)


def test_call_sites_around_a_switch() -> None:
    assert facts_of(f"loop call $wait {SWITCH} call $wait end") == (2, 0, 2)
    # The switch stands in the inner loop, directly.
    assert facts_of(f"loop call $wait loop {SWITCH} call $wait end end") == (2, 0, 1)
    few_targets = SWITCH.replace("br_table 0 1 2", "br_table 0 0 0")
    assert facts_of(f"loop call $wait {few_targets} end") == (1, 0, 0)


def test_an_interpreter_hands_over_at_its_inner_loop() -> None:
    """The outer loop has no call site that the inner one has not; what is counted is instructions."""
    code = f"loop loop {SWITCH} call $wait br 0 end end"
    assert handoff_loops(*loops_of(code)) == {1}
    assert handoff_loops(*loops_of(f"loop call $wait loop {SWITCH} call $wait br 0 end end")) == {0, 2}


def test_without_a_switch_it_is_the_outermost_loop() -> None:
    assert handoff_loops(*loops_of("loop loop call $wait end end")) == {0}
    assert handoff_loops(*loops_of("loop nop end loop call $wait end")) == {3}


def test_with_many_call_sites_it_is_the_innermost_loops() -> None:
    assert handoff_loops(*loops_of("loop loop " + "call $wait " * 9 + "end end")) == {1}


def test_loops_in_a_try_or_with_parameters_are_left_out() -> None:
    assert handoff_loops(*loops_of("try loop call $wait end catch_all end")) == set()
    assert handoff_loops(*loops_of("i32.const 0 loop (param i32) call $wait drop end")) == set()


def test_small_loops_are_left_out() -> None:
    """One call site of six is less than a quarter of them."""
    assert handoff_loops(*loops_of("loop call $wait end " + "call $wait " * 5)) == set()


def test_innermost_loops_without_call_sites() -> None:
    code = """
      loop
        loop
        end
        loop
          call $wait
        end
      end
      loop
        block
        end
      end"""
    assert innermost_loops(loops_of(code)[1]) == {1, 7}
