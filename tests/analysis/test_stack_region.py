"""Where a module's own shadow stack lies: by its pointer's initial value, symbols, and the data around it."""

from __future__ import annotations

import pytest

from caesura.analysis.stack_constants import compares_with_ends
from caesura.analysis.stack_region import StackRegion, find_region, initial_value
from tests.analysis.sample import Sample


def region_of(more: str, start: str = "i32.const 4096") -> tuple[int, int] | None:
    """Return the stack's ends in a module whose global 0 is the stack pointer."""
    sample = Sample(f"(module (global (mut i32) ({start})) (memory 2) {more} (func $f))")
    region = find_region(sample.module, 0)
    return None if region is None else (region.low, region.high)


REGIONS = {
    "first in memory": ("", (0, 4096)),
    "behind data": ('(data (i32.const 1024) "0123456789")', (1040, 4096)),
    "before data": ('(data (i32.const 4096) "0123456789")', (0, 4096)),
    "above a symbol": ('(global (export "__data_end") i32 (i32.const 2000))', (2000, 4096)),
    "above data and a symbol": (
        '(data (i32.const 64) "01") (global (export "__stack_low") i32 (i32.const 1600))',
        (1600, 4096),
    ),
    "a symbol that is no constant": ('(global (export "__data_end") (mut i32) (i32.const 2000))', (0, 4096)),
    "data somewhere": ('(global $g i32 (i32.const 8)) (data (global.get $g) "01")', (0, 4096)),
    "passive data": ('(data "0123456789")', (0, 4096)),
    "beginning in data": ('(data (i32.const 4090) "0123456789")', None),
    "ending with data": ('(data (i32.const 4086) "0123456789")', None),
    "smaller than any linker makes it": ('(data (i32.const 3900) "0123456789")', None),
}


@pytest.mark.parametrize("name", REGIONS)
def test_regions(name: str) -> None:
    more, expected = REGIONS[name]
    assert region_of(more) == expected


@pytest.mark.parametrize("start", ["i32.const 0", "i32.const 4097", "i32.const 131088", "i32.const -16"])
def test_what_cannot_be_a_stack_s_end(start: str) -> None:
    assert region_of("", start) is None


def test_initial_values() -> None:
    sample = Sample("""
      (module
        (import "env" "g" (global i32))
        (global i32 (i32.const -1)) (global i64 (i64.const -1)) (global f32 (f32.const 1))
        (global i32 (i32.const 1) (i32.const 2) (i32.add)) (global i32 (global.get 0))
        (func $f))""")
    expected = [None, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF, None, None, None]
    assert [initial_value(sample.module, index) for index in range(6)] == expected


COMPARES = {
    "with the lower end": ("global.get 0 i32.const 1024 i32.lt_u drop", True),
    "with the upper end": ("(local i32) global.get 0 local.set 0 local.get 0 i32.const 4096 i32.ge_u drop", True),
    "with something else": ("global.get 0 i32.const 2048 i32.lt_u drop", False),
    "something else": ("i32.const 8 i32.const 1024 i32.lt_u drop", False),
    "not at all": ("i32.const 1024 drop", False),
}


@pytest.mark.parametrize("name", COMPARES)
def test_comparisons_with_the_stack_s_ends(name: str) -> None:
    code, expected = COMPARES[name]
    sample = Sample(f"(module (global (mut i32) (i32.const 4096)) (memory 1) (func $f {code}))")
    assert compares_with_ends(sample.module, 0, StackRegion(1024, 4096)) == expected
