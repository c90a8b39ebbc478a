"""How much of a function's code control can come to from its call sites."""

from __future__ import annotations

import pytest

from caesura.analysis.body import find_pausing_loops
from caesura.analysis.resumed import resumed_bytes
from caesura.wasm.indices import InstructionIndex
from tests.analysis.sample import function_of

# Code, and the code in it that counts. `end` and `else` count where control comes to them from right before.
RESUMED = {
    "from the call on": ("nop nop call $wait nop", "call $wait nop end"),
    "nothing without a call": ("nop nop", ""),
    "the rest of the arm": (
        "i32.const 0 if call $wait nop else nop nop end nop",
        "call $wait nop else nop end",
    ),
    "behind an if without else": (
        "call $wait i32.const 0 if return end nop",
        "call $wait i32.const 0 if return nop end",
    ),
    "not behind return": ("call $wait return nop nop", "call $wait return"),
    "from the target of a branch on": (
        "block call $wait br 0 nop nop end nop",
        "call $wait br 0 nop end",
    ),
    "not a block's end that nothing comes to": ("block call $wait return end nop", "call $wait return"),
    "all of a loop with a call": ("loop nop nop call $wait end", "nop nop call $wait end end"),
    "handlers as a whole": (
        "try call $wait return catch_all nop nop end",
        "call $wait return nop nop end end",
    ),
    "behind br_table": (
        "block block call $wait i32.const 0 br_table 0 1 end nop end nop",
        "call $wait i32.const 0 br_table 0 1 nop end nop end",
    ),
}


def size_of(code: str) -> int:
    """Return how many bytes some instructions take."""
    sizes = {"call": 2, "br": 2, "i32.const": 2, "if": 2, "block": 2, "loop": 2, "try": 2, "br_table": 4}
    words = [word for word in code.split() if word[0].isalpha()]
    return sum(sizes.get(word, 1) for word in words)


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_bytes(name: str) -> None:
    code, counted = RESUMED[name]
    sample = function_of(code)
    assert resumed_bytes(sample.module.data, sample.body(), set()) == size_of(counted)


def test_a_loop_that_is_handed_over_to_does_not_count_from_its_head() -> None:
    """Only what comes behind the call in it does."""
    sample = function_of("loop nop nop call $wait nop end")
    assert resumed_bytes(sample.module.data, sample.body(), {InstructionIndex(0)}) == size_of("call $wait nop end end")


def test_from_before_a_loop_that_has_a_pause_point() -> None:
    """Unless it is handed over to: that is what the resume body does at once."""
    sample = function_of("nop loop i32.const 0 if call $wait end nop end nop")
    body = sample.body()
    find_pausing_loops(body, sample.index("wait"))
    data = sample.module.data
    assert resumed_bytes(data, body, set()) == size_of("loop i32.const 0 if call $wait end nop end nop end")
    assert resumed_bytes(data, body, {InstructionIndex(1)}) == size_of("loop")
