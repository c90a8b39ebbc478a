"""Which locals a stretch of code writes."""

from __future__ import annotations

from caesura.analysis.writes import Writes
from caesura.wasm.indices import InstructionIndex
from tests.analysis.sample import function_of


def between(writes: Writes, start: int, end: int) -> int:
    return writes.between(InstructionIndex(start), InstructionIndex(end))


def test_writes_between_two_instructions() -> None:
    code = """
      i32.const 0
      local.set 0
      i32.const 0
      local.tee 1
      local.set 2
      local.get 3
      drop"""
    writes = Writes(function_of(code, "(local i32 i32 i32 i32)").body())
    assert between(writes, 0, 7) == 0b111
    assert between(writes, 2, 4) == 0b010
    assert between(writes, 1, 2) == 0b001
    assert between(writes, 2, 3) == between(writes, 5, 7) == between(writes, 4, 4) == 0


def test_every_stretch_of_a_longer_body() -> None:
    count = 11
    writes = Writes(function_of(f"{'local.get 0 local.set 1 ' * count}", "(local i32 i32)").body())
    for start in range(2 * count + 1):
        for end in range(start, 2 * count + 1):
            has_set = any(index % 2 for index in range(start, end))
            assert between(writes, start, end) == (0b10 if has_set else 0)


def test_a_body_without_writes() -> None:
    writes = Writes(function_of("nop").body())
    assert between(writes, 0, 2) == 0
