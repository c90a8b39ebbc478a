"""How functions use a global that may be the shadow stack's pointer: their frames, and what they compare it with."""

from __future__ import annotations

import pytest

from caesura.analysis.stack_frames import StackFrames
from tests.analysis.sample import Sample

MODULE = """
  (module
    (memory 1)
    (global $stack_pointer (mut i32) (i32.const 65536))
    (global $other (mut i32) (i32.const 0))
    (tag $tag)
    (func $f {code}))
"""

OPEN = "global.get $stack_pointer i32.const 32 i32.sub local.tee 0 global.set $stack_pointer"
CLOSE = "local.get 0 i32.const 32 i32.add global.set $stack_pointer"
USE = "local.get 0 i32.const 7 i32.store offset=12"


def counts(code: str, *, strict: bool = True) -> dict[str, int]:
    """Return what is counted for the global, without what is 0."""
    sample = Sample(MODULE.format(code=f"(local i32 i32) {code}"))
    frames = StackFrames(sample.module, [True, False], strict=strict)
    frames.read(sample.module.own_of(sample.index("f")))
    found = {
        "closed": frames.closed[0],
        "addressed": frames.addressed[0],
        "broken": frames.broken[0],
        "raised": frames.raised[0],
        "crooked": frames.crooked[0],
    }
    return {name: count for name, count in found.items() if count}


COUNTS = {
    "a frame that is used": (f"{OPEN} {USE} {CLOSE}", {"closed": 1, "addressed": 1}),
    "a frame that is not used": (f"{OPEN} {CLOSE}", {"closed": 1}),
    "closed before each return": (
        f"{OPEN} {USE} local.get 1 if {CLOSE} return end {CLOSE}",
        {"closed": 1, "addressed": 1},
    ),
    "open at one return": (f"{OPEN} {USE} local.get 1 if return end {CLOSE}", {"broken": 1}),
    "open at a branch out of the function": (f"{OPEN} {USE} local.get 1 br_if 0 {CLOSE}", {"broken": 1}),
    "open at the end": (f"{OPEN} {USE}", {"broken": 1}),
    "a trap with the frame open": (
        f"{OPEN} {USE} local.get 1 if unreachable end {CLOSE}",
        {"closed": 1, "addressed": 1},
    ),
    "any size, left open for the caller": (
        "global.get $stack_pointer local.get 1 i32.sub global.set $stack_pointer",
        {},
    ),
    "aligned down": (
        """global.get $stack_pointer local.tee 1 i32.const 40 i32.sub i32.const -32 i32.and local.tee 0
           global.set $stack_pointer local.get 0 i32.load drop local.get 1 global.set $stack_pointer""",
        {"closed": 1, "addressed": 1},
    ),
    "no multiple of 16": (
        f"{OPEN.replace('32 i32.sub', '20 i32.sub')} {CLOSE.replace('32 i32.add', '20 i32.add')}",
        {"closed": 1, "crooked": 1},
    ),
    "moved up": ("global.get $stack_pointer i32.const 16 i32.add global.set $stack_pointer", {"raised": 1}),
    "another global": (f"{OPEN} {CLOSE}".replace("$stack_pointer", "$other"), {}),
    "the old value kept in a local": (
        f"global.get $stack_pointer local.tee 1 i32.const 32 i32.sub local.tee 0 global.set $stack_pointer {USE} "
        "local.get 1 global.set $stack_pointer",
        {"closed": 1, "addressed": 1},
    ),
    "an arm that sets the value to one that is not followed": (
        f"{OPEN} local.get 1 if local.get 1 local.set 0 end {CLOSE}",
        {"closed": 1},
    ),
    "an arm that sets the value to a constant": (
        f"{OPEN} local.get 1 if i32.const 0 local.set 0 end {CLOSE}",
        {},
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    code, expected = COUNTS[name]
    assert counts(code) == expected


def test_in_instrumented_code_one_restoration_is_enough() -> None:
    code = f"{OPEN} {USE} local.get 1 if return end {CLOSE}"
    assert counts(code, strict=False) == {"closed": 1, "addressed": 1}


def test_what_values_from_the_global_are_compared_with() -> None:
    sample = Sample(
        MODULE.format(
            code="""(local i32)
              global.get $stack_pointer i32.const 64 i32.sub i32.const 1024 i32.lt_u drop
              i32.const -16 global.get $stack_pointer i32.ge_u drop
              global.get $stack_pointer i32.const 5 i32.eq drop
              global.get $other i32.const 6 i32.lt_u drop"""
        )
    )
    frames = StackFrames(sample.module, [True, False], strict=True)
    frames.read(sample.module.own_of(sample.index("f")))
    assert frames.compared == {1024, 0xFFFF_FFF0}
